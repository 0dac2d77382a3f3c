// SPDX-License-Identifier: Apache-2.0
//! What is served about TCP. Names and meanings are a contract: dashboards and alerts are built on them.

use crate::families::{by, counter, gauge, histogram, listener};
use crate::source::{Family, FamilyKind, Unit};

/// Payload sent and acknowledged.
pub static SENT_BYTES: Family = counter(
    "tcp_sent_bytes",
    Some(Unit::Bytes),
    "Payload bytes that the watched end sent and the other end acknowledged, SYN and FIN not counted.",
    "tcp_sock.bytes_acked less SYN and FIN",
);
/// Payload received.
pub static RECEIVED_BYTES: Family = counter(
    "tcp_received_bytes",
    Some(Unit::Bytes),
    "Payload bytes that the watched end received in order, FIN not counted.",
    "tcp_sock.bytes_received less FIN",
);
/// Segments sent.
pub static SENT_SEGMENTS: Family = counter(
    "tcp_sent_segments",
    None,
    "Segments that the watched end sent, with retransmitted and empty ones and the SYN; SYN-ACKs are sent before the connection exists and are not among them.",
    "tcp_sock.segs_out",
);
/// Segments received.
pub static RECEIVED_SEGMENTS: Family = counter(
    "tcp_received_segments",
    None,
    "Segments that the watched end received, with empty ones.",
    "tcp_sock.segs_in",
);
/// Retransmissions.
pub static RETRANSMITTED_SEGMENTS: Family = counter(
    "tcp_retransmitted_segments",
    None,
    "Segments that the watched end sent again, SYN included: loss on the way from it, or of acknowledgements on the way back.",
    "tcp_sock.total_retrans",
);
/// Out of order.
pub static OUT_OF_ORDER_SEGMENTS: Family = counter(
    "tcp_out_of_order_segments",
    None,
    "Segments that the watched end received ahead of a gap: loss or reordering on the way to it.",
    "tcp_sock.rcv_ooopack",
);
/// Smoothed RTT.
pub static RTT: Family = histogram(
    "tcp_rtt_seconds",
    "Smoothed round-trip time (RFC 6298) of each connection that moved data since the last pass, and of each at its end.",
    "tcp_sock.srtt_us",
    "64 µs to 4.2 s, powers of two",
);
/// Open connections.
pub static CONNECTIONS: Family = gauge(
    "tcp_connections",
    "Connections open at the last pass, absent if it failed, from the handshake until the socket is gone or in TIME-WAIT.",
    "kernel's established-sockets hash",
);
/// Opened.
pub static OPENED: Family = counter(
    "tcp_connections_opened",
    None,
    "Connections established since the start.",
    "kernel's established-sockets hash, tcp_destroy_sock",
);
/// Closed by reason.
pub static CLOSED: Family = by(
    &["reason"],
    counter(
        "tcp_connections_closed",
        None,
        "Established connections that ended: fin (orderly), reset_received, reset_sent, or timeout (retransmissions, keepalives or user timeout gave up).",
        "sock.sk_err and state at CLOSE (inet_sock_set_state, tcp_destroy_sock)",
    ),
);
/// Attempts.
pub static ATTEMPTS: Family = counter(
    "tcp_connect_attempts",
    None,
    "Connections that the watched client began, established or not; one that fails for want of a route never begins.",
    "kernel's established-sockets hash, tcp_destroy_sock",
);
/// Failed attempts by reason.
pub static FAILURES: Family = by(
    &["reason"],
    counter(
        "tcp_connect_failures",
        None,
        "Connections that were begun and not established: refused, timeout, host_unreachable, net_unreachable, reset, abandoned (closed by the application while waiting), no_local_port (EADDRNOTAVAIL: no SYN was sent, for no port was free towards that address and port), other.",
        "sock.sk_err at SYN-SENT to CLOSE (inet_sock_set_state)",
    ),
);
/// Handshake time.
pub static CONNECT_DURATION: Family = histogram(
    "tcp_connect_duration_seconds",
    "Time from the first SYN to the established connection, at the client, of successful attempts.",
    "tcp_sock.srtt_us, with the timeouts before if the SYN was sent again (total_retrans), at SYN-SENT to ESTABLISHED (inet_sock_set_state)",
    "128 µs to 34 s, powers of two",
);
/// SYN again.
pub static SYN_RETRANSMITS: Family = counter(
    "tcp_syn_retransmits",
    None,
    "SYN segments that the watched client sent again; also counted as retransmitted segments.",
    "tcp_sock.total_retrans in SYN-SENT",
);
/// SYN-ACK again.
pub static SYNACK_RETRANSMITS: Family = counter(
    "tcp_synack_retransmits",
    None,
    "SYN-ACK segments that the watched server sent again; not counted as retransmitted segments.",
    "tracepoint tcp_retransmit_synack",
);
/// Who holds the transfer back.
pub static LIMITED: Family = by(
    &["limit"],
    counter(
        "tcp_limited_seconds",
        Some(Unit::Seconds),
        "Time in which the watched end had data to send and waited for: the other end to open its receive_window (slow reader), its own send_buffer (too small), or neither (busy: network and congestion control).",
        "tcp_sock.chrono_stat",
    ),
);
/// Accept queue.
pub static ACCEPT_QUEUE_LENGTH: Family = listener(
    "tcp_accept_queue_length",
    FamilyKind::Gauge,
    "Established connections that wait to be accepted, over the listeners of the port.",
    "sock.sk_ack_backlog",
);
/// Its limit.
pub static ACCEPT_QUEUE_LIMIT: Family = listener(
    "tcp_accept_queue_limit",
    FamilyKind::Gauge,
    "Most connections that may wait to be accepted, over the listeners of the port.",
    "sock.sk_max_ack_backlog",
);
/// Requests before it.
pub static SYN_QUEUE_LENGTH: Family = listener(
    "tcp_syn_queue_length",
    FamilyKind::Gauge,
    "Connection requests that were answered and wait for the last acknowledgement of the handshake, over the listeners of the port; as many may wait as in the accept queue, and beyond that SYNs are answered with cookies, or dropped.",
    "inet_connection_sock.icsk_accept_queue.qlen",
);
/// Its drops.
pub static ACCEPT_QUEUE_DROPS: Family = listener(
    "tcp_accept_queue_drops",
    FamilyKind::Counter,
    "Connection requests and final acknowledgements that listeners dropped, nearly always because the accept queue was full; listeners beyond a quarter of --series.limit are added up as workload other without a port.",
    "sock.sk_drops",
);

