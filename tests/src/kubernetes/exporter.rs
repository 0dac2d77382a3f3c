// SPDX-License-Identifier: Apache-2.0
//! The exporter as a node's DaemonSet pod runs it.

use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::node::Node;
use crate::exporter::{self, Exporter};

/// The exporter of a node.
#[derive(Debug)]
pub struct NodeExporter {
    exporter: Exporter,
    /// Where its procfs is mounted, in its own mount namespace.
    _procfs: TempDir,
}

impl NodeExporter {
    /// Starts it, and waits until it is ready if so wanted.
    pub(super) fn start(node: &Node, flags: &[&str], ready: bool) -> Result<Self> {
        let procfs = TempDir::new().context("making a directory for procfs")?;
        let exporter = Exporter::adopt(exporter::spawn(&mut node.exporter_command(&procfs, flags)?)?)?;
        let exporter = if ready { exporter.wait_ready()? } else { exporter };
        Ok(NodeExporter { exporter, _procfs: procfs })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.exporter.pid()
    }

    /// Ends it by SIGTERM and returns its log.
    pub fn stop(self) -> Result<String> {
        self.exporter.stop()
    }

    /// Waits until a label source is up or down.
    pub fn wait_for_source(&self, source: &str, up: bool, patience: Duration) -> Result<()> {
        let value = f64::from(u8::from(up));
        let selector = [("source", source)];
        let name = "flowgauge_label_source_up";
        let found = self.wait_until(&format!("{name}{selector:?} {value}"), &selector, patience, |metrics| {
            metrics.select(name, &selector).count() == 1 && metrics.sum(name, &selector) == value
        });
        found.map(drop).with_context(|| format!("its log:\n{}", self.log()))
    }

    /// Waits until all of these sources are up.
    pub fn wait_for_names(&self, patience: Duration) -> Result<()> {
        let sources = [
            "kubernetes_node_pods",
            "kubernetes_pods",
            "kubernetes_services",
            "kubernetes_endpointslices",
            "kubernetes_nodes",
        ];
        sources.iter().try_for_each(|source| self.wait_for_source(source, true, patience))
    }
}

impl std::ops::Deref for NodeExporter {
    type Target = Exporter;

    fn deref(&self) -> &Exporter {
        &self.exporter
    }
}
