// SPDX-License-Identifier: Apache-2.0
//! All rules, made fast, on what a real exporter serves of real traffic.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Instant;

use flowgauge_tests::exporter;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::{Process, run};
use flowgauge_tests::sys::{self, Placement};
use tempfile::TempDir;

struct Prometheus {
    address: SocketAddr,
    process: Process,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts it with all rules, twenty times as fast.
    fn start(target: SocketAddr) -> Result<Self> {
        let directory = TempDir::new()?;
        let rules = directory.path().join("rules");
        let generate = concat!(env!("CARGO_MANIFEST_DIR"), "/../alerts/generate.py");
        run(Command::new("python3").args([generate, "--speed=20", "--output"]).arg(&rules))?;
        let config = directory.path().join("prometheus.yml");
        fs::write(
            &config,
            format!(
                "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}/*.yaml']\nscrape_configs:\n  \
                 - job_name: flowgauge\n    static_configs:\n      - targets: ['{target}']\n",
                rules.display()
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
        let prometheus = Prometheus { address, process, _directory: directory };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !exporter::get(address, "/-/ready", "*/*").is_ok_and(|response| response.status == 200) {
            ensure!(Instant::now() < deadline, "Prometheus is not ready: {}", prometheus.process.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(prometheus)
    }

    fn ask(&self, path: &str) -> Result<serde_json::Value> {
        let answer: serde_json::Value =
            serde_json::from_str(&exporter::get(self.address, path, "*/*")?.body)?;
        ensure!(answer["status"] == "success", "{path}: {answer}");
        Ok(answer["data"].clone())
    }

    /// The values of an instant query.
    fn query(&self, expression: &str) -> Result<Vec<f64>> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let data = self.ask(&format!("/api/v1/query?query={encoded}"))?;
        let values = data["result"].as_array().context("no result")?;
        values.iter().map(|sample| Ok(sample["value"][1].as_str().context("no value")?.parse()?)).collect()
    }
}

/// Each rule's name and what is wrong with it, once all have been evaluated.
fn unwell(prometheus: &Prometheus) -> Result<Option<Vec<String>>> {
    let data = prometheus.ask("/api/v1/rules")?;
    let groups = data["groups"].as_array().context("no groups")?;
    let rules: Vec<_> = groups.iter().filter_map(|group| group["rules"].as_array()).flatten().collect();
    ensure!(rules.len() > 90, "{} rules only", rules.len());
    if rules.iter().any(|rule| rule["health"] == "unknown") {
        return Ok(None);
    }
    let wrong = rules.iter().filter(|rule| rule["health"] != "ok");
    Ok(Some(wrong.map(|rule| format!("{}: {}", rule["name"], rule["lastError"])).collect()))
}

#[test]
fn prometheus_evaluates_every_rule_on_real_series() -> Result<()> {
    let stage = Stage::new(&[])?;
    let prometheus = Prometheus::start(stage.exporter.address())?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let shape = [
        "--to",
        &stage.to(80),
        "--connections",
        "5",
        "--requests",
        "300",
        "--gap",
        "100",
        "--receive",
        "20000",
    ];
    let report = get(&stage.client, &shape)?;
    let deadline = Instant::now() + Duration::from_secs(30);
    let wrong = loop {
        if let Some(wrong) = unwell(&prometheus)? {
            break wrong;
        }
        ensure!(Instant::now() < deadline, "not all rules have been evaluated: {}", prometheus.process.log());
        std::thread::sleep(Duration::from_millis(500));
    };
    assert!(wrong.is_empty(), "{wrong:#?}");
    let of_both = format!(
        "client_workload=\"{}\",server_workload=\"{}\"",
        stage.client.workload, stage.server.workload
    );
    // What one observer's level says is what the client received, whichever end and level is asked.
    let recorded = format!(
        "max_over_time(service_pair:flowgauge_tcp_received_bytes:rate5m{{observer=\"client\",{of_both}}}[1m])"
    );
    let truth = report.received as f64 / report.seconds;
    let rate = prometheus.query(&recorded)?;
    assert!(
        rate.len() == 1 && (rate[0] / truth - 1.0).abs() < 0.2,
        "{rate:?} bytes a second, the client {truth}"
    );
    let firing = format!("max_over_time(ALERTS{{alertstate=\"firing\",{of_both}}}[1m])");
    assert!(prometheus.query(&firing)?.is_empty(), "an alert about connections without trouble");
    Ok(())
}
