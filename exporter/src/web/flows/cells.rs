// SPDX-License-Identifier: Apache-2.0
//! What a row says, cell by cell.

use super::chart;
use super::links::Link;
use crate::flows::{Answer, EdgeLabels, Measure, Row, is_grpc_error};
use crate::web::html::Page;
use crate::web::units::{ago, bytes, count, duration, grouped, percent};

/// Share of retransmitted segments from which on it is worth a look, and from which on it hurts: a loss of 1 % halves what a
/// connection over the internet gets.
const RETRANSMITS: (f64, f64) = (0.01, 0.05);

/// What cells need besides their row.
pub struct Context<'a> {
    /// The answer that the row is of.
    pub answer: &'a Answer,
    /// The question.
    pub link: Link<'a>,
}

impl Context<'_> {
    /// A row's share of all, where that is told.
    fn share(&self, measure: Measure, value: u64) -> Option<f64> {
        let share = self.answer.shares.iter().find(|share| share.measure == measure)?;
        (share.total > 0).then(|| value as f64 / share.total as f64)
    }

    fn bar(&self, page: &mut Page, measure: Measure, value: u64, class: &str) {
        match self.share(measure, value) {
            Some(share) if share > 0.0 => chart::share(page, share, class),
            _ => {}
        }
    }
}

/// A cell of a table: its class, its name where the head is not seen, and what is in it. Says nothing if `filled` is false.
fn cell(page: &mut Page, name: &str, filled: bool, fill: impl FnOnce(&mut Page)) {
    if !filled {
        page.raw("<td class=\"none\" data-name=\"").text(name).raw("\">–</td>");
        return;
    }
    page.raw("<td data-name=\"").text(name).raw("\">");
    fill(page);
    page.raw("</td>");
}

/// Who talks to whom, as a link to the addresses of the edge.
pub fn edge(page: &mut Page, edge: &EdgeLabels, link: Option<&str>) {
    match link {
        Some(link) => page.raw("<a class=\"edge\" href=\"").text(link).raw("\">"),
        None => page.raw("<span class=\"edge\">"),
    };
    for (at, end) in ["client", "server"].into_iter().enumerate() {
        if at > 0 {
            page.raw(" <span class=\"to\">→</span> ");
        }
        let namespace = edge.get(&format!("{end}_namespace"));
        if !namespace.is_empty() {
            page.raw("<span class=\"namespace\">").text(namespace).raw("/</span>");
        }
        let workload = edge.get(&format!("{end}_workload"));
        page.raw("<b>").text(if workload.is_empty() { "any" } else { workload }).raw("</b>");
    }
    let port = edge.get("server_port");
    if !port.is_empty() {
        page.raw("<span class=\"port\">:").text(port).raw("</span>");
    }
    page.raw(if link.is_some() { "</a>" } else { "</span>" });
}

/// What else is known of an edge, in small letters.
pub fn edge_details(page: &mut Page, edge: &EdgeLabels) {
    let named = ["client_namespace", "client_workload", "server_namespace", "server_workload", "server_port"];
    page.raw("<small>");
    let observer = edge.get("observer").replace('_', "’s ");
    page.raw("seen by the ").text(&observer);
    let (from, to) = (edge.get("client_zone"), edge.get("server_zone"));
    if !from.is_empty() || !to.is_empty() {
        let or = |zone: &str| if zone.is_empty() { "?".to_owned() } else { zone.to_owned() };
        page.raw(" · zone ").text(&or(from)).raw(" → ").text(&or(to));
    }
    for (name, value) in edge.iter() {
        if value.is_empty()
            || named.contains(&name)
            || matches!(name, "observer" | "client_zone" | "server_zone")
            || (name == "server_kind" && matches!(value, "host" | "unknown"))
        {
            continue;
        }
        let name = name.strip_prefix("server_").unwrap_or(name).replace('_', " ");
        page.raw(" · ").text(&name).raw(" ").text(value);
    }
    page.raw("</small>");
}

/// A remote address, and who talks to it here.
pub fn address(page: &mut Page, row: &Row, context: &Context<'_>) {
    page.raw("<td class=\"who\">");
    if let Some(address) = row.address {
        let link = context.link.clone().address(address);
        page.raw("<a class=\"address\" href=\"")
            .text(&link)
            .raw("\">")
            .text(&address.to_string())
            .raw("</a>");
    }
    let local = [("pod", &row.pod), ("container", &row.container), ("process", &row.process)];
    let local: Vec<_> = local.iter().filter_map(|(what, name)| Some((what, name.as_ref()?))).collect();
    if !local.is_empty() {
        page.raw("<small>");
        for (at, (what, name)) in local.iter().enumerate() {
            page.raw(if at > 0 { " · " } else { "" }).raw(what).raw(" ").text(name);
        }
        page.raw("</small>");
    }
    page.raw("</td>");
}

