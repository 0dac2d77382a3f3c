// SPDX-License-Identifier: Apache-2.0
//! Who listens where on this host.

use std::collections::HashMap;

use flowgauge_labels::{Owner, Process};
use flowgauge_probes::FlowKey;
use flowgauge_probes::tcp::{Listener, Processes};
use foldhash::fast::RandomState;

/// Passes for which a listener that has gone still names its connections.
const REMEMBERED_PASSES: u32 = 40;

/// Listeners remembered at most; those that have gone go first.
const REMEMBERED: usize = 16_384;

struct Entry {
    owner: Owner,
    /// The pass that saw it last.
    pass: u32,
}

/// By namespace and port, one entry for each cgroup that listens there: an accepted socket has its listener's cgroup, and
/// is told apart by it. Different programs in one cgroup are ambiguous: the kernel does not tell which of them accepted
/// a connection.
#[derive(Default)]
pub struct Listeners {
    by_port: HashMap<(u32, u16), Vec<Entry>, RandomState>,
    pass: u32,
    generation: u64,
}

impl Listeners {
    /// Grows when an owner changed or a new one appeared.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Who accepted a connection on a port of a namespace: whoever listens there in the socket's cgroup.
    pub fn accepting(&self, netns: u32, port: u16, cgroup: u64) -> Option<&Owner> {
        let entries = self.by_port.get(&(netns, port))?;
        entries.iter().map(|entry| &entry.owner).find(|owner| owner.cgroup == cgroup)
    }

    /// Who listens on a port of a namespace, or did until lately, as seen by somebody who dials it.
    pub fn dialled(&self, netns: u32, port: u16) -> Option<Owner> {
        let entries = self.by_port.get(&(netns, port))?;
        let newest = entries.iter().map(|entry| entry.pass).max()?;
        let mut owners = entries.iter().filter(|entry| entry.pass == newest).map(|entry| &entry.owner);
        let first = owners.next()?;
        match owners.next() {
            None => Some(first.clone()),
            Some(_) => Some(Owner { netns, cgroup: 0, process: None, ambiguous: true }),
        }
    }

    /// Takes the listening sockets that exist now.
    pub fn update(&mut self, listeners: &[Listener], processes: &Processes) {
        self.pass = self.pass.wrapping_add(1);
        let mut now: HashMap<(u32, u16, u64), Owner, RandomState> = HashMap::default();
        for listener in listeners {
            let owner = owner_of(&listener.key, processes);
            now.entry((owner.netns, listener.key.port, owner.cgroup))
                .and_modify(|first| first.ambiguous |= first.process != owner.process)
                .or_insert(owner);
        }
        let pass = self.pass;
        for ((netns, port, cgroup), owner) in now {
            let entries = self.by_port.entry((netns, port)).or_default();
            match entries.iter_mut().find(|entry| entry.owner.cgroup == cgroup) {
                Some(entry) => {
                    self.generation += u64::from(entry.owner != owner);
                    *entry = Entry { owner, pass };
                }
                None => {
                    self.generation += 1;
                    entries.push(Entry { owner, pass });
                }
            }
        }
        let crowded = self.by_port.len() > REMEMBERED;
        self.by_port.retain(|_, entries| {
            entries.retain(|entry| {
                let age = pass.wrapping_sub(entry.pass);
                age == 0 || (age < REMEMBERED_PASSES && !crowded)
            });
            !entries.is_empty()
        });
    }
}

fn owner_of(key: &FlowKey, processes: &Processes) -> Owner {
    let process = processes.get(&key.process);
    let process = process.map(|found| Process { cgroup: found.cgroup, name: found.name.clone() });
    Owner { netns: key.netns, cgroup: key.cgroup, process, ambiguous: false }
}
