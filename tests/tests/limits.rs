// SPDX-License-Identifier: Apache-2.0
//! Who holds a transfer back, and accept queues that overflow.

use flowgauge_tests::delay::SlowLink;
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::Process;
use flowgauge_tests::traffic::command;
use flowgauge_tests::truth::sockets;

/// Seconds by limit that the sender of an edge was held back.
fn limited(edge: &Edge, metrics: &Metrics, limit: &str) -> f64 {
    edge.sum_of(metrics, "limited_seconds_total", SERVER, ("limit", limit))
}

#[test]
fn a_slow_reader_shows_as_receive_window() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    // The server sends 3 MB; the client takes 1 MB/s of it through a small window.
    let to = stage.to(80);
    let shape = ["--to", &to, "--receive", "3000000", "--read-rate", "1000000", "--receive-buffer", "20000"];
    let report = get(&stage.client, &shape)?;
    assert!(report.seconds > 2.0, "{report:?}");
    let edge = stage.edge(80);
    let metrics = stage.expect(&edge, &[("connections_closed_total", SERVER, 1.0)])?;
    let (window, buffer) =
        (limited(&edge, &metrics, "receive_window"), limited(&edge, &metrics, "send_buffer"));
    assert!(
        window > 0.6 * report.seconds && window < report.seconds + 0.5,
        "{window} s of {} s",
        report.seconds
    );
    assert!(buffer < 0.2 * report.seconds, "{buffer} s limited by the sender's buffer");
    Ok(())
}

#[test]
fn a_small_send_buffer_shows_as_send_buffer() -> Result<()> {
    let stage = Stage::new(&[])?;
    let far = stage.world.host("far")?;
    let slow = SlowLink::new(&stage.world, &far, &stage.server, Duration::from_millis(20))?;
    stage.rename(&[Name::of(&stage.server), Name::of(&far)])?;
    // 16 kB on their way at a time over 40 ms of round trip.
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80", "--send-buffer", "16384"])?;
    let report = get(&far, &["--to", &slow.b.at4(80).to_string(), "--receive", "1500000"])?;
    assert!(report.seconds > 1.0, "{report:?}");
    let edge = Edge::between(&far, &stage.server, 80);
    let metrics = stage.expect(&edge, &[("connections_closed_total", SERVER, 1.0)])?;
    let (window, buffer) =
        (limited(&edge, &metrics, "receive_window"), limited(&edge, &metrics, "send_buffer"));
    assert!(
        buffer > 0.3 * report.seconds && buffer < report.seconds + 0.5,
        "{buffer} s of {} s",
        report.seconds
    );
    assert!(window < 0.1 * report.seconds, "{window} s limited by the receiver");
    Ok(())
}

#[test]
fn an_idle_application_is_not_the_network() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let shape = ["--to", &stage.to(80), "--requests", "20", "--gap", "100", "--receive", "1000"];
    let report = get(&stage.client, &shape)?;
    assert!(report.seconds > 2.0, "{report:?}");
    let edge = stage.edge(80);
    let metrics = stage.expect(&edge, &[("connections_closed_total", SERVER, 1.0)])?;
    for limit in ["receive_window", "send_buffer"] {
        assert!(limited(&edge, &metrics, limit) < 0.05, "{limit}");
    }
    // A delayed acknowledgement may keep the last response unacknowledged for 40 ms.
    assert!(limited(&edge, &metrics, "busy") < 1.2, "busy for {} s", limited(&edge, &metrics, "busy"));
    Ok(())
}

#[test]
fn limited_seconds_equal_ss() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let to = stage.to(80);
    let shape = ["--to", &to, "--receive", "1000000", "--read-rate", "1000000", "--receive-buffer", "20000"];
    let (open, _) = Client::start(&stage.client, &shape)?;
    std::thread::sleep(Duration::from_millis(300));
    let seen = sockets(&stage.server, &["state", "established"])?;
    assert_eq!(seen.len(), 1);
    let metrics = stage.expect(&stage.edge(80), &[("connections", SERVER, 1.0)])?;
    let window = limited(&stage.edge(80), &metrics, "receive_window");
    // ss prints whole milliseconds: "rwnd_limited:812ms(99.5%)".
    let said = seen[0].milliseconds("rwnd_limited").context("ss shows no rwnd_limited")?;
    assert!(said > 500.0 && (window * 1e3 - said).abs() <= 10.0, "{window} s, ss says {said} ms");
    open.finish()?;
    Ok(())
}

#[test]
fn an_accept_queue_overflows() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.client.sysctl("net.ipv4.tcp_syn_retries", "1")?;
    let _deaf = Server::start(&stage.server, &["--listen", "0.0.0.0:80", "--backlog", "5", "--deaf"])?;
    let _quiet = Server::start(&stage.server, &["--listen", "0.0.0.0:81", "--backlog", "7"])?;
    let step = ["connect", "--to", &stage.to(80), "--count", "30", "--keep"];
    let mut process = Process::spawn("connect", &mut command(&stage.client, &step))?;
    let line = process.line(Duration::from_secs(60))?;
    let report: ClientReport = serde_json::from_str(&line)?;
    // The kernel lets one more in than the limit says.
    assert!(report.errors.get("ETIMEDOUT").is_some_and(|count| *count >= 10), "{report:?}");
    let queue = |port| [("workload", stage.server.workload.as_str()), ("port", port)];
    let truth = Snmp::of(&stage.server)?;
    let drops = truth.get("TcpExtListenDrops")? as f64;
    assert!(truth.get("TcpExtListenOverflows")? > 10, "the kernel saw no overflow");
    let metrics =
        stage.exporter.wait_for("flowgauge_tcp_accept_queue_drops_total", &queue("80"), drops, SOON)?;
    let gauge = |name: &str, port| metrics.sum(&format!("flowgauge_tcp_accept_queue_{name}"), &queue(port));
    assert_eq!((gauge("limit", "80"), gauge("limit", "81")), (5.0, 7.0));
    assert_eq!((gauge("length", "81"), gauge("drops_total", "81")), (0.0, 0.0));
    assert!(metrics.sum("flowgauge_tcp_syn_retransmits_total", &stage.edge(80).selector(CLIENT)) >= 10.0);
    Ok(())
}

#[test]
fn an_accept_queue_has_a_length() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _deaf = Server::start(&stage.server, &["--listen", "0.0.0.0:80", "--backlog", "50", "--deaf"])?;
    let (open, _) =
        Client::start(&stage.client, &["--to", &stage.to(80), "--connections", "13", "--requests", "0"])?;
    let queue = [("workload", stage.server.workload.as_str()), ("port", "80")];
    let metrics = stage.exporter.wait_for("flowgauge_tcp_accept_queue_length", &queue, 13.0, SOON)?;
    assert_eq!(metrics.sum("flowgauge_tcp_accept_queue_limit", &queue), 50.0);
    assert_eq!(metrics.sum("flowgauge_tcp_accept_queue_drops_total", &queue), 0.0);
    open.finish()?;
    Ok(())
}
