// SPDX-License-Identifier: Apache-2.0
//! What requests and responses an HTTP/2 connection (RFC 9113) carries, from the frames that hold header blocks.
//!
//! Whoever sees the connection hands over those frames, in pieces as they passed, and gets back events. Where the bytes were
//! seen does not matter here. Frames may be lost on the way, and connections may be older than the observer: what cannot be known
//! then is counted in [`Lost`], and never guessed.

mod connection;
mod direction;
mod fields;
mod filter;
mod huffman;
mod lost;
mod streams;

use std::num::NonZeroUsize;
use std::time::Duration;

use foldhash::fast::RandomState;
use lru::LruCache;

use connection::Connection;
pub use lost::Lost;

/// A part of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Which connection.
    pub connection: u64,
    /// When it passed, nanoseconds.
    pub time: u64,
    /// Which record of this direction of the connection it is, from 0. A number left out is a record lost.
    pub number: u32,
    /// The client sent it.
    pub from_client: bool,
    /// The connection was seen from its beginning.
    pub whole: bool,
    /// What it is.
    pub part: Part<'a>,
}

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// A piece of a frame (RFC 9113, section 4.1).
    Frame {
        /// Its type. Those without header blocks, but for RST_STREAM, may be left out.
        kind: u8,
        /// Its flags.
        flags: u8,
        /// Its stream.
        stream: u32,
        /// Length of its payload.
        length: u32,
        /// Where in the payload these bytes are; pieces of a frame follow each other.
        offset: u32,
        /// Bytes of the payload.
        bytes: &'a [u8],
    },
    /// A stretch of this direction was not seen. What follows begins with a new frame.
    Gap,
    /// The connection is over.
    End {
        /// How it ended.
        end: End,
        /// How many records there were of what the client sent.
        from_client: u32,
        /// And of what the server sent.
        from_server: u32,
    },
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was reset; of a stream: by RST_STREAM.
    Reset,
    /// It was closed.
    Closed,
    /// Its transport gave up.
    TimedOut,
}

/// What a connection told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A final response: its header block has passed.
    Response {
        /// Method of the request.
        method: Method,
        /// Status code, 100 to 599.
        code: u16,
        /// From the begin of the request's header block to that of the response's; None if the request was not seen.
        duration: Option<Duration>,
    },
    /// A gRPC response is complete; a [`Event::Response`] came before.
    Grpc(GrpcStatus),
    /// A request will not be answered.
    Failed {
        /// Its method.
        method: Method,
        /// Why.
        end: End,
    },
}

/// Method of a request (RFC 9110, section 9.3, and PATCH).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The request was not seen, or its method was not understood for want of an earlier header block.
    Unknown,
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// CONNECT
    Connect,
    /// OPTIONS
    Options,
    /// TRACE
    Trace,
    /// PATCH
    Patch,
    /// Any other.
    Other,
}

/// Status of a gRPC response (grpc-status).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrpcStatus {
    /// One of the protocol's, 0 to 16.
    Code(u8),
    /// Something else.
    Other,
    /// The stream ended after the response's headers without any.
    None,
}

/// How much may be remembered.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections; beyond, the one that was silent for longest is forgotten.
    pub connections: NonZeroUsize,
    /// Streams of a connection that wait for a response or its end.
    pub streams: usize,
    /// Streams of all connections.
    pub all_streams: usize,
    /// Bytes of header blocks that are not all there, of all connections.
    pub held: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: NonZeroUsize::MIN.saturating_add(2047),
            streams: 2048,
            all_streams: 100_000,
            held: 4 * 1024 * 1024,
        }
    }
}

/// All connections that are watched.
pub struct Connections {
    limits: Limits,
    known: LruCache<u64, Connection, RandomState>,
    /// Streams that wait, of all of them.
    waiting: usize,
    /// Bytes of header blocks that are not all there, of all of them.
    held: usize,
    lost: Lost,
}

impl Connections {
    /// None yet.
    pub fn new(limits: Limits) -> Self {
        let known = LruCache::unbounded_with_hasher(RandomState::default());
        Self { limits, known, waiting: 0, held: 0, lost: Lost::default() }
    }

    /// Takes a record; what it tells goes to `out`.
    pub fn take(&mut self, record: &Record<'_>, out: &mut dyn FnMut(Event)) {
        if let Part::End { end, from_client, from_server } = record.part {
            if let Some(connection) = self.known.pop(&record.connection) {
                self.forget(&connection);
                connection.end(end, [from_client, from_server], &mut self.lost, out);
            }
            return;
        }
        if !self.known.contains(&record.connection) {
            if self.known.len() >= self.limits.connections.get()
                && let Some((_, forgotten)) = self.known.pop_lru()
            {
                self.forget(&forgotten);
                self.lost.connections_full += 1;
            }
            // One that comes back after it was forgotten is not whole any more.
            self.known.put(record.connection, Connection::new(record.whole && record.number == 0));
        }
        let Some(connection) = self.known.get_mut(&record.connection) else { return };
        let before = connection.waiting();
        let room = self.limits.all_streams.saturating_sub(self.waiting);
        let most = self.limits.streams.min(before + room);
        let held = connection.held();
        connection.take(record, most, &mut self.lost, out);
        if self.held - held + connection.held() > self.limits.held {
            connection.give_up_blocks();
            self.lost.blocks_too_large += 1;
        }
        self.held = self.held - held + connection.held();
        self.waiting = self.waiting - before + connection.waiting();
    }

    fn forget(&mut self, connection: &Connection) {
        self.waiting -= connection.waiting();
        self.held -= connection.held();
    }

    /// What could not be told.
    pub fn lost(&self) -> Lost {
        self.lost
    }

    /// Connections that are remembered.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Most that may be.
    pub fn capacity(&self) -> usize {
        self.limits.connections.get()
    }
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
