// SPDX-License-Identifier: Apache-2.0
//! From the wire to what is kept.

use std::net::IpAddr;

use serde::de::DeserializeOwned;

use super::super::objects::{Container, Endpoint, EndpointSlice, Node, Pod, Service, ServicePort};
use super::{owner, wire};

mod ports;

/// A kind of objects that is watched.
pub(super) trait Kind: Sized + Send + 'static {
    type Wire: DeserializeOwned;

    /// The resource as roles name it.
    const RESOURCE: &'static str;
    /// Its API group; empty for core.
    const GROUP: &'static str;
    /// Where it is listed, in all namespaces.
    const PATH: &'static str;

    fn metadata(wire: &Self::Wire) -> &wire::Metadata;
    fn slim(wire: Self::Wire) -> Self;

    /// What tells it from all others of its kind, also from an earlier one of the same name where that matters.
    fn key(&self) -> (&str, &str, &str);
}

impl Kind for Pod {
    type Wire = wire::Pod;

    const RESOURCE: &'static str = "pods";
    const GROUP: &'static str = "";
    const PATH: &'static str = "/api/v1/pods";

    fn metadata(wire: &wire::Pod) -> &wire::Metadata {
        &wire.metadata
    }

    fn key(&self) -> (&str, &str, &str) {
        (&self.namespace, &self.name, &self.uid)
    }

    fn slim(wire: wire::Pod) -> Self {
        let wire::Pod { metadata, spec, status } = wire;
        let spec = spec.unwrap_or_default();
        let status = status.unwrap_or_default();
        let node = spec.node_name.clone().unwrap_or_default();
        let workload = owner::workload(&metadata, &node);
        let host_network = spec.host_network.unwrap_or_default();
        let listed = status.pod_ips.into_iter().flatten().filter_map(|ip| ip.ip);
        let mut ips = addresses(listed);
        if ips.is_empty() {
            ips = addresses(status.pod_ip);
        }
        let host_ports = if host_network { ports::of_host(&spec, &ips) } else { Vec::new() };
        let mut containers = Vec::new();
        let groups = [
            (spec.containers, status.container_statuses, true),
            (spec.init_containers, status.init_container_statuses, false),
            (spec.ephemeral_containers, status.ephemeral_container_statuses, false),
        ];
        for (specs, statuses, lasting) in groups {
            add_containers(&mut containers, specs, statuses, lasting);
        }
        Pod {
            uid: metadata.uid.unwrap_or_default(),
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            config_hash: metadata.annotations.and_then(|a| a.config_hash).filter(|hash| !hash.is_empty()),
            created: metadata.creation_timestamp.and_then(|at| seconds(&at)).unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            workload,
            node,
            host_network,
            ips,
            finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            host_ports,
            containers,
        }
    }
}

/// Containers of one kind. The API knows them by name, which is unique in a pod.
fn add_containers(
    to: &mut Vec<Container>,
    specs: Option<Vec<wire::Container>>,
    statuses: Option<Vec<wire::ContainerStatus>>,
    lasting: bool,
) {
    let mut statuses = statuses.unwrap_or_default();
    for spec in specs.into_iter().flatten() {
        let id = statuses
            .iter_mut()
            .find(|status| status.name == spec.name)
            .and_then(|status| status.container_id.take())
            .unwrap_or_default();
        to.push(Container {
            id: id.split_once("://").map_or(id.as_str(), |(_, id)| id).to_owned(),
            lasting: is_lasting(&spec, lasting),
            name: spec.name.unwrap_or_default(),
        });
    }
}

/// Init containers that restart for ever are sidecars: they run as long as the pod does.
fn is_lasting(container: &wire::Container, lasting: bool) -> bool {
    lasting || container.restart_policy.as_deref() == Some("Always")
}

impl Kind for Service {
    type Wire = wire::Service;

    const RESOURCE: &'static str = "services";
    const GROUP: &'static str = "";
    const PATH: &'static str = "/api/v1/services";

    fn metadata(wire: &wire::Service) -> &wire::Metadata {
        &wire.metadata
    }

    fn key(&self) -> (&str, &str, &str) {
        (&self.namespace, &self.name, "")
    }

