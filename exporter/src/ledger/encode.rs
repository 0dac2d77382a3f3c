// SPDX-License-Identifier: Apache-2.0
//! From totals to samples.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use flowgauge_probes::tcp::{CLOSE_REASONS, CONNECT_POWERS, Counter, FAILURES, RTT_POWERS};
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};

use super::{Entry, Ledger, ListenerEntry};
use crate::exposition::RenderedLabels;
use crate::source::Family;
use crate::tcp_families as tcp;

const LIMITS: [(&str, Counter); 3] = [
    ("busy", Counter::LimitedBusy),
    ("receive_window", Counter::LimitedReceiveWindow),
    ("send_buffer", Counter::LimitedSendBuffer),
];

/// Writes one family for the edges that have it.
struct Writer<'a, 'e> {
    encoder: &'a mut DescriptorEncoder<'e>,
    entries: &'a [(&'a Entry, RenderedLabels)],
}

impl Writer<'_, '_> {
    fn each(
        &mut self,
        family: &'static Family,
        has: impl Fn(&Entry) -> bool,
        mut write: impl FnMut(&mut MetricEncoder<'_>, &Entry, &RenderedLabels) -> fmt::Result,
    ) -> fmt::Result {
        let mut metric = family.describe(self.encoder)?;
        for (entry, labels) in self.entries.iter().filter(|(entry, _)| has(entry)) {
            write(&mut metric, entry, labels)?;
        }
        Ok(())
    }

    fn counter(
        &mut self,
        family: &'static Family,
        has: impl Fn(&Entry) -> bool,
        value: impl Fn(&Entry) -> u64,
    ) -> fmt::Result {
        self.each(family, has, |metric, entry, labels| count(metric, labels, value(entry)))
    }

    fn by_reason<const N: usize>(
        &mut self,
        family: &'static Family,
        has: impl Fn(&Entry) -> bool,
        reasons: [&'static str; N],
        values: impl Fn(&Entry) -> [u64; N],
    ) -> fmt::Result {
        self.each(family, has, |metric, entry, labels| {
            for (reason, value) in reasons.iter().zip(values(entry)) {
                count(metric, &labels.with(family.labels[0], reason), value)?;
            }
            Ok(())
        })
    }

    fn histogram(
        &mut self,
        family: &'static Family,
        has: impl Fn(&Entry) -> bool,
        powers: RangeInclusive<u32>,
        counts: impl Fn(&Entry) -> (&[u64], u64),
    ) -> fmt::Result {
        let bounds: Vec<f64> =
            powers.map(|power| (1u64 << power) as f64 / 1e6).chain([f64::INFINITY]).collect();
        let mut buckets: Vec<(f64, u64)> = Vec::with_capacity(bounds.len());
        self.each(family, has, |metric, entry, labels| {
            let (counts, sum_us) = counts(entry);
            buckets.clear();
            buckets.extend(bounds.iter().copied().zip(counts.iter().copied()));
            metric.encode_family(labels)?.encode_histogram::<NoLabelSet>(
                sum_us as f64 / 1e6,
                counts.iter().sum(),
                &buckets,
                None,
            )
        })
    }
}

fn count(metric: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
    metric.encode_family(labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
}

fn listener_labels(family: &Family, values: &[Arc<str>]) -> RenderedLabels {
    RenderedLabels::new(family.labels.iter().copied().zip(values.iter().map(|value| &**value)))
}

impl Ledger {
    /// Writes every TCP family, in the order of [`tcp::FAMILIES`].
    ///
    /// # Errors
    /// What the encoder returns.
    pub fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let names: Vec<&'static str> = self.config.plan.names().collect();
        let rendered = |entry: &Entry| {
            RenderedLabels::new(names.iter().copied().zip(entry.labels.iter().map(|value| &**value)))
        };
        let exposed = self.entries.iter().filter(|entry| entry.exposed);
        let entries: Vec<_> = exposed.map(|entry| (entry, rendered(entry))).collect();
        let frequency = f64::from(self.frequency.max(1));
        let mut out = Writer { encoder, entries: &entries };
        let all = |_: &Entry| true;
        let client = |entry: &Entry| entry.observer.opened();
        let server = |entry: &Entry| !entry.observer.opened();
        let of = |counter: Counter| move |entry: &Entry| entry.counters[counter];
        out.counter(&tcp::SENT_BYTES, all, of(Counter::SentBytes))?;
        out.counter(&tcp::RECEIVED_BYTES, all, of(Counter::ReceivedBytes))?;
        out.counter(&tcp::SENT_SEGMENTS, all, of(Counter::SentSegments))?;
        out.counter(&tcp::RECEIVED_SEGMENTS, all, of(Counter::ReceivedSegments))?;
        out.counter(&tcp::RETRANSMITTED_SEGMENTS, all, of(Counter::RetransmittedSegments))?;
        out.counter(&tcp::OUT_OF_ORDER_SEGMENTS, all, of(Counter::OutOfOrderSegments))?;
        out.histogram(&tcp::RTT, Entry::has_rtt, RTT_POWERS, |entry| (&entry.rtt, entry.rtt_sum))?;
        out.each(
            &tcp::CONNECTIONS,
            |_| self.gauges,
            |metric, entry, labels| metric.encode_family(labels)?.encode_gauge(&(entry.connections as f64)),
        )?;
        out.counter(&tcp::OPENED, all, of(Counter::Opened))?;
        out.by_reason(&tcp::CLOSED, all, CLOSE_REASONS, |entry| entry.closed)?;
        out.counter(&tcp::ATTEMPTS, client, of(Counter::Attempts))?;
        out.by_reason(&tcp::FAILURES, client, FAILURES, |entry| entry.failed)?;
        let has_connect = |entry: &Entry| client(entry) && entry.has_connect();
        out.histogram(&tcp::CONNECT_DURATION, has_connect, CONNECT_POWERS, |entry| {
            (&entry.connect, entry.connect_sum)
        })?;
        out.counter(&tcp::SYN_RETRANSMITS, client, of(Counter::SynRetransmits))?;
        out.counter(&tcp::SYNACK_RETRANSMITS, server, |entry| entry.synack_retransmits)?;
        out.each(&tcp::LIMITED, all, |metric, entry, labels| {
            for (limit, counter) in LIMITS {
                let labels = labels.with(tcp::LIMITED.labels[0], limit);
                let seconds = entry.counters[counter] as f64 / frequency;
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&seconds, None)?;
            }
            Ok(())
        })?;
        self.encode_listeners(encoder)
    }

    fn encode_listeners(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Value = fn(&ListenerEntry) -> u64;
        let gauges: [(&'static Family, Value); 2] = [
            (&tcp::ACCEPT_QUEUE_LENGTH, |listener| listener.length),
            (&tcp::ACCEPT_QUEUE_LIMIT, |listener| listener.limit),
        ];
        let open = || self.listeners.served().filter(|(_, listener)| self.gauges && listener.open);
        for (family, value) in gauges {
            let mut metric = family.describe(encoder)?;
            for (values, listener) in open() {
                let labels = listener_labels(family, values);
                metric.encode_family(&labels)?.encode_gauge(&(value(listener) as f64))?;
            }
        }
        let mut metric = tcp::ACCEPT_QUEUE_DROPS.describe(encoder)?;
        for (values, listener) in self.listeners.served() {
            let labels = listener_labels(&tcp::ACCEPT_QUEUE_DROPS, values);
            count(&mut metric, &labels, listener.drops)?;
        }
        Ok(())
    }
}
