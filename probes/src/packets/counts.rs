// SPDX-License-Identifier: Apache-2.0
//! What is counted of datagrams and of DNS messages, by flow key.

/// Datagrams of a flow, as the watched end sent and received them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UdpCounts {
    /// Payload bytes sent, UDP headers not counted.
    pub sent_bytes: u64,
    /// Datagrams sent; those of a batch (GSO) one by one.
    pub sent_packets: u64,
    /// Payload bytes that arrived for the socket, whether or not there was room for them.
    pub received_bytes: u64,
    /// Datagrams that arrived for the socket; those of a batch (GRO) one by one.
    pub received_packets: u64,
    /// Of those sent, the ones behind the first in a batch.
    pub sent_joined: u64,
    /// Of those received, the same.
    pub received_joined: u64,
}

/// Types of query that are told apart, in the order of [`DnsCounts::queries`]; the last is for all others.
pub const QTYPES: [&str; 18] = [
    "A", "AAAA", "ANY", "AXFR", "CAA", "CNAME", "DNSKEY", "DS", "HTTPS", "MX", "NAPTR", "NS", "PTR", "SOA",
    "SRV", "SVCB", "TXT", "other",
];

/// Response codes that are told apart, in the order of [`DnsCounts::responses`]; the last is for all others.
pub const RCODES: [&str; 14] = [
    "NOERROR",
    "FORMERR",
    "SERVFAIL",
    "NXDOMAIN",
    "NOTIMP",
    "REFUSED",
    "YXDOMAIN",
    "YXRRSET",
    "NXRRSET",
    "NOTAUTH",
    "NOTZONE",
    "BADVERS",
    "BADCOOKIE",
    "other",
];

/// Where NXDOMAIN is among [`RCODES`].
pub const NXDOMAIN: usize = 3;

/// Upper bounds of the histogram of response times, as powers of two of a microsecond: 128 µs to 8.4 s.
pub const DNS_POWERS: std::ops::RangeInclusive<u32> = 7..=23;

/// Buckets of the histogram, +Inf included.
pub const DNS_BUCKETS: usize = (*DNS_POWERS.end() - *DNS_POWERS.start() + 2) as usize;

/// DNS messages of a flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DnsCounts {
    /// Queries, those sent again included, in the order of [`QTYPES`].
    pub queries: [u64; QTYPES.len()],
    /// First answers to queries that had not timed out, in the order of [`RCODES`].
    pub responses: [u64; RCODES.len()],
    /// Queries sent again, with the same id from the same port, before there was an answer or a timeout.
    pub retransmits: u64,
    /// Queries without an answer for `--dns.timeout`.
    pub timeouts: u64,
    /// Answers that came after the timeout.
    pub late: u64,
    /// Responses to which there is no query: forged, sent twice, or asked for before the start.
    pub unsolicited: u64,
    /// First answers that were truncated (TC), so that the client asks again over TCP.
    pub truncated: u64,
    /// Queries over TCP; also in `queries`.
    pub tcp_queries: u64,
    /// Messages that are not well-formed DNS, or that hold no question where there must be one.
    pub malformed: u64,
    /// Response times by bucket, in the order of [`DNS_POWERS`].
    pub durations: [u64; DNS_BUCKETS],
    /// Their sum, microseconds.
    pub duration_sum: u64,
}
