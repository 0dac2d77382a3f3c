// SPDX-License-Identifier: Apache-2.0
//! What is served of each network namespace, and the kernel's counters behind it.

use super::columns::Place;
use crate::audit::SOURCES;
use crate::node::samples::plain;
use crate::source::Family;
use crate::source::FamilyKind::Counter;

const fn family(name: &'static str, help: &'static str, source: &'static str) -> Family {
    plain(name, Counter, &["namespace", "workload"], help, source)
}

static LISTEN_OVERFLOWS: Family = family(
    "netstat_tcp_listen_overflows",
    "Connections not accepted in time: the accept queue was full.",
    "TcpExt ListenOverflows of /proc/*/net/netstat",
);
static LISTEN_DROPS: Family = family(
    "netstat_tcp_listen_drops",
    "Connections that a listener dropped, because its accept queue was full or for other reasons.",
    "TcpExt ListenDrops of /proc/*/net/netstat",
);
static SYN_QUEUE_DROPS: Family = family(
    "netstat_tcp_syn_queue_drops",
    "SYNs dropped because the queue of half-open connections was full and SYN cookies are switched off.",
    "TcpExt TCPReqQFullDrop of /proc/*/net/netstat",
);
static COOKIES_SENT: Family = family(
    "netstat_tcp_syn_cookies_sent",
    "SYNs answered with a SYN cookie, because the queue of half-open connections was full.",
    "TcpExt SyncookiesSent of /proc/*/net/netstat",
);
static COOKIES_FAILED: Family = family(
    "netstat_tcp_syn_cookies_failed",
    "Segments with a SYN cookie that was not valid.",
    "TcpExt SyncookiesFailed of /proc/*/net/netstat",
);
static BACKLOG_DROPS: Family = family(
    "netstat_tcp_backlog_drops",
    "Segments dropped because a socket in use by its process had too many waiting already.",
    "TcpExt TCPBacklogDrop of /proc/*/net/netstat",
);
static RECEIVE_QUEUE_DROPS: Family = family(
    "netstat_tcp_receive_queue_drops",
    "Segments dropped because a socket's receive queue could not take them.",
    "TcpExt TCPRcvQDrop of /proc/*/net/netstat",
);
static PRUNE_CALLS: Family = family(
    "netstat_tcp_prune_calls",
    "Times that a socket's receive buffer was full, so that its memory was tidied up.",
    "TcpExt PruneCalled of /proc/*/net/netstat",
);
static PRUNED: Family = family(
    "netstat_tcp_receive_pruned",
    "Times that tidying up a full receive buffer did not help and the segment was dropped.",
    "TcpExt RcvPruned of /proc/*/net/netstat",
);
static OUT_OF_ORDER_PRUNED: Family = family(
    "netstat_tcp_out_of_order_pruned",
    "Times that segments received out of order were thrown away to make room.",
    "TcpExt OfoPruned of /proc/*/net/netstat",
);
static MEMORY_PRESSURES: Family = family(
    "netstat_tcp_memory_pressures",
    "Times that TCP came under memory pressure, entered in the namespace where it was noticed.",
    "TcpExt TCPMemoryPressures of /proc/*/net/netstat",
);
static ABORTS_ON_MEMORY: Family = family(
    "netstat_tcp_aborts_on_memory",
    "Connections ended because there was no memory or there were too many sockets without a process.",
    "TcpExt TCPAbortOnMemory of /proc/*/net/netstat",
);
static TIMEOUTS: Family = family(
    "netstat_tcp_timeouts",
    "Retransmit timers that ran out: nothing came back for so long.",
    "TcpExt TCPTimeouts of /proc/*/net/netstat",
);
static UDP_RECEIVE_ERRORS: Family = family(
    "netstat_udp_receive_buffer_errors",
    "Datagrams dropped because a socket's receive buffer was full.",
    "Udp RcvbufErrors of /proc/*/net/snmp, Udp6RcvbufErrors of snmp6",
);
static UDP_SEND_ERRORS: Family = family(
    "netstat_udp_send_buffer_errors",
    "Datagrams not sent because there was no room for them in a send buffer or queue.",
    "Udp SndbufErrors of /proc/*/net/snmp, Udp6SndbufErrors of snmp6",
);
static UDP_MEMORY_ERRORS: Family = family(
    "netstat_udp_memory_errors",
    "Datagrams dropped because UDP had used up its memory.",
    "Udp MemErrors of /proc/*/net/snmp, Udp6MemErrors of snmp6",
);
static REASSEMBLY_FAILURES: Family = family(
    "netstat_ip_reassembly_failures",
    "Packets that could not be put together from their fragments: one was lost, late, or there was no room.",
    "Ip ReasmFails of /proc/*/net/snmp, Ip6ReasmFails of snmp6",
);
static NO_ROUTES: Family = family(
    "netstat_ip_no_route_discards",
    "Packets thrown away because there was no route to their destination.",
    "Ip OutNoRoutes of /proc/*/net/snmp, IpExt InNoRoutes of netstat, Ip6OutNoRoutes and Ip6InNoRoutes of snmp6",
);

