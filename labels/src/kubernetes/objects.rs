// SPDX-License-Identifier: Apache-2.0
//! What is kept of the API's objects: only what names a flow. Field names follow the API reference of Kubernetes.

use std::net::IpAddr;

/// A pod (core/v1 Pod).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pod {
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.annotations["kubernetes.io/config.hash"]`: the uid by which the kubelet knows a static pod, whose
    /// mirror in the API has another one.
    pub config_hash: Option<String>,
    /// `metadata.creationTimestamp`, seconds since 1970; 0 if it is not given.
    pub created: i64,
    /// It has a `metadata.deletionTimestamp`: it is about to go.
    pub deleting: bool,
    /// The controller, as far as the pod itself tells.
    pub workload: String,
    /// `spec.nodeName`; empty until it is scheduled.
    pub node: String,
    /// `spec.hostNetwork`: the addresses are the node's.
    pub host_network: bool,
    /// `status.podIPs`, or `status.podIP` where that is not given.
    pub ips: Vec<IpAddr>,
    /// `status.phase` is `Succeeded` or `Failed`: the addresses may be another's by now.
    pub finished: bool,
    /// `spec.containers[].ports[].containerPort` of a pod on the host's network, TCP, and the numbers of the ports at
    /// which its `livenessProbe`, `readinessProbe` and `startupProbe` ask: what it may listen on. Empty for other pods.
    pub host_ports: Vec<u16>,
    /// All containers, those of the init and the ephemeral kind too.
    pub containers: Vec<Container>,
}

/// A container of a pod.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Container {
    /// `spec.….name`
    pub name: String,
    /// `status.…Statuses[].containerID` without the runtime's `scheme://`; empty until it runs.
    pub id: String,
    /// It runs beside the others as long as the pod does: `spec.containers`, and those of `spec.initContainers` that
    /// have `restartPolicy: Always`. Not so other init containers, and ephemeral ones.
    pub lasting: bool,
}

/// A service (core/v1 Service).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Service {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `spec.clusterIPs`, or `spec.clusterIP`; none for headless services and for those of type ExternalName.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.externalIPs` and `status.loadBalancer.ingress[].ip`.
    pub external_ips: Vec<IpAddr>,
    /// `spec.ports` of protocol TCP.
    pub ports: Vec<ServicePort>,
    /// `spec.externalName` of those of type ExternalName, in lower case and without the final dot; empty for others.
    pub external_name: String,
}

/// A TCP port of a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ServicePort {
    /// `port`
    pub port: u16,
    /// `nodePort`
    pub node_port: Option<u16>,
}

/// Some of a service's endpoints (discovery.k8s.io/v1 EndpointSlice).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EndpointSlice {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.labels["kubernetes.io/service-name"]`; empty if the slice belongs to none.
    pub service: String,
    /// `ports[].port` of protocol TCP.
    pub ports: Vec<u16>,
    /// The slice has no `ports`, or one of protocol TCP without a number: its endpoints are selected on all ports.
    pub all_ports: bool,
    /// `endpoints`
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint; not ready ones too.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Endpoint {
    /// `addresses`; only such of IPv4 and IPv6 slices.
    pub addresses: Vec<IpAddr>,
    /// `targetRef.name` if `targetRef.kind` is Pod.
    pub pod: Option<String>,
    /// `targetRef.namespace` of that pod; empty if it is the slice's.
    pub pod_namespace: String,
    /// `conditions.terminating` is true.
    pub terminating: bool,
    /// `conditions.ready` is false.
    pub unready: bool,
    /// `nodeName`
    pub node: String,
    /// `zone`
    pub zone: String,
}

/// A node (core/v1 Node).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Node {
    /// `metadata.name`
    pub name: String,
    /// `status.addresses[]` of type InternalIP and ExternalIP.
    pub addresses: Vec<IpAddr>,
    /// `metadata.labels["topology.kubernetes.io/zone"]`, else the one of `failure-domain.beta.kubernetes.io/zone`.
    pub zone: String,
    /// As `zone`, of `…/region`.
    pub region: String,
}

/// Takes what one watch tells. A list replaces what was known; whatever is not in it is gone.
pub trait Watched<T>: Send + Sync {
    /// A complete list begins. What is known stays in use until it ends; a list that began and did not end counts for
    /// nothing when the next one begins.
    fn begin_list(&self);
    /// An object of that list.
    fn listed(&self, object: T);
    /// The list is complete.
    fn end_list(&self);
    /// An object was added or changed.
    fn applied(&self, object: T);
    /// An object was deleted; as it was last.
    fn deleted(&self, object: T);
    /// The watch cannot be made or has ended with an error: one line for people. Names stay.
    fn down(&self, error: String);
    /// The watch works (again).
    fn up(&self);
}
