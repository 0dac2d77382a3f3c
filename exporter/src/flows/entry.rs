// SPDX-License-Identifier: Apache-2.0
//! One remote address of one edge, and the names that go with it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use flowgauge_labels::Identity;
use flowgauge_probes::packets::{DnsCounts, HttpGrowth, UdpCounts};
use flowgauge_probes::tcp::{Counter, Counters, Events};

use super::counts::{Counts, at, closed_rtt};
use super::log::Log;
use crate::edge::{Edge, LabelValues};

/// An edge, by its labels.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct FlowEdge {
    /// Never given out twice.
    pub number: u64,
    /// In the order of the plan.
    pub labels: LabelValues,
}

/// The end of an edge on this node.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// The edge.
    pub edge: Arc<FlowEdge>,
    /// Process, container and pod; empty where not known.
    pub local: [Arc<str>; LOCAL.len()],
}

/// What is told of the end on this node.
pub const LOCAL: [&str; 3] = ["process", "container", "pod"];

/// What is told of an edge's end on this node.
pub fn local_names(edge: &Edge) -> [Arc<str>; LOCAL.len()] {
    let Identity { process, container, pod, .. } =
        if edge.observer.opened() { &edge.client } else { &edge.server };
    [process.clone(), container.clone(), pod.clone()]
}

/// The running slot: numbers that change in every pass, as they are.
#[derive(Debug, Clone, Default)]
struct Hot {
    slot: u32,
    retransmitted: u32,
    sent_bytes: u64,
    received_bytes: u64,
    rtt_sum: u64,
    sent_segments: u32,
    received_segments: u32,
    out_of_order: u32,
    rtt_samples: u32,
    rtt_max: u32,
}

/// One remote address of one edge.
#[derive(Debug)]
pub struct Entry {
    /// The edge, and the end on this node that grew last.
    pub end: Arc<End>,
    /// Names of [`LOCAL`] that are not the same for all that was counted, a bit each.
    pub several: u8,
    /// The other end.
    pub address: IpAddr,
    /// When it was first seen, milliseconds of the store's clock.
    pub first: u64,
    /// When it grew last.
    pub last: u64,
    /// Open connections, and the pass that counted them.
    pub connections: (u32, u32),
    /// The last round-trip sample, microseconds.
    pub rtt_last: u32,
    hot: Hot,
    log: Log,
}

impl Entry {
    /// Nothing counted yet.
    pub fn new(end: Arc<End>, address: IpAddr, now: u64) -> Self {
        Self {
            end,
            several: 0,
            address,
            first: now,
            last: now,
            connections: (0, 0),
            rtt_last: 0,
            hot: Hot::default(),
            log: Log::default(),
        }
    }

    /// What is counted from now on is of this slot.
    pub fn enter(&mut self, slot: u32) {
        if self.hot.slot != slot {
            self.log.add(self.hot.slot, &self.hot.counts());
            self.hot = Hot { slot, ..Hot::default() };
        }
    }

    /// It is counted from this end.
    pub fn of(&mut self, end: &Arc<End>) {
        if Arc::ptr_eq(&self.end, end) {
            return;
        }
        for (bit, (one, other)) in self.end.local.iter().zip(&end.local).enumerate() {
            self.several |= u8::from(one != other) << bit;
        }
        self.end = Arc::clone(end);
    }

    /// Adds what sockets counted, and connections that are open in this pass.
    pub fn add_tcp(&mut self, growth: &Counters, connections: u32, pass: u32) {
        let Hot { sent_bytes, received_bytes, sent_segments, received_segments, .. } = &mut self.hot;
        *sent_bytes = sent_bytes.saturating_add(growth[Counter::SentBytes]);
        *received_bytes = received_bytes.saturating_add(growth[Counter::ReceivedBytes]);
        add(sent_segments, growth[Counter::SentSegments]);
        add(received_segments, growth[Counter::ReceivedSegments]);
        add(&mut self.hot.retransmitted, growth[Counter::RetransmittedSegments]);
        add(&mut self.hot.out_of_order, growth[Counter::OutOfOrderSegments]);
        let rare = [
            (at::OPENED, growth[Counter::Opened]),
            (at::ATTEMPTS, growth[Counter::Attempts]),
            (at::SYN_RETRANSMITS, growth[Counter::SynRetransmits]),
        ];
        if rare.iter().any(|(_, value)| *value > 0) {
            self.add(|counts| rare.iter().for_each(|(place, value)| counts.add(*place, *value)));
        }
        let (open, counted_in) = &mut self.connections;
        *open = if *counted_in == pass { open.saturating_add(connections) } else { connections };
        *counted_in = pass;
    }

