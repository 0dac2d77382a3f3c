// SPDX-License-Identifier: Apache-2.0

//! The traffic made, and what has to be seen of it. Each scenario has a server port of its own.

use std::io::ErrorKind;

use anyhow::Result;

use crate::datagrams;
use crate::drops;
use crate::exporter::{Exporter, Scrape};
use crate::http;
use crate::kernel::{self, Namespaces, Netem};
use crate::report::Report;
use crate::traffic::{self, Client, Server};

const SHORT: &str = "7001";
const SHORT_V6: &str = "7002";
const MAPPED: &str = "7003";
const HELD: &str = "7004";
const EARLIER: &str = "7005";
const LOSSY: &str = "7006";
const FAR: &str = "7007";
const REFUSED: &str = "7008";
const SILENT: &str = "7009";
const RESET: &str = "7010";
const BRIEF: &str = "7011";

/// Makes all of it.
pub fn run(namespaces: &Namespaces, report: &mut Report) -> Result<()> {
    let _server = Server::start(
        "echo.service",
        &[
            "0.0.0.0:7001",
            "[::]:7002",
            "[::]:7003",
            "0.0.0.0:7004",
            "0.0.0.0:7005",
            "0.0.0.0:7006",
            "0.0.0.0:7007",
            "0.0.0.0:7010",
            "0.0.0.0:7011",
        ],
    )?;
    let mut earlier = Client::open("127.0.0.1:7005")?;
    earlier.exchange(100_000, 200_000)?;
    kernel::settle()?;

    let exporter = Exporter::start(namespaces)?;
    let scrape = exporter.scrape()?;
    report.equal("collector_up", scrape.sum("collector_up", &[("collector", "tcp")]), 1.0);
    let before = traffic_before(&scrape);
    report.equal("bytes from before the start", before, 0.0);

    earlier.exchange(5_000, 7_000)?;
    let short = connections(SHORT, "127.0.0.1", 20, 3_000, 70_000)?;
    let short_v6 = connections(SHORT_V6, "[::1]", 10, 4_000, 50_000)?;
    let mapped = connections(MAPPED, "127.0.0.1", 10, 5_000, 40_000)?;
    let mut held = (0..3).map(|_| Client::open("127.0.0.1:7004")).collect::<Result<Vec<_>>>()?;
    held.iter_mut().try_for_each(|client| client.exchange(10_000, 20_000))?;
    kernel::settle()?;
    let scrape = exporter.scrape()?;
    exact(report, &scrape, "short connections", SHORT, short);
    exact(report, &scrape, "short connections, IPv6", SHORT_V6, short_v6);
    exact(report, &scrape, "short connections, mapped IPv4", MAPPED, mapped);
    exact(report, &scrape, "held connections", HELD, total(&held));
    exact(report, &scrape, "connection older than the exporter", EARLIER, (5_016, 7_000));
    opened_and_closed(report, &scrape);

    loss(report, &exporter)?;
    delay(report, &exporter)?;
    failures(report, &exporter)?;
    resets(report, &exporter)?;
    brief_group(report, &exporter)?;
    datagrams::check(report, &exporter)?;
    http::check(report, &exporter)?;
    drops::check(report, &exporter)?;

    let scrape = exporter.scrape()?;
    exact(report, &scrape, "held connections, at the end", HELD, total(&held));
    println!("{}", scrape.lines("lost_events_total"));
    println!("{}", scrape.lines("bpf_program"));
    report.equal("events lost", scrape.sum("lost_events_total", &[]), 0.0);
    report.equal("end", exporter.stop()?, "exit status: 0".to_string());
    Ok(())
}

/// A control group that is gone again when the exporter looks: it knows from the kernel whose the connection was.
fn brief_group(report: &mut Report, exporter: &Exporter) -> Result<()> {
    const ROOT: &str = "/sys/fs/cgroup";
    let group = format!("{ROOT}/brief.service");
    std::fs::create_dir(&group)?;
    std::fs::write(format!("{group}/cgroup.procs"), "0")?;
    let mut client = Client::open("127.0.0.1:7011")?;
    client.exchange(1_000, 2_000)?;
    drop(client);
    std::fs::write(format!("{ROOT}/cgroup.procs"), "0")?;
    std::fs::remove_dir(&group)?;
    kernel::settle()?;
    let scrape = exporter.scrape()?;
    let up = scrape.sum("label_source_up", &[("source", "cgroup_events")]);
    report.equal("new control groups are told of", up, 1.0);
    let edge = [("client_workload", "brief"), ("observer", "client"), ("server_port", BRIEF)];
    let received = scrape.sum("tcp_received_bytes_total", &edge);
    report.equal("bytes of a control group that is gone", received, 2_000.0);
    Ok(())
}

