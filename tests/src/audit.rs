// SPDX-License-Identifier: Apache-2.0
//! The exporter's own audit, of the hosts of one test and nobody else.
//!
//! An exporter audits every network namespace in which it can see a process. So this one lives where there are no
//! processes but one in each host of the test: whatever else goes on on this machine is not in its numbers.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::inside::Inside;
use crate::metrics::Metrics;
use crate::netns::{Host, World};

/// All counters that are audited.
pub const COUNTERS: [&str; 6] = [
    "tcp_sent_segments",
    "tcp_received_segments",
    "tcp_retransmitted_segments",
    "tcp_connections_opened",
    "udp_sent_packets",
    "udp_received_packets",
];

/// How long both sides may take to agree: connections that are closing still exchange segments.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where an auditor lives: a host that has no part in the test, so that scrapes are in nobody's counters.
#[derive(Debug)]
pub struct Office(Host);

impl Office {
    /// A host for it.
    pub fn new(world: &World) -> Result<Self> {
        world.host("auditor").map(Office)
    }

    /// Audits what happens in these hosts from now on.
    pub fn audit<'a>(&'a self, hosts: &[&Host]) -> Result<Auditor<'a>> {
        let inside = Inside::start_among(&self.0, hosts, &["--collector.tcp", "--collector.udp"])?;
        // The first reading of a namespace is where its audit begins, and its own is one more.
        let wanted = hosts.len() as f64 + 1.0;
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut last = [f64::NAN; COUNTERS.len()];
        loop {
            let metrics = inside.scrape()?;
            let audited = metrics.sum("flowgauge_audit_namespaces", &[]);
            let gaps = gaps(&metrics);
            if audited == wanted && gaps == last {
                return Ok(Auditor { inside, gaps });
            }
            last = gaps;
            let log = inside.log();
            ensure!(Instant::now() < deadline, "{audited} namespaces are audited, not {wanted}; log:\n{log}");
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// How much more was counted than expected, of each counter.
fn gaps(metrics: &Metrics) -> [f64; COUNTERS.len()] {
    COUNTERS.map(|counter| {
        let said = Said::by(metrics, counter);
        said.counted - said.expected
    })
}

/// An exporter that audits.
#[derive(Debug)]
pub struct Auditor<'a> {
    inside: Inside<'a>,
    /// What was there before anything happened: a scrape may come between the first readings of both sides.
    gaps: [f64; COUNTERS.len()],
}

/// What is said of one counter.
#[derive(Debug, Clone, Copy)]
pub struct Said {
    /// By flowgauge.
    pub counted: f64,
    /// By the kernel.
    pub expected: f64,
    /// The ratio, if there is enough for one.
    pub ratio: Option<f64>,
}

impl Said {
    /// What a scrape says.
    pub fn by(metrics: &Metrics, counter: &str) -> Self {
        let labels = [("counter", counter)];
        let ratio = metrics.select("flowgauge_audit_ratio", &labels).next().map(|sample| sample.value);
        let sum = |name: &str| metrics.sum(name, &labels);
        Said { counted: sum("flowgauge_audit_counted"), expected: sum("flowgauge_audit_expected"), ratio }
    }

    /// Whether both agree, but for some events.
    pub fn agrees(&self, but_for: f64) -> bool {
        (self.counted - self.expected).abs() <= but_for
    }
}

impl Auditor<'_> {
    /// One scrape.
    pub fn scrape(&self) -> Result<Metrics> {
        self.inside.scrape()
    }

    /// What a scrape says of a counter, but for what was there at the begin.
    pub fn said(&self, metrics: &Metrics, counter: &str) -> Said {
        let gap =
            COUNTERS.iter().zip(self.gaps).find(|(name, _)| **name == counter).map_or(0.0, |(_, gap)| gap);
        let said = Said::by(metrics, counter);
        Said { expected: said.expected + gap, ..said }
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.inside.log()
    }

    /// Waits until flowgauge and the kernel agree on all counters, each but for so many events: by its name, or else none.
    /// Returns the scrape in which they do.
    pub fn expect(&self, but_for: &[(&str, f64)]) -> Result<Metrics> {
        let allowed = |counter: &str| {
            but_for.iter().find(|(name, _)| *name == counter).map_or(0.0, |(_, events)| *events)
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = self.scrape()?;
            if COUNTERS.iter().all(|counter| self.said(&metrics, counter).agrees(allowed(counter))) {
                return Ok(metrics);
            }
            if Instant::now() > deadline {
                let mut said = String::new();
                for counter in COUNTERS {
                    writeln!(
                        said,
                        "{counter}: {:?}, allowed {}",
                        self.said(&metrics, counter),
                        allowed(counter)
                    )?;
                }
                bail!(
                    "flowgauge and the kernel do not agree:\n{said}{}",
                    metrics.describe("flowgauge_lost", &[])
                );
            }
            thread::sleep(Duration::from_millis(200));
        }
    }
}
