// SPDX-License-Identifier: Apache-2.0
//! The columns of the table: what they are called, sorted by, and filled with.

use super::answer::{Dns, Http, Row, Tcp};
use super::format::{NOTHING, count, percent, seconds};
use crate::flags::{RowsBy, View};

/// A column of numbers.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Head of the column.
    pub title: &'static str,
    /// The name by which /flows sorts by it; empty if it does not.
    pub sort: &'static str,
    /// What it tells, for the help.
    pub help: &'static str,
    /// What to write for a row, of which so many seconds were observed.
    value: fn(&Row, f64) -> String,
    /// Whether a number other than nothing is bad news.
    pub trouble: bool,
}

/// Characters that a column of numbers takes.
pub const WIDTH: usize = 7;

const fn column(
    title: &'static str,
    sort: &'static str,
    help: &'static str,
    value: fn(&Row, f64) -> String,
) -> Column {
    Column { title, sort, help, value, trouble: false }
}

const fn trouble(column: Column) -> Column {
    Column { trouble: true, ..column }
}

impl Column {
    /// The text in this column.
    pub fn text(&self, row: &Row, covered: f64) -> String {
        (self.value)(row, covered)
    }

    /// Whether this text is bad news.
    pub fn is_trouble(&self, text: &str) -> bool {
        self.trouble && !matches!(text, NOTHING | "0" | "0%" | "<0.01%")
    }
}

fn rate(bytes: f64, covered: f64) -> String {
    if covered > 0.0 { count(bytes / covered) } else { NOTHING.to_owned() }
}

fn tcp(row: &Row, value: impl Fn(&Tcp) -> f64) -> String {
    row.tcp.as_ref().map_or_else(|| NOTHING.to_owned(), |tcp| count(value(tcp)))
}

fn dns(row: &Row, value: impl Fn(&Dns) -> f64) -> String {
    row.dns.as_ref().map_or_else(|| NOTHING.to_owned(), |dns| count(value(dns)))
}

fn http(row: &Row, value: impl Fn(&Http) -> f64) -> String {
    row.http.as_ref().map_or_else(|| NOTHING.to_owned(), |http| count(value(http)))
}

fn rtt(row: &Row, value: impl Fn(&super::answer::Rtt) -> Option<f64>) -> String {
    seconds(row.tcp.as_ref().and_then(|tcp| tcp.rtt_seconds.as_ref()).and_then(value))
}

fn both(row: &Row, tcp: impl Fn(&Tcp) -> f64, udp: impl Fn(&super::answer::Udp) -> f64) -> f64 {
    row.tcp.as_ref().map_or(0.0, tcp) + row.udp.as_ref().map_or(0.0, udp)
}

fn sent(row: &Row, covered: f64) -> String {
    rate(both(row, |tcp| tcp.sent_bytes, |udp| udp.sent_bytes), covered)
}

fn received(row: &Row, covered: f64) -> String {
    rate(both(row, |tcp| tcp.received_bytes, |udp| udp.received_bytes), covered)
}

static SENT: Column = column("SENT/s", "sent_bytes", "bytes a second sent by this end, TCP and UDP", sent);
static RECEIVED: Column =
    column("RECV/s", "received_bytes", "bytes a second received by this end, TCP and UDP", received);
static CONNECTIONS: Column =
    column("CONNS", "connections", "connections open now", |row, _| tcp(row, |tcp| tcp.connections));
static RTT_MEAN: Column =
    column("RTT", "rtt_mean", "mean of smoothed round-trip times", |row, _| rtt(row, |rtt| rtt.mean));
static RTT_LAST: Column =
    column("RTTlast", "rtt_last", "last round-trip time", |row, _| rtt(row, |rtt| rtt.last));
static RTT_MAX: Column =
    column("RTTmax", "rtt_max", "longest round-trip time", |row, _| rtt(row, |rtt| rtt.max));
static SEGMENTS: Column = column("SEGS", "segments", "segments sent and received", |row, _| {
    tcp(row, |tcp| tcp.sent_segments + tcp.received_segments)
});
static RETRANSMITTED: Column =
    trouble(column("RETR", "retransmitted_segments", "segments sent again", |row, _| {
        tcp(row, |tcp| tcp.retransmitted_segments)
    }));
static RETRANSMIT_RATIO: Column =
    trouble(column("RETR%", "retransmit_ratio", "share of sent segments that were sent again", |row, _| {
        percent(row.tcp.as_ref().and_then(|tcp| tcp.retransmit_ratio))
    }));
