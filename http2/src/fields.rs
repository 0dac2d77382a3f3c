// SPDX-License-Identifier: Apache-2.0
//! The fields of header blocks that matter, decoded with the header table of one direction (RFC 7541).

use loona_hpack::Decoder;

use crate::filter::filter;
use crate::{GrpcStatus, Method};

/// The largest header table that is kept: twice what peers have by default. A block that asks for a larger one cannot be decoded, and what
/// was in the table before is unknown from then on.
const LARGEST_TABLE: usize = 8192;

/// What a table that was not seen from its begin is filled with: no field has such a name. As many entries as one of the default
/// size can hold: an index into what was not seen finds one of these. What is indexed later is found under its true index, which
/// counts from the newest; and the table forgets these first, as the real one forgets what was there before.
const UNSEEN: &[u8] = &[0];
const UNSEEN_ENTRIES: usize = 4096 / (UNSEEN.len() + 32);

/// What a header block tells.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// `:method`
    pub method: Option<Method>,
    /// `:status`, if it is a number.
    pub status: Option<u16>,
    /// `content-type` begins with application/grpc.
    pub grpc: bool,
    /// `grpc-status`
    pub grpc_status: Option<GrpcStatus>,
    /// There are fields that are not known.
    pub unseen: bool,
}

/// The header table of one direction.
pub struct Table(Decoder<'static>);

impl Table {
    /// As it is when a connection begins.
    pub fn new() -> Self {
        let mut decoder = Decoder::new();
        decoder.set_max_allowed_table_size(LARGEST_TABLE);
        Self(decoder)
    }

    /// Of a connection that has been going on for a while.
    pub fn unseen() -> Self {
        let mut table = Self::new();
        // A literal with incremental indexing, with this name and no value.
        let entry = [&[0x40, UNSEEN.len() as u8], UNSEEN, &[0]].concat();
        // Cannot fail: it is well-formed.
        let _ = table.0.decode_with_cb(&entry.repeat(UNSEEN_ENTRIES), |_, _| ());
        table
    }

    /// Decodes a block. None if it is not well-formed, or refers to what the table never held: the table is not that of the other end
    /// any more then.
    pub fn decode(&mut self, block: &[u8]) -> Option<Fields> {
        let mut fields = Fields::default();
        let block = filter(block)?;
        let take = |name: std::borrow::Cow<'_, [u8]>, value: std::borrow::Cow<'_, [u8]>| match &*name {
            b":method" => fields.method = Some(method_of(&value)),
            b":status" => fields.status = number(&value).filter(|_| value.len() == 3),
            b"content-type" => fields.grpc |= value.starts_with(b"application/grpc"),
            b"grpc-status" => fields.grpc_status = Some(grpc_status_of(&value)),
            UNSEEN => fields.unseen = true,
            _ => {}
        };
        match self.0.decode_with_cb(&block, take) {
            Ok(()) => Some(fields),
            Err(_) => None,
        }
    }
}

fn number(text: &[u8]) -> Option<u16> {
    let digits = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

fn method_of(name: &[u8]) -> Method {
    match name {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        b"POST" => Method::Post,
        b"PUT" => Method::Put,
        b"DELETE" => Method::Delete,
        b"CONNECT" => Method::Connect,
        b"OPTIONS" => Method::Options,
        b"TRACE" => Method::Trace,
        b"PATCH" => Method::Patch,
        _ => Method::Other,
    }
}

fn grpc_status_of(value: &[u8]) -> GrpcStatus {
    match number(value) {
        Some(code @ 0..=16) => GrpcStatus::Code(code as u8),
        _ => GrpcStatus::Other,
    }
}