/// How many families there are.
pub const COUNT: usize = 18;

/// What one namespace counts, in the order of [`FAMILIES`].
pub type Counts = [u64; COUNT];

/// In the order in which they are served.
pub const FAMILIES: &[&Family] = &[
    &LISTEN_OVERFLOWS,
    &LISTEN_DROPS,
    &SYN_QUEUE_DROPS,
    &COOKIES_SENT,
    &COOKIES_FAILED,
    &BACKLOG_DROPS,
    &RECEIVE_QUEUE_DROPS,
    &PRUNE_CALLS,
    &PRUNED,
    &OUT_OF_ORDER_PRUNED,
    &MEMORY_PRESSURES,
    &ABORTS_ON_MEMORY,
    &TIMEOUTS,
    &UDP_RECEIVE_ERRORS,
    &UDP_SEND_ERRORS,
    &UDP_MEMORY_ERRORS,
    &REASSEMBLY_FAILURES,
    &NO_ROUTES,
];

/// The kernel's counters: protocol and name, and the place in [`FAMILIES`]. Several may be added up there.
const COUNTERS: [(&str, &str, usize); 25] = [
    ("TcpExt", "ListenOverflows", 0),
    ("TcpExt", "ListenDrops", 1),
    ("TcpExt", "TCPReqQFullDrop", 2),
    ("TcpExt", "SyncookiesSent", 3),
    ("TcpExt", "SyncookiesFailed", 4),
    ("TcpExt", "TCPBacklogDrop", 5),
    ("TcpExt", "TCPRcvQDrop", 6),
    ("TcpExt", "PruneCalled", 7),
    ("TcpExt", "RcvPruned", 8),
    ("TcpExt", "OfoPruned", 9),
    ("TcpExt", "TCPMemoryPressures", 10),
    ("TcpExt", "TCPAbortOnMemory", 11),
    ("TcpExt", "TCPTimeouts", 12),
    ("Udp", "RcvbufErrors", 13),
    ("Udp6", "RcvbufErrors", 13),
    ("Udp", "SndbufErrors", 14),
    ("Udp6", "SndbufErrors", 14),
    ("Udp", "MemErrors", 15),
    ("Udp6", "MemErrors", 15),
    ("Ip", "ReasmFails", 16),
    ("Ip6", "ReasmFails", 16),
    ("Ip", "OutNoRoutes", 17),
    ("IpExt", "InNoRoutes", 17),
    ("Ip6", "OutNoRoutes", 17),
    ("Ip6", "InNoRoutes", 17),
];

/// Where a counter of the kernel goes.
pub fn places<'a>(protocol: &'a str, name: &'a str) -> impl Iterator<Item = Place> + 'a {
    let families = COUNTERS.iter().filter(move |(of, counter, _)| *counter == name && *of == protocol);
    let audited = SOURCES.iter().filter(move |(of, counter, _)| *counter == name && *of == protocol);
    families.map(|(.., at)| Place::Family(*at)).chain(audited.map(|(.., mib)| Place::Audit(*mib)))
}

#[cfg(test)]
mod tests {
    use super::{COUNT, COUNTERS, FAMILIES};

    #[test]
    fn every_family_has_a_counter() {
        assert_eq!(FAMILIES.len(), COUNT);
        for (place, family) in FAMILIES.iter().enumerate() {
            assert!(COUNTERS.iter().any(|(.., of)| *of == place), "{}", family.name);
        }
    }
}
