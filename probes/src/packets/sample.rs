// SPDX-License-Identifier: Apache-2.0
//! DNS messages that the kernel hands out besides counting them (`struct fg_sample` in `bpf/dns_sample.h`).

use super::key;
use crate::FlowKey;
use crate::skeleton::packets::types::fg_key;

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

/// Bytes of the key.
const KEY: usize = size_of::<fg_key>();

/// None if the kernel wrote something else than a record.
pub(super) fn decode(record: &[u8]) -> Option<DnsSample<'_>> {
    let (raw, rest) = record.split_at_checked(KEY)?;
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (bytes, rest) = rest.split_first_chunk::<2>()?;
    let ([answer, _], message) = rest.split_first_chunk::<2>()?;
    Some(DnsSample {
        key: key::decode(&key::from_bytes(raw)?)?,
        time: u64::from_ne_bytes(*time),
        is_answer: *answer != 0,
        message: message.get(..usize::from(u16::from_ne_bytes(*bytes)))?,
        length: u32::from_ne_bytes(*length) as usize,
    })
}

const _: () = assert!(KEY == 48);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Role, Transport};

    fn record(role: u8, bytes: u16, message: &[u8]) -> Vec<u8> {
        let mut key = [0; KEY];
        key[KEY - 2] = role;
        let length = 900u32.to_ne_bytes();
        [&key[..], &7u64.to_ne_bytes(), &length, &bytes.to_ne_bytes(), &[1, 0], message].concat()
    }

    #[test]
    fn records_are_as_long_as_they_say() {
        let bytes = record(0x81, 3, b"abcdef");
        let sample = decode(&bytes).unwrap();
        assert_eq!((sample.key.role, sample.key.transport), (Role::Client, Transport::Tcp));
        assert_eq!((sample.time, sample.is_answer, sample.length), (7, true, 900));
        assert_eq!(sample.message, b"abc", "the unused end of the record is left out");
        assert!(decode(&record(1, 7, b"abcdef")).is_none());
        assert!(decode(&record(9, 3, b"abcdef")).is_none());
        for cut in 0..64 {
            assert!(decode(&bytes[..cut]).is_none());
        }
    }
}