/// An edge.
pub fn who(page: &mut Page, row: &Row, context: &Context<'_>) {
    page.raw("<td class=\"who wide\">");
    edge(page, &row.edge, Some(&context.link.clone().edge(&row.edge)));
    edge_details(page, &row.edge);
    page.raw("</td>");
}

/// How many addresses an edge has.
pub fn addresses(page: &mut Page, row: &Row, context: &Context<'_>) {
    let number = row.addresses.unwrap_or_default();
    cell(page, "Addresses", number > 0, |page| {
        let link = context.link.clone().edge(&row.edge);
        page.raw("<a href=\"").text(&link).raw("\">").text(&count(number)).raw("</a>");
    });
}

/// The number that a cell is about, and its course.
fn number(page: &mut Page, class: &str, text: &str, course: impl FnOnce(&mut Page)) {
    page.raw("<div class=\"line\"><span class=\"main").raw(if class.is_empty() { "" } else { " " });
    page.raw(class).raw("\">").text(text).raw("</span>");
    course(page);
    page.raw("</div>");
}

/// What is told besides, in small letters; no part is broken.
fn details(page: &mut Page, parts: &[String]) {
    page.raw("<small>");
    for (at, part) in parts.iter().enumerate() {
        page.raw(if at > 0 { " <span>" } else { "<span>" }).text(part).raw("</span>");
    }
    page.raw("</small>");
}

fn none(_: &mut Page) {}

/// Payload bytes.
pub fn traffic(page: &mut Page, row: &Row, context: &Context<'_>) {
    let (tcp, udp) = (row.tcp.as_ref(), row.udp.as_ref());
    let sent = tcp.map_or(0, |tcp| tcp.sent_bytes) + udp.map_or(0, |udp| udp.sent_bytes);
    let received = tcp.map_or(0, |tcp| tcp.received_bytes) + udp.map_or(0, |udp| udp.received_bytes);
    cell(page, "Traffic", sent + received > 0, |page| {
        number(page, "", &bytes(sent + received), |page| {
            chart::course(page, &row.history.bytes, "", "bytes", context.answer.slot_seconds, bytes);
        });
        let packets = udp.map(|udp| format!("{} UDP", count(udp.sent_packets + udp.received_packets)));
        let both = [format!("↑ {}", bytes(sent)), format!("↓ {}", bytes(received))];
        details(page, &both.into_iter().chain(packets).collect::<Vec<_>>());
        context.bar(page, Measure::Bytes, sent + received, "");
    });
}

/// Segments sent again.
pub fn retransmits(page: &mut Page, row: &Row, context: &Context<'_>) {
    let tcp = row.tcp.as_ref().filter(|tcp| tcp.sent_segments > 0);
    let Some(tcp) = tcp else { return cell(page, "Retransmits", false, none) };
    let ratio = tcp.retransmit_ratio.unwrap_or_default();
    cell(page, "Retransmits", true, |page| {
        let class = match ratio {
            _ if ratio >= RETRANSMITS.1 => "bad",
            _ if ratio >= RETRANSMITS.0 => "warn",
            _ if ratio > 0.0 => "",
            _ => "zero",
        };
        number(page, class, &percent(ratio), |page| {
            let course = &row.history.retransmitted_segments;
            chart::course(page, course, "bad", "retransmits", context.answer.slot_seconds, grouped);
        });
        let of = format!("{} of {}", count(tcp.retransmitted_segments), count(tcp.sent_segments));
        let disorder = tcp.out_of_order_segments;
        let disorder = (disorder > 0).then(|| format!("{} out of order", count(disorder)));
        details(page, &[of].into_iter().chain(disorder).collect::<Vec<_>>());
        context.bar(page, Measure::Retransmits, tcp.retransmitted_segments, "bad");
    });
}

/// Round trips.
pub fn rtt(page: &mut Page, row: &Row) {
    let Some(rtt) = row.tcp.as_ref().and_then(|tcp| tcp.rtt_seconds.as_ref()) else {
        return cell(page, "Round trip", false, none);
    };
    cell(page, "Round trip", true, |page| {
        number(page, "", &duration(rtt.mean), none);
        details(page, &[format!("last {}", duration(rtt.last)), format!("max {}", duration(rtt.max))]);
    });
}