static OUT_OF_ORDER: Column =
    column("OOO", "out_of_order_segments", "segments received out of order", |row, _| {
        tcp(row, |tcp| tcp.out_of_order_segments)
    });
static OPENED: Column = column("OPENED", "connections_opened", "connections opened", |row, _| {
    tcp(row, |tcp| tcp.connections_opened)
});
static ATTEMPTS: Column = column("TRIED", "connect_attempts", "connections attempted", |row, _| {
    tcp(row, |tcp| tcp.connect_attempts)
});
static FAILURES: Column = trouble(column("FAILED", "connect_failures", "attempts that failed", |row, _| {
    tcp(row, |tcp| tcp.connect_failures.sum())
}));
static SYN_RETRANSMITS: Column =
    trouble(column("SYN+", "syn_retransmits", "SYN segments sent again", |row, _| {
        tcp(row, |tcp| tcp.syn_retransmits)
    }));
static QUERIES: Column =
    column("QUERIES", "dns_queries", "DNS queries", |row, _| dns(row, |dns| dns.queries));
static DNS_ERRORS: Column =
    trouble(column("ERRORS", "dns_errors", "DNS errors other than NXDOMAIN, and timeouts", |row, _| {
        dns(row, |dns| dns.errors)
    }));
static DNS_TIMEOUTS: Column =
    trouble(column("TIMEOUT", "", "DNS queries without an answer", |row, _| dns(row, |dns| dns.timeouts)));
static DNS_MEAN: Column = column("TIME", "", "mean time to a DNS response", |row, _| {
    seconds(row.dns.as_ref().and_then(|dns| dns.mean_seconds))
});
static RESPONSES: Column =
    column("RESP", "http_responses", "HTTP responses", |row, _| http(row, |http| http.responses.sum()));
static HTTP_ERRORS: Column =
    trouble(column("ERRORS", "http_errors", "responses of 5xx, requests without a response", |row, _| {
        http(row, |http| http.errors)
    }));
static GRPC_ERRORS: Column =
    trouble(column("GRPC!", "grpc_errors", "gRPC responses that are errors", |row, _| {
        http(row, |http| http.grpc_errors)
    }));
static HTTP_MEAN: Column = column("TIME", "", "mean time to an HTTP response", |row, _| {
    seconds(row.http.as_ref().and_then(|http| http.mean_seconds))
});
static ADDRESSES: Column = column("ADDRS", "addresses", "remote addresses of the edge", |row, _| {
    row.addresses.map_or_else(|| NOTHING.to_owned(), count)
});

/// The columns of a view, from left to right.
pub fn columns(view: View, by: RowsBy) -> Vec<&'static Column> {
    let mut columns = match view {
        View::Traffic => vec![&SENT, &RECEIVED, &CONNECTIONS, &RTT_MEAN, &RETRANSMIT_RATIO],
        View::Loss => vec![&SEGMENTS, &RETRANSMITTED, &RETRANSMIT_RATIO, &OUT_OF_ORDER, &RTT_LAST, &RTT_MAX],
        View::Connect => vec![&CONNECTIONS, &OPENED, &ATTEMPTS, &FAILURES, &SYN_RETRANSMITS],
        View::Dns => vec![&QUERIES, &DNS_ERRORS, &DNS_TIMEOUTS, &DNS_MEAN],
        View::Http => vec![&RESPONSES, &HTTP_ERRORS, &GRPC_ERRORS, &HTTP_MEAN],
    };
    // Where there is room for one more, how many addresses are behind an edge.
    if by == RowsBy::Edge && columns.len() < 5 {
        columns.push(&ADDRESSES);
    }
    columns
}

/// The names that the sort keys go through: what the view shows, and all bytes.
pub fn sorts(view: View, by: RowsBy) -> Vec<&'static str> {
    let shown = columns(view, by).into_iter().map(|column| column.sort).filter(|sort| !sort.is_empty());
    std::iter::once("bytes").chain(shown).collect()
}

/// Heads of the columns that say who talks to whom.
pub const fn names(by: RowsBy) -> &'static [&'static str] {
    match by {
        RowsBy::Edge => &["OBS", "CLIENT", "SERVER"],
        RowsBy::Address => &["OBS", "ADDRESS", "CLIENT > SERVER"],
    }
}

