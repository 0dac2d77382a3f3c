// SPDX-License-Identifier: Apache-2.0
//! The API's objects as they are on the wire, as far as they are wanted. All other fields are skipped unread, and
//! whatever may be missing may be `null` too, as Go writes it.

use serde::Deserialize;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub name: Option<String>,
    pub namespace: Option<String>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub creation_timestamp: Option<String>,
    pub deletion_timestamp: Option<String>,
    pub labels: Option<Labels>,
    pub annotations: Option<Annotations>,
    pub owner_references: Option<Vec<OwnerReference>>,
}

impl Metadata {
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

#[derive(Deserialize)]
pub(super) struct Labels {
    #[serde(rename = "pod-template-hash")]
    pub pod_template_hash: Option<String>,
    #[serde(rename = "rollouts-pod-template-hash")]
    pub rollouts_pod_template_hash: Option<String>,
    #[serde(rename = "kubernetes.io/service-name")]
    pub service_name: Option<String>,
    #[serde(rename = "topology.kubernetes.io/zone")]
    pub zone: Option<String>,
    #[serde(rename = "topology.kubernetes.io/region")]
    pub region: Option<String>,
    #[serde(rename = "failure-domain.beta.kubernetes.io/zone")]
    pub beta_zone: Option<String>,
    #[serde(rename = "failure-domain.beta.kubernetes.io/region")]
    pub beta_region: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Annotations {
    #[serde(rename = "kubernetes.io/config.hash")]
    pub config_hash: Option<String>,
    #[serde(rename = "k8s.io/initial-events-end")]
    pub initial_events_end: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct OwnerReference {
    pub kind: Option<String>,
    pub name: Option<String>,
    pub controller: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct Pod {
    #[serde(default)]
    pub metadata: Metadata,
    pub spec: Option<PodSpec>,
    pub status: Option<PodStatus>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSpec {
    pub node_name: Option<String>,
    pub host_network: Option<bool>,
    pub containers: Option<Vec<Container>>,
    pub init_containers: Option<Vec<Container>>,
    pub ephemeral_containers: Option<Vec<Container>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    pub name: Option<String>,
    pub restart_policy: Option<String>,
    pub ports: Option<Vec<ContainerPort>>,
    pub liveness_probe: Option<Probe>,
    pub readiness_probe: Option<Probe>,
    pub startup_probe: Option<Probe>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Probe {
    pub http_get: Option<ProbedPort>,
    pub tcp_socket: Option<ProbedPort>,
    pub grpc: Option<ProbedPort>,
}

#[derive(Deserialize)]
pub(super) struct ProbedPort {
    /// The pod's own address where none is given.
    pub host: Option<String>,
    pub port: Option<PortOrName>,
}

/// A port's number, or its name in the container's `ports`, where it has a number.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum PortOrName {
    Number(i64),
    Name(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerPort {
    pub container_port: Option<i64>,
    pub protocol: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodStatus {
    pub phase: Option<String>,
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pub pod_ips: Option<Vec<Ip>>,
    pub container_statuses: Option<Vec<ContainerStatus>>,
    pub init_container_statuses: Option<Vec<ContainerStatus>>,
    pub ephemeral_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Deserialize)]
pub(super) struct Ip {
    pub ip: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ContainerStatus {
    pub name: Option<String>,
    #[serde(rename = "containerID")]
    pub container_id: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Service {
    #[serde(default)]
    pub metadata: Metadata,
    pub spec: Option<ServiceSpec>,
    pub status: Option<ServiceStatus>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceSpec {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Option<Vec<String>>,
    #[serde(rename = "externalIPs")]
    pub external_ips: Option<Vec<String>>,
    pub external_name: Option<String>,
    pub ports: Option<Vec<ServicePort>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServicePort {
    pub port: Option<i64>,
    pub node_port: Option<i64>,
    pub protocol: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceStatus {
    pub load_balancer: Option<LoadBalancer>,
}

#[derive(Deserialize)]
pub(super) struct LoadBalancer {
    pub ingress: Option<Vec<Ip>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointSlice {
    #[serde(default)]
    pub metadata: Metadata,
    pub address_type: Option<String>,
    pub ports: Option<Vec<EndpointPort>>,
    pub endpoints: Option<Vec<Endpoint>>,
}

#[derive(Deserialize)]
pub(super) struct EndpointPort {
    pub port: Option<i64>,
    pub protocol: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Endpoint {
    pub addresses: Option<Vec<String>>,
    pub target_ref: Option<TargetRef>,
    pub conditions: Option<Conditions>,
    pub node_name: Option<String>,
    pub zone: Option<String>,
}

#[derive(Deserialize, Default)]
pub(super) struct Conditions {
    pub ready: Option<bool>,
    pub terminating: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct TargetRef {
    pub kind: Option<String>,
    pub namespace: Option<String>,
    pub name: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Node {
    #[serde(default)]
    pub metadata: Metadata,
    pub status: Option<NodeStatus>,
}

#[derive(Deserialize)]
pub(super) struct NodeStatus {
    pub addresses: Option<Vec<NodeAddress>>,
}

#[derive(Deserialize)]
pub(super) struct NodeAddress {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub address: Option<String>,
}

/// What every object has.
#[derive(Deserialize)]
pub(super) struct Object {
    #[serde(default)]
    pub metadata: Metadata,
}

/// A line of a watch. `object` of a `BOOKMARK` has little but its metadata; that of an `ERROR` is a [`Status`].
#[derive(Deserialize)]
pub(super) struct Event<T> {
    #[serde(rename = "type")]
    pub kind: String,
    pub object: T,
}

/// What a list has beside its items.
#[derive(Deserialize)]
pub(super) struct List {
    #[serde(default)]
    pub metadata: ListMetadata,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListMetadata {
    pub resource_version: Option<String>,
    #[serde(rename = "continue")]
    pub next: Option<String>,
}

/// The API's word on why not (meta/v1 Status).
#[derive(Deserialize, Default)]
pub(super) struct Status {
    pub kind: Option<String>,
    pub message: Option<String>,
    pub reason: Option<String>,
    pub code: Option<i64>,
}

/// The answer of `/version`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version {
    pub git_version: String,
}
