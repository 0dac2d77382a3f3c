// SPDX-License-Identifier: Apache-2.0
//! Pods with real Envoys as sidecars, and what is asked of an exporter about them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::ends::Moved;
use super::{Cluster, Node, NodeExporter, Place, Pod};
use crate::api_server::objects::{self, Container, Part, Service, ServicePort};
use crate::envoy::Envoy;
use crate::metrics::Metrics;
use crate::netns::Host;
use crate::nginx::Nginx;
use crate::process::run;
use crate::stage::{CLIENT, SERVER};

/// Which end was watched.
pub const CLIENT_PROXY: &str = "client_proxy";
/// Which end was watched.
pub const SERVER_PROXY: &str = "server_proxy";
/// All of them, on the way from one application to another.
pub const OBSERVERS: [&str; 4] = [CLIENT, CLIENT_PROXY, SERVER_PROXY, SERVER];

/// The container of a sidecar.
pub const PROXY: &str = "istio-proxy";
/// The namespace of all pods and Services.
pub const NAMESPACE: &str = "mesh";
/// Selects the series that explain a failure.
pub const OURS: [(&str, &str); 1] = [("server_namespace", NAMESPACE)];
/// Where the application of every server listens.
pub const APP: u16 = 8080;
/// What it serves.
const FILES: [(&str, usize); 3] = [("small", 10), ("page", 30_000), ("large", 500_000)];
/// How long the exporter may take to show what has happened.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// A pod of a Deployment with these containers besides its `main` one.
pub fn pod(cluster: &Cluster, node: &Node, name: &str, others: &[(&str, Part)]) -> Result<Pod> {
    let mut object = objects::Pod::of_deployment(NAMESPACE, name);
    object.containers.extend(others.iter().map(|(name, part)| Container::new(name, *part)));
    cluster.run(node, object, Place::default())
}

/// Leads a pod's traffic through an Envoy in this container.
pub fn sidecar<'a>(pod: &'a Pod, container: &str) -> Result<Envoy<'a>> {
    let host = pod.container(container)?;
    Envoy::start(|program| host.command(program), APP)
}

/// An nginx as the application of a pod.
pub fn app(pod: &Pod) -> Result<Nginx> {
    Nginx::start(pod.main()?, &[&format!("[::]:{APP} ipv6only=off")], &FILES, 1)
}

/// A Service in front of pods, on port 80.
pub fn service(cluster: &Cluster, name: &str, pods: &[&Pod]) -> Result<Service> {
    cluster.cluster_ip(NAMESPACE, name, ServicePort::tcp(80, APP), pods)
}

/// The exporter of a node, when it knows all names.
pub fn exporter(cluster: &Cluster, node: &Node, flags: &[&str]) -> Result<NodeExporter> {
    let exporter = cluster.exporter(node, &[&["--labels.add=client_pod,server_pod"], flags].concat())?;
    exporter.wait_for_names(PATIENCE)?;
    Ok(exporter)
}

/// Has an HTTP client in this container make connections of many requests to these addresses in turn, and returns what
/// the server's log says of them: nobody on the way adds to it or takes from it.
pub fn visit(from: &Host, nginx: &Nginx, port: u16, addresses: &[String]) -> Result<Moved> {
    const CONNECTIONS: usize = 24;
    const REQUESTS: usize = 6;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/http_client.py");
    let numbers = [usize::from(port), CONNECTIONS, REQUESTS].map(|number| number.to_string());
    run(from.command("timeout").args(["40", "python3", script]).args(numbers).args(addresses))?;
    let requests = nginx.requests(CONNECTIONS * REQUESTS)?;
    ensure!(requests.len() == CONNECTIONS * REQUESTS, "{} requests", requests.len());
    Ok(Moved {
        sent: requests.iter().map(|request| request.received).sum(),
        received: requests.iter().map(|request| request.sent).sum(),
        connections: requests.iter().map(|request| &request.connection).collect::<BTreeSet<_>>().len() as f64,
    })
}

/// A pod's addresses.
pub fn addresses(pod: &Pod) -> [String; 2] {
    [pod.v4.to_string(), pod.v6.to_string()]
}

/// A Service's addresses.
pub fn addresses_of(service: &Service) -> Vec<String> {
    service.cluster_addresses.iter().map(ToString::to_string).collect()
}

/// Waits until each of these ends of the pod has seen what was moved; its other ends must have seen nothing.
pub fn expect(exporter: &NodeExporter, pod: &Pod, observers: &[&str], moved: Moved) -> Result<Metrics> {
    let wanted = |observer: &str| if observers.contains(&observer) { moved } else { Moved::NOTHING };
    let text = format!("{moved:?} at {observers:?} of {}", pod.object.name);
    exporter.wait_until(&text, &OURS, PATIENCE, |metrics| {
        OBSERVERS.iter().all(|observer| Moved::at(metrics, pod, observer) == wanted(observer))
    })
}

/// Bytes between proxies and their own pods, which are no edge's.
pub fn within_pods(metrics: &Metrics) -> f64 {
    metrics.sum("flowgauge_proxy_pod_bytes_total", &[])
}