    /// Adds a round trip of an open connection.
    pub fn add_rtt(&mut self, rtt: Duration) {
        let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
        self.add_rtts(1, micros, micros, micros);
    }

    fn add_rtts(&mut self, samples: u64, sum: u64, largest: u64, last: u64) {
        self.hot.rtt_sum = self.hot.rtt_sum.saturating_add(sum);
        add(&mut self.hot.rtt_samples, samples);
        self.hot.rtt_max = self.hot.rtt_max.max(narrow(largest));
        self.rtt_last = narrow(last);
    }

    /// Adds what happened to connections.
    pub fn add_events(&mut self, events: &Events) {
        let (samples, sum, largest) = closed_rtt(events);
        if let Some(mean) = sum.checked_div(samples) {
            self.add_rtts(samples, sum, largest, mean);
        }
        self.add(|counts| counts.add_events(events));
    }

    /// Adds datagrams.
    pub fn add_udp(&mut self, growth: &UdpCounts) {
        self.add(|counts| counts.add_udp(growth));
    }

    /// Adds DNS messages.
    pub fn add_dns(&mut self, growth: &DnsCounts) {
        self.add(|counts| counts.add_dns(growth));
    }

    /// Adds requests.
    pub fn add_http(&mut self, growth: &HttpGrowth) {
        self.add(|counts| counts.add_http(growth));
    }

    /// Adds a gRPC response.
    pub fn add_grpc(&mut self, status: usize) {
        self.add(|counts| counts.add_grpc(status));
    }

    fn add(&mut self, fill: impl FnOnce(&mut Counts)) {
        let mut counts = Counts::default();
        fill(&mut counts);
        self.log.add(self.hot.slot, &counts);
    }

    /// Hands out what was counted from slot `from` on: slot, place, value.
    pub fn each(&self, from: u32, mut out: impl FnMut(u32, usize, u64)) {
        self.log.each(from, &mut out);
        if self.hot.slot >= from {
            self.hot.counts().nonzero().for_each(|(place, value)| out(self.hot.slot, place, value));
        }
    }

    /// What was counted from slot `from` on.
    pub fn since(&self, from: u32) -> Counts {
        let mut counts = Counts::default();
        self.each(from, |_, place, value| counts.add(place, value));
        counts
    }

    /// Gives back memory of slots that nobody asks for any more.
    pub fn trim(&mut self, (oldest, fine): (u32, u32)) {
        self.log.trim(oldest, fine);
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub fn heap(&self) -> usize {
        self.log.heap()
    }
}

impl Hot {
    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (place, value) in [
            (at::SENT_BYTES, self.sent_bytes),
            (at::RECEIVED_BYTES, self.received_bytes),
            (at::SENT_SEGMENTS, self.sent_segments.into()),
            (at::RECEIVED_SEGMENTS, self.received_segments.into()),
            (at::RETRANSMITTED, self.retransmitted.into()),
            (at::OUT_OF_ORDER, self.out_of_order.into()),
            (at::RTT_SUM, self.rtt_sum),
            (at::RTT_SAMPLES, self.rtt_samples.into()),
            (at::RTT_MAX, self.rtt_max.into()),
        ] {
            counts.add(place, value);
        }
        counts
    }
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn add(sum: &mut u32, value: u64) {
    *sum = sum.saturating_add(narrow(value));
}
