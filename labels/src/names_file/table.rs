// SPDX-License-Identifier: Apache-2.0
//! Look-up by longest prefix and port.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use crate::identity::{Identity, Kind, Words};
use crate::{Map, ranges};

/// One entry of the file.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub line: u64,
    pub workload: String,
    pub namespace: String,
    pub zone: String,
    pub region: String,
    pub kind: Option<Kind>,
}

/// The entries that share one prefix, as places in [`Table::names`].
#[derive(Default, PartialEq, Eq, Debug)]
struct Leaf {
    any_port: Option<usize>,
    by_port: Map<u16, usize>,
}

#[derive(Debug)]
struct Name {
    line: u64,
    kind: Option<Kind>,
    /// As a host's; `kind` is corrected when it is asked for.
    identity: Identity,
}

/// Two entries that would name the same thing.
pub(crate) struct Clash {
    pub port: Option<u16>,
    pub line: u64,
}

/// A parsed names file.
#[derive(Default, Debug)]
pub(crate) struct Table {
    names: Vec<Name>,
    v4: PrefixMap<Ipv4Net, Leaf>,
    v6: PrefixMap<Ipv6Net, Leaf>,
    words: Words,
}

impl Table {
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Adds an entry and returns its place, to be given to [`Self::add_prefix`].
    pub fn add_entry(&mut self, entry: Entry) -> usize {
        let text = |value: String| if value.is_empty() { self.words.empty.clone() } else { Arc::from(value) };
        let mut identity = self.words.identity(Kind::Host, text(entry.workload));
        identity.namespace = text(entry.namespace);
        identity.zone = text(entry.zone);
        identity.region = text(entry.region);
        self.names.push(Name { line: entry.line, kind: entry.kind, identity });
        self.names.len() - 1
    }

    /// Lets `entry` name `net`, on `ports` alone unless there are none.
    ///
    /// # Errors
    /// The entry that names it already.
    pub fn add_prefix(&mut self, net: IpNet, ports: &[u16], entry: usize) -> Result<(), Clash> {
        let leaf = match net {
            IpNet::V4(net) => self.v4.entry(net).or_default(),
            IpNet::V6(net) => self.v6.entry(net).or_default(),
        };
        if ports.is_empty() {
            return match leaf.any_port.replace(entry) {
                None => Ok(()),
                Some(earlier) => Err(Clash { port: None, line: self.names[earlier].line }),
            };
        }
        for port in ports {
            if let Some(earlier) = leaf.by_port.insert(*port, entry) {
                return Err(Clash { port: Some(*port), line: self.names[earlier].line });
            }
        }
        Ok(())
    }

    /// Who has this address. `port` is the remote end's own port if it is the server, None if it is the client.
    ///
    /// The longest prefix with an entry that applies wins; on one prefix an entry for the port beats one for all. An
    /// address of NAT64's well-known prefix that no IPv6 entry names has the name of the IPv4 address inside.
    pub fn look_up(&self, addr: IpAddr, port: Option<u16>) -> Option<Identity> {
        let addr = ranges::canonical(addr);
        let found = match addr {
            IpAddr::V4(v4) => longest(self.v4.cover(&Ipv4Net::from(v4)).map(|(_, leaf)| leaf), port),
            IpAddr::V6(v6) => {
                longest(self.v6.cover(&Ipv6Net::from(v6)).map(|(_, leaf)| leaf), port).or_else(|| {
                    let inside = ranges::nat64(addr)?;
                    longest(self.v4.cover(&Ipv4Net::from(inside)).map(|(_, leaf)| leaf), port)
                })
            }
        }?;
        let name = self.names.get(found)?;
        let mut identity = name.identity.clone();
        identity.kind =
            name.kind.unwrap_or(if ranges::is_public(addr) { Kind::External } else { Kind::Host });
        Some(identity)
    }
}

/// The answer of the last leaf that has one: `leaves` come from the shortest prefix to the longest.
fn longest<'a>(leaves: impl Iterator<Item = &'a Leaf>, port: Option<u16>) -> Option<usize> {
    leaves.filter_map(|leaf| port.and_then(|port| leaf.by_port.get(&port).copied()).or(leaf.any_port)).last()
}

impl PartialEq for Table {
    /// True if both give the same answers; lines do not count.
    fn eq(&self, other: &Self) -> bool {
        self.names.len() == other.names.len()
            && self.names.iter().zip(&other.names).all(|(a, b)| a.kind == b.kind && a.identity == b.identity)
            && self.v4.iter().eq(other.v4.iter())
            && self.v6.iter().eq(other.v6.iter())
    }
}
