// SPDX-License-Identifier: Apache-2.0
//! The addresses behind each edge, as many as there is room for.
//!
//! A new address takes the place of the one that was idle longest. One that grew in this pass or in the one before keeps its place,
//! though: were there more busy addresses than room, each would push out the next, and nothing would be known of any. Then newcomers
//! are refused. Both are counted.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;
use slotmap::SlotMap;

use super::entry::{End, Entry, FlowEdge, local_names};
use super::window::{Passes, SLOT, bounds};
use crate::edge::{Edge, LabelPlan, LabelValues};

slotmap::new_key_type! {
    /// An address of an edge, while it has a place.
    pub struct FlowId;
}

/// Where the numbers of a flow key go; kept with the key.
#[derive(Debug, Clone)]
pub struct FlowTag {
    end: Arc<End>,
    id: FlowId,
}

/// The addresses behind edges, and what was counted of each in the last quarter of an hour.
pub struct Flows {
    pub(super) plan: LabelPlan,
    pub(super) capacity: usize,
    pub(super) entries: SlotMap<FlowId, Entry>,
    index: HashMap<(u64, IpAddr), FlowId, RandomState>,
    edges: HashMap<LabelValues, Arc<FlowEdge>, RandomState>,
    ends: HashSet<Arc<End>, RandomState>,
    edges_named: u64,
    epoch: Instant,
    /// Milliseconds since the epoch.
    pub(super) now: u64,
    pub(super) passes: Passes,
    /// The running pass, or the last one, and the last that was whole.
    pub(super) pass: u32,
    pub(super) whole: u32,
    /// When this pass and the one before began.
    begun: (u64, u64),
    /// The slot up to which old counts were trimmed, and the entry to go on with.
    trimmed: (u32, usize),
    /// The pass in which no place could be made.
    crowded: Option<u32>,
    pub(super) evicted: u64,
    pub(super) refused: u64,
}

/// How full the store is, and what it cost to keep it from growing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowsUse {
    /// Addresses of edges that are kept.
    pub tracked: usize,
    /// Most that may be.
    pub capacity: usize,
    /// Pushed out by newer ones.
    pub evicted: u64,
    /// Times that something was counted of an address for which there was no room.
    pub refused: u64,
}

/// Places that are made at once, as a part of all: looking for those idle longest takes a look at all.
const MADE_AT_ONCE: usize = 16;

/// Ends that are named without being in use, beyond the addresses that there is room for.
const MOST_ENDS: usize = 4;

impl Flows {
    /// None known yet. `epoch` is when counting began.
    pub fn new(plan: LabelPlan, capacity: usize, epoch: Instant) -> Self {
        Self {
            plan,
            capacity: capacity.max(1),
            entries: SlotMap::with_key(),
            index: HashMap::default(),
            edges: HashMap::default(),
            ends: HashSet::default(),
            edges_named: 0,
            epoch,
            now: 0,
            passes: Passes::new(),
            pass: 0,
            whole: 0,
            begun: (0, 0),
            trimmed: (0, 0),
            crowded: None,
            evicted: 0,
            refused: 0,
        }
    }

