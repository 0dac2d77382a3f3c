// SPDX-License-Identifier: Apache-2.0
//! A store to be filled by tests: time is what they say it is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowgauge_labels::{Identity, Kind};
use flowgauge_probes::tcp::{Counter, Counters, Events};

use super::*;
use crate::edge::{Edge, LabelPlan, Observer};
use crate::flags::DEFAULT_LABELS;

/// A store with a clock of its own.
pub struct Fixture {
    pub flows: Flows,
    epoch: Instant,
    clock: Duration,
}

impl Fixture {
    pub fn new(capacity: usize) -> Self {
        Self::with_labels(capacity, &[])
    }

    pub fn with_labels(capacity: usize, added: &[&'static str]) -> Self {
        let epoch = Instant::now();
        let plan = LabelPlan::new(DEFAULT_LABELS, added, &[]);
        Self { flows: Flows::new(plan, capacity, epoch), epoch, clock: Duration::ZERO }
    }

    /// A pass after so many seconds, in which this grew.
    pub fn pass(&mut self, seconds: u64, grown: &mut [(&mut Option<FlowTag>, &Edge, &str, Growth)]) {
        self.clock += Duration::from_secs(seconds);
        self.flows.begin(self.epoch + self.clock);
        for (tag, edge, address, growth) in grown {
            self.grow(tag, edge, address.parse().unwrap(), growth);
        }
        self.flows.whole();
    }

    /// Something grew in the running pass.
    pub fn grow(&mut self, tag: &mut Option<FlowTag>, edge: &Edge, address: IpAddr, growth: &Growth) {
        self.flows.name(tag, Some(edge));
        let pass = self.flows.pass();
        let counters = growth.counters();
        let grew = !counters.is_zero();
        if let Some(entry) = tag.as_mut().and_then(|tag| self.flows.entry(tag, grew, || address)) {
            entry.add_tcp(&counters, growth.connections, pass);
            if growth.refused > 0 {
                let mut events = Events::default();
                events.failed[0] = growth.refused;
                entry.add_events(&events);
            }
            if growth.rtt > 0 {
                entry.add_rtt(Duration::from_micros(growth.rtt));
            }
        }
    }

    pub fn answer(&self, query: &Query) -> Answer {
        self.flows.answer(query, "node", std::time::UNIX_EPOCH + Duration::from_secs(1_790_000_000))
    }
}

/// What a connection did since the last pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct Growth {
    pub sent: u64,
    pub received: u64,
    pub segments: u64,
    pub retransmitted: u64,
    pub opened: u64,
    pub connections: u32,
    /// Connects that were refused.
    pub refused: u32,
    /// Microseconds; 0 for none.
    pub rtt: u64,
}

impl Growth {
    pub fn sent(bytes: u64) -> Self {
        Self { sent: bytes, segments: bytes.div_ceil(1000), ..Self::default() }
    }

    fn counters(&self) -> Counters {
        let mut counters = Counters::default();
        counters[Counter::SentBytes] = self.sent;
        counters[Counter::ReceivedBytes] = self.received;
        counters[Counter::SentSegments] = self.segments;
        counters[Counter::RetransmittedSegments] = self.retransmitted;
        counters[Counter::Opened] = self.opened;
        counters
    }
}

/// An end of which only the name is known.
pub fn identity(workload: &str) -> Identity {
    let empty: Arc<str> = "".into();
    Identity {
        kind: Kind::Host,
        namespace: empty.clone(),
        workload: workload.into(),
        zone: empty.clone(),
        region: empty.clone(),
        service: empty.clone(),
        pod: empty.clone(),
        node: empty.clone(),
        container: empty.clone(),
        process: empty,
        sidecar: false,
    }
}

/// An edge seen by its client.
pub fn edge(client: &str, server: &str) -> Edge {
    let (client, server) = (identity(client), identity(server));
    Edge { observer: Observer::Client, client, server, server_port: "443".into() }
}
