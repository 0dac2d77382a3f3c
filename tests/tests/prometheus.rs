// SPDX-License-Identifier: Apache-2.0
//! Debian's Prometheus scrapes the exporter for real.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Instant;

use flowgauge_tests::exporter;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::{Process, start_error};
use flowgauge_tests::sys::{self, Placement};
use tempfile::TempDir;

struct Prometheus {
    address: SocketAddr,
    _process: Process,
    _directory: TempDir,
}

impl Prometheus {
    fn start(target: SocketAddr) -> Result<Self> {
        let directory = TempDir::new()?;
        let config = directory.path().join("prometheus.yml");
        fs::write(
            &config,
            format!(
                "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: flowgauge\n    static_configs:\n      \
                 - targets: ['{target}']\n"
            ),
        )?;
        // Free now, and Prometheus asks for it at once.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"));
        sys::place(&mut command, Placement::default());
        let process = Process::spawn("prometheus", &mut command)?;
        let prometheus = Prometheus { address, _process: process, _directory: directory };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !exporter::get(address, "/-/ready", "*/*").is_ok_and(|response| response.status == 200) {
            ensure!(Instant::now() < deadline, "Prometheus is not ready: {}", prometheus._process.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(prometheus)
    }

    /// The one value of an instant query; none if nothing matches.
    fn query(&self, expression: &str) -> Result<Option<f64>> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = exporter::get(self.address, &format!("/api/v1/query?query={encoded}"), "*/*")?;
        let answer: serde_json::Value = serde_json::from_str(&answer.body)?;
        ensure!(answer["status"] == "success", "{expression}: {answer}");
        let result = answer["data"]["result"].as_array().context("no result")?;
        ensure!(result.len() <= 1, "{expression}: {answer}");
        let value = result.first().and_then(|sample| sample["value"][1].as_str());
        Ok(value.map(str::parse).transpose()?)
    }

    fn wait_for(&self, expression: &str, expected: f64) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let value = self.query(expression)?;
            if value == Some(expected) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{expression} is {value:?}, not {expected}");
            std::thread::sleep(Duration::from_millis(250));
        }
    }
}

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
