// SPDX-License-Identifier: Apache-2.0
//! Bytes to the byte and segments to the segment, against the programs' own counts, nginx's access log, `ss` and the
//! kernel's SNMP counters.

use flowgauge_tests::audit::Office;
use flowgauge_tests::nginx::Nginx;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::{Process, run};
use flowgauge_tests::truth::{sockets, total};

/// Both observers must agree with the client's own counts.
fn expect_bytes(stage: &Stage, port: u16, connections: f64, report: &ClientReport) -> Result<()> {
    let (sent, received) = (report.sent as f64, report.received as f64);
    let metrics = stage.expect(
        &stage.edge(port),
        &[
            ("sent_bytes_total", CLIENT, sent),
            ("received_bytes_total", CLIENT, received),
            ("sent_bytes_total", SERVER, received),
            ("received_bytes_total", SERVER, sent),
            ("connections_opened_total", CLIENT, connections),
            ("connections_opened_total", SERVER, connections),
            ("connections_closed_total", CLIENT, connections),
            ("connections_closed_total", SERVER, connections),
            ("connections", CLIENT, 0.0),
            ("connections", SERVER, 0.0),
            ("connect_failures_total", CLIENT, 0.0),
            ("connect_attempts_total", CLIENT, connections),
        ],
    )?;
    let by_fin =
        |side| stage.edge(port).sum_of(&metrics, "connections_closed_total", side, ("reason", "fin"));
    assert_eq!((by_fin(CLIENT), by_fin(SERVER)), (connections, connections), "closed by FIN");
    Ok(())
}

#[test]
fn short_connections_of_every_family_and_ending() -> Result<()> {
    let stage = Stage::new(&[])?;
    let office = Office::new(&stage.world)?;
    let auditor = office.audit(&[&stage.client, &stage.server])?;
    let mapped = format!("[::ffff:{}]", stage.link.b.v4);
    // A dual-stack listener sees IPv4 clients as v4-mapped addresses; a client can use such an address too.
    for (port, listen, host) in [
        (80, "[::]", stage.link.b.v4.to_string()),
        (81, "[::]", format!("[{}]", stage.link.b.v6)),
        (82, "0.0.0.0", stage.link.b.v4.to_string()),
        (83, "0.0.0.0", mapped.clone()),
        (84, "[::]", mapped),
    ] {
        let _server = Server::start(&stage.server, &["--listen", &format!("{listen}:{port}")])?;
        let mut all = ClientReport::default();
        for close in ["fin", "server", "half"] {
            let to = format!("{host}:{port}");
            let shape = [
                "--connections",
                "60",
                "--requests",
                "3",
                "--send",
                "1",
                "--receive",
                "9000",
                "--spread",
                "4000",
            ];
            let report = get(&stage.client, &[&["--to", &to, "--close", close], &shape[..]].concat())?;
            assert!(report.errors.is_empty() && report.answered == 180, "{to} {close}: {report:?}");
            all.sent += report.sent;
            all.received += report.received;
        }
        expect_bytes(&stage, port, 180.0, &all).with_context(|| format!("{listen}:{port} from {host}"))?;
    }
    auditor.expect(&[]).map(drop)
}

#[test]
fn connections_that_move_nothing() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let report = get(&stage.client, &["--to", &stage.to(80), "--connections", "50", "--requests", "0"])?;
    assert_eq!((report.connected, report.sent, report.received), (50, 0, 0));
    expect_bytes(&stage, 80, 50.0, &report)
}

