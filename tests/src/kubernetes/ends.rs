// SPDX-License-Identifier: Apache-2.0
//! What an exporter tells of one end of a pod's flows, over all edges.
//!
//! Ends are told apart by `observer`, and pods by the labels `client_pod` and `server_pod`, which have to be added.

use std::collections::BTreeSet;

use super::Pod;
use crate::metrics::Metrics;

/// What was moved over connections, from the side of who opened them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moved {
    /// Bytes sent by the opener.
    pub sent: f64,
    /// Bytes sent to it.
    pub received: f64,
    /// Connections that were opened and have ended.
    pub connections: f64,
}

impl Moved {
    /// Nothing at all.
    pub const NOTHING: Moved = Moved { sent: 0.0, received: 0.0, connections: 0.0 };

    /// The same, moved several times.
    pub fn times(self, factor: f64) -> Self {
        let Moved { sent, received, connections } = self;
        Moved { sent: sent * factor, received: received * factor, connections: connections * factor }
    }

    /// What this observer has seen at this pod.
    pub fn at(metrics: &Metrics, pod: &Pod, observer: &str) -> Self {
        let sum = |name: &str| metrics.sum(&format!("flowgauge_tcp_{name}_total"), &end(pod, observer));
        let (out, back) = (sum("sent_bytes"), sum("received_bytes"));
        let (sent, received) = if is_opener(observer) { (out, back) } else { (back, out) };
        Moved { sent, received, connections: sum("connections_closed") }
    }
}

/// Selects one end of a pod's flows.
pub fn end<'a>(pod: &'a Pod, observer: &'a str) -> [(&'a str, &'a str); 2] {
    let own = if is_opener(observer) { "client_pod" } else { "server_pod" };
    [("observer", observer), (own, &pod.object.name)]
}

fn is_opener(observer: &str) -> bool {
    observer.starts_with("client")
}

/// The edges of one end of a pod: client's workload and zone; server's workload, zone, service, kind and port.
pub type Edges = BTreeSet<[String; 7]>;

/// Those that exist.
pub fn edges(metrics: &Metrics, pod: &Pod, observer: &str) -> Edges {
    const LABELS: [&str; 7] = [
        "client_workload",
        "client_zone",
        "server_workload",
        "server_zone",
        "server_service",
        "server_kind",
        "server_port",
    ];
    metrics
        .select("flowgauge_tcp_sent_bytes_total", &end(pod, observer))
        .map(|sample| LABELS.map(|label| sample.labels.get(label).cloned().unwrap_or_default()))
        .collect()
}

/// The one edge to a pod, from workload and zone to workload and zone, through a Service, to a port.
pub fn to_pod(from: [&str; 2], to: [&str; 2], service: &str, port: u16) -> Edges {
    let port = port.to_string();
    Edges::from([[from[0], from[1], to[0], to[1], service, "pod", &port].map(str::to_owned)])
}
