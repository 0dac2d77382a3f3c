// SPDX-License-Identifier: Apache-2.0
//! Debian's Prometheus, scraping exporters.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::exporter;
use crate::monitoring::{Labels, start};
use crate::process::Process;

/// A running Prometheus; its data is gone with it.
#[derive(Debug)]
pub struct Prometheus {
    address: SocketAddr,
    _process: Process,
    _directory: TempDir,
}

/// An alert as Prometheus has it.
#[derive(Debug, Clone, Deserialize)]
pub struct Alert {
    /// `pending` or `firing`.
    pub state: String,
    /// Its labels, `alertname` among them.
    pub labels: Labels,
    /// What it says.
    pub annotations: Labels,
}

/// What is scraped.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where.
    pub address: SocketAddr,
    /// Labels of all of its series, `job` and `instance` if they are to be other than Prometheus makes them.
    pub labels: Vec<(&'static str, String)>,
    /// Series that are left out: those where the values of these labels, joined by `;`, match this regular expression.
    pub dropped: Vec<(&'static str, String)>,
}

impl Target {
    fn config(&self, number: usize) -> String {
        let labels: Vec<_> = self.labels.iter().map(|(name, value)| format!("{name}: '{value}'")).collect();
        let dropped: Vec<_> = self
            .dropped
            .iter()
            .map(|(labels, regex)| format!("{{ source_labels: [{labels}], regex: '{regex}', action: drop }}"))
            .collect();
        format!(
            "  - job_name: target-{number}\n    static_configs:\n      - targets: ['{}']\n        labels: {{ {} }}\n    \
             metric_relabel_configs: [{}]\n",
            self.address,
            labels.join(", "),
            dropped.join(", ")
        )
    }
}

impl Prometheus {
    /// Scrapes `address` as job `flowgauge`, every second.
    pub fn start(address: SocketAddr) -> Result<Self> {
        Self::scraping(
            &[Target { address, labels: vec![("job", "flowgauge".to_owned())], dropped: Vec::new() }],
            1,
        )
    }

    /// Scrapes all of these every so many seconds.
    pub fn scraping(targets: &[Target], seconds: u32) -> Result<Self> {
        let targets: String =
            targets.iter().enumerate().map(|(number, target)| target.config(number)).collect();
        let every = format!("  scrape_interval: {seconds}s\n  scrape_timeout: {seconds}s\n");
        Self::configured(&format!("global:\n{every}scrape_configs:\n{targets}"))
    }

    /// Does as this configuration says.
    pub fn configured(text: &str) -> Result<Self> {
        let directory = TempDir::new()?;
        let config = directory.path().join("prometheus.yml");
        fs::write(&config, text)?;
        let (process, address) = start("Prometheus", |address| {
            let mut command = Command::new("prometheus");
            command
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
                .arg(format!("--web.listen-address={address}"));
            command
        })?;
        Ok(Prometheus { address, _process: process, _directory: directory })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All alerts that are pending or firing.
    pub fn alerts(&self) -> Result<Vec<Alert>> {
        let mut answer = self.data("alerts", "alerts")?;
        serde_json::from_value(answer["alerts"].take()).context("alerts of Prometheus")
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
        let result = self.data(path, expression)?["result"].take();
        serde_json::from_value(result).with_context(|| format!("{expression} is not a vector"))
    }

    fn data(&self, path: &str, what: &str) -> Result<Value> {
        let answer = exporter::get(self.address, &format!("/api/v1/{path}"), "*/*")?;
        let mut answer: Value = serde_json::from_str(&answer.body)?;
        ensure!(answer["status"] == "success", "{what}: {answer}");
        Ok(answer["data"].take())
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
