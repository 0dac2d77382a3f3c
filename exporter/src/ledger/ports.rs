// SPDX-License-Identifier: Apache-2.0
//! Local ports that clients occupy: those towards one address and port must all be different.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use flowgauge_probes::{FlowKey, Peer};
use foldhash::fast::RandomState;

/// Fewer are nobody's trouble, and not served: so many are half a percent of the kernel's usual range.
const FEW: u64 = 100;

/// Namespace and workload.
pub type ClientLabels = (Arc<str>, Arc<str>);

/// Where a client's sockets lead: ports are taken from the namespace they are in, towards what they dialled.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Destination {
    netns: u32,
    cgroup: u64,
    process: u32,
    dialled: Dialled,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Dialled {
    Address(IpAddr, u16),
    /// Whichever backend answers.
    Service(u32),
}

#[derive(Debug, Default)]
struct Use {
    ports: u64,
    client: Option<ClientLabels>,
}

/// What one pass found.
#[derive(Debug, Default)]
pub struct Ports(HashMap<Destination, Use, RandomState>);

impl Ports {
    /// Begins a pass.
    pub fn begin(&mut self) {
        self.0.clear();
    }

    /// Adds open connections of a client, which `name` tells if they are many.
    pub fn add(&mut self, key: &FlowKey, connections: u32, name: impl FnOnce() -> ClientLabels) {
        let dialled = match key.peer {
            Peer::Backend { service } => Dialled::Service(service),
            _ => Dialled::Address(key.remote(), key.port),
        };
        let destination = Destination { netns: key.netns, cgroup: key.cgroup, process: key.process, dialled };
        let used = self.0.entry(destination).or_default();
        used.ports += u64::from(connections);
        if used.ports >= FEW && used.client.is_none() {
            used.client = Some(name());
        }
    }

    /// Of each workload the most that it occupies towards one destination. Beyond `most` workloads, that of all others.
    pub fn used(&self, most: usize) -> BTreeMap<ClientLabels, u64> {
        let mut used = BTreeMap::new();
        for (client, ports) in self.0.values().filter_map(|used| Some((used.client.as_ref()?, used.ports))) {
            raise(&mut used, client.clone(), ports);
        }
        while used.len() > most.max(1) {
            // Those with the fewest are the least in need of a name.
            let fewest = used
                .iter()
                .filter(|((_, workload), _)| &**workload != "other")
                .min_by_key(|(_, ports)| **ports);
            let Some((client, ports)) = fewest.map(|(client, ports)| (client.clone(), *ports)) else { break };
            used.remove(&client);
            raise(&mut used, ("".into(), "other".into()), ports);
        }
        used
    }
}

fn raise(used: &mut BTreeMap<ClientLabels, u64>, client: ClientLabels, ports: u64) {
    let most = used.entry(client).or_default();
    *most = ports.max(*most);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(uses: &[(&str, u16, u64)]) -> Ports {
        let each = uses.iter().map(|(client, port, ports)| {
            let dialled = Dialled::Address(IpAddr::from([192, 0, 2, 1]), *port);
            let destination = Destination { netns: 1, cgroup: 0, process: 0, dialled };
            (destination, Use { ports: *ports, client: Some(("".into(), (*client).into())) })
        });
        Ports(each.collect())
    }

    #[test]
    fn the_busiest_destination_counts_and_the_rest_is_other() {
        let ports = ports(&[("a", 1, 200), ("a", 2, 500), ("b", 3, 300), ("c", 4, 100), ("d", 5, 400)]);
        let of = |most| {
            let used = ports.used(most);
            used.into_iter().map(|((_, workload), ports)| (workload.to_string(), ports)).collect::<Vec<_>>()
        };
        let named = |all: &[(&str, u64)]| {
            all.iter().map(|(name, ports)| ((*name).to_owned(), *ports)).collect::<Vec<_>>()
        };
        assert_eq!(of(9), named(&[("a", 500), ("b", 300), ("c", 100), ("d", 400)]));
        assert_eq!(of(3), named(&[("a", 500), ("d", 400), ("other", 300)]));
        assert_eq!(of(0), named(&[("other", 500)]));
    }
}
