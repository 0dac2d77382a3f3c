// SPDX-License-Identifier: Apache-2.0
//! HTTP requests by flow, and what HTTP/2 connections carry (`bpf/http.h`, `bpf/http2.h`).

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use libbpf_rs::RingBufferBuilder;

use super::{
    HTTP_BUCKETS, HTTP_FAILURES, Http2Part, Http2Record, HttpGrowth, HttpOutcome, METHODS, Packets, Sink, key,
};
use crate::maps::{Plain, read};
use crate::skeleton::packets::types::{fg_http, fg_http_key, fg_key};
use crate::tcp::services::{at, former};
use crate::{Error, FlowKey, Peer};

// SAFETY: a structure of integers, generated from the C one.
unsafe impl Plain for fg_http_key {}
// SAFETY: as above.
unsafe impl Plain for fg_http {}

const _: () = assert!(HTTP_BUCKETS == 18 && METHODS.len() == 11);

/// Codes that say how a request ended that was not answered.
const FAILURES: usize = HTTP_FAILURES.len();

/// What the kernel counted as growth. None if it counted something else.
fn growth_of(raw: &fg_http_key, sums: &fg_http) -> Option<HttpGrowth> {
    let outcome = match raw.code {
        code if usize::from(code) < FAILURES => HttpOutcome::Failed(code.into()),
        code @ 100..=599 => HttpOutcome::Response(code),
        _ => return None,
    };
    let method = usize::from(raw.method);
    (method < METHODS.len()).then(|| HttpGrowth {
        method,
        outcome,
        count: sums.count.into(),
        durations: sums.durations.map(u64::from),
        duration_sum: sums.duration_sum,
    })
}

/// The key to report under: of a connection that dialled a Service, that of the backend it went to.
fn reported<T>(key: FlowKey, sink: &mut impl Sink<T>) -> FlowKey {
    let Peer::Service { source, port } = key.peer else { return key };
    sink.backend(&key, source, port).map_or_else(|| former(key, source), |backend| at(key, backend))
}

impl<T: Default> Packets<'_, T> {
    /// Hands out what was counted of HTTP until the last swap.
    pub(super) fn drain_http(&mut self, sink: &mut impl Sink<T>, now: Instant) -> Result<(), Error> {
        // Swapped together with the map of DNS flows.
        let full = if self.writing_b { &self.skeleton.maps.http_a } else { &self.skeleton.maps.http_b };
        let (tags, undecodable) = (&mut self.tags, &mut self.undecodable);
        let processes = self.processes.known();
        self.http.take_all(full.as_fd(), "http_flows", |raw, sums| {
            match key::decode(&raw.flow).zip(growth_of(raw, sums)) {
                Some((key, growth)) => {
                    let key = reported(key, sink);
                    sink.http(&key, tags.of(&key, now), &growth, processes);
                }
                None => *undecodable += 1,
            }
        })?;
        Ok(())
    }

    /// What becomes readable when much of HTTP/2 connections waits: to be polled for edges, not for level. None if HTTP is not
    /// wanted.
    ///
    /// # Errors
    /// When there are no more file descriptors.
    pub fn http2_waits(&self) -> Result<Option<OwnedFd>, Error> {
        let ring = self.skeleton.maps.http2_records.as_fd();
        let clone = || {
            ring.try_clone_to_owned()
                .map_err(|source| Error::Kernel { step: "watching the ring of HTTP/2 frames".into(), source })
        };
        self.options.http.then(clone).transpose()
    }

    /// Hands out what waits of HTTP/2 connections, and nothing else.
    ///
    /// # Errors
    /// When the ring cannot be read; the next time hands out what it holds.
    pub fn hand_out_http2(&mut self, sink: &mut impl Sink<T>) -> Result<(), Error> {
        self.learn_processes()?;
        self.drain_http2(sink, Instant::now())
    }

    /// Hands out what waits of HTTP/2 connections.
    pub(super) fn drain_http2(&mut self, sink: &mut impl Sink<T>, now: Instant) -> Result<(), Error> {
        let written = self.bss().map_or(0, |bss| read(&bss.fg_http2_written));
        if written == self.http2_written {
            return Ok(());
        }
        let (tags, undecodable) = (&mut self.tags, &mut self.undecodable);
        let processes = self.processes.known();
        let take = |record: &[u8]| {
            match decode(record) {
                Some(mut record) => {
                    record.key = reported(record.key, sink);
                    sink.http2(&record, tags.of(&record.key, now), processes);
                }
                None => *undecodable += 1,
            }
            0
        };
        let step = |error| Error::libbpf("reading the ring of HTTP/2 frames", error);
        let mut builder = RingBufferBuilder::new();
        builder.add(&self.skeleton.maps.http2_records, take).map_err(step)?;
        let ring = builder.build().map_err(step)?;
        ring.consume().map_err(step)?;
        drop(ring);
        self.http2_written = written;
        Ok(())
    }
}

