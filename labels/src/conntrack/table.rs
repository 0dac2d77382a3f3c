// SPDX-License-Identifier: Apache-2.0
//! Which connection went to which backend, for as many connections as memory allows.

use std::hash::Hash;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use lru::LruCache;

use super::message::Translation;

/// Connections remembered: 12 MB if all are used.
pub(super) const CAPACITY: usize = 131_072;

/// `A` is an address as octets: smaller than an [`IpAddr`], and most are IPv4.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key<A> {
    source: u64,
    dialled: A,
    source_port: u16,
    dialled_port: u16,
}

struct Backend<A> {
    address: A,
    port: u16,
    stamp: u16,
}

type Family<A> = LruCache<Key<A>, Backend<A>, RandomState>;

/// The connections with a translated destination that were seen last, and that nobody has asked for yet.
pub(super) struct Table {
    v4: Family<[u8; 4]>,
    v6: Family<[u8; 16]>,
    capacity: usize,
    /// The current dump. What events have told since it began is newer than what it lists.
    stamp: u16,
}

impl Table {
    pub fn new(capacity: usize) -> Self {
        let (v4, v6) = (
            LruCache::unbounded_with_hasher(<_>::default()),
            LruCache::unbounded_with_hasher(<_>::default()),
        );
        Table { v4, v6, capacity, stamp: 0 }
    }

    /// A dump begins: from now on its entries replace all that was told before, and nothing told after.
    pub fn begin_dump(&mut self) {
        self.stamp = self.stamp.wrapping_add(1);
    }

    /// Remembers a connection that has just begun, and forgets an earlier one of the same addresses and ports.
    pub fn insert(&mut self, source: u64, entry: &Translation) {
        self.put(source, entry, |_, _| true);
    }

    /// Remembers a connection that a dump lists, unless an event has told of it since the dump began.
    pub fn insert_listed(&mut self, source: u64, entry: &Translation) {
        self.put(source, entry, |known, current| known != current);
    }

    fn put(&mut self, source: u64, entry: &Translation, replaces: fn(u16, u16) -> bool) {
        let ports = (entry.source.1, entry.dialled.1, entry.backend.1);
        match (entry.dialled.0, entry.backend.0) {
            (IpAddr::V4(dialled), IpAddr::V4(backend)) => {
                put(&mut self.v4, source, dialled.octets(), backend.octets(), ports, self.stamp, replaces);
            }
            (IpAddr::V6(dialled), IpAddr::V6(backend)) => {
                put(&mut self.v6, source, dialled.octets(), backend.octets(), ports, self.stamp, replaces);
            }
            _ => return, // the kernel translates within a family
        }
        if self.len() > self.capacity {
            if self.v4.len() >= self.v6.len() {
                self.v4.pop_lru();
            } else {
                self.v6.pop_lru();
            }
        }
    }

    /// Where a connection went, if that is known; forgets it.
    pub fn take(&mut self, source: u64, source_port: u16, dialled: (IpAddr, u16)) -> Option<(IpAddr, u16)> {
        let ports = (source_port, dialled.1);
        match dialled.0 {
            IpAddr::V4(address) => take(&mut self.v4, source, address.octets(), ports),
            IpAddr::V6(address) => take(&mut self.v6, source, address.octets(), ports),
        }
    }

    /// Connections known.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }
}

fn put<A: Hash + Eq>(
    family: &mut Family<A>,
    source: u64,
    dialled: A,
    address: A,
    (source_port, dialled_port, port): (u16, u16, u16),
    stamp: u16,
    replaces: fn(u16, u16) -> bool,
) {
    let key = Key { source, dialled, source_port, dialled_port };
    if family.peek(&key).is_none_or(|known| replaces(known.stamp, stamp)) {
        family.put(key, Backend { address, port, stamp });
    }
}

fn take<A: Hash + Eq + Into<IpAddr>>(
    family: &mut Family<A>,
    source: u64,
    dialled: A,
    (source_port, dialled_port): (u16, u16),
) -> Option<(IpAddr, u16)> {
    let backend = family.pop(&Key { source, dialled, source_port, dialled_port })?;
    Some((backend.address.into(), backend.port))
}

#[cfg(test)]
mod tests;
