// SPDX-License-Identifier: Apache-2.0
//! From a flow key of the kernel to a named edge.
//!
//! The key knows the watched end by its cgroup (or process) and the other end by its address. Where both ends are on
//! this host, the other end is named by its owner too, so that both observations of one edge carry the same labels.

mod dropped;
mod listeners;
mod services;

use std::ops::RangeInclusive;
use std::sync::Arc;

use flowgauge_labels::{Conntrack, Identity, Kind, Owner, Process, Resolver, Subject};
use flowgauge_probes::tcp::{Backend, Listener, Processes};
use flowgauge_probes::{FlowKey, Peer, Role, Transport};

use crate::edge::{Edge, Observer};
use listeners::Listeners;
use services::Services;

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
    /// What the host's own namespace is called.
    host: Arc<str>,
    tcp_listeners: Listeners,
    udp_listeners: Listeners,
    services: Services,
}

/// When something was named: what has changed since may have another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    names: u64,
    tcp_listeners: u64,
    udp_listeners: u64,
}

impl Naming {
    /// `host_netns` is the inode of the namespace whose addresses the resolver knows as this host's, `host` what it is called.
    /// `translations` tell
    /// where connections to Services went; without them, the Service is all that is known.
    pub fn new(
        resolver: Arc<Resolver>,
        ports: PortNaming,
        (host_netns, host): (u32, Arc<str>),
        translations: Option<Arc<Conntrack>>,
    ) -> Self {
        let services = Services::new(translations);
        let (tcp_listeners, udp_listeners) = (Listeners::default(), Listeners::default());
        Self { resolver, ports, host_netns, host, tcp_listeners, udp_listeners, services }
    }

    /// Now, for what will be named next.
    pub fn now(&self) -> Since {
        Since {
            names: self.resolver.generation(),
            tcp_listeners: self.tcp_listeners.generation(),
            udp_listeners: self.udp_listeners.generation(),
        }
    }

    /// Whether the name given to a key then may be another one now.
    pub fn is_stale(&self, key: &FlowKey, since: Since, processes: &Processes) -> bool {
        if since == self.now() {
            return false;
        }
        let netns = match key.role {
            Role::Client => self.dialled_netns(key),
            Role::Server | Role::Listener => Some(key.netns),
        };
        let heard = match key.transport {
            Transport::Tcp => since.tcp_listeners,
            Transport::Udp => since.udp_listeners,
        };
        if netns.is_some_and(|netns| self.listeners(key).is_stale(netns, key.port, heard)) {
            return true;
        }
        let mut subjects = Subjects::default();
        subjects.push(Subject::Address(key.remote()));
        match key.role {
            Role::Client => {
                subjects.owner(&owner_of(key, processes));
                if let Some(owner) = self.dialled_owner(key) {
                    subjects.owner(&owner);
                }
            }
            Role::Server | Role::Listener => subjects.owner(&self.accepting_owner(key)),
        }
        match key.peer {
            Peer::Known { cgroup, process: id } => {
                let process = process(id, processes);
                subjects.owner(&Owner { netns: key.netns, cgroup, process, ambiguous: false });
            }
            Peer::Backend { service } => {
                if let Some((address, _)) = self.services.dialled(service) {
                    subjects.push(Subject::Address(address));
                }
            }
            Peer::Remote | Peer::Local | Peer::Service { .. } => {}
        }
        self.resolver.is_stale(since.names, subjects.as_slice())
    }

    /// Takes the listening sockets of a transport that exist now; of UDP, those that serve.
    pub fn set_listeners(&mut self, transport: Transport, listeners: &[Listener], processes: &Processes) {
        let table = match transport {
            Transport::Tcp => &mut self.tcp_listeners,
            Transport::Udp => &mut self.udp_listeners,
        };
        table.update(listeners, processes);
    }

    /// Who listens for what a key is of.
    fn listeners(&self, key: &FlowKey) -> &Listeners {
        match key.transport {
            Transport::Tcp => &self.tcp_listeners,
            Transport::Udp => &self.udp_listeners,
        }
    }

    /// Hears of the connections made until now.
    pub fn catch_up(&mut self) {
        self.services.catch_up();
    }

    /// The same, for a connection that may have been asked for before.
    pub fn backend_again(&mut self, key: &FlowKey, source: u64, port: u16) -> Option<Backend> {
        self.services.backend_again(key, source, port)
    }

    /// Where a connection to a Service really went; told once for each.
    pub fn backend(&mut self, key: &FlowKey, source: u64, port: u16) -> Option<Backend> {
        self.services.backend(key, source, port)
    }

    /// Names both ends of a connection. None between a sidecar proxy and a container of its own pod, seen from the proxy:
    /// the other end tells the same, and is the one that counts.
    pub fn edge(&mut self, key: &FlowKey, processes: &Processes) -> Option<Edge> {
        let server_port = self.ports.label(key.port);
        let opened = key.role == Role::Client;
        let (client, server) = if opened {
            (self.resolver.local(&owner_of(key, processes)), self.server_of(key))
        } else {
            (self.client_of(key, processes), self.accepting(key).0)
        };
        let (watched, other) = if opened { (&client, &server) } else { (&server, &client) };
        if watched.sidecar && is_same_pod(watched, other) {
            return None;
        }
        Some(Edge { observer: Observer::of(opened, watched.sidecar), client, server, server_port })
    }

