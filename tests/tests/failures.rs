// SPDX-License-Identifier: Apache-2.0
//! Every way in which a connection fails or ends badly, really caused.

use flowgauge_tests::faults::{Rule, Verdict};
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::Process;
use flowgauge_tests::traffic::{command, run_step};

/// Failures by reason that an edge has.
fn failures(edge: &Edge, metrics: &Metrics) -> Vec<(String, f64)> {
    let reasons = metrics.sum_by("flowgauge_tcp_connect_failures_total", "reason", &edge.selector(CLIENT));
    reasons.into_iter().filter(|(_, count)| *count > 0.0).collect()
}

/// Waits until `count` attempts of an edge have failed, all for the same reason.
fn expect_failures(stage: &Stage, port: u16, reason: &str, count: f64) -> Result<Metrics> {
    let edge = stage.edge(port);
    let metrics = stage.expect(&edge, &[("connect_failures_total", CLIENT, count)])?;
    assert_eq!(failures(&edge, &metrics), [(reason.to_owned(), count)], "port {port}");
    assert_eq!(edge.sum(&metrics, "connect_attempts_total", CLIENT), count, "attempts on port {port}");
    assert_eq!(edge.sum(&metrics, "connections_opened_total", CLIENT), 0.0, "opened on port {port}");
    Ok(metrics)
}

fn connect(stage: &Stage, port: u16, count: usize) -> Result<ClientReport> {
    run_step(&stage.client, &["connect", "--to", &stage.to(port), "--count", &count.to_string()])
}

#[test]
fn attempts_fail_for_their_reasons() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.client.sysctl("net.ipv4.tcp_syn_retries", "1")?;
    for (port, verdict, errno, reason) in [
        (1001, None, "ECONNREFUSED", "refused"),
        (1002, Some(Verdict::TcpReset), "ECONNREFUSED", "refused"),
        (1003, Some(Verdict::PortUnreachable), "ECONNREFUSED", "refused"),
        (1004, Some(Verdict::HostUnreachable), "EHOSTUNREACH", "host_unreachable"),
        (1005, Some(Verdict::NetUnreachable), "ENETUNREACH", "net_unreachable"),
        (1006, Some(Verdict::Prohibited), "EHOSTUNREACH", "host_unreachable"),
        (1007, Some(Verdict::Drop), "ETIMEDOUT", "timeout"),
    ] {
        let dport = port.to_string();
        let rule = ["INPUT", "-p", "tcp", "--dport", &dport];
        let _rule = verdict.map(|verdict| Rule::new(&stage.server, &rule, verdict)).transpose()?;
        let report = connect(&stage, port, 5)?;
        assert_eq!(report.errors.get(errno), Some(&5), "{verdict:?}: {report:?}");
        expect_failures(&stage, port, reason, 5.0).with_context(|| format!("{verdict:?}"))?;
    }
    Ok(())
}

#[test]
fn dropped_syns_are_retransmits_of_the_client() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.client.sysctl("net.ipv4.tcp_syn_retries", "2")?;
    let _rule = Rule::new(&stage.server, &["INPUT", "-p", "tcp"], Verdict::Drop)?;
    let report = connect(&stage, 80, 10)?;
    assert_eq!(report.errors.get("ETIMEDOUT"), Some(&10), "{report:?}");
    let metrics = expect_failures(&stage, 80, "timeout", 10.0)?;
    let edge = stage.edge(80);
    let made = Snmp::of(&stage.client)?.get("TcpRetransSegs")? as f64;
    assert!(made >= 20.0, "the kernel's retransmits: {made}");
    assert_eq!(edge.sum(&metrics, "syn_retransmits_total", CLIENT), made);
    assert_eq!(edge.sum(&metrics, "syn_retransmits_total", SERVER), 0.0);
    Ok(())
}

