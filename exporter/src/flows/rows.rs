// SPDX-License-Identifier: Apache-2.0
//! From what is kept to the rows that are asked for.
//!
//! All that is asked for is added up to be sorted, and written out only as far as it is shown.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::column::Value;
use super::counts::Counts;
use super::entry::{End, Entry, LOCAL};
use super::query::{By, Query};
use super::store::{FlowId, Flows};

/// A row before it is written out.
pub(super) struct Sum {
    pub end: Arc<End>,
    pub several: u8,
    /// None of an edge.
    pub address: Option<IpAddr>,
    pub addresses: u64,
    pub first: u64,
    pub last: u64,
    /// None if the last pass did not see all.
    pub connections: Option<u64>,
    rtt_last: u32,
    pub counts: Counts,
}

impl Sum {
    fn of(entry: &Entry, counts: Counts, flows: &Flows, by: By) -> Self {
        Self {
            end: Arc::clone(&entry.end),
            several: entry.several,
            address: (by == By::Address).then_some(entry.address),
            addresses: 1,
            first: entry.first,
            last: flows.last_seen(entry),
            connections: flows.open(entry),
            rtt_last: entry.rtt_last,
            counts,
        }
    }

    fn add(&mut self, other: Sum) {
        self.several |= other.several;
        for (bit, (one, another)) in self.end.local.iter().zip(&other.end.local).enumerate() {
            self.several |= u8::from(one != another) << bit;
        }
        let samples = |sum: &Sum| sum.counts.rtt_max().is_some();
        if samples(&other) && (!samples(self) || other.last > self.last) {
            self.rtt_last = other.rtt_last;
        }
        self.addresses += other.addresses;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.connections = self.connections.zip(other.connections).map(|(one, other)| one + other);
        self.counts.merge(&other.counts);
    }

    /// The last round-trip sample of the window, seconds.
    pub fn rtt_last(&self) -> Option<f64> {
        self.counts.rtt_max().map(|_| f64::from(self.rtt_last) / 1e6)
    }

    /// A name of [`LOCAL`], where all that was counted has the same.
    pub fn local(&self, which: usize) -> Option<Arc<str>> {
        debug_assert!(which < LOCAL.len());
        let same = self.several & 1 << which == 0;
        self.end.local.get(which).filter(|name| same && !name.is_empty()).cloned()
    }
}

/// What is shown, and of what.
pub(super) struct Found {
    /// In the order asked for.
    pub rows: Vec<Sum>,
    /// How many there would be without a limit.
    pub matched: usize,
}

impl Flows {
    /// The slot with which a question's window begins.
    pub(super) fn first_slot(&self, query: &Query) -> u32 {
        query.window.first(self.slot())
    }

    /// Open connections, if the last pass saw all.
    fn open(&self, entry: &Entry) -> Option<u64> {
        let (count, pass) = entry.connections;
        (self.whole == self.pass).then_some(if pass == self.pass { u64::from(count) } else { 0 })
    }

    /// When it grew last, or had a connection.
    fn last_seen(&self, entry: &Entry) -> u64 {
        if self.open(entry).is_some_and(|count| count > 0) { self.now } else { entry.last }
    }

    /// Hands out the addresses that are asked for, and what was counted of each in the window. Those of which there is nothing to
    /// tell are left out.
    pub(super) fn each_matching(&self, query: &Query, mut out: impl FnMut(FlowId, &Entry, Counts)) {
        let from = self.first_slot(query);
        let mut asked_for: HashMap<u64, bool, RandomState> = HashMap::default();
        for (id, entry) in &self.entries {
            let edge = &entry.end.edge;
            let asked_for = *asked_for.entry(edge.number).or_insert_with(|| query.takes_edge(&edge.labels));
            if !asked_for || !query.takes_address(entry.address) {
                continue;
            }
            let counts = entry.since(from);
            if !counts.is_zero() || self.open(entry).is_some_and(|count| count > 0) {
                out(id, entry, counts);
            }
        }
    }

    /// The rows that a question asks for.
    pub(super) fn matching(&self, query: &Query) -> Found {
        match query.by {
            By::Address => self.find_addresses(query),
            By::Edge => self.find_edges(query),
        }
    }

    fn find_addresses(&self, query: &Query) -> Found {
        let mut found: Vec<(Value, FlowId)> = Vec::new();
        self.each_matching(query, |id, entry, counts| {
            let sum = Sum::of(entry, counts, self, By::Address);
            if enough(&sum, query) {
                found.push((query.sort.value(&sum), id));
            }
        });
        let matched = found.len();
        let labels = |id: FlowId| self.entries.get(id).map(|entry| (&entry.end.edge.labels, entry.address));
        cut(&mut found, query.limit, |(one, a), (other, b)| {
            one.compare(other, query.order).then_with(|| labels(*a).cmp(&labels(*b)))
        });
        let from = self.first_slot(query);
        let entries = found.iter().filter_map(|(_, id)| self.entries.get(*id));
        let rows = entries.map(|entry| Sum::of(entry, entry.since(from), self, By::Address)).collect();
        Found { rows, matched }
    }

    fn find_edges(&self, query: &Query) -> Found {
        let mut sums: HashMap<u64, Sum, RandomState> = HashMap::default();
        self.each_matching(query, |_, entry, counts| {
            let sum = Sum::of(entry, counts, self, By::Edge);
            match sums.entry(entry.end.edge.number) {
                std::collections::hash_map::Entry::Occupied(mut known) => known.get_mut().add(sum),
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(sum);
                }
            }
        });
        let mut rows: Vec<Sum> = sums.into_values().filter(|sum| enough(sum, query)).collect();
        let matched = rows.len();
        cut(&mut rows, query.limit, |one, other| {
            let ordering = query.sort.value(one).compare(&query.sort.value(other), query.order);
            ordering.then_with(|| one.end.edge.labels.cmp(&other.end.edge.labels))
        });
        Found { rows, matched }
    }
}

fn enough(sum: &Sum, query: &Query) -> bool {
    sum.counts.get(super::counts::at::SENT_SEGMENTS) >= query.least_segments
}

/// The first ones, in order, without sorting the rest.
fn cut<T>(all: &mut Vec<T>, limit: usize, compare: impl Fn(&T, &T) -> Ordering) {
    if limit > 0 && all.len() > limit {
        all.select_nth_unstable_by(limit - 1, &compare);
    }
    all.truncate(limit);
    all.sort_unstable_by(&compare);
}