/// Connections that are open, were opened, were closed.
pub fn connections(page: &mut Page, row: &Row) {
    let Some(tcp) = row.tcp.as_ref() else { return cell(page, "Connections", false, none) };
    cell(page, "Connections", true, |page| {
        let class = if tcp.connections == Some(0) { "zero" } else { "" };
        number(page, class, &tcp.connections.map_or("?".to_owned(), count), none);
        let opened = [format!("{} opened", count(tcp.connections_opened))];
        let closed = tcp.connections_closed.iter().filter(|(reason, _)| **reason != "fin");
        let closed =
            closed.map(|(reason, number)| format!("{} {}", count(*number), reason.replace('_', " ")));
        details(page, &opened.into_iter().chain(closed).collect::<Vec<_>>());
    });
}

/// Attempts to connect that failed.
pub fn failures(page: &mut Page, row: &Row, context: &Context<'_>) {
    let tcp = row.tcp.as_ref().filter(|tcp| !tcp.connect_failures.is_empty() || tcp.syn_retransmits > 0);
    let Some(tcp) = tcp else { return cell(page, "Failed connects", false, none) };
    cell(page, "Failed connects", true, |page| {
        let failed: u64 = tcp.connect_failures.values().sum();
        number(page, if failed > 0 { "bad" } else { "zero" }, &count(failed), none);
        let reason =
            |(reason, number): (&&str, &u64)| format!("{} {}", count(*number), reason.replace('_', " "));
        let mut parts: Vec<String> = tcp.connect_failures.iter().map(reason).collect();
        parts.extend((tcp.connect_attempts > 0).then(|| format!("of {}", count(tcp.connect_attempts))));
        let again = tcp.syn_retransmits;
        parts.extend((again > 0).then(|| format!("{} SYN sent again", count(again))));
        details(page, &parts);
        context.bar(page, Measure::ConnectFailures, failed, "bad");
    });
}

/// Kinds of errors that are told one by one.
const KINDS: usize = 3;

/// Errors of DNS, HTTP and gRPC.
pub fn errors(page: &mut Page, row: &Row, context: &Context<'_>) {
    let (mut kinds, mut of) = (Vec::new(), Vec::new());
    if let Some(dns) = &row.dns {
        let codes = dns.responses.iter().map(|(code, number)| (*code, *number));
        kinds.extend(codes.filter(|(code, _)| !matches!(*code, "NOERROR" | "NXDOMAIN")));
        kinds.push(("DNS timeouts", dns.timeouts));
        of.push(format!("of {} DNS queries", count(dns.queries)));
        of.extend(dns.mean_seconds.map(duration));
    }
    if let Some(http) = &row.http {
        let failing = http.responses.iter().filter(|(class, _)| **class == "5xx").chain(&http.failed);
        let grpc = http.grpc.iter().filter(|(status, _)| is_grpc_error(status));
        kinds.extend(failing.chain(grpc).map(|(what, number)| (*what, *number)));
        of.push(format!("of {} HTTP", count(http.responses.values().sum())));
        of.extend(http.mean_seconds.map(duration));
    }
    let errors = kinds.iter().map(|(_, number)| number).sum();
    kinds.retain(|(_, number)| *number > 0);
    kinds.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
    let more = kinds.split_off(kinds.len().min(KINDS));
    let told = kinds.into_iter().map(|(what, number)| format!("{} {what}", count(number)));
    let more = (!more.is_empty()).then(|| format!("and {} kinds more", more.len()));
    let parts: Vec<String> = told.chain(more).chain(of).collect();
    cell(page, "Errors", !parts.is_empty(), |page| {
        number(page, if errors > 0 { "bad" } else { "zero" }, &count(errors), |page| {
            chart::course(page, &row.history.errors, "bad", "errors", context.answer.slot_seconds, grouped);
        });
        details(page, &parts);
        context.bar(page, Measure::Errors, errors, "bad");
    });
}

/// When it was seen.
pub fn seen(page: &mut Page, row: &Row, context: &Context<'_>) {
    let since = |then: f64| ago(context.answer.generated_at - then);
    page.raw("<td class=\"seen\">");
    number(page, "plain", &since(row.last_seen), none);
    details(page, &[format!("first {}", since(row.first_seen))]);
    page.raw("</td>");
}