#[test]
fn long_lived_connections_are_counted_while_they_live() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _server = Server::start(&stage.server, &["--listen", "[::]:80"])?;
    let edge = stage.edge(80);
    let (to, to6) = (stage.to(80), stage.to6(80));
    let shape = ["--to", &to, "--to", &to6, "--connections", "30", "--send", "20000", "--receive", "123456"];
    let (mut open, mut report) = Client::start(&stage.client, &shape)?;
    let mut last = stage.exporter.scrape()?;
    for _ in 0..4 {
        let metrics = stage.expect(
            &edge,
            &[
                ("sent_bytes_total", CLIENT, report.sent as f64),
                ("received_bytes_total", CLIENT, report.received as f64),
                ("sent_bytes_total", SERVER, report.received as f64),
                ("received_bytes_total", SERVER, report.sent as f64),
                ("connections", CLIENT, 30.0),
                ("connections", SERVER, 30.0),
                ("connections_opened_total", CLIENT, 30.0),
                ("connections_opened_total", SERVER, 30.0),
                ("connections_closed_total", CLIENT, 0.0),
            ],
        )?;
        metrics.ensure_monotone_since(&last, false)?;
        last = metrics;
        report = open.again()?;
    }
    let report = open.finish()?;
    expect_bytes(&stage, 80, 30.0, &report)?;
    stage.exporter.scrape()?.ensure_monotone_since(&last, false)
}

#[test]
fn bytes_equal_nginx_access_log() -> Result<()> {
    let stage = Stage::new(&[])?;
    let files = [("small", 10), ("page", 30_000), ("large", 2_000_000)];
    let nginx = Nginx::start(&stage.server, &["[::]:80 ipv6only=off"], &files, 3)?;
    let (v4, v6) = (stage.link.b.v4.to_string(), stage.link.b.v6.to_string());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/http_client.py");
    let mut clients = Vec::new();
    for number in 0..3 {
        let arguments = [script, "80", "50", "12", &v4, &v6];
        clients.push(Process::spawn(
            format!("http client {number}"),
            stage.client.command("python3").args(arguments),
        )?);
    }
    for client in &mut clients {
        let status = client.wait(Duration::from_secs(120))?;
        assert!(status.success(), "{status}: {}", client.log());
    }
    let requests = nginx.requests(3 * 50 * 12)?;
    assert_eq!(requests.len(), 3 * 50 * 12);
    let sent: f64 = requests.iter().map(|request| request.sent).sum();
    let received: f64 = requests.iter().map(|request| request.received).sum();
    let connections: std::collections::BTreeSet<_> =
        requests.iter().map(|request| &request.connection).collect();
    let connections = connections.len() as f64;
    stage.expect(
        &stage.edge(80),
        &[
            ("sent_bytes_total", SERVER, sent),
            ("received_bytes_total", SERVER, received),
            ("sent_bytes_total", CLIENT, received),
            ("received_bytes_total", CLIENT, sent),
            ("connections_opened_total", SERVER, connections),
            ("connections_closed_total", SERVER, connections),
            ("connections_closed_total", CLIENT, connections),
        ],
    )?;
    Ok(())
}

#[test]
fn wrk_and_nginx_agree() -> Result<()> {
    // One more than asked for: wrk tries the address first.
    const CONNECTIONS: f64 = 41.0;
    let stage = Stage::new(&[])?;
    let nginx = Nginx::start(&stage.server, &["0.0.0.0:80"], &[("page", 3000)], 2)?;
    let url = format!("http://{}/page", stage.link.b.v4);
    run(stage.client.command("wrk").args(["-c", "40", "-t", "2", "-d", "3", &url]))?;
    let edge = stage.edge(80);
    let closed = [
        ("connections_opened_total", SERVER, CONNECTIONS),
        ("connections_closed_total", SERVER, CONNECTIONS),
        ("connections_closed_total", CLIENT, CONNECTIONS),
    ];
    let metrics = stage.expect(&edge, &closed)?;
    let requests = nginx.requests(1000)?;
    assert!(requests.len() > 1000, "wrk made {} requests", requests.len());
    let sent: f64 = requests.iter().map(|request| request.sent).sum();
    // wrk leaves when its time is up: of each connection the last response may not have been acknowledged.
    let last = CONNECTIONS * requests[0].sent;
    let seen = edge.sum(&metrics, "sent_bytes_total", SERVER);
    assert!(seen <= sent && seen >= sent - last, "{seen} bytes acknowledged of {sent} that nginx sent");
    let seen = edge.sum(&metrics, "received_bytes_total", CLIENT);
    assert!(seen <= sent && seen >= sent - last, "{seen} bytes arrived of {sent} that nginx sent");
    Ok(())
}

