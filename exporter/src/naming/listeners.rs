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

/// By namespace and port. A port on which different programs listen is ambiguous: the kernel does not tell which of
/// them accepted a connection.
#[derive(Default)]
pub struct Listeners {
    by_port: HashMap<(u32, u16), Entry, RandomState>,
    pass: u32,
    generation: u64,
}

impl Listeners {
    /// Grows when an owner changed or a new one appeared.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Who listens on a port of a namespace, or did until lately.
    pub fn at(&self, netns: u32, port: u16) -> Option<&Owner> {
        self.by_port.get(&(netns, port)).map(|entry| &entry.owner)
    }

    /// Takes the listening sockets that exist now.
    pub fn update(&mut self, listeners: &[Listener], processes: &Processes) {
        self.pass = self.pass.wrapping_add(1);
        let mut changed = false;
        let mut now: HashMap<(u32, u16), Owner, RandomState> = HashMap::default();
        for listener in listeners {
            let owner = owner_of(&listener.key, processes);
            now.entry((owner.netns, listener.key.port))
                .and_modify(|first| {
                    first.ambiguous |= first.process != owner.process || first.cgroup != owner.cgroup;
                })
                .or_insert(owner);
        }
        for (place, owner) in now {
            let pass = self.pass;
            match self.by_port.get_mut(&place) {
                Some(entry) => {
                    changed |= entry.owner != owner;
                    *entry = Entry { owner, pass };
                }
                None => {
                    changed = true;
                    self.by_port.insert(place, Entry { owner, pass });
                }
            }
        }
        let (pass, crowded) = (self.pass, self.by_port.len() > REMEMBERED);
        self.by_port.retain(|_, entry| {
            let age = pass.wrapping_sub(entry.pass);
            age == 0 || (age < REMEMBERED_PASSES && !crowded)
        });
        self.generation += u64::from(changed);
    }
}

fn owner_of(key: &FlowKey, processes: &Processes) -> Owner {
    let process = processes.get(&key.process);
    let process = process.map(|found| Process { cgroup: found.cgroup, name: found.name.clone() });
    Owner { netns: key.netns, cgroup: key.cgroup, process, ambiguous: false }
}
