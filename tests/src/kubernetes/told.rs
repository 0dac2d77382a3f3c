// SPDX-License-Identifier: Apache-2.0
//! An exporter with an API server of its own: several of them see one cluster's traffic while different things go wrong.

use std::time::Duration;

use anyhow::{Context, Result};

use super::cluster::Cluster;
use super::exporter::NodeExporter;
use super::talk::Talk;
use crate::api_server::objects;
use crate::api_server::{ApiServer, Kubeconfig, Resource, TOKEN, Verb};
use crate::metrics::Metrics;

/// The sources of names that the API is, as the exporter calls them.
pub const SOURCES: [&str; 5] = [
    "kubernetes_node_pods",
    "kubernetes_pods",
    "kubernetes_services",
    "kubernetes_endpointslices",
    "kubernetes_nodes",
];

/// The exporter of node `a`, and what it is told.
#[derive(Debug)]
pub struct Told {
    /// Ended first.
    pub exporter: NodeExporter,
    /// Lets it in.
    pub kubeconfig: Kubeconfig,
    /// Knows the nodes, and both pods of the talk.
    pub api: ApiServer,
}

impl Told {
    /// Starts both; `prepare` is done to the API server before anybody asks it. Nobody waits for names.
    pub fn new(cluster: &Cluster, talk: &Talk, prepare: impl FnOnce(&ApiServer)) -> Result<Self> {
        let api = ApiServer::start()?;
        prepare(&api);
        for node in [&cluster.a, &cluster.b] {
            api.put(cluster.object_of(node));
        }
        for pod in [&talk.client, &talk.server] {
            api.put(&pod.object);
        }
        let kubeconfig = api.kubeconfig(TOKEN)?;
        let exporter = cluster.exporter_unready(&cluster.a, &[&kubeconfig.flag()])?;
        Ok(Told { exporter, kubeconfig, api })
    }

    /// Waits until all of its sources are up or down.
    pub fn wait(&self, up: bool, patience: Duration) -> Result<()> {
        SOURCES.iter().try_for_each(|source| self.exporter.wait_for_source(source, up, patience))
    }

    /// Waits until it knows so many pods of the cluster.
    pub fn wait_for_pods(&self, pods: f64, patience: Duration) -> Result<()> {
        let selector = [("source", "kubernetes_pods")];
        let known = |metrics: &Metrics| metrics.sum("flowgauge_label_source_entries", &selector) == pods;
        let found = self.exporter.wait_until(&format!("{pods} pods"), &selector, patience, known);
        found.map(drop).with_context(|| format!("its log:\n{}", self.exporter.log()))
    }

    /// How many pages of lists were asked for, of all resources.
    pub fn pages(&self) -> usize {
        Resource::ALL.iter().map(|resource| self.api.count(*resource, Verb::List)).sum()
    }

    /// How many streaming lists were asked for.
    pub fn streams(&self) -> usize {
        self.api.asked().iter().filter(|request| request.parameter("sendInitialEvents") == "true").count()
    }
}

/// A pod on node `b` that exists in the API only, and has no address.
pub fn paper_pod(name: &str) -> objects::Pod {
    objects::Pod { node: "b".to_owned(), ..objects::Pod::new("shop", name) }
}
