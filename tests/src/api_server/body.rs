// SPDX-License-Identifier: Apache-2.0
//! Bodies sent piece by piece, and what faults do to them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

use super::behaviour::{Ending, Fault};
use super::state::State;

/// Size of the pieces that long bodies are sent in.
const PIECE: usize = 16 << 10;

/// The receiving end of a [`Sink`], as hyper sends it.
#[derive(Debug)]
pub(super) struct Stream(mpsc::Receiver<io::Result<Bytes>>);

impl Body for Stream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// The client has gone, or the body has been cut: nobody wants more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

/// Where a body is written.
#[derive(Debug)]
pub(super) struct Sink {
    sender: mpsc::Sender<io::Result<Bytes>>,
    state: Arc<State>,
    piece: usize,
    pause: Duration,
    cut: Option<(usize, Ending)>,
}

impl Sink {
    /// A body that suffers from `fault`.
    pub fn new(state: &Arc<State>, fault: Option<&Fault>) -> (Self, Stream) {
        let (sender, receiver) = mpsc::channel(4);
        let (piece, pause) = match fault {
            Some(Fault::Slow { piece, pause, .. }) => ((*piece).max(1), *pause),
            _ => (PIECE, Duration::ZERO),
        };
        let cut = match fault {
            Some(Fault::Cut { after, ending }) => Some((*after, *ending)),
            _ => None,
        };
        (Sink { sender, state: Arc::clone(state), piece, pause, cut }, Stream(receiver))
    }

    /// Sends text; the more there is, the more pieces.
    pub async fn send(&mut self, text: impl Into<Bytes>) -> Result<(), Closed> {
        let mut text: Bytes = text.into();
        while !text.is_empty() {
            let mut piece = text.split_to(text.len().min(self.piece));
            if let Some((left, _)) = &mut self.cut {
                piece.truncate(*left);
                *left -= piece.len();
            }
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
            self.state.until_reachable().await;
            self.state.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
            if !piece.is_empty() {
                self.sender.send(Ok(piece)).await.map_err(|_| Closed)?;
            }
            if let Some((0, ending)) = self.cut {
                if ending == Ending::Abrupt {
                    self.abort().await;
                }
                return Err(Closed);
            }
        }
        Ok(())
    }

    /// Breaks the connection in the middle of the body.
    pub async fn abort(&self) {
        // An error here means that the client was faster.
        let _ = self.sender.send(Err(io::ErrorKind::ConnectionAborted.into())).await;
    }

    /// Returns when the client has gone.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }
}