fn traffic_before(scrape: &Scrape) -> f64 {
    let port = &[("server_port", EARLIER)];
    scrape.sum("tcp_sent_bytes_total", port) + scrape.sum("tcp_received_bytes_total", port)
}

/// Opens `count` connections one after the other, makes one exchange on each, closes it. Returns what was sent and
/// received.
fn connections(port: &str, host: &str, count: u32, upload: u64, download: u64) -> Result<(u64, u64)> {
    let mut sum = (0, 0);
    for _ in 0..count {
        let mut client = Client::open(&format!("{host}:{port}"))?;
        client.exchange(upload, download)?;
        sum = (sum.0 + client.sent, sum.1 + client.received);
    }
    Ok(sum)
}

fn total(clients: &[Client]) -> (u64, u64) {
    clients.iter().fold((0, 0), |sum, client| (sum.0 + client.sent, sum.1 + client.received))
}

/// Both observers have to see what the client counted.
fn exact(report: &mut Report, scrape: &Scrape, what: &str, port: &str, (sent, received): (u64, u64)) {
    for (observer, sent, received) in [("client", sent, received), ("server", received, sent)] {
        let edge = &[("observer", observer), ("server_port", port)];
        for (direction, expected) in [("sent", sent), ("received", received)] {
            let got = scrape.sum(&format!("tcp_{direction}_bytes_total"), edge);
            report.equal(&format!("{what}: bytes {direction}, {observer}'s view"), got, expected as f64);
        }
    }
}

fn opened_and_closed(report: &mut Report, scrape: &Scrape) {
    for (port, opened, open) in
        [(SHORT, 20, 0), (SHORT_V6, 10, 0), (MAPPED, 10, 0), (HELD, 3, 3), (EARLIER, 0, 1)]
    {
        for observer in ["client", "server"] {
            let edge = &[("observer", observer), ("server_port", port)];
            let closed = &[("observer", observer), ("server_port", port), ("reason", "fin")];
            let counts = [
                scrape.sum("tcp_connections_opened_total", edge),
                scrape.sum("tcp_connections_closed_total", closed),
                scrape.sum("tcp_connections", edge),
            ];
            let expected =
                [f64::from(opened), if open == 0 { f64::from(opened) } else { 0.0 }, f64::from(open)];
            let what = format!("port {port}: opened, closed, open, {observer}'s view");
            report.equal(&what, format!("{counts:?}"), format!("{expected:?}"));
        }
    }
    let named = &[("server_port", SHORT), ("server_workload", "echo")];
    report.holds(
        "the server is named after its unit",
        scrape.sum("tcp_connections_opened_total", named) > 0.0,
        &scrape.lines("tcp_connections_opened_total"),
    );
}

/// The connections are opened before and closed after the loss, so that every retransmission is one of data.
fn loss(report: &mut Report, exporter: &Exporter<'_>) -> Result<()> {
    let mut clients = (0..4).map(|_| Client::open("127.0.0.1:7006")).collect::<Result<Vec<_>>>()?;
    let before = kernel::counter("Tcp", "RetransSegs")?;
    {
        let _loss = Netem::new("loss 5%")?;
        clients.iter_mut().try_for_each(|client| client.exchange(200_000, 300_000))?;
        kernel::settle()?;
    }
    let retransmitted = (kernel::counter("Tcp", "RetransSegs")? - before) as f64;
    let sums = total(&clients);
    drop(clients);
    kernel::settle()?;
    let scrape = exporter.scrape()?;
    exact(report, &scrape, "under loss", LOSSY, sums);
    let lossy = &[("server_port", LOSSY)];
    report.holds("the kernel retransmitted", retransmitted > 0.0, &format!("RetransSegs {retransmitted}"));
    report.equal(
        "segments retransmitted",
        scrape.sum("tcp_retransmitted_segments_total", lossy),
        retransmitted,
    );
    let out_of_order = scrape.sum("tcp_out_of_order_segments_total", lossy);
    report.holds("segments out of order under loss", out_of_order > 0.0, &out_of_order.to_string());
    let elsewhere = scrape.sum("tcp_retransmitted_segments_total", &[("server_port", HELD)]);
    report.equal("segments retransmitted where nothing was lost", elsewhere, 0.0);
    Ok(())
}