#[test]
fn iperf3_moves_what_it_says() -> Result<()> {
    let stage = Stage::new(&[])?;
    let office = Office::new(&stage.world)?;
    let auditor = office.audit(&[&stage.client, &stage.server])?;
    let _server = Process::spawn("iperf3 -s", stage.server.command("iperf3").args(["-s", "-p", "5201"]))?;
    let to = stage.link.b.v4.to_string();
    std::thread::sleep(Duration::from_millis(500));
    let arguments = ["-c", &to, "-p", "5201", "-n", "300M", "-P", "2", "--json"];
    let result: serde_json::Value =
        serde_json::from_str(&run(stage.client.command("iperf3").args(arguments))?)?;
    let bytes =
        |sum: &str| result["end"][sum]["bytes"].as_f64().with_context(|| format!("no bytes in {sum}"));
    let (sent, received) = (bytes("sum_sent")?, bytes("sum_received")?);
    assert!(sent >= 300e6, "{sent} bytes sent");
    let edge = stage.edge(5201);
    let closed = [("connections_closed_total", SERVER, 3.0), ("connections_closed_total", CLIENT, 3.0)];
    let metrics = stage.expect(&edge, &closed)?;
    // A third connection carries iperf3's own talk: parameters and the results of both sides as JSON, some kilobytes.
    // The server stops reading when the client says it is done: more may have arrived than it read.
    let talk = 40_000.0;
    let seen = edge.sum(&metrics, "received_bytes_total", SERVER);
    assert!(
        (received..=sent + talk).contains(&seen),
        "{seen} arrived, iperf3 sent {sent} and read {received}"
    );
    let seen = edge.sum(&metrics, "sent_bytes_total", CLIENT);
    assert!(
        (received..=sent + talk).contains(&seen),
        "{seen} acknowledged, iperf3 sent {sent} and read {received}"
    );
    // A connection that is reset in the middle leaves what is under way to nobody.
    let under_way = [("tcp_sent_segments", 50.0), ("tcp_received_segments", 50.0)];
    auditor.expect(&under_way).map(drop)
}

/// How a namespace's SNMP counters relate to those of its sockets, all of them open and nothing under way:
/// TcpInSegs is the sum of segments received (an accepted socket counts the SYN that made it);
/// TcpOutSegs has no retransmitted segments, TcpRetransSegs has them; both have SYN-ACKs, which no socket counts.
#[test]
fn segments_equal_ss_and_snmp() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    let _server = Server::start(&stage.server, &["--listen", "[::]:80"])?;
    let (to, to6) = (stage.to(80), stage.to6(80));
    let shape = [
        "--to",
        &to,
        "--to",
        &to6,
        "--concurrency",
        "4",
        "--connections",
        "24",
        "--requests",
        "5",
        "--send",
        "5000",
        "--receive",
        "90000",
    ];
    let (open, _) = Client::start(&stage.client, &shape)?;
    std::thread::sleep(Duration::from_millis(500));
    let edge = stage.edge(80);
    for (host, side) in [(&stage.client, CLIENT), (&stage.server, SERVER)] {
        let seen = sockets(host, &["state", "established"])?;
        assert_eq!(seen.len(), 24);
        let metrics = stage.expect(
            &edge,
            &[
                ("sent_segments_total", side, total(&seen, "segs_out")),
                ("received_segments_total", side, total(&seen, "segs_in")),
                ("retransmitted_segments_total", side, 0.0),
            ],
        )?;
        let snmp = Snmp::of(host)?;
        let syn_acks = snmp.get("TcpPassiveOpens")?;
        assert_eq!(edge.sum(&metrics, "received_segments_total", side), snmp.get("TcpInSegs")? as f64);
        let all = snmp.get("TcpOutSegs")? + snmp.get("TcpRetransSegs")? - syn_acks;
        assert_eq!(edge.sum(&metrics, "sent_segments_total", side), all as f64, "{side}");
        assert_eq!(snmp.get("TcpRetransSegs")?, 0, "retransmits without loss at the {side}");
    }
    open.finish()?;
    Ok(())
}
