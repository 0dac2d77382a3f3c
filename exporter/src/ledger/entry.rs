// SPDX-License-Identifier: Apache-2.0
//! The numbers of one edge.

use std::time::{Duration, Instant};

use flowgauge_probes::tcp::{CLOSE_REASONS, CONNECT_POWERS, Counters, Events, FAILURES, RTT_POWERS};

use crate::edge::{LabelValues, Observer};

/// Buckets of the RTT histogram, +Inf included.
pub const RTT_BUCKETS: usize = (*RTT_POWERS.end() - *RTT_POWERS.start() + 2) as usize;

/// Buckets of the connect histogram, +Inf included.
pub const CONNECT_BUCKETS: usize = (*CONNECT_POWERS.end() - *CONNECT_POWERS.start() + 2) as usize;

/// Everything counted about an edge since the start.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Label values, in the order of the plan.
    pub labels: LabelValues,
    /// Which end was watched: decides which families it has.
    pub observer: Observer,
    /// What sockets count.
    pub counters: Counters,
    /// SYN-ACKs sent again.
    pub synack_retransmits: u64,
    /// Closes by reason.
    pub closed: [u64; CLOSE_REASONS.len()],
    /// Failed attempts by reason.
    pub failed: [u64; FAILURES.len()],
    /// RTT samples by bucket.
    pub rtt: [u64; RTT_BUCKETS],
    /// Their sum, microseconds.
    pub rtt_sum: u64,
    /// Handshakes by bucket.
    pub connect: [u64; CONNECT_BUCKETS],
    /// Their sum, microseconds.
    pub connect_sum: u64,
    /// Open connections at the last pass.
    pub connections: u64,
    /// When it last grew or had a connection.
    pub last_active: Instant,
    /// When it was first seen.
    pub created: Instant,
    /// How many edges had this place in the ledger before.
    pub tenant: u32,
    /// Whether it is served; an idle edge is not, but keeps its numbers.
    pub exposed: bool,
}

impl Entry {
    /// Nothing counted yet.
    pub fn new(labels: LabelValues, observer: Observer, now: Instant) -> Self {
        Self {
            labels,
            observer,
            counters: Counters::default(),
            synack_retransmits: 0,
            closed: [0; CLOSE_REASONS.len()],
            failed: [0; FAILURES.len()],
            rtt: [0; RTT_BUCKETS],
            rtt_sum: 0,
            connect: [0; CONNECT_BUCKETS],
            connect_sum: 0,
            connections: 0,
            last_active: now,
            created: now,
            tenant: 0,
            exposed: false,
        }
    }

    /// Adds what happened in the kernel.
    pub fn add_events(&mut self, events: &Events) {
        self.synack_retransmits += events.synack_retransmits;
        self.rtt_sum += events.rtt_sum;
        self.connect_sum += events.connect_sum;
        add(&mut self.closed, events.closed);
        add(&mut self.failed, events.failed);
        add(&mut self.rtt, events.rtt);
        add(&mut self.connect, events.connect);
    }

    /// Adds one RTT sample.
    pub fn add_rtt(&mut self, rtt: Duration) {
        let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
        let bucket = RTT_POWERS.filter(|power| micros > 1 << power).count();
        self.rtt[bucket] += 1;
        self.rtt_sum += micros;
    }

    /// Adds all that another edge counted.
    pub fn absorb(&mut self, other: &Entry) {
        self.counters.add(&other.counters);
        self.synack_retransmits += other.synack_retransmits;
        self.rtt_sum += other.rtt_sum;
        self.connect_sum += other.connect_sum;
        self.connections += other.connections;
        add(&mut self.closed, other.closed);
        add(&mut self.failed, other.failed);
        add(&mut self.rtt, other.rtt);
        add(&mut self.connect, other.connect);
        self.last_active = self.last_active.max(other.last_active);
        self.exposed |= other.exposed;
    }

    /// Whether any RTT was measured.
    pub fn has_rtt(&self) -> bool {
        self.rtt.iter().any(|count| *count > 0)
    }

    /// Whether any handshake was measured.
    pub fn has_connect(&self) -> bool {
        self.connect.iter().any(|count| *count > 0)
    }

    /// How many series it is served as, its gauge included. Must agree with what `encode` writes; a test holds it to that.
    pub fn series(&self) -> usize {
        // Bytes 2, segments 4, connections, opened, closed by reason, limited by what.
        const BOTH: usize = 2 + 4 + 1 + 1 + CLOSE_REASONS.len() + 3;
        // Attempts, SYN retransmits, failures by reason.
        const CLIENT: usize = 1 + 1 + FAILURES.len();
        // SYN-ACK retransmits.
        const SERVER: usize = 1;
        // Sum and count come on top of the buckets.
        let rtt = if self.has_rtt() { RTT_BUCKETS + 2 } else { 0 };
        let connect = if self.has_connect() { CONNECT_BUCKETS + 2 } else { 0 };
        BOTH + rtt + if self.observer.opened() { CLIENT + connect } else { SERVER }
    }
}

fn add<const N: usize, V: Into<u64>>(sums: &mut [u64; N], more: [V; N]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more.into();
    }
}