/// Local ports in use.
pub static LOCAL_PORTS: Family = Family {
    name: "tcp_local_ports_used",
    kind: FamilyKind::Gauge,
    unit: None,
    help: "Most local ports that open connections of the workload occupy towards a single address and port, or a single Service, out of one network namespace: another connection to there needs one that is free; from 100 on, without those of connections in TIME-WAIT; workloads beyond a fiftieth of --series.limit are other.",
    labels: &["namespace", "workload"],
    edge: false,
    source: "kernel's established-sockets hash",
    buckets: "",
};

/// All of them, in the order in which they are served and documented.
pub static FAMILIES: &[&Family] = &[
    &SENT_BYTES,
    &RECEIVED_BYTES,
    &SENT_SEGMENTS,
    &RECEIVED_SEGMENTS,
    &RETRANSMITTED_SEGMENTS,
    &OUT_OF_ORDER_SEGMENTS,
    &RTT,
    &CONNECTIONS,
    &OPENED,
    &CLOSED,
    &ATTEMPTS,
    &FAILURES,
    &CONNECT_DURATION,
    &SYN_RETRANSMITS,
    &SYNACK_RETRANSMITS,
    &LIMITED,
    &ACCEPT_QUEUE_LENGTH,
    &ACCEPT_QUEUE_LIMIT,
    &SYN_QUEUE_LENGTH,
    &ACCEPT_QUEUE_DROPS,
    &LOCAL_PORTS,
];
