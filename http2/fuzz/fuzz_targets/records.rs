// SPDX-License-Identifier: Apache-2.0
//! Records of connections as the kernel hands them out: eight bytes say what each is, and how many bytes of a frame follow.
#![no_main]

use std::num::NonZeroUsize;

use flowgauge_http2::{Connections, End, Event, Limits, Part, Record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits { connections: NonZeroUsize::MIN, streams: 16, all_streams: 16, held: 4096 };
    let mut connections = Connections::new(limits);
    let (mut rest, mut number) = (data, [0u32; 2]);
    while let Some(([what, kind, flags, stream, size, length, offset, time], next)) = rest.split_first_chunk::<8>() {
        let (bytes, after) = next.split_at(next.len().min(usize::from(*size)));
        rest = after;
        let from_client = what & 1 != 0;
        // Most frames are whole, and most records are there.
        let whole = what & 2 == 0;
        let number = &mut number[usize::from(from_client)];
        *number += 1 + u32::from(what & 0x3c == 0x3c);
        let part = match kind {
            254 => Part::Gap,
            255 => Part::End { end: End::Reset, from_client: u32::from(*length), from_server: u32::from(*offset) },
            _ if whole => Part::Frame {
                kind: *kind,
                flags: *flags,
                stream: u32::from(*stream),
                length: bytes.len() as u32,
                offset: 0,
                bytes,
            },
            _ => Part::Frame {
                kind: *kind,
                flags: *flags,
                stream: u32::from(*stream),
                length: u32::from(*length),
                offset: u32::from(*offset),
                bytes,
            },
        };
        let record = Record {
            connection: u64::from(what >> 7),
            time: u64::from(*time),
            number: *number,
            from_client,
            whole: what & 64 == 0,
            part,
        };
        connections.take(&record, &mut |event| {
            if let Event::Response { code, .. } = event {
                assert!((100..600).contains(&code) && (code >= 200 || code == 101));
            }
        });
        assert!(connections.len() <= 1);
    }
});
