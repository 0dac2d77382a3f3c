// SPDX-License-Identifier: Apache-2.0
//! Debian's Prometheus, scraping exporters.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::exporter;
use crate::process::Process;
use crate::sys::{self, Placement};

/// A running Prometheus; its data is gone with it.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    _process: Process,
    _directory: TempDir,
}

impl Prometheus {
    /// Scrapes `target` as job `flowgauge`, every second.
    pub fn start(target: SocketAddr) -> Result<Self> {
        Self::labelled(&[target], &[], 1)
    }

    /// Scrapes all of `targets` as job `flowgauge` every so many seconds; their series carry these labels too.
    pub fn labelled(targets: &[SocketAddr], labels: &[(&str, &str)], seconds: u32) -> Result<Self> {
        let directory = TempDir::new()?;
        let config = directory.path().join("prometheus.yml");
        let targets: Vec<_> = targets.iter().map(|target| format!("'{target}'")).collect();
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}: '{value}'")).collect();
        fs::write(
            &config,
            format!(
                "global:\n  scrape_interval: {seconds}s\n  scrape_timeout: {seconds}s\nscrape_configs:\n  - job_name: flowgauge\n    static_configs:\n      \
                 - targets: [{}]\n        labels: {{ {} }}\n",
                targets.join(", "),
                labels.join(", ")
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

    /// The series of an instant query, as its API tells them: `metric`, and `value`.
    pub fn vector(&self, expression: &str) -> Result<Vec<Value>> {
        self.ask(&format!("query?query={}", encoded(expression)), expression)
    }

    /// The series of a range query: `metric`, and `values`. Times are seconds since the epoch.
    pub fn matrix(&self, expression: &str, from: f64, to: f64, step: f64) -> Result<Vec<Value>> {
        let query = encoded(expression);
        let path = format!("query_range?query={query}&start={from:.3}&end={to:.3}&step={step}");
        self.ask(&path, expression)
    }

    fn ask(&self, path: &str, expression: &str) -> Result<Vec<Value>> {
        let answer = exporter::get(self.address, &format!("/api/v1/{path}"), "*/*")?;
        let mut answer: Value = serde_json::from_str(&answer.body)?;
        ensure!(answer["status"] == "success", "{expression}: {answer}");
        let result = answer["data"]["result"].take();
        serde_json::from_value(result).with_context(|| format!("{expression} is not a vector"))
    }

    /// The one value of an instant query; none if nothing matches.
    pub fn query(&self, expression: &str) -> Result<Option<f64>> {
        let result = self.vector(expression)?;
        ensure!(result.len() <= 1, "{expression}: {result:?}");
        let value = result.first().and_then(|sample| sample["value"][1].as_str());
        Ok(value.map(str::parse).transpose()?)
    }

    /// Waits until the one value of an instant query is as expected.
    pub fn wait_for(&self, expression: &str, expected: f64) -> Result<()> {
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

fn encoded(expression: &str) -> String {
    form_urlencoded::byte_serialize(expression.as_bytes()).collect()
}
