// SPDX-License-Identifier: Apache-2.0
//! Accepts connections and keeps slow, greedy and malformed clients within bounds.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::gate::Gate;
use super::guarded::Guarded;
use super::slots::{Slot, Source};
use super::stream::{self, Accepted, Stream};
use super::{Limits, Listener};
use crate::quiet::Quiet;
use crate::self_metrics::Refusal;

/// A request line with its headers may take this many bytes; more is answered 431.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// Pause after accept failed: without descriptors it fails until a connection ends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection that was made before the configuration changed may still ask for the first time.
const FIRST_REQUEST: Duration = Duration::from_secs(2);
/// Long after the end of any connection.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A listener that the runtime waits for.
pub enum Accepting {
    /// A port.
    Tcp(tokio::net::TcpListener),
    /// A path.
    Unix(tokio::net::UnixListener),
}

impl Accepting {
    /// # Errors
    /// When the runtime cannot wait for it.
    pub fn new(listener: Listener) -> io::Result<Self> {
        Ok(match listener {
            Listener::Tcp(listener) => Self::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Listener::Unix(listener, _) => Self::Unix(tokio::net::UnixListener::from_std(listener)?),
        })
    }

    async fn accept(&self) -> io::Result<(Stream, Source)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                (Stream::Tcp(stream), peer.into())
            }
            Self::Unix(listener) => (Stream::Unix(listener.accept().await?.0), Source::Unix),
        })
    }
}

/// Accepts until `ending`'s sender is gone.
pub async fn accept(listener: Accepting, gate: Arc<Gate>, mut ending: watch::Receiver<()>) {
    let failures = Quiet::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ending.changed() => return,
        };
        match accepted {
            Ok((stream, source)) => {
                let (slot, dismissed) = tokio::select! {
                    admitted = gate.slots.admit(source) => admitted,
                    _ = ending.changed() => return,
                };
                if dismissed {
                    gate.metrics.web().refuse(Refusal::ConnectionLimit);
                }
                tokio::spawn(serve(stream, Arc::clone(&gate), Arc::new(slot), ending.clone()));
            }
            Err(error) => {
                if let Some(silenced) = failures.speak() {
                    warn!(%error, silenced, "cannot accept connections");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection; finishes the response it is at when `ending`'s sender goes, or when what was agreed on with this
/// client (TLS, its certificate) is no longer in force.
async fn serve(stream: Stream, gate: Arc<Gate>, slot: Arc<Slot>, mut ending: watch::Receiver<()>) {
    let _open = gate.metrics.web().connection();
    let mut settings = gate.settings.subscribe();
    let tls = settings.borrow_and_update().tls.clone();
    let Limits { handshake, header, response, .. } = gate.limits;
    let accepted = tokio::select! {
        accepted = tokio::time::timeout(handshake, stream::secure(stream, tls)) => accepted,
        () = slot.dismissed() => return,
        _ = ending.changed() => return,
    };
    let stream = match accepted {
        Ok(Ok(Accepted::Ready(stream))) => stream,
        Ok(Ok(Accepted::Gone)) => return,
        Ok(Ok(Accepted::ClearText)) => return gate.metrics.web().refuse(Refusal::Handshake),
        Ok(Err(error)) => {
            debug!(%error, "no TLS connection came of it");
            return gate.metrics.web().refuse(Refusal::Handshake);
        }
        Err(_) => return gate.metrics.web().refuse(Refusal::HandshakeTimeout),
    };
    let stream = TokioIo::new(Guarded::new(stream, response, Arc::clone(&slot)));
    let answered = Arc::<AtomicBool>::default();
    let answering = (Arc::clone(&gate), Arc::clone(&slot), Arc::clone(&answered));
    let answer = service_fn(move |request| {
        let (gate, slot, answered) = answering.clone();
        async move {
            answered.store(true, Relaxed);
            Ok::<_, std::convert::Infallible>(gate.answer(&request, &slot).await)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(stream, answer);
    let mut connection = std::pin::pin!(connection);
    let mut leave = std::pin::pin!(tokio::time::sleep(NEVER));
    let mut last = false;
    let result = loop {
        tokio::select! {
            result = connection.as_mut() => break result,
            () = slot.dismissed() => return,
            _ = ending.changed(), if !last => {}
            () = leave.as_mut(), if !last => {}
            _ = settings.changed(), if !last => {
                // Who has only just come is not sent away without an answer.
                let grace = if answered.load(Relaxed) { Duration::ZERO } else { FIRST_REQUEST };
                leave.as_mut().reset(Instant::now() + grace);
                continue;
            }
        }
        last = true;
        connection.as_mut().graceful_shutdown();
    };
    if let Err(error) = result {
        // Clients come and go as they like: nothing an operator must hear of.
        debug!(%error, "connection ended early");
        if error.is_parse() || error.is_timeout() || error.is_parse_too_large() {
            gate.metrics.web().refuse(Refusal::Malformed);
        }
    }
}