#[test]
fn dropped_syn_acks_are_retransmits_of_both() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.client.sysctl("net.ipv4.tcp_syn_retries", "1")?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let _rule = Rule::new(&stage.client, &["INPUT", "-p", "tcp"], Verdict::Drop)?;
    let report = connect(&stage, 80, 4)?;
    assert_eq!(report.errors.get("ETIMEDOUT"), Some(&4), "{report:?}");
    let metrics = expect_failures(&stage, 80, "timeout", 4.0)?;
    let edge = stage.edge(80);
    let made = Snmp::of(&stage.client)?.get("TcpRetransSegs")? as f64;
    assert!(made >= 4.0, "the kernel's retransmits: {made}");
    assert_eq!(edge.sum(&metrics, "syn_retransmits_total", CLIENT), made);
    // The server repeats its SYN-ACKs on its own timer and in answer to repeated SYNs.
    let made = Snmp::of(&stage.server)?.get("TcpRetransSegs")? as f64;
    assert!(made >= 4.0, "the kernel's retransmits: {made}");
    let seen = edge.sum(&stage.exporter.scrape()?, "synack_retransmits_total", SERVER);
    let later = Snmp::of(&stage.server)?.get("TcpRetransSegs")? as f64;
    assert!(
        seen >= made && seen <= later,
        "{seen} SYN-ACK retransmits, the kernel's went from {made} to {later}"
    );
    assert_eq!(edge.sum(&metrics, "connections_opened_total", SERVER), 0.0);
    Ok(())
}

#[test]
fn the_last_ack_of_handshakes_is_lost() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    // Only pure ACKs are dropped: neither SYN nor data.
    let ack = ["INPUT", "-p", "tcp", "--tcp-flags", "ALL", "ACK", "-m", "length", "--length", "52"];
    let rule = Rule::new(&stage.server, &ack, Verdict::Drop)?;
    let (open, _) =
        Client::start(&stage.client, &["--to", &stage.to(80), "--connections", "3", "--requests", "0"])?;
    std::thread::sleep(Duration::from_millis(2500));
    drop(rule);
    open.finish()?;
    let metrics = stage.expect(&stage.edge(80), &[("connections_opened_total", CLIENT, 3.0)])?;
    let made = Snmp::of(&stage.server)?.get("TcpRetransSegs")? as f64;
    let seen = stage.edge(80).sum(&metrics, "synack_retransmits_total", SERVER);
    assert!(made >= 3.0 && seen == made, "{seen} SYN-ACK retransmits, the kernel's {made}");
    // The kernel starts the accepted sockets' own retransmissions with them.
    let again = stage.edge(80).sum(&metrics, "retransmitted_segments_total", SERVER);
    assert_eq!(again, 0.0, "SYN-ACKs are no retransmitted segments");
    assert_eq!(failures(&stage.edge(80), &metrics), [], "the client saw its connections established");
    Ok(())
}

#[test]
fn the_application_gives_up() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _rule = Rule::new(&stage.server, &["INPUT", "-p", "tcp"], Verdict::Drop)?;
    let step = ["connect", "--to", &stage.to(80), "--count", "6", "--give-up", "300"];
    let report = run_step(&stage.client, &step)?;
    assert_eq!(report.errors.get("gave up"), Some(&6), "{report:?}");
    expect_failures(&stage, 80, "abandoned", 6.0)?;
    Ok(())
}

#[test]
fn ports_run_out() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.client.sysctl("net.ipv4.ip_local_port_range", "50000 50007")?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let step = ["connect", "--to", &stage.to(80), "--count", "12", "--keep"];
    let report = run_step(&stage.client, &step)?;
    assert_eq!(report.connected, 8, "{report:?}");
    assert_eq!(report.errors.get("EADDRNOTAVAIL"), Some(&4), "{report:?}");
    let edge = stage.edge(80);
    let sums = [("connect_failures_total", CLIENT, 4.0), ("connections_opened_total", CLIENT, 8.0)];
    let metrics = stage.expect(&edge, &sums)?;
    assert_eq!(failures(&edge, &metrics), [("no_local_port".to_owned(), 4.0)]);
    assert_eq!(edge.sum(&metrics, "connect_attempts_total", CLIENT), 12.0);
    Ok(())
}

