// SPDX-License-Identifier: Apache-2.0
//! Edges: who talks to whom, as labels.

use std::sync::Arc;

use flowgauge_labels::Identity;

/// Which end of the flow was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Observer {
    /// The end that opened it.
    Client,
    /// The end that answered.
    Server,
    /// The end that opened it, where that is a sidecar proxy.
    ClientProxy,
    /// The end that answered, where that is a sidecar proxy.
    ServerProxy,
}

impl Observer {
    /// All, in the order of their numbers.
    pub const ALL: [Observer; 4] =
        [Observer::Client, Observer::Server, Observer::ClientProxy, Observer::ServerProxy];

    /// The observer of an end that opened (or else answered), and that is a sidecar proxy or not.
    pub const fn of(opened: bool, sidecar: bool) -> Self {
        match (opened, sidecar) {
            (true, false) => Observer::Client,
            (false, false) => Observer::Server,
            (true, true) => Observer::ClientProxy,
            (false, true) => Observer::ServerProxy,
        }
    }

    /// Whether it is the end that opened the flow.
    pub const fn opened(self) -> bool {
        matches!(self, Observer::Client | Observer::ClientProxy)
    }

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Observer::Client => "client",
            Observer::Server => "server",
            Observer::ClientProxy => "client_proxy",
            Observer::ServerProxy => "server_proxy",
        }
    }
}

/// A flow with both ends named.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Which end was watched.
    pub observer: Observer,
    /// Who opened it.
    pub client: Identity,
    /// Who answered.
    pub server: Identity,
    /// The label value: the server's port, or `ephemeral`.
    pub server_port: Arc<str>,
}

/// The values of an edge's labels, in the order of a [`LabelPlan`]. Two edges with equal values are one series.
pub type LabelValues = Box<[Arc<str>]>;

type Read = fn(&Edge) -> Arc<str>;

/// Every label that an edge can have, and where its value comes from.
const LABELS: &[(&str, Read)] = &[
    ("observer", |edge| edge.observer.as_str().into()),
    ("client_namespace", |edge| edge.client.namespace.clone()),
    ("client_workload", |edge| edge.client.workload.clone()),
    ("client_zone", |edge| edge.client.zone.clone()),
    ("server_namespace", |edge| edge.server.namespace.clone()),
    ("server_workload", |edge| edge.server.workload.clone()),
    ("server_zone", |edge| edge.server.zone.clone()),
    ("server_service", |edge| edge.server.service.clone()),
    ("server_kind", |edge| edge.server.kind.as_str().into()),
    ("server_port", |edge| edge.server_port.clone()),
    ("client_pod", |edge| edge.client.pod.clone()),
    ("server_pod", |edge| edge.server.pod.clone()),
    ("client_node", |edge| edge.client.node.clone()),
    ("server_node", |edge| edge.server.node.clone()),
    ("client_container", |edge| edge.client.container.clone()),
    ("server_container", |edge| edge.server.container.clone()),
    ("client_process", |edge| edge.client.process.clone()),
    ("server_process", |edge| edge.server.process.clone()),
    ("client_region", |edge| edge.client.region.clone()),
    ("server_region", |edge| edge.server.region.clone()),
];

/// The labels that edges have in this run: the default ones, less those dropped, and those added.
#[derive(Clone)]
pub struct LabelPlan {
    labels: Vec<(&'static str, Read)>,
}

impl LabelPlan {
    /// From names that the flags have checked.
    pub fn new(default: &[&str], added: &[&'static str], dropped: &[&'static str]) -> Self {
        let wanted =
            |name: &str| (default.contains(&name) && !dropped.contains(&name)) || added.contains(&name);
        Self { labels: LABELS.iter().filter(|(name, _)| wanted(name)).copied().collect() }
    }

    /// The label names, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.labels.iter().map(|(name, _)| *name)
    }

    /// The values for an edge.
    pub fn values(&self, edge: &Edge) -> LabelValues {
        self.labels.iter().map(|(_, read)| read(edge)).collect()
    }

    /// The values under which edges beyond the budget are added up: `other` for both workloads, nothing else.
    pub fn folded(&self, observer: Observer) -> LabelValues {
        self.labels
            .iter()
            .map(|(name, _)| match *name {
                "observer" => observer.as_str().into(),
                "client_workload" | "server_workload" => "other".into(),
                "server_kind" => "unknown".into(),
                _ => "".into(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use flowgauge_labels::Kind;

    use super::*;
    use crate::flags::{DEFAULT_LABELS, OPTIONAL_LABELS};

    fn identity(name: &str) -> Identity {
        let of = |field: &str| Arc::from(format!("{name}-{field}"));
        Identity {
            kind: Kind::Host,
            namespace: of("namespace"),
            workload: of("workload"),
            zone: of("zone"),
            region: of("region"),
            service: of("service"),
            pod: of("pod"),
            node: of("node"),
            container: of("container"),
            process: of("process"),
            sidecar: false,
        }
    }

    #[test]
    fn every_label_the_flags_know_has_its_value() {
        let plan = LabelPlan::new(DEFAULT_LABELS, OPTIONAL_LABELS, &[]);
        let (client, server) = (identity("client"), identity("server"));
        let edge = Edge { observer: Observer::Server, client, server, server_port: "443".into() };
        let values = plan.values(&edge);
        assert_eq!(values.len(), DEFAULT_LABELS.len() + OPTIONAL_LABELS.len());
        for (name, value) in plan.names().zip(&values) {
            let expected = match name {
                "observer" => "server".to_owned(),
                "server_kind" => "host".to_owned(),
                "server_port" => "443".to_owned(),
                name => name.replacen('_', "-", 1),
            };
            assert_eq!(**value, *expected, "{name}");
        }
    }

    #[test]
    fn dropped_labels_are_not_there() {
        let plan = LabelPlan::new(DEFAULT_LABELS, &["server_pod"], &["client_zone", "server_zone"]);
        let names: Vec<_> = plan.names().collect();
        assert_eq!(names.len(), DEFAULT_LABELS.len() - 1);
        assert!(!names.contains(&"client_zone") && names.contains(&"server_pod"));
        assert_eq!(plan.folded(Observer::Client).len(), names.len());
    }
}
