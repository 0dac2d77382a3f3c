// SPDX-License-Identifier: Apache-2.0
//! What is counted of HTTP, by flow key.

use crate::FlowKey;

/// Methods that are told apart (RFC 9110, section 9.3, and PATCH of RFC 5789), in the order of [`HttpGrowth::method`]. `unknown` is
/// that of a response whose request was not seen; `other` any that is not registered there.
pub const METHODS: [&str; 11] =
    ["unknown", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "other"];

/// Why a request was never answered, in the order of [`HttpOutcome::Failed`]: the connection (or, with HTTP/2, the stream) was
/// reset, it was closed, or TCP gave it up.
pub const HTTP_FAILURES: [&str; 3] = ["reset", "closed", "timeout"];

/// Upper bounds of the histogram of response times, as powers of two of a microsecond: 256 µs to 16.8 s.
pub const HTTP_POWERS: std::ops::RangeInclusive<u32> = 8..=24;

/// Buckets of the histogram, +Inf included.
pub const HTTP_BUCKETS: usize = (*HTTP_POWERS.end() - *HTTP_POWERS.start() + 2) as usize;

/// What became of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HttpOutcome {
    /// They were answered with this status code, 100 to 599.
    Response(u16),
    /// They were not answered, for this reason of [`HTTP_FAILURES`].
    Failed(usize),
}

/// How many requests of one method came to one end since the last pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpGrowth {
    /// Index into [`METHODS`].
    pub method: usize,
    /// What became of them.
    pub outcome: HttpOutcome,
    /// How many.
    pub count: u64,
    /// Times from the first byte of the request to the first byte of the response by bucket, in the order of [`HTTP_POWERS`]. Fewer
    /// than `count` if requests were not seen.
    pub durations: [u64; HTTP_BUCKETS],
    /// Their sum, microseconds.
    pub duration_sum: u64,
}

/// A part of an HTTP/2 connection (RFC 9113) that tells of requests and responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Record<'a> {
    /// The flow that the connection belongs to.
    pub key: FlowKey,
    /// One watched end of a connection: unique since the start of the exporter.
    pub connection: u64,
    /// When it passed, nanoseconds of the monotonic clock.
    pub time: u64,
    /// Which record of this direction of the connection this is, from 0. A number left out is a record lost.
    pub number: u32,
    /// The client sent it.
    pub from_client: bool,
    /// The connection was seen from its beginning; if not, its header tables are not known.
    pub whole: bool,
    /// What it is.
    pub part: Http2Part<'a>,
}

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http2Part<'a> {
    /// A piece of a frame: HEADERS, CONTINUATION, PUSH_PROMISE or RST_STREAM.
    Frame {
        /// Type of frame.
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
    /// A stretch of the connection was missing, or was no HTTP/2: what follows begins with a new frame, if anything does.
    Gap,
    /// The connection ended.
    End {
        /// For this reason of [`HTTP_FAILURES`].
        why: usize,
        /// How many records there were of what the client sent.
        from_client: u32,
        /// And of what the server sent.
        from_server: u32,
    },
}
