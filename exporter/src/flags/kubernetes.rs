// SPDX-License-Identifier: Apache-2.0
//! `--labels.kubernetes…`: where the names of pods and services come from.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Containers that service meshes put beside an application's.
const PROXY_CONTAINERS: &str = "istio-proxy,linkerd-proxy,envoy,envoy-sidecar,consul-dataplane,kuma-sidecar,osm-envoy,cilium-envoy,nginx-mesh-sidecar";

/// Names from the Kubernetes API.
#[derive(Args, Clone, Debug)]
pub struct KubernetesFlags {
    /// Name pods and services from the Kubernetes API: where one is configured, never, or not ready without it.
    #[arg(
        long = "labels.kubernetes",
        env = "FLOWGAUGE_LABELS_KUBERNETES",
        value_name = "MODE",
        default_value = "auto",
        ignore_case = true,
        global = true
    )]
    pub mode: KubernetesMode,

    /// Kubeconfig that says where the API is; without it KUBECONFIG, then the pod's service account.
    #[arg(
        long = "labels.kubernetes.kubeconfig",
        env = "FLOWGAUGE_LABELS_KUBERNETES_KUBECONFIG",
        value_name = "FILE",
        global = true
    )]
    pub kubeconfig: Option<PathBuf>,

    /// Name of this node in the API; without it NODE_NAME, then the host's name.
    #[arg(
        long = "labels.kubernetes.node",
        env = "FLOWGAUGE_LABELS_KUBERNETES_NODE",
        value_name = "NAME",
        value_parser = node_name,
        global = true
    )]
    node: Option<String>,

    /// Pods to watch: those of the cluster, or of this node only, where clients without a Service have no names.
    #[arg(
        long = "labels.kubernetes.pods",
        env = "FLOWGAUGE_LABELS_KUBERNETES_PODS",
        value_name = "SCOPE",
        default_value = "cluster",
        ignore_case = true,
        global = true
    )]
    pub pods: PodsWatched,

    /// Learn from the host's conntrack table to which backend a connection to a Service went.
    #[arg(
        long = "labels.conntrack",
        env = "FLOWGAUGE_LABELS_CONNTRACK",
        value_name = "MODE",
        default_value = "auto",
        ignore_case = true,
        global = true
    )]
    pub conntrack: ConntrackMode,

    /// Names of containers that are sidecar proxies, a comma list: their ends are observer `client_proxy` and `server_proxy`.
    #[arg(
        long = "labels.proxy-containers",
        env = "FLOWGAUGE_LABELS_PROXY_CONTAINERS",
        value_name = "NAMES",
        default_value = PROXY_CONTAINERS,
        value_parser = container_names,
        global = true
    )]
    pub proxy_containers: Names,
}

/// A list of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

/// Whether the API is asked.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum KubernetesMode {
    Auto,
    Off,
    Required,
}

/// Whether conntrack is asked.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConntrackMode {
    /// Where there are Services.
    Auto,
    Off,
}

/// Whose pods are watched.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodsWatched {
    Cluster,
    Node,
}

impl KubernetesFlags {
    /// The node's name, if anybody says it: the flag, or `NODE_NAME` as the downward API is commonly asked to set it.
    pub fn node(&self) -> Option<String> {
        let of_pod = || std::env::var("NODE_NAME").ok().filter(|name| node_name(name).is_ok());
        self.node.clone().or_else(of_pod)
    }
}

/// A name as RFC 1123 has it for subdomains, which is what a field selector takes.
fn node_name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    match text.chars().find(|c| !allowed(*c)) {
        Some(c) => {
            Err(format!("must not contain {c:?}: a node's name has lower case letters, digits, - and ."))
        }
        None if text.is_empty() || text.len() > 253 => Err("must have 1 to 253 characters".to_owned()),
        None => Ok(text.to_owned()),
    }
}

fn container_names(text: &str) -> Result<Names, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names
        .map(|name| match name.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
            Some(c) => Err(format!("{name:?} is no container's name: it must not contain {c:?}")),
            None => Ok(name.to_owned()),
        })
        .collect::<Result<_, _>>()
        .map(Names)
}
