// SPDX-License-Identifier: Apache-2.0
//! From totals to samples.

mod dns;
mod http;
mod tcp;
mod udp;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};

use super::listeners::Listeners;
use super::{Entry, Ledger, ListenerEntry};
use crate::drop_families;
use crate::edge::Observer;
use crate::exposition::RenderedLabels;
use crate::source::Family;

/// What one edge counted of a protocol.
struct Row<'a, P> {
    part: &'a P,
    observer: Observer,
    labels: &'a RenderedLabels,
}

/// Writes the families of a protocol, each for the edges that have it.
struct Writer<'a, 'e, P> {
    encoder: &'a mut DescriptorEncoder<'e>,
    rows: Vec<Row<'a, P>>,
}

impl<'a, 'e, P> Writer<'a, 'e, P> {
    fn new(
        encoder: &'a mut DescriptorEncoder<'e>,
        entries: &'a [(&'a Entry, RenderedLabels)],
        part: impl Fn(&'a Entry) -> Option<&'a P>,
    ) -> Self {
        let row = |(entry, labels): &'a (&'a Entry, RenderedLabels)| {
            Some(Row { part: part(entry)?, observer: entry.observer, labels })
        };
        Self { encoder, rows: entries.iter().filter_map(row).collect() }
    }

    fn each(
        &mut self,
        family: &'static Family,
        has: impl Fn(&Row<'_, P>) -> bool,
        mut write: impl FnMut(&mut MetricEncoder<'_>, &P, &RenderedLabels) -> fmt::Result,
    ) -> fmt::Result {
        let mut metric = family.describe(self.encoder)?;
        for Row { part, labels, .. } in self.rows.iter().filter(|row| has(row)) {
            write(&mut metric, part, labels)?;
        }
        Ok(())
    }

    fn counter(
        &mut self,
        family: &'static Family,
        has: impl Fn(&Row<'_, P>) -> bool,
        value: impl Fn(&P) -> u64,
    ) -> fmt::Result {
        self.each(family, has, |metric, part, labels| count(metric, labels, value(part)))
    }

    fn by_reason<const N: usize>(
        &mut self,
        family: &'static Family,
        has: impl Fn(&Row<'_, P>) -> bool,
        reasons: [&'static str; N],
        values: impl Fn(&P) -> [u64; N],
    ) -> fmt::Result {
        self.each(family, has, |metric, part, labels| {
            for (reason, value) in reasons.iter().zip(values(part)) {
                count(metric, &labels.with(family.labels[0], reason), value)?;
            }
            Ok(())
        })
    }

    fn histogram(
        &mut self,
        family: &'static Family,
        has: impl Fn(&Row<'_, P>) -> bool,
        powers: RangeInclusive<u32>,
        counts: impl Fn(&P) -> (&[u64], u64),
    ) -> fmt::Result {
        let bounds: Vec<f64> =
            powers.map(|power| (1u64 << power) as f64 / 1e6).chain([f64::INFINITY]).collect();
        let mut buckets: Vec<(f64, u64)> = Vec::with_capacity(bounds.len());
        self.each(family, has, |metric, part, labels| {
            let (counts, sum_us) = counts(part);
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

/// Every edge.
fn all<P>(_: &Row<'_, P>) -> bool {
    true
}

fn count(metric: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
    metric.encode_family(labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
}

/// Writes what listeners, or others, dropped.
fn drops(encoder: &mut DescriptorEncoder<'_>, family: &'static Family, listeners: &Listeners) -> fmt::Result {
    let mut metric = family.describe(encoder)?;
    for (values, listener) in listeners.served() {
        count(&mut metric, &listener_labels(family, values), listener.drops)?;
    }
    Ok(())
}

/// Writes a gauge of the listeners that exist, unless there are `none` to be served.
fn gauge_of_listeners(
    encoder: &mut DescriptorEncoder<'_>,
    family: &'static Family,
    listeners: &Listeners,
    none: bool,
    value: impl Fn(&ListenerEntry) -> u64,
) -> fmt::Result {
    let mut metric = family.describe(encoder)?;
    for (values, listener) in listeners.served().filter(|(_, listener)| listener.open && !none) {
        metric.encode_family(&listener_labels(family, values))?.encode_gauge(&(value(listener) as f64))?;
    }
    Ok(())
}

fn listener_labels(family: &Family, values: &[Arc<str>]) -> RenderedLabels {
    RenderedLabels::new(family.labels.iter().copied().zip(values.iter().map(|value| &**value)))
}

impl Ledger {
    /// Writes the families of every collector that runs, in the order in which they are documented.
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
        if self.config.collectors.tcp {
            self.encode_tcp(encoder, &entries)?;
        }
        if self.config.collectors.udp {
            self.encode_udp(encoder, &entries)?;
        }
        if self.config.collectors.dns {
            self.encode_dns(encoder, &entries)?;
        }
        if self.config.collectors.http {
            self.encode_http(encoder, &entries)?;
        }
        if self.config.collectors.drops {
            drops(encoder, &drop_families::DROPPED, &self.dropped)?;
        }
        Ok(())
    }
}
