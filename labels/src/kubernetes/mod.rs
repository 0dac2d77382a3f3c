// SPDX-License-Identifier: Apache-2.0
//! Names from the Kubernetes API: [`api`] watches it, [`cluster`] knows what it told.

mod api;
pub(crate) mod cluster;
pub mod objects;

use std::io;
use std::sync::Arc;

use api::Sinks;
pub use api::{ConnectError, Connection, Watches, connection, probe};
use cluster::{Cluster, PodScope};

/// Starts to watch what the cluster wants to know, in a thread of its own that calls `confine` first. Names come when the
/// API answers; what fails is told by [`crate::Resolver::sources`].
///
/// # Errors
/// When the system gives no thread, or not the files it needs.
pub fn watch(
    connection: Connection,
    cluster: &Arc<Cluster>,
    confine: impl FnOnce() + Send + 'static,
) -> io::Result<Watches> {
    let sinks = Sinks {
        node_pods: cluster.node_pods(),
        pods: (cluster.scope() == PodScope::Cluster).then(|| cluster.pods()),
        services: cluster.services(),
        endpoint_slices: cluster.endpoint_slices(),
        nodes: cluster.nodes(),
    };
    Watches::start(connection, cluster.node().to_string(), sinks, confine)
}
