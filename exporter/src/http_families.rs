// SPDX-License-Identifier: Apache-2.0
//! What is served about HTTP and gRPC. Names and meanings are a contract: dashboards and alerts are built on them.

use crate::families::{by, counter, histogram};
use crate::source::Family;

/// Responses by method and code.
pub static RESPONSES: Family = by(
    &["method", "code"],
    counter(
        "http_responses",
        None,
        "Final HTTP responses that passed the watched end, by method of the request (unknown if it was not seen) and status code (other for codes beyond the 64 pairs that an edge tells apart); gRPC's count as well.",
        "heads of HTTP/1 messages, header blocks of HTTP/2 (cgroup_skb)",
    ),
);
/// Time to the response.
pub static DURATION: Family = histogram(
    "http_response_duration_seconds",
    "Time from the first byte of an HTTP request to the first byte of its final response, at the watched end: with the network at the client, without it at the server; bodies are not waited for.",
    "bpf_ktime_get_ns at request and response (cgroup_skb)",
    "256 µs to 16.8 s, powers of two",
);
/// No response.
pub static FAILED: Family = by(
    &["reason"],
    counter(
        "http_requests_failed",
        None,
        "HTTP requests without a response: their connection, or with HTTP/2 their stream, was reset by either end (reset), their connection was closed (closed), or TCP gave it up (timeout).",
        "requests that wait when the socket is destroyed (tcp_destroy_sock), RST_STREAM",
    ),
);
/// gRPC.
pub static GRPC_RESPONSES: Family = by(
    &["grpc_status"],
    counter(
        "grpc_responses",
        None,
        "gRPC responses by grpc-status: its name in the gRPC protocol, other for numbers that have none, none for calls that ended after the response's headers without a status.",
        "header blocks of HTTP/2, trailers mostly (cgroup_skb)",
    ),
);

/// All of them, in the order in which they are served and documented.
pub static FAMILIES: &[&Family] = &[&RESPONSES, &DURATION, &FAILED, &GRPC_RESPONSES];
