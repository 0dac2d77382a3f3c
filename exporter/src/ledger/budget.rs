// SPDX-License-Identifier: Apache-2.0
//! Holding the ledger to its budget of series.

use super::{Entry, Ledger, OTHER};
use crate::edge::Observer;

/// Idle edges whose totals are kept, for each edge that the budget could serve.
const RETAINED_PER_SERVED: usize = 4;

/// Series of a small edge: what the budget is divided by. One of UDP alone has four, so that no more idle ones are kept than
/// could be served.
const SMALLEST_EDGE: usize = 16;

/// Edges that may come to those retained before the next `finish` folds; what is new beyond them is folded on arrival.
const SLACK: usize = 4096;

impl Ledger {
    /// Series served now, of edges and listeners.
    pub fn series(&self) -> usize {
        self.series_with(self.gauges)
    }

    fn series_with(&self, gauges: bool) -> usize {
        let exposed = self.entries.iter().filter(|entry| entry.exposed);
        let edges: usize = exposed.map(|entry| entry.series(gauges)).sum();
        let others = [&self.listeners, &self.udp_sockets, &self.dropped];
        edges + others.map(|table| table.series(gauges)).iter().sum::<usize>()
    }

    /// Most series that may be served.
    pub fn series_limit(&self) -> usize {
        self.config.series_limit
    }

    /// Edges folded into `other` since the start.
    pub fn folded_edges(&self) -> u64 {
        self.folded
    }

    /// Bytes whose end has no name: client's, server's.
    pub fn unattributed_bytes(&self) -> [u64; 2] {
        self.unattributed
    }

    /// Bytes between sidecar proxies and their own pods, as the proxies' ends saw them.
    pub fn bytes_within_pods(&self) -> u64 {
        self.within_pods
    }

    /// Edges that did nothing for the idle timeout are no longer served. The `other` ones stay: their history is
    /// everybody's.
    pub(super) fn retire_idle(&mut self) {
        let (now, timeout) = (self.now, self.config.idle_timeout);
        for entry in self.entries.iter_mut().skip(OTHER.len()) {
            if now.duration_since(entry.last_active) >= timeout {
                entry.exposed = false;
            }
        }
    }

    /// Folds the least recently active edges until the rest fits; of edges equally active, the youngest first, whose
    /// history is shortest. Then folds retained idle edges, the longest idle first, until those kept are few enough.
    pub(super) fn keep_budget(&mut self) {
        // A pass that failed must not make room.
        let mut series = self.series_with(true);
        let limit = self.config.series_limit;
        let retained_limit = self.retained_limit();
        if series <= limit && self.retained() <= retained_limit {
            return;
        }
        let mut victims: Vec<u32> =
            self.by_labels.values().copied().filter(|index| *index as usize >= OTHER.len()).collect();
        victims.sort_unstable_by(|a, b| {
            let (a, b) = (&self.entries[*a as usize], &self.entries[*b as usize]);
            a.last_active.cmp(&b.last_active).then(b.created.cmp(&a.created))
        });
        for index in victims {
            let over = series > limit;
            let exposed = self.entries[index as usize].exposed;
            if !(over && exposed) && self.retained() <= retained_limit {
                if over {
                    continue;
                }
                break;
            }
            let before = self.served(index) + self.served_other(index);
            self.fold(index);
            series = series + self.served_other(index) - before;
        }
    }

    /// Whether no new edge may be entered before the next `finish`.
    pub(super) fn is_full(&self) -> bool {
        self.retained() >= self.retained_limit() + SLACK
    }

    /// Flow keys that were folded on arrival ask for a place again, for there may be room now.
    pub(super) fn recall_overflow(&mut self) {
        if std::mem::take(&mut self.overflowed) {
            for other in &mut self.entries[..OTHER.len()] {
                other.tenant = other.tenant.wrapping_add(1);
            }
        }
    }

    /// Edges whose totals are kept by themselves, served or not.
    fn retained(&self) -> usize {
        self.by_labels.len().saturating_sub(OTHER.len())
    }

    fn retained_limit(&self) -> usize {
        (self.config.series_limit / SMALLEST_EDGE).max(1) * RETAINED_PER_SERVED
    }

    fn served(&self, index: u32) -> usize {
        let entry = &self.entries[index as usize];
        if entry.exposed { entry.series(true) } else { 0 }
    }

    /// Series of the entry that takes this one when it is folded.
    fn served_other(&self, index: u32) -> usize {
        self.served(other_of(self.entries[index as usize].observer))
    }

    fn fold(&mut self, index: u32) {
        let place = &mut self.entries[index as usize];
        // The next edge at this place has another tenant number: flow keys that point here notice.
        let vacant = Entry {
            tenant: place.tenant.wrapping_add(1),
            ..Entry::new(Box::default(), place.observer, self.now)
        };
        let gone = std::mem::replace(place, vacant);
        self.by_labels.remove(&gone.labels);
        self.free.push(index);
        let other = &mut self.entries[other_of(gone.observer) as usize];
        other.absorb(&gone);
        other.exposed = true;
        self.folded += 1;
    }
}

/// The place of the entry that takes an observer's folded edges.
pub(super) fn other_of(observer: Observer) -> u32 {
    observer as u32
}