/// 150 ms each way, which is far more than emulation adds.
fn delay(report: &mut Report, exporter: &Exporter<'_>) -> Result<()> {
    {
        let _delay = Netem::new("delay 150ms")?;
        connections(FAR, "127.0.0.1", 3, 1_000, 1_000)?;
        kernel::settle()?;
    }
    let scrape = exporter.scrape()?;
    let far = &[("observer", "client"), ("server_port", FAR)];
    let near = &[("observer", "client"), ("server_port", SHORT)];
    for histogram in ["tcp_rtt_seconds", "tcp_connect_duration_seconds"] {
        let (below, all) = scrape.at_most(histogram, 0.27, far);
        report.holds(
            &format!("{histogram}, far"),
            all >= 3.0 && below == 0.0,
            &format!("{below} of {all} below 0.27 s"),
        );
        let (below, all) = scrape.at_most(histogram, 0.27, near);
        report.holds(
            &format!("{histogram}, near"),
            all >= 20.0 && below == all,
            &format!("{below} of {all} below 0.27 s"),
        );
    }
    Ok(())
}

fn failures(report: &mut Report, exporter: &Exporter<'_>) -> Result<()> {
    for _ in 0..5 {
        traffic::fail("127.0.0.1:7008", ErrorKind::ConnectionRefused)?;
    }
    kernel::sysctl("net.ipv4.tcp_syn_retries", "1")?;
    let before = kernel::counter("TcpExt", "TCPSynRetrans")?;
    {
        let _silence = Netem::new("loss 100%")?;
        let attempts: Vec<_> = (0..2)
            .map(|_| std::thread::spawn(|| traffic::fail("127.0.0.1:7009", ErrorKind::TimedOut)))
            .collect();
        for attempt in attempts {
            attempt.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
    }
    kernel::settle()?;
    let scrape = exporter.scrape()?;
    for (port, reason, expected) in [(REFUSED, "refused", 5.0), (SILENT, "timeout", 2.0)] {
        let edge = &[("observer", "client"), ("server_port", port)];
        let failed = &[("observer", "client"), ("server_port", port), ("reason", reason)];
        report.equal(
            &format!("attempts, {reason}"),
            scrape.sum("tcp_connect_attempts_total", edge),
            expected,
        );
        report.equal(
            &format!("failures, {reason}"),
            scrape.sum("tcp_connect_failures_total", failed),
            expected,
        );
        report.equal(
            &format!("failures, {reason} or not"),
            scrape.sum("tcp_connect_failures_total", edge),
            expected,
        );
        report.equal(&format!("opened, {reason}"), scrape.sum("tcp_connections_opened_total", edge), 0.0);
    }
    let silent = &[("observer", "client"), ("server_port", SILENT)];
    // How many the sysctl makes of it differs: 6.5 and later repeat some without backing off first.
    let repeated = (kernel::counter("TcpExt", "TCPSynRetrans")? - before) as f64;
    report.holds("the kernel repeated SYNs", repeated >= 2.0, &format!("TCPSynRetrans {repeated}"));
    report.equal("SYN retransmitted", scrape.sum("tcp_syn_retransmits_total", silent), repeated);
    Ok(())
}

fn resets(report: &mut Report, exporter: &Exporter<'_>) -> Result<()> {
    let mut sums = (0, 0);
    for _ in 0..4 {
        let mut client = Client::open("127.0.0.1:7010")?;
        client.exchange(2_000, 9_000)?;
        kernel::settle()?;
        sums = (sums.0 + client.sent, sums.1 + client.received);
        client.reset()?;
    }
    kernel::settle()?;
    let scrape = exporter.scrape()?;
    exact(report, &scrape, "reset connections", RESET, sums);
    for (observer, reason) in [("client", "reset_sent"), ("server", "reset_received")] {
        let closed = &[("observer", observer), ("server_port", RESET), ("reason", reason)];
        report.equal(&format!("closed, {reason}"), scrape.sum("tcp_connections_closed_total", closed), 4.0);
    }
    Ok(())
}
