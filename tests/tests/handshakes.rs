// SPDX-License-Identifier: Apache-2.0
//! How long connecting takes when SYNs are lost, as the client's own clock has it.

use std::thread;

use flowgauge_tests::faults::{Rule, Verdict};
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::Process;
use flowgauge_tests::traffic::command;

const CONNECTIONS: u64 = 10;

/// Loses the first `lost` SYNs of each of ten connections, and compares.
fn lose_first_syns(timestamps: &str, lost: u64) -> Result<()> {
    let stage = Stage::new(&[])?;
    for host in [&stage.client, &stage.server] {
        host.sysctl("net.ipv4.tcp_timestamps", timestamps)?;
    }
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let syn = ["INPUT", "-p", "tcp", "--dport", "80", "--syn"];
    let rule = Rule::new(&stage.server, &syn, Verdict::Drop)?;
    let step = ["connect", "--to", &stage.to(80), "--count", &CONNECTIONS.to_string(), "--keep"];
    let mut process = Process::spawn("connect", &mut command(&stage.client, &step))?;
    // The next SYNs come a second after these.
    while rule.hits()? < lost * CONNECTIONS {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(rule.hits()?, lost * CONNECTIONS, "SYNs dropped");
    drop(rule);
    let report: ClientReport = serde_json::from_str(&process.line(SOON)?)?;
    assert_eq!(report.connected, CONNECTIONS, "{report:?}");
    assert!(report.seconds > 0.95 * lost as f64, "{report:?}");

    let (edge, count) = (stage.edge(80), CONNECTIONS as f64);
    let made = Snmp::of(&stage.client)?.get("TcpRetransSegs")? as f64;
    assert_eq!(made, lost as f64 * count, "the kernel's retransmits");
    let metrics = stage.expect(
        &edge,
        &[
            ("connections_opened_total", CLIENT, count),
            ("connections_closed_total", CLIENT, count),
            ("connect_attempts_total", CLIENT, count),
            ("connect_failures_total", CLIENT, 0.0),
            ("syn_retransmits_total", CLIENT, made),
            ("retransmitted_segments_total", CLIENT, made),
            ("syn_retransmits_total", SERVER, 0.0),
        ],
    )?;
    let took = edge.histogram(&metrics, "connect_duration_seconds", CLIENT);
    assert_eq!(took.count, count);
    // All were made at once, so each took about as long as all together.
    assert!(
        (took.mean() - report.seconds).abs() <= 0.2 * report.seconds,
        "{} s each, all together took {} s",
        took.mean(),
        report.seconds
    );
    if lost == 1 {
        let within = |bound: f64| {
            let bucket = took.buckets.iter().find(|(le, _)| *le == bound).copied();
            bucket.with_context(|| format!("no bucket {bound} in {took:?}"))
        };
        assert_eq!((within(0.524288)?.1, within(2.097152)?.1), (0.0, count), "{took:?}");
    }
    Ok(())
}

#[test]
fn a_lost_syn_takes_a_second() -> Result<()> {
    lose_first_syns("1", 1)
}

#[test]
fn a_lost_syn_takes_a_second_without_timestamps() -> Result<()> {
    lose_first_syns("0", 1)
}

#[test]
fn two_lost_syns_take_as_long_as_the_kernel_waits() -> Result<()> {
    lose_first_syns("1", 2)
}

#[test]
fn two_lost_syns_take_as_long_without_timestamps() -> Result<()> {
    lose_first_syns("0", 2)
}