/// Bytes of the key.
const KEY: usize = size_of::<fg_key>();

/// Types of record that are no frames.
const GAP: u8 = 254;
const END: u8 = 255;

/// None if the kernel wrote something else than a record.
fn decode(record: &[u8]) -> Option<Http2Record<'_>> {
    let (raw, rest) = record.split_at_checked(KEY)?;
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let (connection, rest) = rest.split_first_chunk::<8>()?;
    let (number, rest) = rest.split_first_chunk::<4>()?;
    let (stream, rest) = rest.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (offset, rest) = rest.split_first_chunk::<4>()?;
    let (bytes, rest) = rest.split_first_chunk::<2>()?;
    let ([kind, flags, from_client, whole, _, _], payload) = rest.split_first_chunk::<6>()?;
    let part = match *kind {
        GAP => Http2Part::Gap,
        END => Http2Part::End {
            why: usize::from(*flags).min(FAILURES - 1),
            from_client: u32::from_ne_bytes(*number),
            from_server: u32::from_ne_bytes(*length),
        },
        kind => Http2Part::Frame {
            kind,
            flags: *flags,
            stream: u32::from_ne_bytes(*stream),
            length: u32::from_ne_bytes(*length),
            offset: u32::from_ne_bytes(*offset),
            bytes: payload.get(..usize::from(u16::from_ne_bytes(*bytes)))?,
        },
    };
    Some(Http2Record {
        key: key::decode(&key::from_bytes(raw)?)?,
        connection: u64::from_ne_bytes(*connection),
        time: u64::from_ne_bytes(*time),
        number: u32::from_ne_bytes(*number),
        from_client: *from_client != 0,
        whole: *whole != 0,
        part,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    fn record(kind: u8, bytes: u16, payload: &[u8]) -> Vec<u8> {
        let mut key = [0; KEY];
        key[KEY - 2] = 0x81;
        let numbers = [3u32, 5, 100, 7].map(u32::to_ne_bytes).concat();
        let tail = [kind, 4, 1, 1, 0, 0];
        let times = [11u64, 13].map(u64::to_ne_bytes).concat();
        [&key[..], &times, &numbers, &bytes.to_ne_bytes(), &tail, payload].concat()
    }

    #[test]
    fn records_are_as_long_as_they_say() {
        let bytes = record(1, 3, b"abcdef");
        let record_of = decode(&bytes).unwrap();
        assert_eq!((record_of.key.role, record_of.time, record_of.connection), (Role::Client, 11, 13));
        assert_eq!((record_of.number, record_of.from_client, record_of.whole), (3, true, true));
        let part = Http2Part::Frame { kind: 1, flags: 4, stream: 5, length: 100, offset: 7, bytes: b"abc" };
        assert_eq!(record_of.part, part, "the unused end of the record is left out");
        let end = Http2Part::End { why: 2, from_client: 3, from_server: 100 };
        assert_eq!(decode(&record(255, 0, b"")).unwrap().part, end);
        assert_eq!(decode(&record(254, 0, b"")).unwrap().part, Http2Part::Gap);
        assert!(decode(&record(1, 7, b"abcdef")).is_none());
        for cut in 0..88 {
            assert!(decode(&bytes[..cut]).is_none());
        }
    }

    #[test]
    fn what_is_no_code_is_no_growth() {
        let of = |method, code| {
            let raw = fg_http_key { method, code, ..Default::default() };
            growth_of(&raw, &fg_http { count: 2, ..Default::default() }).map(|growth| growth.outcome)
        };
        assert_eq!(of(1, 200), Some(HttpOutcome::Response(200)));
        assert_eq!(of(0, 599), Some(HttpOutcome::Response(599)));
        assert_eq!(of(3, 2), Some(HttpOutcome::Failed(2)));
        assert_eq!((of(1, 3), of(1, 99), of(1, 600), of(11, 200)), (None, None, None, None));
    }
}
