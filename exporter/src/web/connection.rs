// SPDX-License-Identifier: Apache-2.0
//! Accepts connections and keeps slow, greedy and malformed clients within bounds.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep};
use tracing::{debug, warn};

use super::Limits;
use super::routes::Site;
use crate::quiet::Quiet;

/// A request line with its headers may take this many bytes; more is answered 431.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// Pause after accept failed: without descriptors it fails until a connection ends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until `ending`'s sender is gone.
pub async fn accept(
    listener: TcpListener,
    site: Arc<Site>,
    limits: Limits,
    slots: Arc<Semaphore>,
    mut ending: watch::Receiver<()>,
) {
    let failures = Quiet::default();
    loop {
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            accepted = accepted => accepted,
            _ = ending.changed() => return,
        };
        let Ok(slot) = slot else { return };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, Arc::clone(&site), limits, slot, ending.clone()));
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

/// Serves one connection; finishes the response it is at when `ending`'s sender goes.
async fn serve(
    stream: TcpStream,
    site: Arc<Site>,
    limits: Limits,
    slot: OwnedSemaphorePermit,
    mut ending: watch::Receiver<()>,
) {
    let stream = TokioIo::new(Guarded::new(stream, limits.response));
    let answer = service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, std::convert::Infallible>(site.answer(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(stream, answer);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        _ = ending.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        // Clients come and go as they like: nothing an operator must hear of.
        debug!(%error, "connection ended early");
    }
    drop(slot);
}

/// A stream whose peer must take each response within a time, however it dribbles.
struct Guarded {
    stream: TcpStream,
    within: Duration,
    deadline: Pin<Box<Sleep>>,
    /// Set while a response waits for the peer.
    waiting: bool,
}

impl Guarded {
    fn new(stream: TcpStream, within: Duration) -> Self {
        Self { stream, within, deadline: Box::pin(tokio::time::sleep(within)), waiting: false }
    }

    /// The clock starts when the peer first keeps a response waiting, and runs until the response is flushed.
    fn watch<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            return written;
        }
        if !self.waiting {
            self.waiting = true;
            let deadline = Instant::now() + self.within;
            self.deadline.as_mut().reset(deadline);
        }
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes the response too slowly")))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Flushed only when all of the response is written.
        self.waiting = false;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
