// SPDX-License-Identifier: Apache-2.0
//! HTTP/2: from what the kernel hands out of connections to what the ledger enters.

use flowgauge_http2::{Connections, End, Event, GrpcStatus, Limits, Lost, Method, Part, Record};
use flowgauge_probes::packets::{HTTP_BUCKETS, HTTP_POWERS, Http2Part, Http2Record, HttpGrowth, HttpOutcome};

/// Statuses of gRPC responses as they are served: those of the protocol by number, numbers that it has not, and none at all.
pub const GRPC_STATUSES: [&str; 19] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
    "other",
    "none",
];

/// What a record told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// A request was answered, or will not be.
    Request(HttpGrowth),
    /// A gRPC response is complete, with this status of [`GRPC_STATUSES`].
    Grpc(usize),
}

/// The connections that are watched.
pub struct Http2(Connections);

/// How the connections fare.
#[derive(Debug, Clone, Copy, Default)]
pub struct Http2State {
    /// What could not be told.
    pub lost: Lost,
    /// Connections remembered, and most that may be.
    pub connections: (usize, usize),
}

impl Http2 {
    /// None yet.
    pub fn new() -> Self {
        Self(Connections::new(Limits::default()))
    }

    /// Takes a record; what it tells goes to `out`.
    pub fn take(&mut self, record: &Http2Record<'_>, mut out: impl FnMut(Told)) {
        let Http2Record { key: _, connection, time, number, from_client, whole, part } = *record;
        let part = match part {
            Http2Part::Frame { kind, flags, stream, length, offset, bytes } => {
                Part::Frame { kind, flags, stream, length, offset, bytes }
            }
            Http2Part::Gap => Part::Gap,
            Http2Part::End { why, from_client, from_server } => {
                let end = match why {
                    0 => End::Reset,
                    1 => End::Closed,
                    _ => End::TimedOut,
                };
                Part::End { end, from_client, from_server }
            }
        };
        let record = Record { connection, time, number, from_client, whole, part };
        self.0.take(&record, &mut |event| out(told(event)));
    }

    /// How they fare.
    pub fn state(&self) -> Http2State {
        Http2State { lost: self.0.lost(), connections: (self.0.len(), self.0.capacity()) }
    }
}

fn told(event: Event) -> Told {
    let one = HttpGrowth {
        method: 0,
        outcome: HttpOutcome::Failed(0),
        count: 1,
        durations: [0; HTTP_BUCKETS],
        duration_sum: 0,
    };
    match event {
        Event::Response { method, code, duration } => {
            let mut growth =
                HttpGrowth { method: index_of(method), outcome: HttpOutcome::Response(code), ..one };
            if let Some(duration) = duration {
                let micros = duration.as_micros() as u64;
                growth.durations[bucket_of(micros)] = 1;
                growth.duration_sum = micros;
            }
            Told::Request(growth)
        }
        Event::Failed { method, end } => {
            let why = match end {
                End::Reset => 0,
                End::Closed => 1,
                End::TimedOut => 2,
            };
            Told::Request(HttpGrowth { method: index_of(method), outcome: HttpOutcome::Failed(why), ..one })
        }
        Event::Grpc(status) => Told::Grpc(match status {
            GrpcStatus::Code(code) => usize::from(code),
            GrpcStatus::Other => GRPC_STATUSES.len() - 2,
            GrpcStatus::None => GRPC_STATUSES.len() - 1,
        }),
    }
}

/// Where a method is among [`flowgauge_probes::packets::METHODS`].
fn index_of(method: Method) -> usize {
    match method {
        Method::Unknown => 0,
        Method::Get => 1,
        Method::Head => 2,
        Method::Post => 3,
        Method::Put => 4,
        Method::Delete => 5,
        Method::Connect => 6,
        Method::Options => 7,
        Method::Trace => 8,
        Method::Patch => 9,
        Method::Other => 10,
    }
}

/// The bucket of a time; bounds are inclusive.
fn bucket_of(micros: u64) -> usize {
    HTTP_POWERS.take_while(|power| micros > 1 << power).count()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use flowgauge_probes::packets::METHODS;

    use super::*;

    #[test]
    fn methods_keep_their_names() {
        let named = [
            (Method::Unknown, "unknown"),
            (Method::Get, "GET"),
            (Method::Delete, "DELETE"),
            (Method::Connect, "CONNECT"),
            (Method::Patch, "PATCH"),
            (Method::Other, "other"),
        ];
        for (method, name) in named {
            assert_eq!(METHODS[index_of(method)], name);
        }
    }

    #[test]
    fn times_fall_into_the_bucket_that_ends_with_them() {
        let bucket = |micros| {
            let duration = Some(Duration::from_micros(micros));
            match told(Event::Response { method: Method::Get, code: 200, duration }) {
                Told::Request(growth) => {
                    assert_eq!(growth.duration_sum, micros);
                    growth.durations.iter().position(|count| *count == 1)
                }
                Told::Grpc(_) => None,
            }
        };
        assert_eq!([0, 256, 257, 512, 1 << 24].map(bucket), [0, 0, 1, 1, 16].map(Some));
        assert_eq!(bucket((1 << 24) + 1), Some(17));
        assert_eq!(bucket(u64::MAX / 2), Some(HTTP_BUCKETS - 1));
    }

    #[test]
    fn statuses_have_the_protocol_s_numbers() {
        let status = |status| match told(Event::Grpc(status)) {
            Told::Grpc(at) => GRPC_STATUSES[at],
            Told::Request(_) => "",
        };
        assert_eq!(status(GrpcStatus::Code(0)), "OK");
        assert_eq!(status(GrpcStatus::Code(14)), "UNAVAILABLE");
        assert_eq!(status(GrpcStatus::Code(16)), "UNAUTHENTICATED");
        assert_eq!((status(GrpcStatus::Other), status(GrpcStatus::None)), ("other", "none"));
    }
}
