// SPDX-License-Identifier: Apache-2.0
//! What listeners dropped and, for TCP, their accept queues, within their share of the budget of series. Packets that the
//! kernel dropped are kept alike, their reason in place of a port.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

/// Namespace, workload, port or reason.
pub type ListenerLabels = [Arc<str>; 3];

/// What a table of listeners is for.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The part of the budget that is theirs: one in so many.
    share: usize,
    /// Series of one that exists: drops, and its gauges if it has some.
    open: usize,
}

impl Kind {
    /// Accept queues: drops, length and limit, and the requests before them.
    pub const TCP: Kind = Kind { share: 4, open: 4 };
    /// Receive buffers: drops.
    pub const UDP: Kind = Kind { share: 8, open: 1 };
    /// Packets by owner and reason.
    pub const DROPS: Kind = Kind { share: 8, open: 1 };
}

/// Listeners that have gone whose drops are kept, for each that can be served.
const RETAINED_PER_SERVED: usize = 4;

/// Listeners that may come to those kept before the next `finish` folds; what is new beyond them is folded on arrival.
const SLACK: usize = 4096;

/// The listeners of one workload on one port.
#[derive(Debug, Clone)]
pub struct ListenerEntry {
    /// Connections that wait; 0 for UDP.
    pub length: u64,
    /// Most that may; 0 for UDP.
    pub limit: u64,
    /// Connection requests that are answered and not acknowledged yet; 0 for UDP.
    pub half_open: u64,
    /// Dropped since the start.
    pub drops: u64,
    /// Whether a listener exists now: without one, length and limit are not served.
    pub open: bool,
    created: Instant,
    /// When a listener was last seen or dropped something.
    last_seen: Instant,
    /// Whether it is served; one that has gone for long is not, but keeps its drops.
    exposed: bool,
}

impl ListenerEntry {
    fn new(now: Instant) -> Self {
        Self {
            length: 0,
            limit: 0,
            half_open: 0,
            drops: 0,
            open: false,
            created: now,
            last_seen: now,
            exposed: true,
        }
    }

    fn begin(&mut self) {
        self.length = 0;
        self.limit = 0;
        self.half_open = 0;
        self.open = false;
    }

    fn absorb(&mut self, gone: &Self) {
        self.length += gone.length;
        self.limit += gone.limit;
        self.half_open += gone.half_open;
        self.drops += gone.drops;
        self.open |= gone.open;
        self.exposed = true;
    }
}

/// All listeners. Those beyond the budget are added up as `other`; drops stay exact.
#[derive(Debug)]
pub struct Listeners {
    entries: HashMap<ListenerLabels, ListenerEntry, RandomState>,
    other_labels: ListenerLabels,
    other: ListenerEntry,
    kind: Kind,
    /// Most that are served, `other` included.
    most_served: usize,
}

impl Listeners {
    /// None yet. `series_limit` is the budget of edges and listeners together.
    pub fn new(kind: Kind, series_limit: usize, now: Instant) -> Self {
        Self {
            entries: HashMap::default(),
            other_labels: ["".into(), "other".into(), "".into()],
            other: ListenerEntry { exposed: false, ..ListenerEntry::new(now) },
            kind,
            most_served: (series_limit / kind.share / kind.open).max(1),
        }
    }

    /// Begins a pass: gauges are counted afresh.
    pub fn begin(&mut self) {
        self.entries.values_mut().chain([&mut self.other]).for_each(ListenerEntry::begin);
    }

    /// The numbers of a listener that exists, or dropped something, at `now`.
    pub fn entry(&mut self, labels: ListenerLabels, now: Instant) -> &mut ListenerEntry {
        let full = self.entries.len() >= self.most_retained() + self.most_served + SLACK;
        if full && !self.entries.contains_key(&labels) {
            self.other.exposed = true;
            return &mut self.other;
        }
        let entry = self.entries.entry(labels).or_insert_with(|| ListenerEntry::new(now));
        entry.last_seen = now;
        entry.exposed = true;
        entry
    }

    /// Ends a pass: what has gone for as long as `timeout` is no longer served, and what is beyond the budget is folded
    /// into `other`. Those that exist now and were there first stay.
    pub fn finish(&mut self, now: Instant, timeout: Duration) {
        for entry in self.entries.values_mut() {
            entry.exposed = entry.open || now.duration_since(entry.last_seen) < timeout;
        }
        let served = self.entries.values().filter(|entry| entry.exposed).count();
        let other_was_served = usize::from(self.other.exposed);
        if served + other_was_served > self.most_served {
            self.fold_beyond(self.most_served - 1, |entry| entry.exposed);
        }
        self.fold_beyond(self.most_retained(), |entry| !entry.exposed);
    }

    /// Those that are served.
    pub fn served(&self) -> impl Iterator<Item = (&ListenerLabels, &ListenerEntry)> {
        self.entries.iter().chain([(&self.other_labels, &self.other)]).filter(|(_, entry)| entry.exposed)
    }

    /// Series that they are served as, with or without gauges. Must agree with what `encode` writes; a test holds it to
    /// that.
    pub fn series(&self, gauges: bool) -> usize {
        self.served().map(|(_, entry)| if entry.open && gauges { self.kind.open } else { 1 }).sum()
    }

    fn most_retained(&self) -> usize {
        self.most_served * RETAINED_PER_SERVED
    }

    /// Folds all but the first `most` of some entries: open before gone, seen late before early, old before young.
    fn fold_beyond(&mut self, most: usize, of: impl Fn(&ListenerEntry) -> bool) {
        let mut some: Vec<_> = self.entries.iter().filter(|(_, entry)| of(entry)).collect();
        if some.len() <= most {
            return;
        }
        some.sort_unstable_by(|(a_labels, a), (b_labels, b)| {
            let by_use = b.open.cmp(&a.open).then(b.last_seen.cmp(&a.last_seen));
            by_use.then(a.created.cmp(&b.created)).then(a_labels.cmp(b_labels))
        });
        let victims: Vec<ListenerLabels> = some.drain(most..).map(|(labels, _)| labels.clone()).collect();
        for labels in victims {
            // What has gone and never dropped anything leaves nothing to add up.
            if let Some(gone) = self.entries.remove(&labels)
                && (gone.open || gone.drops > 0)
            {
                self.other.absorb(&gone);
            }
        }
    }

    /// Listeners kept, served or not.
    #[cfg(test)]
    pub fn kept(&self) -> usize {
        self.entries.len()
    }
}
