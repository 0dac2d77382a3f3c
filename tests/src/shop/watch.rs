// SPDX-License-Identifier: Apache-2.0
//! Prometheus with the project's rules, Alertmanager with its example routes, and who is told.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::node::Node;
use crate::monitoring::{Alertmanager, Webhook, render_rules};
use crate::prometheus::Prometheus;

/// How many times as fast as in production time passes for rules and routes: windows and waits of five minutes are of ten
/// seconds, at a scrape each other second.
pub const SPEED: u32 = 30;

/// Who watches. Dropped in this order.
#[derive(Debug)]
pub struct Watch {
    /// Prometheus.
    pub prometheus: Prometheus,
    /// Alertmanager.
    pub alertmanager: Alertmanager,
    /// Who is told.
    pub webhook: Webhook,
    _rules: TempDir,
}

impl Watch {
    pub(super) fn start(nodes: &[Node]) -> Result<Self> {
        let rules = TempDir::new().context("making a directory for rules")?;
        let runbooks = format!("runbook_url=file://{}", project().join("alerts/runbooks").display());
        render_rules(rules.path(), SPEED, &[&runbooks])?;
        let webhook = Webhook::start()?;
        let alertmanager = Alertmanager::start(&routes(&webhook.url())?)?;
        let mut config = format!(
            "global:\n  scrape_interval: 2s\n  scrape_timeout: 2s\n  evaluation_interval: 1s\nrule_files: ['{}/*.yaml']\n\
             alerting:\n  alertmanagers:\n    - static_configs:\n        - targets: ['{}']\nscrape_configs:\n",
            rules.path().display(),
            alertmanager.address()
        );
        config.extend(nodes.iter().map(job));
        let prometheus = Prometheus::configured(&config)?;
        let watch = Watch { prometheus, alertmanager, webhook, _rules: rules };
        watch.settle(nodes.len())?;
        Ok(watch)
    }

    /// Waits until all exporters have been scraped, and no alert is there any more that nobody is scraped.
    fn settle(&self, exporters: usize) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let up = self.prometheus.query("sum(up)")?;
            let alerts = self.prometheus.alerts()?;
            if up == Some(exporters as f64) && alerts.is_empty() {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "of {exporters} exporters {up:?} are up, alerts are {alerts:?}; a scrape may take 2 s, which a debug \
                 build on a busy machine does not keep (FLOWGAUGE_BIN says which build is run)"
            );
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The example's routes and inhibitions for this clock, with `url` for everybody who is told.
fn routes(url: &str) -> Result<String> {
    let path = project().join("alerts/alertmanager.example.yaml");
    let example = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut routes = String::new();
    for line in example.lines() {
        let (key, value) = line.split_once(": ").unwrap_or((line, ""));
        match key.trim_start_matches([' ', '-']) {
            "url" => routes += &format!("{key}: {url}\n"),
            "group_wait" | "group_interval" | "repeat_interval" => {
                let wait = humantime::parse_duration(value)
                    .with_context(|| format!("{line:?} of the example"))?
                    / SPEED;
                routes += &format!("{key}: {}ms\n", wait.as_millis());
            }
            _ => routes += &format!("{line}\n"),
        }
    }
    Ok(routes)
}

fn project() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// Scrapes a node's exporter, and keeps what is the node's: each end of a flow that is on it, and the node itself.
fn job(node: &Node) -> String {
    let hosts = node.hosts().join("|");
    format!(
        "  - job_name: {name}/flowgauge\n    static_configs:\n      - targets: ['{address}']\n    metric_relabel_configs:\n      \
         - source_labels: [observer, client_workload, server_workload]\n        \
         regex: ';;|client;({hosts});.*|server;.*;({hosts})'\n        action: keep\n      \
         - source_labels: [observer, workload]\n        regex: '.+;|;({hosts})?'\n        action: keep\n",
        name = node.name(),
        address = node.exporter().address(),
    )
}
