// SPDX-License-Identifier: Apache-2.0
//! HTTP/1 (RFC 9112): makers of traffic whose every request and response is known beforehand, and what must be counted of it.
//!
//! [`script`] and [`play`] put down to the byte, and to the segment, what a client and a server send each other, for what
//! real programs never do. [`load`] drives a real client and a real server (hyper) that count what they did; [`h2load`] runs nghttp2's. [`web`] is an
//! nginx whose access log tells methods and status codes.

pub mod cases;
pub mod expect;
pub mod h2load;
pub mod load;
pub mod message;
pub mod play;
pub mod script;
pub mod web;

use std::collections::BTreeMap;

/// How many responses by method, as the exporter names it, and status code.
pub type Counts = BTreeMap<(String, u16), u64>;

/// The exporter's name of a method.
pub fn method_label(method: &str) -> &str {
    const REGISTERED: [&str; 9] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    REGISTERED.into_iter().find(|registered| *registered == method).unwrap_or("other")
}
