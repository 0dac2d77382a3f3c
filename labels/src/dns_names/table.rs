// SPDX-License-Identifier: Apache-2.0
//! Which name an address was asked for by.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;

use super::answer::Answer;
use super::workload::Asked;
use crate::Set;

/// A name counts at least this long, however short its time to live: pools and runtimes connect to an address long after
/// they have asked for it.
pub(super) const MIN_LIFE: Duration = Duration::from_secs(300);
/// And at most this long (RFC 8767, section 4).
const MAX_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

type Cache<K> = LruCache<K, Entry, foldhash::fast::RandomState>;

#[derive(Debug)]
struct Entry {
    asked: Arc<Asked>,
    expires: Instant,
    /// By answers in this very namespace, or in any; else it is a name lent from another namespace, kept for the flows that
    /// it has named.
    own: bool,
    /// A flow has this name.
    used: bool,
}

/// Names of addresses: of each network namespace that asked, and of any.
#[derive(Debug)]
pub(super) struct Table {
    by_client: Cache<(u32, IpAddr)>,
    by_addr: Cache<IpAddr>,
    /// Addresses that somebody wanted to know the name of, so that they are told when there is another.
    wanted: Set<IpAddr>,
    capacity: usize,
}

impl Table {
    /// `capacity` holds for namespaces with address, for addresses, and for those wanted, each.
    pub fn new(capacity: usize) -> Table {
        let hasher = foldhash::fast::RandomState::default;
        Table {
            by_client: LruCache::unbounded_with_hasher(hasher()),
            by_addr: LruCache::unbounded_with_hasher(hasher()),
            wanted: Set::default(),
            capacity,
        }
    }

    /// Namespaces with address, and addresses.
    pub fn len(&self) -> (usize, usize) {
        (self.by_client.len(), self.by_addr.len())
    }

    /// Takes over an answer that a client in `netns` has got. Returns the addresses that somebody wanted to know about,
    /// and that have another name now.
    pub fn note(&mut self, netns: u32, answer: Answer, now: Instant) -> Vec<IpAddr> {
        let mut asked = Arc::new(Asked::new(answer.asked, answer.canonical));
        let mut renamed = Vec::new();
        for (addr, ttl) in answer.addresses {
            let expires = now + Duration::from_secs(ttl.into()).clamp(MIN_LIFE, MAX_LIFE);
            let anywhere = put(&mut self.by_addr, addr, &mut asked, expires, now);
            let here = put(&mut self.by_client, (netns, addr), &mut asked, expires, now);
            if (anywhere || here) && self.wanted.contains(&addr) {
                renamed.push(addr);
            }
        }
        trim(&mut self.by_addr, self.capacity);
        trim(&mut self.by_client, self.capacity);
        renamed
    }

    /// The name of an address for a client in `netns`; None asks for what any client calls it.
    ///
    /// What its own namespace asked for comes first. A name that has expired goes on naming for the namespace of which it
    /// has named a flow, until there is another: the flow may live longer, and be asked for again.
    ///
    /// Also true if it has been forgotten who wanted to know about which address: then everybody must ask anew.
    pub fn look_up(&mut self, netns: Option<u32>, addr: IpAddr, now: Instant) -> (Option<Arc<Asked>>, bool) {
        let full = self.wanted.len() >= self.capacity && !self.wanted.contains(&addr);
        if full {
            self.wanted.clear();
        }
        self.wanted.insert(addr);
        (self.find(netns, addr, now), full)
    }

    fn find(&mut self, netns: Option<u32>, addr: IpAddr, now: Instant) -> Option<Arc<Asked>> {
        let held = netns.and_then(|netns| self.by_client.get_mut(&(netns, addr)));
        if let Some(entry) = held
            && entry.own
            && (entry.expires > now || entry.used)
        {
            entry.used = true;
            return Some(entry.asked.clone());
        }
        if let Some(entry) = self.by_addr.get(&addr).filter(|entry| entry.expires > now) {
            let asked = entry.asked.clone();
            if let Some(netns) = netns {
                let lent = Entry { asked: asked.clone(), expires: entry.expires, own: false, used: true };
                self.by_client.put((netns, addr), lent);
                trim(&mut self.by_client, self.capacity);
            }
            return Some(asked);
        }
        let entry = self.by_client.get(&(netns?, addr))?;
        entry.used.then(|| entry.asked.clone())
    }

    /// Forgets names that count no more.
    pub fn sweep(&mut self, now: Instant) {
        drop_expired(&mut self.by_addr, now);
        drop_expired(&mut self.by_client, now);
    }
}

/// Returns true if the name is another than before. `asked` becomes the one that is known already if it is equal, so
/// that there is one of it.
fn put<K: std::hash::Hash + Eq>(
    cache: &mut Cache<K>,
    key: K,
    asked: &mut Arc<Asked>,
    expires: Instant,
    now: Instant,
) -> bool {
    match cache.get_mut(&key) {
        Some(entry) if entry.asked == *asked => {
            *asked = entry.asked.clone();
            // After its end, it counted for the flows that had it alone.
            let counted = entry.used || (entry.own && entry.expires > now);
            entry.expires = expires.max(entry.expires);
            entry.own = true;
            !counted
        }
        Some(entry) => {
            *entry = Entry { asked: asked.clone(), expires, own: true, used: false };
            true
        }
        None => {
            cache.put(key, Entry { asked: asked.clone(), expires, own: true, used: false });
            true
        }
    }
}

fn trim<K: std::hash::Hash + Eq>(cache: &mut Cache<K>, capacity: usize) {
    while cache.len() > capacity {
        cache.pop_lru();
    }
}

fn drop_expired<K: std::hash::Hash + Eq + Copy>(cache: &mut Cache<K>, now: Instant) {
    let expired = |(_, entry): &(&K, &Entry)| entry.expires <= now && !entry.used;
    let gone: Vec<K> = cache.iter().filter(expired).map(|(key, _)| *key).collect();
    gone.iter().for_each(|key| {
        cache.pop(key);
    });
}

#[cfg(test)]
mod tests;