/// Who talks to whom. `long`: with namespaces.
pub fn named(row: &Row, by: RowsBy, long: bool) -> Vec<String> {
    let observer = match row.label("observer") {
        "client" => "cli",
        "server" => "srv",
        "client_proxy" => "cpx",
        "server_proxy" => "spx",
        other => other,
    };
    let (client, server) = (end(row, "client", long), end(row, "server", long));
    let server = match row.label("server_port") {
        "" => server,
        port => format!("{server}:{port}"),
    };
    let observer = observer.to_owned();
    match by {
        RowsBy::Edge => vec![observer, client, server],
        RowsBy::Address => {
            vec![
                observer,
                row.address.as_deref().unwrap_or(NOTHING).to_owned(),
                format!("{client} > {server}"),
            ]
        }
    }
}

fn end(row: &Row, end: &str, long: bool) -> String {
    let workload = row.label(&format!("{end}_workload"));
    // A Service without a known backend has no workload.
    let name = match workload {
        "" if end == "server" => row.label("server_service"),
        name => name,
    };
    let name = if name.is_empty() { NOTHING } else { name };
    match row.label(&format!("{end}_namespace")) {
        namespace if long && !namespace.is_empty() => format!("{namespace}/{name}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{columns, named, names, sorts};
    use crate::flags::{RowsBy, View};
    use crate::top::answer::Row;
    use crate::top::fixture::answer;

    const VIEWS: [View; 5] = [View::Traffic, View::Loss, View::Connect, View::Dns, View::Http];

    fn texts(row: &Row, view: View) -> Vec<String> {
        columns(view, RowsBy::Address).iter().map(|column| column.text(row, 287.1)).collect()
    }

    #[test]
    fn cells_of_each_view() {
        let answer = answer();
        let [tcp, dns, http] = answer.rows() else { panic!("three rows") };
        assert_eq!(texts(tcp, View::Traffic), ["4300", "159k", "2", "1.30ms", "1.17%"]);
        assert_eq!(texts(tcp, View::Loss), ["38.3k", "61", "1.17%", "4", "1.20ms", "4.10ms"]);
        assert_eq!(texts(tcp, View::Connect), ["2", "14", "17", "3", "6"]);
        assert_eq!(texts(tcp, View::Dns), ["-", "-", "-", "-"]);
        assert_eq!(texts(dns, View::Traffic), ["25.1", "78.0", "-", "-", "-"]);
        assert_eq!(texts(dns, View::Dns), ["180", "10", "5", "2.10ms"]);
        assert_eq!(texts(http, View::Http), ["11", "2", "1", "12.0ms"]);
        assert_eq!(texts(&Row::default(), View::Traffic), ["0", "0", "-", "-", "-"]);
        assert_eq!(columns(View::Traffic, RowsBy::Edge)[0].text(tcp, 0.0), "-");
    }

    #[test]
    fn ends_and_addresses() {
        let answer = answer();
        let [tcp, dns, _] = answer.rows() else { panic!("three rows") };
        assert_eq!(named(tcp, RowsBy::Edge, false), ["cli", "checkout", "payments.example.com:443"]);
        assert_eq!(
            named(dns, RowsBy::Address, true)[1..],
            ["2001:db8:0:1::53", "shop/checkout > kube-system/coredns:53"]
        );
        assert_eq!(named(&Row::default(), RowsBy::Address, true), ["", "-", "- > -"]);
        for by in [RowsBy::Edge, RowsBy::Address] {
            assert_eq!(named(tcp, by, false).len(), names(by).len());
        }
    }

    #[test]
    fn every_view_can_be_sorted_and_fits_its_width() {
        for (view, by) in VIEWS.into_iter().flat_map(|view| [(view, RowsBy::Edge), (view, RowsBy::Address)]) {
            assert!(sorts(view, by).len() >= 3, "{view:?}");
            // The help of a terminal of 80 columns has 50 for it.
            let fits =
                |column: &&super::Column| column.title.len() <= super::WIDTH && column.help.len() <= 50;
            assert!(columns(view, by).iter().all(fits));
            let mut sorts = sorts(view, by);
            let known: Vec<_> = crate::flows::Column::names(&[]).collect();
            assert!(sorts.iter().all(|sort| known.contains(sort)), "{view:?}: {known:?}");
            sorts.sort_unstable();
            sorts.dedup();
            assert_eq!(sorts.len(), super::sorts(view, by).len(), "no column twice");
        }
    }
}
