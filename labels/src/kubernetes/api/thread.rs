// SPDX-License-Identifier: Apache-2.0
//! The thread that all watches run in.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tracing::error;

use super::access::Access;
use super::connection::Connection;
use super::decode::Kind;
use super::timing::Timing;
use super::watch::Watch;
use crate::kubernetes::objects::{EndpointSlice, Node, Pod, Service, Watched};

/// Where what is watched goes: the tables of a cluster.
pub struct Sinks {
    /// The pods of the own node.
    pub(crate) node_pods: Arc<dyn Watched<Pod>>,
    /// All pods, if they are wanted.
    pub(crate) pods: Option<Arc<dyn Watched<Pod>>>,
    pub(crate) services: Arc<dyn Watched<Service>>,
    pub(crate) endpoint_slices: Arc<dyn Watched<EndpointSlice>>,
    pub(crate) nodes: Arc<dyn Watched<Node>>,
}

/// The running watches. They end when this is dropped, within moments, whatever the API server does.
pub struct Watches {
    /// Ends the thread when it is dropped.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watches {
    /// Starts a thread `kubernetes` that calls `confine` first and then watches: the pods of the node of that name, which
    /// must not be empty, and whatever else there is a sink for. Failures go to the sinks; it never gives up.
    ///
    /// # Errors
    /// When the system gives no thread, or not the files it needs.
    pub fn start(
        connection: Connection,
        node: String,
        sinks: Sinks,
        confine: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        Self::start_with(connection, node, sinks, Timing::default(), confine)
    }

    pub(super) fn start_with(
        connection: Connection,
        node: String,
        sinks: Sinks,
        timing: Timing,
        confine: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let runtime = runtime()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("kubernetes".to_owned()).spawn(move || {
            confine();
            runtime.block_on(async {
                watch_all(connection, &node, sinks, timing);
                // An error means that the sender is gone, which is what is waited for.
                let _ = stopped.await;
            });
            // Does not wait for a token's program, or for the resolver of host names.
            runtime.shutdown_background();
        })?;
        Ok(Watches { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the thread of the Kubernetes API has panicked");
        }
    }
}

/// For one thread, and a second one for what blocks.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .thread_name("kubernetes-io")
        .thread_stack_size(512 << 10)
        .max_blocking_threads(4)
        .build()
}

fn watch_all(connection: Connection, node: &str, sinks: Sinks, timing: Timing) {
    let access = Arc::new(Access::new(connection, timing));
    tokio::spawn(keep(Arc::clone(&access), sinks.node_pods, "pods of this node", Some(node.to_owned())));
    tokio::spawn(keep(Arc::clone(&access), sinks.endpoint_slices, "endpointslices", None));
    tokio::spawn(keep(Arc::clone(&access), sinks.services, "services", None));
    tokio::spawn(keep(Arc::clone(&access), sinks.nodes, "nodes", None));
    if let Some(pods) = sinks.pods {
        tokio::spawn(keep(access, pods, "pods", None));
    }
}

/// Watches for ever; a panic ends neither the other watches nor this one.
async fn keep<T: Kind>(
    access: Arc<Access>,
    sink: Arc<dyn Watched<T>>,
    name: &'static str,
    node: Option<String>,
) {
    loop {
        let mut watch = Watch::new(Arc::clone(&access), Arc::clone(&sink), name, node.as_deref());
        let Err(end) = tokio::spawn(async move { watch.run().await }).await else { continue };
        if end.is_cancelled() {
            return;
        }
        error!(watch = name, "a watch of the Kubernetes API has panicked");
        sink.down(format!("watching {}: internal error, see the log", T::RESOURCE));
        sleep(access.timing.backoff_max).await;
    }
}

#[cfg(test)]
mod tests;
