// SPDX-License-Identifier: Apache-2.0
//! From an address or a pod's uid to a name.

use std::net::IpAddr;
use std::sync::Arc;

use super::endpoints::{EndpointRecord, SliceRecord};
use super::nodes::NodeRecord;
use super::record::{PodRecord, Uid, workload_of};
use super::services::Name;
use super::state::State;
use crate::identity::{Identity, Kind};
use crate::ranges::{canonical, is_public};

/// The pod that a local socket belongs to.
#[derive(Clone, Debug)]
pub(crate) struct LocalPod {
    /// Without zone and region.
    pub identity: Identity,
    /// It has the host's network namespace.
    pub host_network: bool,
}

/// A container as its control group tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContainerHint<'a> {
    /// The runtime's id.
    pub id: &'a str,
    /// The name that the runtime's files give it.
    pub name: Option<&'a str>,
}

impl State {
    /// Who is at an address; `port` is given if it is the server's.
    pub fn at(&self, addr: IpAddr, port: Option<u16>) -> Option<Identity> {
        let addr = canonical(addr);
        let node = self.nodes.at(&addr);
        if let Some(pod) = self.holders.get(&addr).filter(|pod| self.is_believed(pod, addr, port)) {
            return Some(self.pod_at(pod, addr, port));
        }
        if let Some(service) = self.services.at(&addr, port) {
            let name = (service.namespace.clone(), service.name.clone());
            let behind = port.and_then(|_| self.behind(&name));
            return Some(
                behind.unwrap_or_else(|| self.service_identity(Kind::Service, name, port.is_some())),
            );
        }
        if let Some(port) = port {
            let found = self
                .host_pod(addr, port, node)
                .or_else(|| node.and_then(|_| self.node_port(port)))
                .or_else(|| self.endpoint_without_pod(addr, port, node));
            if found.is_some() {
                return found;
            }
        }
        node.map(|node| self.node_identity(node))
    }

    /// The pod holds the whole address. An endpoint does not say whether its pod has a network of its own or the host's:
    /// where neither the pod nor its node is known, an address that several pods are said to have is a host's, and one
    /// pod's word counts for the ports on which it is an endpoint, and for clients if nothing speaks against it.
    fn is_believed(&self, pod: &PodRecord, addr: IpAddr, port: Option<u16>) -> bool {
        if !pod.derived {
            return true;
        }
        if self.nodes.at(&addr).is_some() || !self.pods.on_host(&addr).is_empty() {
            return false;
        }
        if self.nodes.named(&pod.node).is_some_and(|node| !node.addresses.is_empty()) {
            return true;
        }
        !self.holders.is_contested(&addr)
            && match port {
                Some(port) => pod.listens_on(port) || self.endpoints.names_pod(&addr, port, pod),
                None => !self.endpoints.has_without_pod(&addr),
            }
    }

    /// Namespace and name of the service that is dialled at an address.
    pub fn service_at(&self, addr: IpAddr, port: u16) -> Option<Name> {
        let addr = canonical(addr);
        // The addresses of a NodePort are all that nodes have, so that the port alone tells.
        let service = self.services.at(&addr, Some(port)).or_else(|| self.services.at_node(port))?;
        Some((service.namespace.clone(), service.name.clone()))
    }

