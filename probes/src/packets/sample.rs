// SPDX-License-Identifier: Apache-2.0
//! DNS messages that the kernel hands out besides counting them.

use crate::FlowKey;

/// A DNS message, or the begin of one.
#[derive(Debug, Clone, Copy)]
pub struct DnsSample<'a> {
    /// The flow it belongs to; its role tells whether the watched end is the client or the server.
    pub key: FlowKey,
    /// When it passed, nanoseconds of the monotonic clock.
    pub time: u64,
    /// A response that is the first answer to a query of this flow (same id, port, address, question); false for queries.
    pub is_answer: bool,
    /// The message, without TCP's length prefix.
    pub message: &'a [u8],
    /// How long the message is on the wire; more than `message` holds if it was cut.
    pub length: usize,
}
