// SPDX-License-Identifier: Apache-2.0
//! Remote addresses that neither the operator's names file nor the cluster knows, and that are not this host's.

use std::net::IpAddr;
use std::time::Instant;

use super::Resolver;
use crate::dns_names::Asked;
use crate::identity::{Identity, Kind};
use crate::ranges::is_public;

impl Resolver {
    /// Takes over a DNS response that a client in the network namespace `netns` has got to a question of its own: what it
    /// asked for names the addresses in it. `message` is without TCP's length prefix, and may be cut. What cannot be read
    /// is counted among the misses of the source `dns_names`.
    pub fn note_answer(&self, netns: u32, message: &[u8]) {
        self.dns_names.note(netns, message, Instant::now());
    }

    /// In this order: the name asked for in the DNS, then the published ranges of cloud providers; else `external` if the
    /// address is public, and `unknown` if not.
    pub(super) fn outside(&self, client: Option<u32>, addr: IpAddr, port: Option<u16>) -> Identity {
        let dns = self.asked_for(client, addr, port);
        if let Some(identity) = self.in_cloud(addr, dns) {
            return identity;
        }
        if is_public(addr) {
            self.words.identity(Kind::External, self.words.external.clone())
        } else {
            self.words.identity(Kind::Unknown, self.words.unknown.clone())
        }
    }

    /// The name by the published ranges of cloud providers, of which the region is the zone as well. An identity that has
    /// a name already keeps it, and the zone and region that it has.
    pub(super) fn in_cloud(&self, addr: IpAddr, named: Option<Identity>) -> Option<Identity> {
        let Some(range) = self.cloud_ranges.look_up(addr) else { return named };
        let mut identity = named.unwrap_or_else(|| self.words.identity(Kind::External, range.workload));
        if identity.zone.is_empty() && identity.region.is_empty() {
            (identity.zone, identity.region) = (range.region.clone(), range.region);
        }
        Some(identity)
    }

    /// Who is asked for in the DNS is a server: of a client at the same address, that tells nothing.
    fn asked_for(&self, client: Option<u32>, addr: IpAddr, port: Option<u16>) -> Option<Identity> {
        port?;
        let asked = self.dns_names.look_up(client, addr, Instant::now())?;
        let canonical = || asked.canonical.iter().map(|name| &**name);
        let alias = self.cluster.as_ref().and_then(|cluster| cluster.alias(&asked.name, canonical()));
        let Some(((namespace, service), target)) = alias else {
            return self.dns_names.identity(&asked, addr);
        };
        let target = Asked::new(target.into(), Vec::new());
        let no_room = || self.words.identity(Kind::External, self.words.other_external.clone());
        let identity = self.dns_names.identity(&target, addr).unwrap_or_else(no_room);
        Some(Identity { kind: Kind::External, namespace, service, ..identity })
    }
}
