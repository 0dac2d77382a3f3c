// SPDX-License-Identifier: Apache-2.0
//! What the exporter tells of itself: its build, how it is scraped, and the process as every client library names it.

mod process;
mod sandbox;
mod web;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use crate::source::{Family, FamilyKind, Unit};

pub use process::{PROCESS_FAMILIES, ProcessCollector};
pub use sandbox::{FAMILIES as SANDBOX_FAMILIES, SandboxMetrics};
pub use web::{FAMILIES as WEB_FAMILIES, Refusal, Reload, WebMetrics};

/// The exporter's own families, in the order they are exposed.
pub static FAMILIES: &[&Family] = &[BUILD, PASS_DURATION, SCRAPE_DURATION, RESPONSES];

const BUILD: &Family = &Family {
    name: "build",
    kind: FamilyKind::Info,
    unit: None,
    help: "Version and revision of the exporter, the compiler and the architecture it was built for.",
    labels: &["version", "revision", "rustc", "arch"],
    edge: false,
    source: "Set when the program is built.",
    buckets: "",
};

const PASS_DURATION: &Family = &Family {
    name: "pass_duration_seconds",
    kind: FamilyKind::Histogram,
    unit: Some(Unit::Seconds),
    help: "Time that passes over the kernel's counters took on behalf of scrapes, failed ones too; scrapes that arrive together share a pass.",
    labels: &[],
    edge: false,
    source: "The exporter's monotonic clock.",
    buckets: DURATION_BUCKETS,
};

const SCRAPE_DURATION: &Family = &Family {
    name: "scrape_duration_seconds",
    kind: FamilyKind::Histogram,
    unit: Some(Unit::Seconds),
    help: "Time from a scrape's request to its finished answer, without sending it.",
    labels: &[],
    edge: false,
    source: "The exporter's monotonic clock.",
    buckets: DURATION_BUCKETS,
};

const RESPONSES: &Family = &Family {
    name: "web_responses",
    kind: FamilyKind::Counter,
    unit: None,
    help: "Answers to well-formed HTTP requests to the exporter by status code.",
    labels: &["code"],
    edge: false,
    source: "The exporter itself.",
    buckets: "",
};

const DURATION_BUCKETS: &str = "powers of four from 1/1024 s (0.98 ms) to 4 s";

/// Every status code that the web side answers with.
const CODES: [u16; 9] = [200, 400, 401, 404, 405, 413, 429, 500, 503];

/// Counts what the web side does. One for the whole program.
#[derive(Debug)]
pub struct SelfMetrics {
    passes: Histogram,
    scrapes: Histogram,
    responses: [Counter; CODES.len()],
    web: Arc<WebMetrics>,
    sandbox: Arc<SandboxMetrics>,
}

impl Default for SelfMetrics {
    fn default() -> Self {
        let durations = || Histogram::new((-5..=1).map(|power| 4_f64.powi(power)));
        Self {
            passes: durations(),
            scrapes: durations(),
            responses: std::array::from_fn(|_| Counter::default()),
            web: Arc::default(),
            sandbox: Arc::default(),
        }
    }
}

impl SelfMetrics {
    /// A pass for scrapes ended.
    pub fn pass(&self, took: Duration) {
        self.passes.observe(took.as_secs_f64());
    }

    /// A scrape's answer is ready to be sent.
    pub fn scrape(&self, took: Duration) {
        self.scrapes.observe(took.as_secs_f64());
    }

    /// Who is turned away.
    pub const fn web(&self) -> &Arc<WebMetrics> {
        &self.web
    }

    /// Whether the threads are confined.
    pub const fn sandbox(&self) -> &Arc<SandboxMetrics> {
        &self.sandbox
    }

    /// An HTTP request was answered.
    pub fn response(&self, code: u16) {
        if let Some(at) = CODES.iter().position(|known| *known == code) {
            self.responses[at].inc();
        }
    }
}

impl Collector for SelfMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let build = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("revision", env!("FLOWGAUGE_REVISION")),
            ("rustc", env!("FLOWGAUGE_RUSTC")),
            ("arch", env!("FLOWGAUGE_ARCH")),
        ];
        BUILD.describe(&mut encoder)?.encode_info(&build)?;
        self.passes.encode(PASS_DURATION.describe(&mut encoder)?)?;
        self.scrapes.encode(SCRAPE_DURATION.describe(&mut encoder)?)?;
        let mut responses = RESPONSES.describe(&mut encoder)?;
        for (code, counter) in CODES.iter().zip(&self.responses) {
            counter.encode(responses.encode_family(&[("code", *code)])?)?;
        }
        self.web.encode(&mut encoder)?;
        self.sandbox.encode(&mut encoder)
    }
}
