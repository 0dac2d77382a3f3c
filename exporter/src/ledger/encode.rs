// SPDX-License-Identifier: Apache-2.0
//! From totals to samples.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use flowgauge_probes::tcp::{CLOSE_REASONS, CONNECT_POWERS, Counter, FAILURES, RTT_POWERS};
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet,
};

use super::{Entry, Ledger, ListenerEntry};
use crate::edge::Observer;
use crate::source::Family;
use crate::tcp_families as tcp;

const LIMITS: [(&str, Counter); 3] = [
    ("busy", Counter::LimitedBusy),
    ("receive_window", Counter::LimitedReceiveWindow),
    ("send_buffer", Counter::LimitedSendBuffer),
];

/// Borrowed labels of a sample, and one more where the family has its own.
struct Labels<'a> {
    names: &'a [&'static str],
    values: &'a [Arc<str>],
    more: Option<(&'static str, &'a str)>,
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> fmt::Result {
        for (name, value) in self.names.iter().zip(self.values) {
            (*name, &**value).encode(encoder.encode_label())?;
        }
        if let Some(more) = self.more {
            more.encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

/// Writes one family for the edges that have it.
struct Writer<'a, 'e> {
    encoder: &'a mut DescriptorEncoder<'e>,
    names: &'a [&'static str],
    entries: &'a [&'a Entry],
}

impl Writer<'_, '_> {
    fn each(
        &mut self,
        family: &'static Family,
        has: impl Fn(&Entry) -> bool,
        mut write: impl FnMut(&mut MetricEncoder<'_>, &Entry, &[&'static str]) -> fmt::Result,
    ) -> fmt::Result {
        let mut metric = family.describe(self.encoder)?;
        for entry in self.entries.iter().filter(|entry| has(entry)) {
            write(&mut metric, entry, self.names)?;
        }
        Ok(())
    }

    fn counter(
        &mut self,
        family: &'static Family,
        has: impl Fn(&Entry) -> bool,
        value: impl Fn(&Entry) -> u64,
    ) -> fmt::Result {
        self.each(family, has, |metric, entry, names| {
            count(metric, &Labels { names, values: &entry.labels, more: None }, value(entry))
        })
    }

    fn by_reason<const N: usize>(
        &mut self,
        family: &'static Family,
        has: impl Fn(&Entry) -> bool,
        reasons: [&'static str; N],
        values: impl Fn(&Entry) -> [u64; N],
    ) -> fmt::Result {
        self.each(family, has, |metric, entry, names| {
            for (reason, value) in reasons.iter().zip(values(entry)) {
                let more = Some((family.labels[0], *reason));
                count(metric, &Labels { names, values: &entry.labels, more }, value)?;
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
        let bounds: Vec<f64> = powers.map(|power| (1u64 << power) as f64 / 1e6).chain([f64::MAX]).collect();
        let mut buckets: Vec<(f64, u64)> = Vec::with_capacity(bounds.len());
        self.each(family, has, |metric, entry, names| {
            let (counts, sum_us) = counts(entry);
            buckets.clear();
            buckets.extend(bounds.iter().copied().zip(counts.iter().copied()));
            let labels = Labels { names, values: &entry.labels, more: None };
            metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                sum_us as f64 / 1e6,
                counts.iter().sum(),
                &buckets,
                None,
            )
        })
    }
}

fn count(metric: &mut MetricEncoder<'_>, labels: &Labels<'_>, value: u64) -> fmt::Result {
    metric.encode_family(labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
}

impl Ledger {
    /// Writes every TCP family, in the order of [`tcp::FAMILIES`].
    ///
    /// # Errors
    /// What the encoder returns.
    pub fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let names: Vec<&'static str> = self.config.plan.names().collect();
        let entries: Vec<&Entry> = self.entries.iter().filter(|entry| entry.exposed).collect();
        let frequency = f64::from(self.frequency.max(1));
        let mut out = Writer { encoder, names: &names, entries: &entries };
        let all = |_: &Entry| true;
        let client = |entry: &Entry| entry.observer == Observer::Client;
        let server = |entry: &Entry| entry.observer == Observer::Server;
        let of = |counter: Counter| move |entry: &Entry| entry.counters[counter];
        out.counter(&tcp::SENT_BYTES, all, of(Counter::SentBytes))?;
        out.counter(&tcp::RECEIVED_BYTES, all, of(Counter::ReceivedBytes))?;
        out.counter(&tcp::SENT_SEGMENTS, all, of(Counter::SentSegments))?;
        out.counter(&tcp::RECEIVED_SEGMENTS, all, of(Counter::ReceivedSegments))?;
        out.counter(&tcp::RETRANSMITTED_SEGMENTS, all, of(Counter::RetransmittedSegments))?;
        out.counter(&tcp::OUT_OF_ORDER_SEGMENTS, all, of(Counter::OutOfOrderSegments))?;
        out.histogram(&tcp::RTT, Entry::has_rtt, RTT_POWERS, |entry| (&entry.rtt, entry.rtt_sum))?;
        out.each(&tcp::CONNECTIONS, all, |metric, entry, names| {
            let labels = Labels { names, values: &entry.labels, more: None };
            metric.encode_family(&labels)?.encode_gauge(&(entry.connections as f64))
        })?;
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
        out.each(&tcp::LIMITED, all, |metric, entry, names| {
            for (limit, counter) in LIMITS {
                let labels =
                    Labels { names, values: &entry.labels, more: Some((tcp::LIMITED.labels[0], limit)) };
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
        for (family, value) in gauges {
            let mut metric = family.describe(encoder)?;
            for (values, listener) in &self.listeners {
                let labels = Labels { names: family.labels, values, more: None };
                metric.encode_family(&labels)?.encode_gauge(&(value(listener) as f64))?;
            }
        }
        let mut metric = tcp::ACCEPT_QUEUE_DROPS.describe(encoder)?;
        for (values, listener) in &self.listeners {
            let labels = Labels { names: tcp::ACCEPT_QUEUE_DROPS.labels, values, more: None };
            count(&mut metric, &labels, listener.drops)?;
        }
        Ok(())
    }
}
