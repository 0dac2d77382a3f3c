// SPDX-License-Identifier: Apache-2.0
//! What is served about UDP. Names and meanings are a contract: dashboards and alerts are built on them.

use crate::families::{counter, listener};
use crate::source::{Family, FamilyKind, Unit};

/// Payload sent.
pub static SENT_BYTES: Family = counter(
    "udp_sent_bytes",
    Some(Unit::Bytes),
    "Payload bytes of the datagrams that the watched end sent, UDP headers not counted; whether they arrived is not known to UDP.",
    "sk_buff of each outgoing packet (cgroup_skb/egress)",
);
/// Payload received.
pub static RECEIVED_BYTES: Family = counter(
    "udp_received_bytes",
    Some(Unit::Bytes),
    "Payload bytes of the datagrams that arrived for the watched end, UDP headers not counted, those for which its receive buffer had no room included.",
    "sk_buff of each incoming packet (cgroup_skb/ingress)",
);
/// Datagrams sent.
pub static SENT_PACKETS: Family = counter(
    "udp_sent_packets",
    None,
    "Datagrams that the watched end sent, those handed to the kernel as one batch (GSO) counted one by one.",
    "sk_buff and its gso_segs (cgroup_skb/egress)",
);
/// Datagrams received.
pub static RECEIVED_PACKETS: Family = counter(
    "udp_received_packets",
    None,
    "Datagrams that arrived for the watched end, those merged on the way in (GRO) counted one by one, and those for which its receive buffer had no room included.",
    "sk_buff and its gso_segs (cgroup_skb/ingress)",
);
/// Receive buffer full.
pub static RECEIVE_DROPS: Family = listener(
    "udp_receive_drops",
    FamilyKind::Counter,
    "Datagrams that a UDP socket dropped on arrival, nearly always because its receive buffer was full; sockets beyond an eighth of --series.limit are added up as workload other without a port.",
    "sock.sk_drops",
);

/// All of them, in the order in which they are served and documented.
pub static FAMILIES: &[&Family] =
    &[&SENT_BYTES, &RECEIVED_BYTES, &SENT_PACKETS, &RECEIVED_PACKETS, &RECEIVE_DROPS];