    /// Namespace and name of the service that a name in the DNS is of, and the name that it is an alias of, which is one of
    /// `canonical`.
    pub fn alias<'n>(
        &self,
        asked: &str,
        mut canonical: impl Iterator<Item = &'n str>,
    ) -> Option<(Name, &'n str)> {
        let mut labels = asked.splitn(4, '.');
        let (name, namespace, kind) = (labels.next()?, labels.next()?, labels.next()?);
        if kind != "svc" {
            return None;
        }
        let service = self.services.known(&(namespace.into(), name.into()))?;
        let target = canonical.find(|target| *target == &*service.external_name)?;
        Some(((service.namespace.clone(), service.name.clone()), target))
    }

    /// The pod with this uid, as the owner of a socket.
    pub fn local_pod(&self, uid: Uid, container: Option<ContainerHint<'_>>) -> Option<LocalPod> {
        let pod = self.pods.by_uid(uid)?;
        let all = pod.containers();
        let found = container.and_then(|hint| {
            let by_id = all.iter().find(|container| *container.id == *hint.id);
            by_id.or_else(|| all.iter().find(|container| Some(&*container.name) == hint.name))
        });
        let is_proxy = |name: &str| self.proxies.iter().any(|proxy| proxy == name);
        let mut identity = self.pod_identity(pod);
        if let Some(container) = found {
            identity.container = container.name.clone();
            identity.sidecar =
                is_proxy(&container.name) && all.iter().any(|other| other.lasting && !is_proxy(&other.name));
        }
        Some(LocalPod { identity, host_network: pod.host_network })
    }

    /// The service that selects a local pod on this port.
    pub fn service_of(&self, uid: Uid, port: u16) -> Option<Arc<str>> {
        let pod = self.pods.by_uid(uid)?;
        self.service_of_any(&pod.ips, port, pod.host_network)
    }

    /// The service that selects the own node itself on this port.
    pub fn service_of_node(&self, port: u16) -> Option<Arc<str>> {
        self.service_of_any(&self.nodes.own()?.addresses, port, true)
    }

    fn service_of_any(&self, addresses: &[IpAddr], port: u16, host: bool) -> Option<Arc<str>> {
        let selecting = |addr| self.endpoints.selecting(addr, port, host, |_| true);
        addresses.iter().find_map(selecting).map(|(slice, _)| slice.service.clone())
    }

    fn pod_identity(&self, pod: &PodRecord) -> Identity {
        let (zone, region) = match self.nodes.named(&pod.node) {
            Some(node) => (node.zone.clone(), node.region.clone()),
            None => (self.words.empty.clone(), self.words.empty.clone()),
        };
        Identity {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            node: pod.node.clone(),
            zone: if zone.is_empty() { pod.zone.clone() } else { zone },
            region,
            ..self.words.identity(Kind::Pod, pod.workload.clone())
        }
    }

    fn pod_at(&self, pod: &PodRecord, addr: IpAddr, port: Option<u16>) -> Identity {
        let mut identity = self.pod_identity(pod);
        if identity.zone.is_empty()
            && let Some(zone) = self.endpoints.zone(&addr)
        {
            identity.zone = zone.clone();
        }
        let selecting = |port| self.endpoints.selecting(&addr, port, pod.host_network, |_| true);
        if let Some((slice, _)) = port.and_then(selecting) {
            identity.service = slice.service.clone();
        }
        identity
    }

    fn service_identity(&self, kind: Kind, (namespace, name): Name, dialled: bool) -> Identity {
        let service = if dialled { name.clone() } else { self.words.empty.clone() };
        Identity { namespace, service, ..self.words.identity(kind, name) }
    }

    /// Who answers for a service, whichever of its endpoints it is: what all of them have in common. None unless they are
    /// pods of one workload. So are named: datagrams, of which address translation tells nothing, and connections of which it
    /// has not told yet.
    fn behind(&self, service: &Name) -> Option<Identity> {
        let mut common: Option<Identity> = None;
        for (slice, endpoint) in self.endpoints.of_service(service).filter(|(_, e)| !e.terminating) {
            let identity = self.endpoint_identity(slice, endpoint)?;
            let Some(so_far) = &mut common else {
                common = Some(identity);
                continue;
            };
            if (&so_far.namespace, &so_far.workload) != (&identity.namespace, &identity.workload) {
                return None;
            }
            let fields = [
                (&mut so_far.zone, &identity.zone),
                (&mut so_far.region, &identity.region),
                (&mut so_far.pod, &identity.pod),
                (&mut so_far.node, &identity.node),
            ];
            for (known, other) in fields {
                if known != other {
                    *known = self.words.empty.clone();
                }
            }
        }
        common.map(|identity| Identity { service: service.1.clone(), ..identity })
    }

    /// The pod that an endpoint refers to.
    fn endpoint_identity(&self, slice: &SliceRecord, endpoint: &EndpointRecord) -> Option<Identity> {
        let is_meant = |pod: &&Arc<PodRecord>| slice.refers_to(endpoint, pod);
        let holder = self.holders.peek(&endpoint.addr).filter(is_meant);
        match holder.or_else(|| self.pods.on_host(&endpoint.addr).iter().find(is_meant)) {
            Some(pod) => {
                let mut identity = self.pod_identity(pod);
                if identity.zone.is_empty() {
                    identity.zone = endpoint.zone.clone();
                }
                Some(identity)
            }
            None => self.derived_host_pod(slice, endpoint),
        }
    }

    fn node_identity(&self, node: &NodeRecord) -> Identity {
        Identity {
            node: node.name.clone(),
            zone: node.zone.clone(),
            region: node.region.clone(),
            ..self.words.identity(Kind::Host, node.name.clone())
        }
    }

    /// The pod on the network of the host that has this address and listens on this port: the one that an endpoint
    /// refers to, else the only one that declares the port.
    fn host_pod(&self, addr: IpAddr, port: u16, node: Option<&Arc<NodeRecord>>) -> Option<Identity> {
        let elsewhere = node.map_or(&[][..], |node| &node.addresses).iter().filter(|other| **other != addr);
        let addresses = || std::iter::once(&addr).chain(elsewhere.clone());
        let pods = || addresses().flat_map(|addr| self.pods.on_host(addr));
        let refers = |endpoint: &EndpointRecord| endpoint.pod.is_some();
        if let Some((slice, endpoint)) = self.endpoints.selecting(&addr, port, true, refers) {
            return match pods().find(|pod| slice.refers_to(endpoint, pod)) {
                Some(pod) => Some(self.pod_at(pod, addr, Some(port))),
                None => self.derived_host_pod(slice, endpoint),
            };
        }
        let mut declared = pods().filter(|pod| pod.listens_on(port));
        let first = declared.next()?;
        declared.all(|other| other.uid == first.uid).then(|| self.pod_at(first, addr, Some(port)))
    }

    fn derived_host_pod(&self, slice: &SliceRecord, endpoint: &EndpointRecord) -> Option<Identity> {
        let pod = endpoint.pod.as_ref()?;
        let (zone, region) = match self.nodes.named(&endpoint.node) {
            Some(node) if !node.zone.is_empty() => (node.zone.clone(), node.region.clone()),
            _ => (endpoint.zone.clone(), self.words.empty.clone()),
        };
        Some(Identity {
            namespace: slice.pod_namespace(endpoint).clone(),
            pod: pod.clone(),
            node: endpoint.node.clone(),
            service: slice.service.clone(),
            zone,
            region,
            ..self.words.identity(Kind::Pod, workload_of(pod).into())
        })
    }

    fn node_port(&self, port: u16) -> Option<Identity> {
        let service = self.services.at_node(port)?;
        let name = (service.namespace.clone(), service.name.clone());
        Some(self.service_identity(Kind::Service, name, true))
    }

    /// An endpoint that somebody entered by hand: a service without selector.
    fn endpoint_without_pod(
        &self,
        addr: IpAddr,
        port: u16,
        node: Option<&Arc<NodeRecord>>,
    ) -> Option<Identity> {
        let wanted = |endpoint: &EndpointRecord| endpoint.pod.is_none();
        let (slice, endpoint) = self.endpoints.selecting(&addr, port, node.is_some(), wanted)?;
        let kind = if is_public(addr) && node.is_none() { Kind::External } else { Kind::Host };
        let name = (slice.namespace.clone(), slice.service.clone());
        let mut identity = self.service_identity(kind, name, true);
        let node = node.or_else(|| self.nodes.named(&endpoint.node));
        if let Some(node) = node {
            identity.node = node.name.clone();
            identity.zone = node.zone.clone();
            identity.region = node.region.clone();
        }
        if identity.zone.is_empty() {
            identity.zone = endpoint.zone.clone();
        }
        Some(identity)
    }
}
