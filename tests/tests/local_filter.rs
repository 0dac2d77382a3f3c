// SPDX-License-Identifier: Apache-2.0
//! Packets that the sender's own filter drops on their way out: the kernel's send fails with EPERM and is made again.
//! Connections still end as they do, and bytes are still counted to the byte.

use flowgauge_tests::faults::{Rule, Verdict};
use flowgauge_tests::prelude::*;

const CONNECTIONS: f64 = 40.0;

/// Runs connections of each orderly ending while `host` drops what `rule` says on its way out.
fn drop_on_the_way_out<'a>(
    stage: &'a Stage,
    host: &'a Host,
    rule: &[&str],
    (port, at_least): (u16, u64),
) -> Result<()> {
    let _server = Server::start(&stage.server, &["--listen", &format!("0.0.0.0:{port}")])?;
    let rule = Rule::new(host, &[&["OUTPUT", "-p", "tcp"], rule].concat(), Verdict::Drop)?;
    let edge = stage.edge(port);
    let (mut all, mut sent, mut received) = (0.0, 0.0, 0.0);
    for close in ["fin", "server", "half"] {
        let to = stage.to(port);
        let shape = ["--to", &to, "--close", close, "--connections", "40", "--requests", "2"];
        let bodies = ["--send", "40000", "--receive", "40000", "--spread", "1000"];
        let report = get(&stage.client, &[&shape[..], &bodies].concat())?;
        assert!(report.errors.is_empty() && report.answered == 80, "{close}: {report:?}");
        all += CONNECTIONS;
        sent += report.sent as f64;
        received += report.received as f64;
        let metrics = stage.expect(
            &edge,
            &[
                ("sent_bytes_total", CLIENT, sent),
                ("received_bytes_total", SERVER, sent),
                ("sent_bytes_total", SERVER, received),
                ("received_bytes_total", CLIENT, received),
                ("connections_opened_total", CLIENT, all),
                ("connections_opened_total", SERVER, all),
                ("connections_closed_total", CLIENT, all),
                ("connections_closed_total", SERVER, all),
                ("connections", CLIENT, 0.0),
                ("connections", SERVER, 0.0),
            ],
        )?;
        for side in [CLIENT, SERVER] {
            let reasons =
                metrics.sum_by("flowgauge_tcp_connections_closed_total", "reason", &edge.selector(side));
            let reasons: Vec<_> = reasons.into_iter().filter(|(_, count)| *count > 0.0).collect();
            assert_eq!(reasons, [("fin".to_owned(), all)], "{close}, seen by the {side}");
        }
    }
    let hits = rule.hits()?;
    assert!(hits >= at_least, "only {hits} packets were dropped");
    for host in [&stage.client, &stage.server] {
        assert_eq!(Snmp::of(host)?.get("TcpOutRsts")?, 0, "the kernel sent resets");
    }
    Ok(())
}

#[test]
fn every_eighth_data_packet() -> Result<()> {
    let stage = Stage::new(&[])?;
    let data = [
        "-m",
        "length",
        "--length",
        "100:",
        "-m",
        "statistic",
        "--mode",
        "nth",
        "--every",
        "8",
        "--packet",
        "0",
    ];
    drop_on_the_way_out(&stage, &stage.client, &data, (80, 100)).context("dropped by the client")?;
    drop_on_the_way_out(&stage, &stage.server, &data, (81, 100)).context("dropped by the server")
}

#[test]
fn any_packet_by_chance() -> Result<()> {
    let stage = Stage::new(&[])?;
    // Acknowledgements and FINs as well, but not SYNs: a connection whose SYN cannot be sent fails.
    let any =
        ["!", "--tcp-flags", "SYN", "SYN", "-m", "statistic", "--mode", "random", "--probability", "0.05"];
    drop_on_the_way_out(&stage, &stage.client, &any, (80, 100)).context("dropped by the client")?;
    drop_on_the_way_out(&stage, &stage.server, &any, (81, 100)).context("dropped by the server")
}
