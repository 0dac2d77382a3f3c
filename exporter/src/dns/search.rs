// SPDX-License-Identifier: Apache-2.0
//! Search-list noise, told from what clients do.
//!
//! A resolver that works through its search list asks for the next candidate as soon as one does not exist. So an NXDOMAIN
//! is noise if the same client goes on, within a second, to another name that is made of the same one. An NXDOMAIN that nothing
//! follows is what the application gets to see. A lookup that fails for good leaves one error, one that succeeds in the end
//! leaves none; which of the names that was does not matter to the counts. Nothing needs to be configured, and other
//! programs' lists need not be known.
//!
//! Pure: time comes with the samples. Where samples were lost, or more clients ask than are remembered, noise counts as errors,
//! never the other way round.

mod lookup;

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use flowgauge_probes::{FlowKey, Role};
use foldhash::fast::RandomState;
use lru::LruCache;

use super::name::Name;
use super::resolv_conf::SearchList;
use lookup::Lookup;

/// Lookups remembered at most, over all clients: some 600 bytes each.
const MOST_LOOKUPS: usize = 8192;

/// Lookups of one client remembered at most, so that one that asks for random names costs others nothing.
const MOST_PER_CLIENT: usize = 1024;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Client {
    /// A program on this host: its network namespace, cgroup and process.
    Local(u32, u64, u32),
    /// Somebody who asks a server in this network namespace.
    Remote(u32, IpAddr),
}

impl Client {
    /// Who asks in a flow.
    pub fn of(key: &FlowKey) -> Self {
        match key.role {
            Role::Client => Client::Local(key.netns, key.cgroup, key.process),
            Role::Server | Role::Listener => Client::Remote(key.netns, key.remote()),
        }
    }
}

/// Names that may come of one name: those of one type with the same first label.
type Kind = (u16, Box<[u8]>);

type Lookups<K> = LruCache<Kind, Lookup<K>, RandomState>;

/// What is known of a flow's NXDOMAIN answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Findings {
    /// Found to be made up since the last time.
    pub made_up: u64,
    /// Not decided yet, now.
    pub undecided: u64,
}

/// Tells NXDOMAIN answers that only a search list caused from real ones. `K` is what they are counted by.
pub struct SearchNoise<K> {
    list: SearchList,
    clients: LruCache<Client, Lookups<K>, RandomState>,
    lookups: usize,
    found: HashMap<K, Findings, RandomState>,
}

impl<K: Copy + Eq + Hash> SearchNoise<K> {
    /// `list` is the host's own, for names that come of it in an order that tells nothing.
    pub fn new(list: SearchList) -> Self {
        let clients = LruCache::unbounded_with_hasher(RandomState::default());
        Self { list, clients, lookups: 0, found: HashMap::default() }
    }

    /// A client asked, at a time in nanoseconds. Of those that had no NXDOMAIN lately, it need not be told.
    pub fn query(&mut self, client: Client, time: u64, name: &Name, qtype: u16) {
        // Where nothing failed before, nothing can follow.
        let kind = (qtype, name.first().into());
        let lookup = self.clients.get_mut(&client).and_then(|lookups| lookups.get_mut(&kind));
        if let Some(lookup) = lookup {
            lookup.asked(name, time, &self.list, &mut self.found);
        }
    }

    /// A client was answered that a name does not exist.
    pub fn nxdomain(&mut self, client: Client, key: K, time: u64, name: &Name, qtype: u16) {
        let lookups = self
            .clients
            .get_or_insert_mut(client, || LruCache::unbounded_with_hasher(RandomState::default()));
        let before = lookups.len();
        let lookup = lookups.get_or_insert_mut((qtype, name.first().into()), Lookup::default);
        lookup.nxdomain(key, name, time, &self.list, &mut self.found);
        if lookups.len() > MOST_PER_CLIENT {
            lookups.pop_lru();
        }
        self.lookups = self.lookups + lookups.len() - before;
        while self.lookups > MOST_LOOKUPS {
            // The client that has been quiet for longest; never this one alone, which has fewer.
            let Some((_, gone)) = self.clients.pop_lru() else { break };
            self.lookups -= gone.len();
        }
    }

    /// What was found since the last time, and what is undecided at `now`.
    pub fn take(&mut self, now: u64) -> HashMap<K, Findings, RandomState> {
        let mut found = std::mem::take(&mut self.found);
        let (mut quiet, mut lookups_left) = (Vec::new(), 0);
        for (client, lookups) in &mut self.clients {
            let mut over = Vec::new();
            for (kind, lookup) in lookups.iter_mut() {
                lookup.decide(now, &mut found);
                for (key, count) in lookup.undecided() {
                    found.entry(key).or_default().undecided += count;
                }
                if lookup.is_over() {
                    over.push(kind.clone());
                }
            }
            for kind in over {
                lookups.pop(&kind);
            }
            lookups_left += lookups.len();
            if lookups.is_empty() {
                quiet.push(*client);
            }
        }
        for client in quiet {
            self.clients.pop(&client);
        }
        self.lookups = lookups_left;
        found
    }
}

impl<K> std::fmt::Debug for SearchNoise<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SearchNoise").field("lookups", &self.lookups).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
