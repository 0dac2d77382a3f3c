// SPDX-License-Identifier: Apache-2.0
//! Services, and where they are dialled.

use std::net::IpAddr;
use std::sync::Arc;

use super::nodes::Nodes;
use super::text::Texts;
use super::touched::Touched;
use crate::Map;
use crate::kubernetes::objects;
use crate::ranges::canonical;

/// More nodes than this have their addresses marked as changed all at once, not one by one.
const MAX_MARKED: usize = 1024;

/// Namespace and name.
pub(crate) type Name = (Arc<str>, Arc<str>);

/// A service as it is kept.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct ServiceRecord {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub cluster_ips: Box<[IpAddr]>,
    pub external_ips: Box<[IpAddr]>,
    pub ports: Box<[objects::ServicePort]>,
    /// The name in the DNS that it is an alias of; empty for all but those of type ExternalName.
    pub external_name: Arc<str>,
}

impl ServiceRecord {
    pub fn new(service: &objects::Service, texts: &mut Texts) -> ServiceRecord {
        let addresses = |all: &[IpAddr]| {
            let mut all: Vec<_> = all.iter().map(|addr| canonical(*addr)).collect();
            all.sort_unstable();
            all.dedup();
            all.into_boxed_slice()
        };
        ServiceRecord {
            namespace: texts.share(&service.namespace),
            name: texts.share(&service.name),
            cluster_ips: addresses(&service.cluster_ips),
            external_ips: addresses(&service.external_ips),
            ports: service.ports.as_slice().into(),
            external_name: texts.share(&service.external_name),
        }
    }

    pub fn key(&self) -> Name {
        (self.namespace.clone(), self.name.clone())
    }

    /// Where it is dialled, but for its node ports.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let beyond = self.external_ips.iter().filter(|addr| !self.cluster_ips.contains(addr));
        self.cluster_ips.iter().chain(beyond).copied()
    }

    fn node_ports(&self) -> impl Iterator<Item = u16> {
        self.ports.iter().filter_map(|port| port.node_port)
    }

    fn has_port(&self, port: u16) -> bool {
        self.ports.iter().any(|known| known.port == port)
    }

    fn order(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}

/// All services. Where several share an address or a node port, they stand in the order of their names.
#[derive(Default, Debug)]
pub(crate) struct Services {
    by_name: Map<Name, Arc<ServiceRecord>>,
    by_addr: Map<IpAddr, Vec<Arc<ServiceRecord>>>,
    by_node_port: Map<u16, Vec<Arc<ServiceRecord>>>,
}

impl Services {
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.by_name.keys()
    }

    pub fn known(&self, name: &Name) -> Option<&Arc<ServiceRecord>> {
        self.by_name.get(name)
    }

    /// The service that is dialled at an address: the one with this port, else the one whose cluster address it is.
    pub fn at(&self, addr: &IpAddr, port: Option<u16>) -> Option<&Arc<ServiceRecord>> {
        let here = self.by_addr.get(addr)?;
        let with_port = port.and_then(|port| here.iter().find(|service| service.has_port(port)));
        with_port.or_else(|| here.iter().find(|service| service.cluster_ips.contains(addr)))
    }

    /// The service that is dialled at any node on this port.
    pub fn at_node(&self, port: u16) -> Option<&Arc<ServiceRecord>> {
        self.by_node_port.get(&port)?.first()
    }

    /// The service has an address of its own inside the cluster.
    pub fn has_cluster_ip(&self, name: &Name) -> bool {
        self.by_name.get(name).is_some_and(|service| !service.cluster_ips.is_empty())
    }

    /// Addresses and ports of all services, and `on_node` with each node port.
    pub fn dialled(&self, on_node: &[IpAddr]) -> Vec<(IpAddr, u16)> {
        // With IPVS the node has every Service's address on an interface of its own.
        let on_node: Vec<_> = on_node.iter().filter(|addr| !self.by_addr.contains_key(*addr)).collect();
        let mut all = Vec::with_capacity(self.by_name.len() * 2);
        for service in self.by_name.values() {
            for addr in service.addresses() {
                all.extend(service.ports.iter().map(|port| (addr, port.port)));
            }
            for port in service.node_ports() {
                all.extend(on_node.iter().map(|addr| (**addr, port)));
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Something else may be said of a service.
    pub fn touch(&self, name: &Name, touched: &mut Touched) {
        if let Some(service) = self.by_name.get(name) {
            service.addresses().for_each(|addr| touched.address(addr));
        }
    }

    /// True if it has got or lost its cluster address.
    pub fn apply(&mut self, record: Arc<ServiceRecord>, nodes: &Nodes, touched: &mut Touched) -> bool {
        let earlier = self.by_name.insert(record.key(), record.clone());
        if earlier.as_ref() == Some(&record) {
            return false;
        }
        if let Some(earlier) = &earlier {
            self.unlist(earlier, touched);
        }
        if !record.external_name.is_empty() {
            // Who is called by its name can be at any address.
            touched.everything();
        }
        for addr in record.addresses() {
            insert(self.by_addr.entry(addr).or_default(), &record);
            touched.address(addr);
        }
        for port in record.node_ports() {
            insert(self.by_node_port.entry(port).or_default(), &record);
        }
        let ports = |record: &ServiceRecord| record.node_ports().collect::<Vec<_>>();
        if earlier.as_deref().map(ports).unwrap_or_default() != ports(&record) {
            mark_nodes(nodes, touched);
        }
        touched.services = true;
        earlier.is_some_and(|earlier| !earlier.cluster_ips.is_empty()) == record.cluster_ips.is_empty()
    }

    /// As [`Self::apply`].
    pub fn remove(&mut self, name: &Name, nodes: &Nodes, touched: &mut Touched) -> bool {
        let Some(gone) = self.by_name.remove(name) else { return false };
        self.unlist(&gone, touched);
        if gone.node_ports().next().is_some() {
            mark_nodes(nodes, touched);
        }
        touched.services = true;
        !gone.cluster_ips.is_empty()
    }

    fn unlist(&mut self, gone: &ServiceRecord, touched: &mut Touched) {
        if !gone.external_name.is_empty() {
            touched.everything();
        }
        for addr in gone.addresses() {
            take_out(&mut self.by_addr, addr, gone);
            touched.address(addr);
        }
        for port in gone.node_ports() {
            take_out(&mut self.by_node_port, port, gone);
        }
    }
}

fn mark_nodes(nodes: &Nodes, touched: &mut Touched) {
    if nodes.addresses().len() > MAX_MARKED {
        touched.everything();
    } else {
        nodes.addresses().for_each(|addr| touched.address(*addr));
    }
}

fn insert(here: &mut Vec<Arc<ServiceRecord>>, record: &Arc<ServiceRecord>) {
    let at = here.partition_point(|other| other.order() < record.order());
    here.reserve_exact(1);
    here.insert(at, record.clone());
}

fn take_out<K: std::hash::Hash + Eq>(
    all: &mut Map<K, Vec<Arc<ServiceRecord>>>,
    key: K,
    gone: &ServiceRecord,
) {
    if let Some(here) = all.get_mut(&key) {
        here.retain(|other| other.order() != gone.order());
        if here.is_empty() {
            all.remove(&key);
        }
    }
}