    fn slim(wire: wire::Service) -> Self {
        let spec = wire.spec.unwrap_or_default();
        // An ExternalName is an alias in the DNS: what else it may still say is not in force.
        let alias = spec.kind.as_deref() == Some("ExternalName");
        let mut cluster_ips = addresses(spec.cluster_ips.into_iter().flatten());
        if cluster_ips.is_empty() {
            cluster_ips = addresses(spec.cluster_ip);
        }
        let balancer = wire.status.and_then(|status| status.load_balancer).and_then(|b| b.ingress);
        let balancer = balancer.into_iter().flatten().filter_map(|ingress| ingress.ip);
        let mut external_ips = addresses(spec.external_ips.into_iter().flatten().chain(balancer));
        external_ips.sort_unstable();
        external_ips.dedup();
        if alias {
            cluster_ips.clear();
            external_ips.clear();
        }
        let external_name = spec.external_name.filter(|_| alias).unwrap_or_default().to_ascii_lowercase();
        let ports = spec.ports.into_iter().flatten().filter(|p| is_tcp(p.protocol.as_deref()));
        let ports = ports
            .filter_map(|p| Some(ServicePort { port: port(p.port)?, node_port: port(p.node_port) }))
            .collect();
        Service {
            namespace: wire.metadata.namespace.unwrap_or_default(),
            name: wire.metadata.name.unwrap_or_default(),
            cluster_ips,
            external_ips,
            ports,
            external_name: external_name.trim_end_matches('.').to_owned(),
        }
    }
}

impl Kind for EndpointSlice {
    type Wire = wire::EndpointSlice;

    const RESOURCE: &'static str = "endpointslices";
    const GROUP: &'static str = "discovery.k8s.io";
    const PATH: &'static str = "/apis/discovery.k8s.io/v1/endpointslices";

    fn metadata(wire: &wire::EndpointSlice) -> &wire::Metadata {
        &wire.metadata
    }

    fn key(&self) -> (&str, &str, &str) {
        (&self.namespace, &self.name, "")
    }

    fn slim(wire: wire::EndpointSlice) -> Self {
        let of_addresses = matches!(wire.address_type.as_deref(), Some("IPv4" | "IPv6"));
        let namespace = wire.metadata.namespace.unwrap_or_default();
        let endpoint = |endpoint: wire::Endpoint| {
            let pod = endpoint.target_ref.filter(|to| to.kind.as_deref() == Some("Pod"));
            let (pod, pod_namespace) = pod.map(|to| (to.name, to.namespace)).unwrap_or_default();
            let conditions = endpoint.conditions.unwrap_or_default();
            Endpoint {
                terminating: conditions.terminating == Some(true),
                unready: conditions.ready == Some(false),
                addresses: addresses(endpoint.addresses.into_iter().flatten().filter(|_| of_addresses)),
                pod,
                pod_namespace: pod_namespace.filter(|other| *other != namespace).unwrap_or_default(),
                node: endpoint.node_name.unwrap_or_default(),
                zone: endpoint.zone.unwrap_or_default(),
            }
        };
        let listed = wire.ports.unwrap_or_default();
        let ports = || listed.iter().filter(|p| is_tcp(p.protocol.as_deref()));
        EndpointSlice {
            name: wire.metadata.name.unwrap_or_default(),
            service: wire.metadata.labels.and_then(|labels| labels.service_name).unwrap_or_default(),
            all_ports: listed.is_empty() || ports().any(|p| p.port.is_none()),
            ports: ports().filter_map(|p| port(p.port)).collect(),
            endpoints: wire.endpoints.into_iter().flatten().map(endpoint).collect(),
            namespace,
        }
    }
}

impl Kind for Node {
    type Wire = wire::Node;

    const RESOURCE: &'static str = "nodes";
    const GROUP: &'static str = "";
    const PATH: &'static str = "/api/v1/nodes";

    fn metadata(wire: &wire::Node) -> &wire::Metadata {
        &wire.metadata
    }

    fn key(&self) -> (&str, &str, &str) {
        ("", &self.name, "")
    }

    fn slim(wire: wire::Node) -> Self {
        let listed = wire.status.and_then(|status| status.addresses).into_iter().flatten();
        let listed = listed.filter(|a| matches!(a.kind.as_deref(), Some("InternalIP" | "ExternalIP")));
        let mut ips = addresses(listed.filter_map(|a| a.address));
        ips.sort_unstable();
        ips.dedup();
        let known = |value: Option<String>| value.filter(|value| !value.is_empty());
        let (zone, region) = match wire.metadata.labels {
            None => (None, None),
            Some(labels) => (
                known(labels.zone).or(known(labels.beta_zone)),
                known(labels.region).or(known(labels.beta_region)),
            ),
        };
        Node {
            name: wire.metadata.name.unwrap_or_default(),
            addresses: ips,
            zone: zone.unwrap_or_default(),
            region: region.unwrap_or_default(),
        }
    }
}

/// Those that are addresses: `None` of headless services, for one, is left out.
fn addresses(texts: impl IntoIterator<Item = String>) -> Vec<IpAddr> {
    texts.into_iter().filter_map(|text| text.parse().ok()).collect()
}

/// TCP is what the API means where none is given.
fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol.is_empty() || protocol == "TCP")
}

/// Seconds since 1970 of a time as the API writes it (RFC 3339).
fn seconds(time: &str) -> Option<i64> {
    time.parse().ok().map(jiff::Timestamp::as_second)
}

fn port(number: Option<i64>) -> Option<u16> {
    number.and_then(|number| u16::try_from(number).ok()).filter(|port| *port != 0)
}

#[cfg(test)]
mod tests;
