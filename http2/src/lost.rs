// SPDX-License-Identifier: Apache-2.0
//! What could not be told.

/// How often, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Records that never came.
    pub records_missing: u64,
    /// Responses and gRPC statuses whose value stands in a header table as it was before it was seen, or before something was lost.
    pub headers_unknown: u64,
    /// Header blocks and frames that are not well-formed, responses without a status code or with one that is none.
    pub malformed: u64,
    /// Header blocks that are too large to be put together.
    pub blocks_too_large: u64,
    /// Requests for which there was no room: their responses have no method and no time.
    pub streams_full: u64,
    /// Connections that were forgotten for want of room.
    pub connections_full: u64,
    /// Requests that waited when something was lost, and whose end was not seen.
    pub requests_unresolved: u64,
}

impl Lost {
    /// Each reason by the name it is exported under.
    pub fn reasons(&self) -> [(&'static str, u64); 7] {
        [
            ("http2_records_missing", self.records_missing),
            ("http2_headers_unknown", self.headers_unknown),
            ("http2_malformed", self.malformed),
            ("http2_blocks_too_large", self.blocks_too_large),
            ("http2_streams_full", self.streams_full),
            ("http2_connections_full", self.connections_full),
            ("http2_requests_unresolved", self.requests_unresolved),
        ]
    }
}
