// SPDX-License-Identifier: Apache-2.0
//! The HTTP side: listens, serves, and ends in good order.

mod auth;
mod config;
mod connection;
mod flows;
mod gate;
mod guarded;
mod html;
mod landing;
mod listen;
mod passes;
mod renderings;
mod routes;
mod slots;
mod stream;
mod units;

#[cfg(test)]
pub mod fake;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::warn;

use crate::self_metrics::SelfMetrics;
use connection::Accepting;
use gate::Gate;

pub use config::{Settings, WebConfig, files_of};
pub use listen::{Listener, listen, open};
pub use routes::Site;

/// Connections at the same time. One more takes the place of the one that has waited longest for its client.
pub const MAX_CONNECTIONS: usize = 256;

/// Bytes of responses that clients have yet to take, all together. Beyond it, who takes longest is cut off.
pub const MAX_RESPONSE_BYTES: usize = 64 << 20;

/// How long a TLS handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request may take to arrive, and a connection may stay idle between two.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a client may take to receive a response.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long running scrapes get to finish at the end.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Limits on clients; the tests use shorter ones.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// See [`MAX_CONNECTIONS`].
    pub connections: usize,
    /// See [`MAX_RESPONSE_BYTES`].
    pub response_bytes: usize,
    /// See [`HANDSHAKE_TIMEOUT`].
    pub handshake: Duration,
    /// See [`HEADER_TIMEOUT`].
    pub header: Duration,
    /// See [`RESPONSE_TIMEOUT`].
    pub response: Duration,
    /// See [`DRAIN_TIMEOUT`].
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: MAX_CONNECTIONS,
            response_bytes: MAX_RESPONSE_BYTES,
            handshake: HANDSHAKE_TIMEOUT,
            header: HEADER_TIMEOUT,
            response: RESPONSE_TIMEOUT,
            drain: DRAIN_TIMEOUT,
        }
    }
}

/// Serves on `listeners` until `ended` completes; then stops accepting and returns when the running responses are
/// finished, or after `limits.drain`.
///
/// # Errors
/// When a listener cannot be used by the runtime, or the kernel gives no random numbers.
pub async fn serve(
    listeners: Vec<Listener>,
    site: Arc<Site>,
    settings: Arc<Settings>,
    metrics: Arc<SelfMetrics>,
    limits: Limits,
    ended: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let files: Vec<_> = listeners.iter().filter_map(Listener::file).collect();
    let listeners: Vec<_> = listeners.into_iter().map(Accepting::new).collect::<Result<_, _>>()?;
    let gate = Arc::new(Gate::new(site, settings, metrics, limits)?);
    let (end, ending) = watch::channel(());
    for listener in listeners {
        tokio::spawn(connection::accept(listener, Arc::clone(&gate), ending.clone()));
    }
    drop(ending);
    ended.await;
    // The receivers see the sender go.
    drop(end);
    for file in files {
        if let Err(error) = listen::remove(&file) {
            warn!(socket = %file.0.display(), %error, "cannot remove the socket");
        }
    }
    if tokio::time::timeout(limits.drain, gate.slots.empty()).await.is_err() {
        warn!(
            connections = gate.slots.open(),
            seconds = limits.drain.as_secs_f64(),
            "gave up on responses that did not finish"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
