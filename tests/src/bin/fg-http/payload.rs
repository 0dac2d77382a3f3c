// SPDX-License-Identifier: Apache-2.0
//! Bodies of a given size, with or without a length told beforehand, plain or full of what looks like heads.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use bytes::Bytes;
use flowgauge_tests::http::message::LOOKALIKE;
use hyper::body::{Body, Frame, SizeHint};

/// The largest chunk.
const CHUNK: usize = 7_000;

/// What pieces are cut from. Without chunks they may be large.
static TEXT: LazyLock<Bytes> = LazyLock::new(|| LOOKALIKE.bytes().cycle().take(1 << 20).collect());

static PLAIN: Bytes = Bytes::from_static(&[b'x'; 1 << 16]);

/// How a body is made.
#[derive(Clone, Copy, Default)]
pub struct Shape {
    /// Bytes.
    pub size: usize,
    /// Its length is not told beforehand.
    pub chunked: bool,
    /// Nothing in it looks like a head.
    pub plain: bool,
}

/// A body.
pub struct Payload(Shape);

impl Payload {
    /// A body of this shape.
    pub fn new(shape: Shape) -> Self {
        Payload(shape)
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0.size == 0 {
            return Poll::Ready(None);
        }
        let text = if self.0.plain { &PLAIN } else { &*TEXT };
        let most = if self.0.chunked { CHUNK } else { text.len() };
        let piece = text.slice(..self.0.size.min(most));
        self.0.size -= piece.len();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.size == 0 && !self.0.chunked
    }

    fn size_hint(&self) -> SizeHint {
        if self.0.chunked { SizeHint::default() } else { SizeHint::with_exact(self.0.size as u64) }
    }
}
