// SPDX-License-Identifier: Apache-2.0
//! What connections are made of: TCP or a Unix socket, in clear text or inside TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

/// What a client that speaks clear text to a port of TLS is told, as Go's servers do.
const CLEAR_TEXT_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 47\r\nconnection: close\r\n\r\nclient sent an HTTP request to an HTTPS server\n";

/// A connection in clear text.
pub enum Stream {
    /// From another host, or this one.
    Tcp(TcpStream),
    /// From this host.
    Unix(UnixStream),
}

/// A connection that requests may come from.
pub enum Secured {
    /// In clear text.
    Clear(Stream),
    /// Inside TLS.
    Tls(Box<TlsStream<Stream>>),
}

/// What came of a connection.
pub enum Accepted {
    /// Requests may come.
    Ready(Secured),
    /// The client went before it said anything.
    Gone,
    /// The client does not speak TLS, and was told to.
    ClearText,
}

/// Shakes hands where TLS is asked for.
///
/// # Errors
/// Why no TLS connection came of it.
pub async fn secure(mut stream: Stream, tls: Option<Arc<ServerConfig>>) -> io::Result<Accepted> {
    let Some(tls) = tls else { return Ok(Accepted::Ready(Secured::Clear(stream))) };
    if let Stream::Tcp(tcp) = &stream {
        let mut first = [0; 1];
        if tcp.peek(&mut first).await? == 0 {
            return Ok(Accepted::Gone);
        }
        // A method's first letter; a handshake begins with 22.
        if first[0].is_ascii_uppercase() {
            stream.write_all(CLEAR_TEXT_ANSWER).await?;
            stream.shutdown().await?;
            return Ok(Accepted::ClearText);
        }
    }
    let stream = TlsAcceptor::from(tls).accept(stream).await?;
    Ok(Accepted::Ready(Secured::Tls(Box::new(stream))))
}

/// Passes each call on to whatever the stream is.
macro_rules! delegate {
    ($type:ident: $($variant:ident),+) => {
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(stream) => Pin::new(stream).poll_read(cx, buffer),)+
                }
            }
        }

        impl AsyncWrite for $type {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant(stream) => Pin::new(stream).poll_write(cx, bytes),)+
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant(stream) => Pin::new(stream).poll_write_vectored(cx, slices),)+
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $(Self::$variant(stream) => stream.is_write_vectored(),)+
                }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(stream) => Pin::new(stream).poll_flush(cx),)+
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(stream) => Pin::new(stream).poll_shutdown(cx),)+
                }
            }
        }
    };
}

delegate!(Stream: Tcp, Unix);
delegate!(Secured: Clear, Tls);