/// Connections that end in each way: port, ending, reason at the client, reason at the server.
#[test]
fn connections_close_for_their_reasons() -> Result<()> {
    let stage = Stage::new(&[])?;
    for (port, close, at_client, at_server) in [
        (80, "fin", "fin", "fin"),
        (81, "server", "fin", "fin"),
        (82, "half", "fin", "fin"),
        (83, "reset", "reset_sent", "reset_received"),
        (84, "server-reset", "reset_received", "reset_sent"),
        (85, "unread", "reset_sent", "reset_received"),
    ] {
        let _server = Server::start(&stage.server, &["--listen", &format!("0.0.0.0:{port}")])?;
        let shape = ["--to", &stage.to(port), "--connections", "20", "--receive", "500", "--close", close];
        let report = get(&stage.client, &shape)?;
        assert_eq!(report.connected, 20, "{close}: {report:?}");
        let edge = stage.edge(port);
        let sums = [
            ("connections_closed_total", CLIENT, 20.0),
            ("connections_closed_total", SERVER, 20.0),
            ("connections_opened_total", CLIENT, 20.0),
            ("connections_opened_total", SERVER, 20.0),
            ("sent_bytes_total", CLIENT, 20.0 * 17.0),
            ("received_bytes_total", SERVER, 20.0 * 17.0),
            ("received_bytes_total", CLIENT, 20.0 * 500.0),
        ];
        let metrics = stage.expect(&edge, &sums).with_context(|| close.to_owned())?;
        for (side, reason) in [(CLIENT, at_client), (SERVER, at_server)] {
            let reasons =
                metrics.sum_by("flowgauge_tcp_connections_closed_total", "reason", &edge.selector(side));
            let reasons: Vec<_> = reasons.into_iter().filter(|(_, count)| *count > 0.0).collect();
            assert_eq!(reasons, [(reason.to_owned(), 20.0)], "{close}, seen by the {side}");
        }
        // A reset may overtake the acknowledgement of what the other side sent last.
        let sent = edge.sum(&metrics, "sent_bytes_total", SERVER);
        assert!(
            sent == 10_000.0 || (at_client != "fin" && sent < 10_000.0),
            "{close}: {sent} bytes acknowledged"
        );
        assert_eq!(failures(&edge, &metrics), [], "{close}");
    }
    Ok(())
}

#[test]
fn one_socket_connects_again_and_again() -> Result<()> {
    let stage = Stage::new(&[])?;
    let mut server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let report =
        run_step(&stage.client, &["reuse", "--to", &stage.to(80), "--rounds", "25", "--bytes", "1000"])?;
    assert_eq!(report.connected, 25);
    assert_eq!(server.report()?.received, report.sent);
    let edge = stage.edge(80);
    let sums = [
        ("sent_bytes_total", CLIENT, report.sent as f64),
        ("received_bytes_total", CLIENT, report.received as f64),
        ("received_bytes_total", SERVER, report.sent as f64),
        ("connect_attempts_total", CLIENT, 25.0),
        ("connections_opened_total", CLIENT, 25.0),
        ("connections_closed_total", CLIENT, 25.0),
        ("connections_closed_total", SERVER, 25.0),
    ];
    let metrics = stage.expect(&edge, &sums)?;
    assert_eq!(edge.sum_of(&metrics, "connections_closed_total", CLIENT, ("reason", "reset_sent")), 25.0);
    assert_eq!(edge.sum_of(&metrics, "connections_closed_total", SERVER, ("reason", "reset_received")), 25.0);
    Ok(())
}

#[test]
fn an_open_connection_times_out() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let mut step = command(&stage.client, &["user-timeout", "--to", &stage.to(80), "--milliseconds", "500"]);
    let (open, _) = Client::adopt(Process::spawn("user timeout", &mut step)?)?;
    let _rule = Rule::new(&stage.client, &["INPUT", "-p", "tcp"], Verdict::Drop)?;
    let report = open.finish()?;
    assert_eq!(report.errors.get("ETIMEDOUT"), Some(&1), "{report:?}");
    let edge = stage.edge(80);
    let metrics = stage.expect(&edge, &[("connections_closed_total", CLIENT, 1.0)])?;
    assert_eq!(edge.sum_of(&metrics, "connections_closed_total", CLIENT, ("reason", "timeout")), 1.0);
    // The first exchange was acknowledged, the second never was.
    assert_eq!(edge.sum(&metrics, "sent_bytes_total", CLIENT), 1017.0);
    assert_eq!(edge.sum(&metrics, "received_bytes_total", CLIENT), 1000.0);
    assert!(edge.sum(&metrics, "retransmitted_segments_total", CLIENT) >= 1.0);
    Ok(())
}
