// SPDX-License-Identifier: Apache-2.0
//! How many connections there may be, and who goes when there are too many.
//!
//! A limit alone would let whoever fills it keep everybody out. So a new connection always gets in while one is open that
//! waits for its client: the one that has waited longest goes, of the source that has most if one has an eighth of all.
//! A client that asks as soon as it is connected is never the one that has waited longest.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Who is at the other end, as far as it can be told apart: an IPv4 address, a network of IPv6, this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// An address, of IPv6 the first 64 bits.
    Address(IpAddr),
    /// A Unix socket.
    Unix,
}

impl From<SocketAddr> for Source {
    fn from(address: SocketAddr) -> Self {
        Self::Address(match address.ip().to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
            ip => ip,
        })
    }
}

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its client has yet to say something: a handshake, a request, a password to be looked at.
    Waiting,
    /// An answer is being made.
    Working,
    /// The client has yet to take its answer.
    Sending,
}

struct Entry {
    source: Source,
    phase: Phase,
    /// When it came into this phase, in the order of all changes.
    since: u64,
    /// Bytes of the answer that it holds.
    bytes: usize,
    leave: Arc<Notify>,
}

#[derive(Default)]
struct State {
    clock: u64,
    open: HashMap<u64, Entry>,
}

/// All places.
pub struct Slots {
    most: usize,
    most_bytes: usize,
    state: Mutex<State>,
    freed: Notify,
}

impl Slots {
    /// For so many connections, that hold so many bytes of answers together.
    pub fn new(most: usize, most_bytes: usize) -> Arc<Self> {
        Arc::new(Self { most, most_bytes, state: Mutex::default(), freed: Notify::new() })
    }

    /// A place for a connection, and whether another had to leave for it. Waits only while all are at an answer.
    pub async fn admit(self: &Arc<Self>, source: Source) -> (Slot, bool) {
        loop {
            // Before looking, so that a place that gets free in between is not missed.
            let freed = self.freed.notified();
            if let Some(admitted) = self.try_admit(source) {
                return admitted;
            }
            freed.await;
        }
    }

    fn try_admit(self: &Arc<Self>, source: Source) -> Option<(Slot, bool)> {
        let mut state = self.state.lock();
        let full = state.open.len() >= self.most;
        if full {
            let victim = state.longest_waiting(self.most / 8).or_else(|| state.longest(Phase::Sending))?;
            state.dismiss(victim);
        }
        state.clock += 1;
        let id = state.clock;
        let leave = Arc::<Notify>::default();
        let entry = Entry { source, phase: Phase::Waiting, since: id, bytes: 0, leave: Arc::clone(&leave) };
        state.open.insert(id, entry);
        Some((Slot { slots: Arc::clone(self), id, source, leave }, full))
    }

    /// How many there are.
    pub fn open(&self) -> usize {
        self.state.lock().open.len()
    }

    /// Waits until there is none.
    pub async fn empty(&self) {
        loop {
            let freed = self.freed.notified();
            if self.open() == 0 {
                return;
            }
            freed.await;
        }
    }

    /// Of the answers held, the oldest go while they are too many; they are who takes longest.
    fn enter(&self, id: u64, phase: Phase, bytes: usize) {
        let mut state = self.state.lock();
        state.clock += 1;
        let now = state.clock;
        let Some(entry) = state.open.get_mut(&id) else { return };
        (entry.phase, entry.since, entry.bytes) = (phase, now, bytes);
        if phase != Phase::Sending {
            return;
        }
        // Whoever waits for a place may have this one now.
        self.freed.notify_waiters();
        let mut held: usize = state.open.values().map(|entry| entry.bytes).sum();
        while held > self.most_bytes
            && let Some(victim) = state.longest(Phase::Sending).filter(|victim| *victim != id)
        {
            held -= state.dismiss(victim);
        }
    }
}

impl State {
    fn longest(&self, phase: Phase) -> Option<u64> {
        let of_phase = self.open.iter().filter(|(_, entry)| entry.phase == phase);
        of_phase.min_by_key(|(_, entry)| entry.since).map(|(id, _)| *id)
    }

    /// Who has waited longest, of the source that has most if that is more than `share`.
    fn longest_waiting(&self, share: usize) -> Option<u64> {
        let waiting = || self.open.iter().filter(|(_, entry)| entry.phase == Phase::Waiting);
        let mut counts: HashMap<Source, usize> = HashMap::new();
        for (_, entry) in waiting() {
            *counts.entry(entry.source).or_default() += 1;
        }
        let greedy = counts.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > share);
        let candidates =
            waiting().filter(|(_, entry)| greedy.is_none_or(|(source, _)| source == entry.source));
        candidates.min_by_key(|(_, entry)| entry.since).map(|(id, _)| *id)
    }

    /// Has it leave; its place is free at once. Returns the bytes that it held.
    fn dismiss(&mut self, id: u64) -> usize {
        let Some(entry) = self.open.remove(&id) else { return 0 };
        entry.leave.notify_one();
        entry.bytes
    }
}

/// A connection's place, given back when dropped.
pub struct Slot {
    slots: Arc<Slots>,
    id: u64,
    source: Source,
    leave: Arc<Notify>,
}

impl Slot {
    /// Who is at the other end.
    pub const fn source(&self) -> Source {
        self.source
    }

    /// Its client has asked for something that is being made.
    pub fn working(&self) {
        self.slots.enter(self.id, Phase::Working, 0);
    }

    /// An answer of so many bytes is ready to be sent.
    pub fn sending(&self, bytes: usize) {
        self.slots.enter(self.id, Phase::Sending, bytes);
    }

    /// All that was to be sent is sent.
    pub fn sent(&self) {
        let sending = |entry: &Entry| entry.phase == Phase::Sending;
        if self.slots.state.lock().open.get(&self.id).is_some_and(sending) {
            self.slots.enter(self.id, Phase::Waiting, 0);
        }
    }

    /// Waits until the connection has to leave.
    pub async fn dismissed(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.state.lock().open.remove(&self.id);
        self.slots.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
