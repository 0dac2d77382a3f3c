// SPDX-License-Identifier: Apache-2.0
//! Accepts connections and serves each until it ends or all are to be closed.

use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::routes::{self, HANDSHAKE};
use super::state::State;

/// Accepts connections until it is aborted.
pub(super) async fn accept(state: Arc<State>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    loop {
        // A connection that is gone before it was accepted is nobody's loss.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (state, tls) = (Arc::clone(&state), tls.clone());
        tokio::spawn(async move {
            let mut epoch = state.epoch();
            tokio::select! {
                () = connection(Arc::clone(&state), stream, tls) => {}
                _ = epoch.changed() => {}
            }
        });
    }
}

async fn connection(state: Arc<State>, stream: TcpStream, tls: Option<TlsAcceptor>) {
    state.until_reachable().await;
    // Without this, each event would wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    match tls {
        None => serve(state, stream).await,
        // What fails here, the client tells better.
        Some(tls) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                serve(state, stream).await;
            }
        }
    }
}

async fn serve(state: Arc<State>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = service_fn(move |request| routes::answer(Arc::clone(&state), request));
    // Connections end in many ways, each of them intended by a test.
    let _ =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}