    /// What is counted from here on is counted now. Time never goes back, whatever the clock does.
    pub fn set_now(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.epoch).as_millis();
        self.now = u64::try_from(since).unwrap_or(u64::MAX).max(self.now);
    }

    /// The slot of the time.
    pub(super) fn slot(&self) -> u32 {
        u32::try_from(self.now / SLOT.as_millis() as u64).unwrap_or(u32::MAX)
    }

    /// Begins a pass over the sockets.
    pub fn begin(&mut self, now: Instant) {
        self.set_now(now);
        self.pass = self.pass.wrapping_add(1);
        self.begun = (self.now, self.begun.0);
        self.passes.note(self.slot(), self.now);
        self.trim();
    }

    /// Says that the pass saw everything: its open connections are all.
    pub fn whole(&mut self) {
        self.whole = self.pass;
    }

    /// The number of the running pass, or of the last one.
    pub fn pass(&self) -> u32 {
        self.pass
    }

    /// How it fares.
    pub fn usage(&self) -> FlowsUse {
        let Self { capacity, evicted, refused, .. } = *self;
        FlowsUse { tracked: self.entries.len(), capacity, evicted, refused }
    }

    /// Names of the edges' labels.
    pub fn labels(&self) -> Vec<&'static str> {
        self.plan.names().collect()
    }

    /// Notes to whom a flow key's numbers go, which was named anew; nobody within a pod.
    pub fn name(&mut self, tag: &mut Option<FlowTag>, edge: Option<&Edge>) {
        let end = edge.and_then(|edge| self.end(edge));
        match (tag.as_ref(), end) {
            (Some(known), Some(end)) if Arc::ptr_eq(&known.end, &end) => {}
            (_, end) => *tag = end.map(|end| FlowTag { end, id: FlowId::default() }),
        }
    }

    fn end(&mut self, edge: &Edge) -> Option<Arc<End>> {
        let labels = self.plan.values(edge);
        let local = local_names(edge);
        if self.ends.len() >= self.capacity.saturating_mul(MOST_ENDS) {
            self.sweep_names();
            if self.ends.len() >= self.capacity.saturating_mul(MOST_ENDS) {
                self.refused += 1;
                return None;
            }
        }
        let edge = match self.edges.get(&labels) {
            Some(edge) => Arc::clone(edge),
            None => {
                self.edges_named += 1;
                let edge = Arc::new(FlowEdge { number: self.edges_named, labels: labels.clone() });
                self.edges.insert(labels, Arc::clone(&edge));
                edge
            }
        };
        let end = End { edge, local };
        if let Some(known) = self.ends.get(&end) {
            return Some(Arc::clone(known));
        }
        let end = Arc::new(end);
        self.ends.insert(Arc::clone(&end));
        Some(end)
    }

    /// The numbers of a flow key's address, for now. `grew` is whether there is something to be counted: an open connection that does
    /// nothing takes a place only if one is free. None if there is none.
    pub fn entry(
        &mut self,
        tag: &mut FlowTag,
        grew: bool,
        address: impl FnOnce() -> IpAddr,
    ) -> Option<&mut Entry> {
        if !self.entries.contains_key(tag.id) {
            tag.id = self.find(&tag.end, grew, address())?;
        }
        let slot = self.slot();
        let entry = self.entries.get_mut(tag.id)?;
        entry.of(&tag.end);
        entry.enter(slot);
        if grew {
            entry.last = self.now;
        }
        Some(entry)
    }

    fn find(&mut self, end: &Arc<End>, grew: bool, address: IpAddr) -> Option<FlowId> {
        let key = (end.edge.number, address);
        if let Some(id) = self.index.get(&key) {
            return Some(*id);
        }
        if self.entries.len() >= self.capacity {
            if !grew {
                return None;
            }
            self.make_room();
            if self.entries.len() >= self.capacity {
                self.refused += 1;
                return None;
            }
        }
        let id = self.entries.insert(Entry::new(Arc::clone(end), address, self.now));
        self.index.insert(key, id);
        Some(id)
    }

    /// Pushes out the addresses that were idle longest, of those that may go.
    fn make_room(&mut self) {
        if self.crowded == Some(self.pass) {
            return;
        }
        let kept_from = self.begun.1;
        let mut idle: Vec<(u64, FlowId)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.last < kept_from)
            .map(|(id, entry)| (entry.last, id))
            .collect();
        let wanted = (self.capacity / MADE_AT_ONCE).max(1);
        if idle.len() > wanted {
            idle.select_nth_unstable(wanted - 1);
            idle.truncate(wanted);
        }
        if idle.is_empty() {
            self.crowded = Some(self.pass);
        }
        for (_, id) in idle {
            if let Some(entry) = self.entries.remove(id) {
                self.index.remove(&(entry.end.edge.number, entry.address));
                self.evicted += 1;
            }
        }
    }

    /// Once for each slot that has passed, looks at a share of the addresses for counts that nobody asks for any more.
    fn trim(&mut self) {
        let slot = self.slot();
        let (last, at) = self.trimmed;
        if slot == last {
            return;
        }
        let bounds = bounds(slot);
        let shares = (slot - last).min(super::window::SLOTS_IN_COARSE) as usize;
        let all = self.entries.len();
        let count = all.div_ceil(super::window::SLOTS_IN_COARSE as usize) * shares;
        let start = if at >= all { 0 } else { at };
        for entry in self.entries.values_mut().skip(start).take(count) {
            entry.trim(bounds);
        }
        self.trimmed = (slot, start + count);
        if start + count >= all {
            self.sweep_names();
        }
    }

    /// Forgets names that nobody uses.
    fn sweep_names(&mut self) {
        self.ends.retain(|end| Arc::strong_count(end) > 1);
        self.edges.retain(|_, edge| Arc::strong_count(edge) > 1);
    }

    /// Names that are kept.
    #[cfg(test)]
    pub fn named(&self) -> usize {
        self.ends.len().max(self.edges.len())
    }

    /// Bytes on the heap, as far as they grow with the addresses.
    #[cfg(test)]
    pub fn heap(&self) -> usize {
        let logs: usize = self.entries.values().map(Entry::heap).sum();
        let slots = self.entries.capacity() * (size_of::<Entry>() + 8);
        // A control byte besides each place of the index.
        let index = self.index.capacity() * (size_of::<((u64, IpAddr), FlowId)>() + 1) * 8 / 7;
        logs + slots + index
    }
}

impl std::fmt::Debug for Flows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flows").field("usage", &self.usage()).finish_non_exhaustive()
    }
}
