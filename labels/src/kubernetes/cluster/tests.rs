// SPDX-License-Identifier: Apache-2.0
//! A small cluster, told as watches would.

mod addresses;
mod churn;
mod lists;
mod local;
mod node_scope;
mod recycled;
mod services;

use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::kubernetes::objects::{Container, Endpoint, ServicePort};

pub(super) const NODE: &str = "node-1";

/// The cluster, and an end for each watch.
pub(super) struct World {
    pub cluster: Arc<Cluster>,
    pub node_pods: Arc<dyn Watched<Pod>>,
    pub pods: Arc<dyn Watched<Pod>>,
    pub services: Arc<dyn Watched<Service>>,
    pub slices: Arc<dyn Watched<EndpointSlice>>,
    pub nodes: Arc<dyn Watched<Node>>,
}

impl World {
    pub fn new(scope: PodScope) -> World {
        let proxies = vec!["istio-proxy".to_owned(), "linkerd-proxy".to_owned()];
        let cluster = Arc::new(Cluster::new(NODE, scope, proxies));
        World {
            node_pods: cluster.node_pods(),
            pods: cluster.pods(),
            services: cluster.services(),
            slices: cluster.endpoint_slices(),
            nodes: cluster.nodes(),
            cluster,
        }
    }

    /// With two nodes, in two zones.
    pub fn with_nodes(scope: PodScope) -> World {
        let world = World::new(scope);
        world.nodes.applied(node(NODE, "192.0.2.1", "eu-1a"));
        world.nodes.applied(node("node-2", "192.0.2.2", "eu-1b"));
        world
    }

    pub fn at(&self, addr: &str, port: Option<u16>) -> Option<Identity> {
        self.cluster.at(ip(addr), port)
    }

    /// `kind namespace/workload service zone`
    pub fn name(&self, addr: &str, port: Option<u16>) -> String {
        self.at(addr, port).map_or_else(|| "nobody".to_owned(), |found| brief(&found))
    }

    pub fn is_stale(&self, since: u64, addr: &str) -> bool {
        self.cluster.changes.is_stale(since, &[Subject::Address(ip(addr))])
    }

    pub fn generation(&self) -> u64 {
        self.cluster.changes.generation()
    }

    pub fn list<T>(watch: &Arc<dyn Watched<T>>, objects: impl IntoIterator<Item = T>) {
        watch.begin_list();
        objects.into_iter().for_each(|object| watch.listed(object));
        watch.end_list();
    }
}

pub(super) fn brief(found: &Identity) -> String {
    let Identity { kind, namespace, workload, service, zone, .. } = found;
    format!("{} {namespace}/{workload} {service} {zone}", kind.as_str()).trim_end().to_owned()
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn uid(number: u32) -> String {
    format!("6f1f0b6e-0c5a-4f2f-9f0e-{number:012x}")
}

/// A pod of deployment `workload` in the namespace `shop`.
pub(super) fn pod(number: u32, workload: &str, node: &str, ips: &[&str]) -> Pod {
    Pod {
        uid: uid(number),
        namespace: "shop".to_owned(),
        name: format!("{workload}-{number}"),
        workload: workload.to_owned(),
        node: node.to_owned(),
        ips: ips.iter().map(|addr| ip(addr)).collect(),
        ..Pod::default()
    }
}

pub(super) fn host_pod(number: u32, workload: &str, node: &str, addr: &str, ports: &[u16]) -> Pod {
    Pod { host_network: true, host_ports: ports.to_vec(), ..pod(number, workload, node, &[addr]) }
}

pub(super) fn container(name: &str, id: &str, lasting: bool) -> Container {
    Container { name: name.to_owned(), id: id.to_owned(), lasting }
}

pub(super) fn node(name: &str, addr: &str, zone: &str) -> Node {
    let region = if zone.is_empty() { "" } else { "eu-1" };
    let (name, zone, region) = (name.to_owned(), zone.to_owned(), region.to_owned());
    Node { name, addresses: vec![ip(addr)], zone, region }
}

pub(super) fn service(name: &str, cluster_ips: &[&str], ports: &[(u16, Option<u16>)]) -> Service {
    Service {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        cluster_ips: cluster_ips.iter().map(|addr| ip(addr)).collect(),
        external_ips: Vec::new(),
        ports: ports
            .iter()
            .map(|(port, node_port)| ServicePort { port: *port, node_port: *node_port })
            .collect(),
        external_name: String::new(),
    }
}

/// The slice `<service>-1`. An endpoint without a pod's name refers to none.
pub(super) fn slice(service: &str, ports: &[u16], endpoints: &[(&str, &str)]) -> EndpointSlice {
    let endpoint = |(addr, pod): &(&str, &str)| Endpoint {
        addresses: vec![ip(addr)],
        pod: (!pod.is_empty()).then(|| (*pod).to_owned()),
        pod_namespace: String::new(),
        terminating: false,
        unready: false,
        node: "node-2".to_owned(),
        zone: "eu-1c".to_owned(),
    };
    EndpointSlice {
        namespace: "shop".to_owned(),
        name: format!("{service}-1"),
        service: service.to_owned(),
        ports: ports.to_vec(),
        all_ports: false,
        endpoints: endpoints.iter().map(endpoint).collect(),
    }
}
