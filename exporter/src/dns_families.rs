// SPDX-License-Identifier: Apache-2.0
//! What is served about DNS. Names and meanings are a contract: dashboards and alerts are built on them.

use crate::families::{by, counter, histogram};
use crate::source::{Family, FamilyKind};

/// Where messages are read.
const MESSAGES: &str = "DNS messages on --dns.ports, UDP and TCP (cgroup_skb)";

/// Queries by type.
pub static QUERIES: Family = by(
    &["qtype"],
    counter(
        "dns_queries",
        None,
        "DNS queries that passed the watched end by type of record, those sent again included; types that are rarely asked for are added up as other.",
        MESSAGES,
    ),
);
/// Answers by code.
pub static RESPONSES: Family = by(
    &["rcode", "search"],
    counter(
        "dns_responses",
        None,
        "First answers to DNS queries by response code (RFC 6895); search is true for NXDOMAIN answers about names that the client's resolver made up from its search list, which are no errors. An NXDOMAIN is counted about a second after it passed, when that is decided.",
        "header and EDNS option of the response (cgroup_skb); names from samples",
    ),
);
/// No answer.
pub static TIMEOUTS: Family = counter(
    "dns_timeouts",
    None,
    "DNS queries that had no answer for as long as --dns.timeout.",
    "queries that wait for an answer, in the kernel's map",
);
/// Time to the first answer.
pub static DURATION: Family = histogram(
    "dns_response_duration_seconds",
    "Time from a DNS query, as it was sent first, to its first answer, at the watched end: with the network at the client, without it at the server.",
    "bpf_ktime_get_ns at query and response (cgroup_skb)",
    "128 µs to 8.4 s, powers of two",
);
/// Answers to no query.
pub static UNMATCHED: Family = by(
    &["reason"],
    counter(
        "dns_unmatched_responses",
        None,
        "DNS responses that answer no query which waits: late (after --dns.timeout) or unsolicited (forged, sent twice, or asked for before the exporter started).",
        MESSAGES,
    ),
);
/// Truncated answers.
pub static TRUNCATED: Family = counter(
    "dns_truncated_responses",
    None,
    "First answers that were truncated (TC), so that the client has to ask again over TCP.",
    "header of the response (cgroup_skb)",
);
/// Queries again.
pub static RETRANSMITS: Family = counter(
    "dns_query_retransmits",
    None,
    "DNS queries sent again with the same id from the same port before there was an answer; also counted as queries.",
    MESSAGES,
);
/// Queries over TCP.
pub static TCP_QUERIES: Family =
    counter("dns_tcp_queries", None, "DNS queries over TCP; also counted as queries.", MESSAGES);
/// Not DNS.
pub static MALFORMED: Family = counter(
    "dns_malformed_messages",
    None,
    "Messages on a DNS port that are not well-formed DNS, or hold no question where there must be one.",
    MESSAGES,
);

/// Answers by domain.
pub static DOMAIN_RESPONSES: Family = Family {
    name: "dns_domain_responses",
    kind: FamilyKind::Counter,
    unit: None,
    help: "First answers to DNS queries of clients on this node by registrable domain, for the --dns.names busiest, the rest as other, which also takes what a domain had that is no longer among them. Counted from samples: when lost_events says that some were lost, these are missing.",
    labels: &["domain", "rcode"],
    edge: false,
    source: "header and question of the response, from samples",
    buckets: "",
};

/// All of them, in the order in which they are served and documented.
pub static FAMILIES: &[&Family] = &[
    &QUERIES,
    &RESPONSES,
    &TIMEOUTS,
    &DURATION,
    &UNMATCHED,
    &TRUNCATED,
    &RETRANSMITS,
    &TCP_QUERIES,
    &MALFORMED,
    &DOMAIN_RESPONSES,
];
