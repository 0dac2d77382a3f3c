// SPDX-License-Identifier: Apache-2.0
//! From a flow key of the kernel to a named edge.
//!
//! The key knows the watched end by its cgroup (or process) and the other end by its address. Where both ends are on
//! this host, the other end is named by its owner too, so that both observations of one edge carry the same labels.

mod listeners;

use std::ops::RangeInclusive;
use std::sync::Arc;

use flowgauge_labels::{Identity, Kind, Owner, Process, Resolver};
use flowgauge_probes::tcp::{Listener, Processes};
use flowgauge_probes::{FlowKey, Peer, Role};

use crate::edge::{Edge, Observer};
use listeners::Listeners;

/// Which ports have a label of their own.
#[derive(Debug, Clone)]
pub struct PortNaming {
    /// `net.ipv4.ip_local_port_range`: the kernel gives these out, so they name no service.
    pub dynamic: RangeInclusive<u16>,
    /// Ports inside that range that do.
    pub service_ports: Vec<u16>,
}

impl PortNaming {
    fn label(&self, port: u16) -> Arc<str> {
        if self.dynamic.contains(&port) && !self.service_ports.contains(&port) {
            "ephemeral".into()
        } else {
            port.to_string().into()
        }
    }
}

/// Names flow keys.
pub struct Naming {
    resolver: Arc<Resolver>,
    ports: PortNaming,
    host_netns: u32,
    listeners: Listeners,
}

impl Naming {
    /// `host_netns` is the inode of the namespace whose addresses the resolver knows as this host's.
    pub fn new(resolver: Arc<Resolver>, ports: PortNaming, host_netns: u32) -> Self {
        Self { resolver, ports, host_netns, listeners: Listeners::default() }
    }

    /// Grows when a name given earlier may be another one now.
    pub fn generation(&self) -> u64 {
        self.resolver.generation().wrapping_add(self.listeners.generation())
    }

    /// Takes the listening sockets that exist now.
    pub fn set_listeners(&mut self, listeners: &[Listener], processes: &Processes) {
        self.listeners.update(listeners, processes);
    }

    /// Names both ends of a connection.
    pub fn edge(&mut self, key: &FlowKey, processes: &Processes) -> Edge {
        let server_port = self.ports.label(key.port);
        match key.role {
            Role::Client => Edge {
                observer: Observer::Client,
                client: self.resolver.local(&owner_of(key, processes)),
                server: self.server_of(key),
                server_port,
            },
            Role::Server | Role::Listener => Edge {
                observer: Observer::Server,
                client: self.client_of(key, processes),
                server: self.accepting(key).0,
                server_port,
            },
        }
    }

    /// Names the owner of a listening socket.
    pub fn listener(&self, key: &FlowKey, processes: &Processes) -> (Identity, Arc<str>) {
        let identity = self.resolver.local(&owner_of(key, processes));
        (identity, self.ports.label(key.port))
    }

    /// Names whoever listens on a port in a cgroup.
    pub fn accepting(&mut self, key: &FlowKey) -> (Identity, Arc<str>) {
        let owner = self.accepting_owner(key);
        (self.resolver.local(&owner), self.ports.label(key.port))
    }

    /// The owner of an accepted socket: its cgroup is its listener's, its process is that of whoever listens there.
    fn accepting_owner(&mut self, key: &FlowKey) -> Owner {
        // Of a connection within this host, the key has the server's own address.
        let address = (key.role == Role::Server && key.peer != Peer::Remote).then(|| key.remote());
        let listening = self.listeners.accepting(key.netns, key.port, key.cgroup, address);
        let (process, ambiguous) = listening.map_or((None, false), |owner| (owner.process, owner.ambiguous));
        Owner { netns: key.netns, cgroup: key.cgroup, process, ambiguous }
    }

    /// The end that a client dialled: a listener on this host, or an address.
    fn server_of(&mut self, key: &FlowKey) -> Identity {
        let remote = key.remote();
        let netns = match key.peer {
            Peer::Local | Peer::Known { .. } => Some(key.netns),
            Peer::Remote if !remote.is_loopback() && self.resolver.is_host_address(remote) => {
                Some(self.host_netns)
            }
            Peer::Remote => None,
        };
        match netns.and_then(|netns| self.listeners.dialled(netns, key.port, remote)) {
            Some(listening) => self.resolver.local(&listening),
            None => self.resolver.remote(remote, Some(key.port)),
        }
    }

    /// The end that dialled a server on this host.
    fn client_of(&self, key: &FlowKey, processes: &Processes) -> Identity {
        match key.peer {
            Peer::Remote => self.resolver.remote(key.remote(), None),
            Peer::Known { cgroup, process: id } => {
                let process = process(id, processes);
                self.resolver.local(&Owner { netns: key.netns, cgroup, process, ambiguous: false })
            }
            // It is this host, but which program was not seen: the connection is older than the exporter.
            Peer::Local => {
                Identity { workload: "unknown".into(), ..self.resolver.remote(key.remote(), None) }
            }
        }
    }
}

/// Whether nothing is known of this end but that it exists.
pub fn is_unattributed(identity: &Identity) -> bool {
    identity.kind == Kind::Unknown || &*identity.workload == "unknown"
}

/// The owner of the socket that a key is of, as far as the key itself tells.
fn owner_of(key: &FlowKey, processes: &Processes) -> Owner {
    let process = process(key.process, processes);
    Owner { netns: key.netns, cgroup: key.cgroup, process, ambiguous: false }
}

fn process(id: u32, processes: &Processes) -> Option<Process> {
    processes.get(&id).map(|found| Process { cgroup: found.cgroup, name: found.name.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dynamic_ports_have_no_label_of_their_own() {
        let ports = PortNaming { dynamic: 32768..=60999, service_ports: vec![50051] };
        assert_eq!(&*ports.label(443), "443");
        assert_eq!(&*ports.label(32768), "ephemeral");
        assert_eq!(&*ports.label(50051), "50051");
        assert_eq!(&*ports.label(61000), "61000");
    }
}
