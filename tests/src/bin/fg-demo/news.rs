// SPDX-License-Identifier: Apache-2.0
//! What has become of the alerts, a line for each change, and a line of how things are below them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Result;
use flowgauge_tests::monitoring::Labels;
use flowgauge_tests::shop::{Fault, Shop};

/// How often Prometheus and Alertmanager are asked.
const PAUSE: Duration = Duration::from_millis(500);

pub struct News<'a> {
    shop: &'a Shop,
    start: Instant,
    asked: Option<Instant>,
    /// Alerts that Prometheus has, with their states.
    alerts: BTreeMap<String, String>,
    /// Alerts that Alertmanager keeps quiet.
    quiet: BTreeSet<String>,
    /// Notifications that have been shown.
    told: usize,
    /// Requests answered and failed, by load, and a second before.
    requests: BTreeMap<String, [(u64, u64); 2]>,
    terminal: bool,
}

impl<'a> News<'a> {
    pub fn new(shop: &'a Shop) -> Self {
        News {
            shop,
            start: Instant::now(),
            asked: None,
            alerts: BTreeMap::new(),
            quiet: BTreeSet::new(),
            told: 0,
            requests: BTreeMap::new(),
            terminal: io::stdout().is_terminal(),
        }
    }

    /// A line with the time before it.
    pub fn say(&self, what: &str, text: &str) {
        let seconds = self.start.elapsed().as_secs();
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        println!("{clear}{:3}:{:02}  {what:9} {text}", seconds / 60, seconds % 60);
    }

    /// Asks again, if it is time, and says what is new.
    pub fn tell(&mut self) -> Result<()> {
        if self.asked.is_some_and(|asked| asked.elapsed() < PAUSE) {
            return Ok(());
        }
        self.asked = Some(Instant::now());
        self.tell_alerts()?;
        self.tell_quiet()?;
        for told in self.shop.watch.webhook.since(self.told) {
            self.told += 1;
            self.say("told", &format!("{}: {} {}", told.receiver, told.status, name(&told.labels)));
        }
        for load in &self.shop.loads {
            if let Some(counts) = load.counts() {
                let [_, last] = self.requests.get(&load.what).copied().unwrap_or_default();
                self.requests.insert(load.what.clone(), [last, counts]);
            }
        }
        Ok(())
    }

    fn tell_alerts(&mut self) -> Result<()> {
        let mut now = BTreeMap::new();
        for alert in self.shop.watch.prometheus.alerts()? {
            let name = name(&alert.labels);
            if self.alerts.get(&name) != Some(&alert.state) {
                self.say(&alert.state, &name);
                let text = |key: &str| alert.annotations.get(key).map_or("", String::as_str);
                if alert.state == "firing" {
                    explain(text("description"));
                    explain(text("network"));
                }
            }
            now.insert(name, alert.state);
        }
        for gone in self.alerts.keys().filter(|name| !now.contains_key(*name)) {
            self.say("ended", gone);
        }
        self.alerts = now;
        Ok(())
    }

    fn tell_quiet(&mut self) -> Result<()> {
        let known = self.shop.watch.alertmanager.alerts()?;
        let now: BTreeSet<_> =
            known.iter().filter(|alert| alert.is_inhibited()).map(|alert| name(&alert.labels)).collect();
        for name in now.difference(&self.quiet) {
            self.say("inhibited", name);
        }
        self.quiet = now;
        Ok(())
    }

    /// Shows how things are, below what has been said.
    pub fn status(&self, fault: Option<Fault>) {
        if !self.terminal {
            return;
        }
        let rates = self
            .requests
            .values()
            .map(|[(a, f), (answered, failed)]| (answered.saturating_sub(*a), failed.saturating_sub(*f)));
        let (answered, failed) = rates.fold((0, 0), |sum, rate| (sum.0 + rate.0, sum.1 + rate.1));
        let firing = self.alerts.values().filter(|state| *state == "firing").count();
        let fault = fault.map_or("nothing is broken", Fault::title);
        print!("\r\x1b[K  {answered} requests/s, {failed} failed/s | {firing} alerts firing | {fault} ");
        // A terminal that has gone is found out by its input.
        let _ = io::stdout().flush();
    }
}

/// What an alert says, below its line.
fn explain(text: &str) {
    const INDENT: usize = 18;
    const WIDTH: usize = 110;
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column == 0 || column + 1 + length > WIDTH {
            let end = if column == 0 { "" } else { "\n" };
            print!("{end}{:INDENT$}{word}", "");
            column = INDENT + length;
        } else {
            print!(" {word}");
            column += 1 + length;
        }
    }
    if column > 0 {
        println!();
    }
}

/// An alert in short: its name, whom it is about, and what tells it apart.
fn name(labels: &Labels) -> String {
    let label = |key: &str| labels.get(key).map_or("", String::as_str);
    let ends = [label("client_workload"), label("server_workload")];
    let ends = ends.iter().filter(|end| !end.is_empty()).copied().collect::<Vec<_>>().join(" → ");
    let more = ["instance", "reason", "signal", "stage", "observer"];
    let more = more.iter().map(|key| label(key)).filter(|value| !value.is_empty()).collect::<Vec<_>>();
    let parts = [label("alertname"), &ends, &more.join(", ")];
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("  ")
}
