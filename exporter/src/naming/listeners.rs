// SPDX-License-Identifier: Apache-2.0
//! Who listens where on this host.

use std::collections::HashMap;
use std::net::IpAddr;

use flowgauge_labels::Owner;
use flowgauge_probes::tcp::{Listener, Processes};
use foldhash::fast::RandomState;

use super::owner_of;

/// Updates, two a pass, for which a listener that has gone still names its connections.
const REMEMBERED_UPDATES: u32 = 80;

/// Listeners remembered at most; those that have gone go first.
const REMEMBERED: usize = 16_384;

struct Entry {
    /// The address listened on; unspecified for all.
    address: IpAddr,
    owner: Owner,
    /// The update that saw it last.
    update: u32,
}

impl Entry {
    fn serves(&self, address: IpAddr) -> bool {
        self.address == address || self.address.is_unspecified()
    }
}

/// Who listens, by namespace, port, address and cgroup.
type Now = HashMap<(u32, u16, IpAddr, u64), Owner, RandomState>;

/// A port of a namespace.
#[derive(Default)]
struct Port {
    entries: Vec<Entry>,
    /// The generation of its last change.
    changed: u64,
}

/// By namespace and port, an entry for each address and cgroup that listens there. An accepted socket has its listener's
/// cgroup, and is told apart by it; whoever dials is told apart by the address. Different programs in one cgroup and on
/// one address are ambiguous: the kernel does not tell which of them accepted a connection.
#[derive(Default)]
pub struct Listeners {
    by_port: HashMap<(u32, u16), Port, RandomState>,
    update: u32,
    generation: u64,
}

impl Listeners {
    /// Grows when an earlier answer may be another one now.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether an answer about a port of a namespace, given at generation `since`, may be another one now. Of one that is
    /// listened on no more the last answer holds.
    pub fn is_stale(&self, netns: u32, port: u16, since: u64) -> bool {
        self.by_port.get(&(netns, port)).is_some_and(|port| port.changed > since)
    }

    /// Who accepted a connection on a port of a namespace: whoever listens there in the socket's cgroup. `address` is
    /// the socket's own one where it is known; else the connection came from elsewhere, and nobody on loopback got it.
    pub fn accepting(&self, netns: u32, port: u16, cgroup: u64, address: Option<IpAddr>) -> Option<Owner> {
        self.find(netns, port, address, |entry| {
            entry.owner.cgroup == cgroup && (address.is_some() || !entry.address.is_loopback())
        })
    }

    /// Who listens on a port of a namespace, or did until lately, as seen by somebody who dials this address.
    pub fn dialled(&self, netns: u32, port: u16, address: IpAddr) -> Option<Owner> {
        self.find(netns, port, Some(address), |_| true)
    }

    fn find(
        &self,
        netns: u32,
        port: u16,
        address: Option<IpAddr>,
        matches: impl Fn(&Entry) -> bool,
    ) -> Option<Owner> {
        let Port { entries, .. } = self.by_port.get(&(netns, port))?;
        let serves = |entry: &&Entry| matches(entry) && address.is_none_or(|address| entry.serves(address));
        let found: Vec<&Entry> = entries.iter().filter(serves).collect();
        // Those that listen now, not those that did; of those, the one that listens on this very address.
        let newest = found.iter().map(|entry| entry.update).max()?;
        let now = || found.iter().filter(move |entry| entry.update == newest);
        let exact = address.is_some() && now().any(|entry| !entry.address.is_unspecified());
        let mut owners =
            now().filter(|entry| !exact || !entry.address.is_unspecified()).map(|entry| &entry.owner);
        let first = owners.next()?.clone();
        let same = |owner: &Owner| owner.cgroup == first.cgroup && owner.process == first.process;
        if owners.all(same) {
            return Some(first);
        }
        Some(Owner { netns, cgroup: 0, process: None, ambiguous: true })
    }

    /// Takes the listening sockets that exist now.
    pub fn update(&mut self, listeners: &[Listener], processes: &Processes) {
        let mut now = Now::default();
        for listener in listeners {
            let owner = owner_of(&listener.key, processes);
            now.entry((owner.netns, listener.key.port, listener.key.remote(), owner.cgroup))
                .and_modify(|first| {
                    first.ambiguous |= first.process != owner.process;
                    if first.ambiguous {
                        first.process = None;
                    }
                })
                .or_insert(owner);
        }
        self.take(now);
    }

    fn take(&mut self, now: Now) {
        self.update = self.update.wrapping_add(1);
        let update = self.update;
        let earlier = update.wrapping_sub(1);
        let next = self.generation + 1;
        for ((netns, port, address, cgroup), owner) in now {
            let Port { entries, changed } = self.by_port.entry((netns, port)).or_default();
            let known =
                entries.iter_mut().find(|entry| entry.address == address && entry.owner.cgroup == cgroup);
            if known.as_ref().is_none_or(|entry| entry.owner != owner || entry.update != earlier) {
                *changed = next;
                self.generation = next;
            }
            match known {
                Some(entry) => *entry = Entry { address, owner, update },
                None => entries.push(Entry { address, owner, update }),
            }
        }
        let crowded = self.by_port.len() > REMEMBERED;
        self.by_port.retain(|_, Port { entries, changed }| {
            // One of several has gone: the others are the answer now. The last one goes on being it.
            let seen = |when| entries.iter().any(|entry| entry.update == when);
            if seen(update) && seen(earlier) {
                *changed = next;
                self.generation = next;
            }
            entries.retain(|entry| {
                let age = update.wrapping_sub(entry.update);
                age == 0 || (age < REMEMBERED_UPDATES && !crowded)
            });
            !entries.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(listeners: &mut Listeners, all: &[(u32, u16, u64)]) -> u64 {
        let since = listeners.generation();
        let owner = |netns, cgroup| Owner { netns, cgroup, process: None, ambiguous: false };
        let any = IpAddr::from([0; 4]);
        listeners.take(
            all.iter()
                .map(|&(netns, port, cgroup)| ((netns, port, any, cgroup), owner(netns, cgroup)))
                .collect(),
        );
        since
    }

    #[test]
    fn only_a_change_of_its_own_port_makes_an_answer_stale() {
        let mut listeners = Listeners::default();
        let since = take(&mut listeners, &[(1, 80, 7)]);
        assert!(listeners.is_stale(1, 80, since), "whoever asked before it was there");
        let since = take(&mut listeners, &[(1, 80, 7), (1, 81, 8), (2, 80, 9)]);
        assert!(listeners.is_stale(1, 81, since) && listeners.is_stale(2, 80, since));
        assert!(!listeners.is_stale(1, 80, since));
        let since = take(&mut listeners, &[(1, 80, 7), (1, 80, 6)]);
        assert!(listeners.is_stale(1, 80, since) && !listeners.is_stale(1, 81, since));
        let since = take(&mut listeners, &[(1, 80, 6)]);
        assert!(listeners.is_stale(1, 80, since), "one of two has gone");
        let since = take(&mut listeners, &[]);
        assert!(!listeners.is_stale(1, 80, since), "the last one goes on naming its connections");
        for _ in 0..REMEMBERED_UPDATES {
            take(&mut listeners, &[]);
        }
        assert!(listeners.by_port.is_empty() && !listeners.is_stale(1, 80, since));
        let asked = take(&mut listeners, &[(1, 80, 5)]);
        assert!(listeners.is_stale(1, 80, asked));
    }
}