    /// Names the owner of a client's socket: namespace and workload.
    pub fn opener(&self, key: &FlowKey, processes: &Processes) -> (Arc<str>, Arc<str>) {
        let identity = self.resolver.local(&owner_of(key, processes));
        (identity.namespace, identity.workload)
    }

    /// Names the owner of a listening socket.
    pub fn listener(&self, key: &FlowKey, processes: &Processes) -> (Identity, Arc<str>) {
        let identity = self.resolver.local(&owner_of(key, processes));
        (identity, self.ports.label(key.port))
    }

    /// Names whoever listens on a port in a cgroup.
    pub fn accepting(&self, key: &FlowKey) -> (Identity, Arc<str>) {
        let owner = self.accepting_owner(key);
        (self.resolver.local_server(&owner, key.port), self.ports.label(key.port))
    }

    /// The owner of an accepted socket: its cgroup is its listener's, its process is that of whoever listens there.
    fn accepting_owner(&self, key: &FlowKey) -> Owner {
        // Of a connection within this host, the key has the server's own address.
        let address = (key.role == Role::Server && key.peer != Peer::Remote).then(|| key.remote());
        let listening = self.listeners(key).accepting(key.netns, key.port, key.cgroup, address);
        let (process, ambiguous) = listening.map_or((None, false), |owner| (owner.process, owner.ambiguous));
        Owner { netns: key.netns, cgroup: key.cgroup, process, ambiguous }
    }

    /// The end that a client dialled, or was sent to: a listener on this host, or an address.
    fn server_of(&self, key: &FlowKey) -> Identity {
        let found = match self.dialled_owner(key) {
            Some(owner) => self.resolver.local_server(&owner, key.port),
            None => match (key.peer, self.resolver.within(key.netns)) {
                (Peer::Local | Peer::Known { .. }, Some(pod)) => pod,
                _ => self.resolver.remote_for(Some(key.netns), key.remote(), Some(key.port)),
            },
        };
        match key.peer {
            Peer::Backend { service } => match self.services.dialled(service) {
                Some(dialled) => {
                    let Identity { service, .. } = self.resolver.dialled(dialled, (key.remote(), key.port));
                    Identity { service, ..found }
                }
                None => found,
            },
            _ => found,
        }
    }

    /// Who listens where a client dialled, if that is on this host.
    fn dialled_owner(&self, key: &FlowKey) -> Option<Owner> {
        self.listeners(key).dialled(self.dialled_netns(key)?, key.port, key.remote())
    }

    /// The namespace that a client dialled into, if that is on this host.
    fn dialled_netns(&self, key: &FlowKey) -> Option<u32> {
        let remote = key.remote();
        match key.peer {
            Peer::Local | Peer::Known { .. } => Some(key.netns),
            _ if !remote.is_loopback() && self.resolver.is_host_address(remote) => Some(self.host_netns),
            _ => None,
        }
    }

    /// The end that dialled a server on this host.
    fn client_of(&self, key: &FlowKey, processes: &Processes) -> Identity {
        match key.peer {
            Peer::Known { cgroup, process: id } => {
                let process = process(id, processes);
                self.resolver.local(&Owner { netns: key.netns, cgroup, process, ambiguous: false })
            }
            // It is in this namespace, but which program was not seen: the connection is older than the exporter, or
            // came through a redirection.
            Peer::Local => self.resolver.within(key.netns).unwrap_or_else(|| Identity {
                workload: "unknown".into(),
                ..self.resolver.remote(key.remote(), None)
            }),
            Peer::Remote | Peer::Service { .. } | Peer::Backend { .. } => {
                self.resolver.remote(key.remote(), None)
            }
        }
    }
}

fn is_same_pod(one: &Identity, other: &Identity) -> bool {
    !one.pod.is_empty() && one.pod == other.pod && one.namespace == other.namespace
}

/// What a name depends on, without allocation.
struct Subjects {
    count: usize,
    all: [Subject; 10],
}

impl Default for Subjects {
    fn default() -> Self {
        Self { count: 0, all: [Subject::Netns(0); 10] }
    }
}

impl Subjects {
    fn push(&mut self, subject: Subject) {
        if let Some(place) = self.all.get_mut(self.count) {
            *place = subject;
            self.count += 1;
        }
    }

    fn owner(&mut self, owner: &Owner) {
        self.push(Subject::Netns(owner.netns));
        self.push(Subject::Cgroup(owner.cgroup));
        if let Some(process) = &owner.process {
            self.push(Subject::Cgroup(process.cgroup));
        }
    }

    fn as_slice(&self) -> &[Subject] {
        &self.all[..self.count]
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
