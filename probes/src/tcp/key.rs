// SPDX-License-Identifier: Apache-2.0
//! What flows are added up by.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};

use crate::skeleton::tcp::types;

/// Which end of a connection was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The end that sent the SYN.
    Client,
    /// The end that accepted.
    Server,
    /// Not a connection: a listening socket.
    Listener,
}

/// What carries the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

/// What is known of the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// The other end has another address than the socket's own.
    Remote,
    /// Both ends have this host's address; who the other one is was not seen.
    Local,
    /// Both ends are on this host, and this is the other one.
    Known {
        /// cgroup v2 id.
        cgroup: u64,
        /// Id for [`super::Tcp::process`]; 0 for none.
        process: u32,
    },
    /// A Service's address was dialled, by this connection alone. No key that is handed out has it.
    Service {
        /// [`super::digest`] of the socket's own address.
        source: u64,
        /// Its own port.
        port: u16,
    },
    /// A Service was dialled, and the key's address and port are those of the backend that answers.
    Backend {
        /// What [`super::Sink::backend`] calls the Service.
        service: u32,
    },
}

/// What connections are added up by (`struct fg_key`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowKey {
    pub(crate) remote: [u8; 16],
    /// cgroup v2 id of whoever made the socket or its listener; 0 if none.
    pub cgroup: u64,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Id for [`super::Tcp::process`]; 0 where the cgroup tells enough or nothing is known.
    pub process: u32,
    /// The server's port.
    pub port: u16,
    /// Which end was watched.
    pub role: Role,
    /// What else is known of the other end.
    pub peer: Peer,
    /// What carries the flow.
    pub transport: Transport,
}

/// In whole words: a pass hashes a key for each socket, and hashing field by field costs twice as much.
impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let address = u128::from_ne_bytes(self.remote);
        let (known, peer_cgroup, peer_process) = match self.peer {
            Peer::Remote => (0, 0, 0),
            Peer::Local => (1, 0, 0),
            Peer::Known { cgroup, process } => (2, cgroup, process),
            Peer::Service { source, port } => (3, source, u32::from(port)),
            Peer::Backend { service } => (4, 0, service),
        };
        state.write_u64(address as u64);
        state.write_u64((address >> 64) as u64);
        state.write_u64(self.cgroup);
        state.write_u64(u64::from(self.netns) << 32 | u64::from(self.process));
        state.write_u64(
            u64::from(self.port) << 48
                | u64::from(self.transport as u8) << 44
                | u64::from(self.role as u8) << 40
                | known << 32
                | u64::from(peer_process),
        );
        state.write_u64(peer_cgroup);
    }
}

impl FlowKey {
    /// The other end's address; a listener's own one, and a server's own one if it was dialled from this host. IPv4-mapped
    /// ones as IPv4.
    pub fn remote(&self) -> IpAddr {
        Ipv6Addr::from(self.remote).to_canonical()
    }

    /// What a listener's counters are added up by: its namespace, cgroup and port. Its address and process may be
    /// another's while the sums go on.
    pub(super) fn without_holder(&self) -> FlowKey {
        match self.role {
            Role::Listener => FlowKey { remote: [0; 16], process: 0, ..*self },
            Role::Client | Role::Server => *self,
        }
    }

    /// Decodes the kernel's form. None when a field has no known value.
    pub(crate) fn decode(raw: &types::fg_key) -> Option<FlowKey> {
        let role = match raw.role {
            1 => Role::Client,
            2 => Role::Server,
            3 => Role::Listener,
            _ => return None,
        };
        let peer = match raw.peer {
            0 => Peer::Remote,
            1 => Peer::Local,
            2 => Peer::Known { cgroup: raw.peer_cgroup, process: raw.peer_process },
            3 => Peer::Service { source: raw.peer_cgroup, port: raw.peer_process as u16 },
            _ => return None,
        };
        let types::fg_key { remote, cgroup, netns, process, port, .. } = *raw;
        Some(FlowKey { remote, cgroup, netns, process, port, role, peer, transport: Transport::Tcp })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_ipv4() {
        let mut raw = types::fg_key { role: 1, port: 443, ..Default::default() };
        raw.remote[10] = 0xff;
        raw.remote[11] = 0xff;
        raw.remote[12..].copy_from_slice(&[192, 0, 2, 7]);
        let key = FlowKey::decode(&raw).unwrap();
        assert_eq!(key.remote(), "192.0.2.7".parse::<IpAddr>().unwrap());
        assert_eq!((key.role, key.peer, key.port), (Role::Client, Peer::Remote, 443));
    }

    #[test]
    fn unknown_roles_are_refused() {
        for raw in [
            types::fg_key::default(),
            types::fg_key { role: 9, ..Default::default() },
            types::fg_key { role: 1, peer: 7, ..Default::default() },
        ] {
            assert_eq!(FlowKey::decode(&raw), None);
        }
    }
}
