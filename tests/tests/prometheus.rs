// SPDX-License-Identifier: Apache-2.0
//! Debian's Prometheus scrapes the exporter for real.

use std::io::Write;
use std::process::{Command, Stdio};

use flowgauge_tests::prelude::*;
use flowgauge_tests::process::start_error;
use flowgauge_tests::prometheus::Prometheus;

#[test]
fn prometheus_scrapes_and_computes_rates() -> Result<()> {
    let stage = Stage::new(&[])?;
    let prometheus = Prometheus::start(stage.exporter.address())?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    prometheus.wait_for("up{job=\"flowgauge\"}", 1.0)?;
    let edge = format!(
        "{{client_workload=\"{}\",server_workload=\"{}\",server_port=\"80\",observer=\"client\"}}",
        stage.client.workload, stage.server.workload
    );
    // 5 connections, 10 requests a second on each, 12 seconds.
    let shape = [
        "--to",
        &stage.to(80),
        "--connections",
        "5",
        "--requests",
        "120",
        "--gap",
        "100",
        "--receive",
        "20000",
    ];
    let report = get(&stage.client, &shape)?;
    // The window lies within the traffic, whatever the moment of the last scrape: its end is a second back.
    let rate = prometheus.query(&format!("rate(flowgauge_tcp_received_bytes_total{edge}[8s] offset 1s)"))?;
    let truth = report.received as f64 / report.seconds;
    let rate = rate.context("Prometheus has no rate")?;
    assert!((rate / truth - 1.0).abs() < 0.1, "Prometheus says {rate} bytes a second, the client {truth}");
    prometheus.wait_for(&format!("flowgauge_tcp_received_bytes_total{edge}"), report.received as f64)?;
    prometheus.wait_for(&format!("flowgauge_tcp_sent_bytes_total{edge}"), report.sent as f64)?;
    prometheus.wait_for(&format!("flowgauge_tcp_connections_opened_total{edge}"), 5.0)?;
    let quantile = format!("histogram_quantile(0.5, sum by (le) (flowgauge_tcp_rtt_seconds_bucket{edge}))");
    let median = prometheus.query(&quantile)?.context("no RTT")?;
    assert!(median > 0.0 && median < 0.02, "median RTT {median}");
    assert_eq!(prometheus.query("min_over_time(up{job=\"flowgauge\"}[10s])")?, Some(1.0), "a scrape failed");
    Ok(())
}

#[test]
fn promtool_finds_nothing_to_complain_about() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    get(&stage.client, &["--to", &stage.to(80), "--connections", "5", "--receive", "2000"])?;
    get(&stage.client, &["--to", &stage.to(81), "--connections", "5"])?;
    stage.expect(&stage.edge(80), &[("connections_closed_total", CLIENT, 5.0)])?;
    let text = stage.exporter.get("/metrics", "text/plain;version=0.0.4")?.body;
    assert!(text.contains("flowgauge_tcp_rtt_seconds_bucket"));
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = command.spawn().map_err(|error| start_error("promtool", error))?;
    promtool.stdin.take().context("no input")?.write_all(text.as_bytes())?;
    let output = promtool.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    Ok(())
}
