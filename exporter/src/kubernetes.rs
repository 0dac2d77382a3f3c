// SPDX-License-Identifier: Apache-2.0
//! The Kubernetes API as a source of names, as the flags ask for it.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use caps::Capability;
use flowgauge_labels::kubernetes::{self, Connection, Watches};
use flowgauge_labels::{Cluster, PodScope};

use crate::flags::{Flags, KubernetesMode, PodsWatched};
use crate::privileges;
use crate::sandbox::{Role, Sandbox};

/// What the thread that watches the API keeps: to read a kubeconfig, certificates and tokens that belong to others.
pub const CAPABILITIES: &[Capability] = privileges::READING;

/// What the API tells, and the watches that keep it told.
pub struct Kubernetes {
    /// The names.
    pub cluster: Arc<Cluster>,
    /// End when dropped.
    _watches: Watches,
}

/// Where the API is, if there is one and the flags want it.
///
/// # Errors
/// When what says where it is cannot be read, or nothing says and it is required.
pub fn connection(flags: &Flags) -> anyhow::Result<Option<Connection>> {
    let kubernetes = &flags.kubernetes;
    if kubernetes.mode == KubernetesMode::Off {
        return Ok(None);
    }
    let found = kubernetes::connection(kubernetes.kubeconfig.as_deref())?;
    if found.is_none() && kubernetes.mode == KubernetesMode::Required {
        bail!(
            "--labels.kubernetes=required, but nothing says where the API is: run in a pod with a service account, or set \
             --labels.kubernetes.kubeconfig or KUBECONFIG"
        );
    }
    Ok(found)
}

/// The name of this node in the API.
///
/// # Errors
/// When nobody says it and the host has no name.
pub fn node(flags: &Flags) -> anyhow::Result<String> {
    let of_host = || flowgauge_labels::host_name(&flags.paths.procfs, &flags.paths.rootfs);
    let name = flags.kubernetes.node().or_else(|| of_host().map(|name| name.to_lowercase()));
    name.context("this node has no name: set --labels.kubernetes.node or NODE_NAME")
}

/// Starts to watch. Names come when the API answers; nobody waits for it.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(flags: &Flags, connection: Connection, sandbox: &Arc<Sandbox>) -> anyhow::Result<Kubernetes> {
    let node = node(flags)?;
    let scope = match flags.kubernetes.pods {
        PodsWatched::Cluster => PodScope::Cluster,
        PodsWatched::Node => PodScope::Node,
    };
    let proxies = flags.kubernetes.proxy_containers.0.clone();
    let cluster = Arc::new(Cluster::new(&node, scope, proxies));
    let role = Role::Kubernetes { runs_program: connection.runs_program() };
    let sandbox = Arc::clone(sandbox);
    let watches = kubernetes::watch(connection, &cluster, move || sandbox.enter(role, CAPABILITIES));
    let watches = watches.context("starting the kubernetes thread")?;
    Ok(Kubernetes { cluster, _watches: watches })
}
