// SPDX-License-Identifier: Apache-2.0
//! A source for tests: counts its passes, takes as long as told, fails when told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;

use crate::flows::{Answer, Flows, Query};
use crate::source::{ComponentStatus, Family, FamilyKind, MetricSource, State};

/// A label value that must not break out of the page or the exposition.
pub const HOSTILE: &str = "<script>\"\\\n&";

pub static SENT: Family = Family {
    name: "test_passes",
    kind: FamilyKind::Counter,
    unit: None,
    help: "Passes of the fake.",
    labels: &["who"],
    edge: false,
    source: "test",
    buckets: "",
};

#[derive(Default)]
pub struct Fake {
    takes: Duration,
    begun: AtomicU64,
    passes: AtomicU64,
    reloads: AtomicU64,
    failing: Mutex<Option<String>>,
    panicking: AtomicBool,
    flows: Mutex<Option<Flows>>,
}

impl Fake {
    pub fn taking(takes: Duration) -> Arc<Self> {
        Arc::new(Self { takes, ..Self::default() })
    }

    /// Has a drill-down by address.
    pub fn with_flows(self: Arc<Self>, flows: Flows) -> Arc<Self> {
        *self.flows.lock() = Some(flows);
        self
    }

    pub fn begun(&self) -> u64 {
        self.begun.load(SeqCst)
    }

    pub fn passes(&self) -> u64 {
        self.passes.load(SeqCst)
    }

    pub fn fail(&self, reason: &str) {
        *self.failing.lock() = Some(reason.to_owned());
    }

    pub fn panic(&self) {
        self.panicking.store(true, SeqCst);
    }

    pub fn mend(&self) {
        *self.failing.lock() = None;
        self.panicking.store(false, SeqCst);
    }
}

impl MetricSource for Fake {
    fn refresh(&self) -> Result<(), anyhow::Error> {
        self.begun.fetch_add(1, SeqCst);
        std::thread::sleep(self.takes);
        assert!(!self.panicking.load(SeqCst), "told to panic");
        if let Some(reason) = &*self.failing.lock() {
            return Err(anyhow::anyhow!("{reason}")).context("reading sockets");
        }
        self.passes.fetch_add(1, SeqCst);
        Ok(())
    }

    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut family = SENT.describe(&mut encoder)?;
        ConstCounter::new(self.passes()).encode(family.encode_family(&[("who", HOSTILE)])?)
    }

    fn status(&self) -> Vec<ComponentStatus> {
        let component = |kind, name: &str, state, detail: &str| ComponentStatus {
            kind,
            name: name.to_owned(),
            state,
            detail: detail.to_owned(),
        };
        vec![
            component("collector", "tcp", State::Up, HOSTILE),
            component("label source", "names_file", State::Failed, "line 3: no such field"),
        ]
    }

    fn ready(&self) -> bool {
        // Un-readies itself after a failure: the web side must not follow.
        self.passes() > 0 && self.failing.lock().is_none()
    }

    fn flow_labels(&self) -> Option<Vec<&'static str>> {
        Some(self.flows.lock().as_ref()?.labels())
    }

    fn flows(&self, query: &Query) -> Option<Answer> {
        Some(self.flows.lock().as_ref()?.answer(query, HOSTILE, std::time::SystemTime::now()))
    }

    fn node(&self) -> String {
        HOSTILE.to_owned()
    }

    fn reload(&self) -> Result<(), anyhow::Error> {
        self.reloads.fetch_add(1, SeqCst);
        Ok(())
    }
}
