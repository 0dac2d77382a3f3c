// SPDX-License-Identifier: Apache-2.0
//! The HTTP side: listens, serves, and ends in good order.

mod connection;
mod flows;
mod html;
mod landing;
mod listen;
mod passes;
mod routes;
mod units;

#[cfg(test)]
pub mod fake;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tracing::warn;

pub use listen::{listen, local_address};
pub use routes::Site;

/// Connections served at the same time. More wait in the kernel's accept queue until one ends.
pub const MAX_CONNECTIONS: usize = 256;

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
/// When a listener cannot be used by the runtime.
pub async fn serve(
    listeners: Vec<TcpListener>,
    site: Arc<Site>,
    limits: Limits,
    ended: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let listeners: Vec<_> =
        listeners.into_iter().map(tokio::net::TcpListener::from_std).collect::<Result<_, _>>()?;
    let slots = Arc::new(Semaphore::new(limits.connections));
    let (end, ending) = watch::channel(());
    for listener in listeners {
        tokio::spawn(connection::accept(
            listener,
            Arc::clone(&site),
            limits,
            Arc::clone(&slots),
            ending.clone(),
        ));
    }
    drop(ending);
    ended.await;
    // The receivers see the sender go.
    drop(end);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    if tokio::time::timeout(limits.drain, slots.acquire_many(all)).await.is_err() {
        let left = limits.connections - slots.available_permits();
        warn!(
            connections = left,
            seconds = limits.drain.as_secs_f64(),
            "gave up on responses that did not finish"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
