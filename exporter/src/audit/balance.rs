// SPDX-License-Identifier: Apache-2.0
//! What the kernel's SNMP counters say should have been counted. `docs/architecture.md`, section Audit, has the reasons.

use std::ops::{Index, IndexMut};

use super::counted::{Own, Sum};

/// A counter of the kernel, by its place in [`Snmp`]. Those of IPv4 and IPv6 are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Mib {
    /// Packets for TCP; those that were merged on the way in (GRO) are one.
    TcpInSegs,
    /// Damaged ones among them.
    TcpInCsumErrors,
    /// Segments sent for the first time, SYN-ACKs each time.
    TcpOutSegs,
    /// Segments and SYN-ACKs sent again.
    TcpRetransSegs,
    /// SYNs sent for the first time.
    TcpActiveOpens,
    /// Sockets made of connection requests.
    TcpPassiveOpens,
    /// Resets sent.
    TcpOutRsts,
    /// SYN-ACKs without a request that is remembered.
    SyncookiesSent,
    /// Connections that came of them.
    SyncookiesRecv,
    /// Requests reset before they were connections.
    EmbryonicRsts,
    /// SYNs and final acknowledgements that a listener had no room for.
    ListenDrops,
    /// Packets of any kind, merged ones being one.
    IpInReceives,
    /// Packets of any kind, merged ones being as many as they were.
    IpInMarks,
    /// Packets passed on to others.
    IpForwarded,
    /// Datagrams that an application read; a batch that it reads as a whole is one.
    UdpInDatagrams,
    /// Datagrams thrown away at a socket.
    UdpInErrors,
    /// Datagrams sent; a batch that is sent as a whole is one.
    UdpOutDatagrams,
}

/// How many there are.
pub const MIBS: usize = Mib::UdpOutDatagrams as usize + 1;

/// One value for each [`Mib`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snmp(pub [u64; MIBS]);

impl Index<Mib> for Snmp {
    type Output = u64;
    fn index(&self, mib: Mib) -> &u64 {
        &self.0[mib as usize]
    }
}

impl IndexMut<Mib> for Snmp {
    fn index_mut(&mut self, mib: Mib) -> &mut u64 {
        &mut self.0[mib as usize]
    }
}

/// Where each is found: protocol and name, as in `net/snmp`, `net/netstat` and `net/snmp6`.
pub const SOURCES: [(&str, &str, Mib); 29] = [
    ("Tcp", "InSegs", Mib::TcpInSegs),
    ("Tcp", "InCsumErrors", Mib::TcpInCsumErrors),
    ("Tcp", "OutSegs", Mib::TcpOutSegs),
    ("Tcp", "RetransSegs", Mib::TcpRetransSegs),
    ("Tcp", "ActiveOpens", Mib::TcpActiveOpens),
    ("Tcp", "PassiveOpens", Mib::TcpPassiveOpens),
    ("Tcp", "OutRsts", Mib::TcpOutRsts),
    ("TcpExt", "SyncookiesSent", Mib::SyncookiesSent),
    ("TcpExt", "SyncookiesRecv", Mib::SyncookiesRecv),
    ("TcpExt", "EmbryonicRsts", Mib::EmbryonicRsts),
    ("TcpExt", "ListenDrops", Mib::ListenDrops),
    ("Ip", "InReceives", Mib::IpInReceives),
    ("Ip6", "InReceives", Mib::IpInReceives),
    ("IpExt", "InNoECTPkts", Mib::IpInMarks),
    ("IpExt", "InECT1Pkts", Mib::IpInMarks),
    ("IpExt", "InECT0Pkts", Mib::IpInMarks),
    ("IpExt", "InCEPkts", Mib::IpInMarks),
    ("Ip6", "InNoECTPkts", Mib::IpInMarks),
    ("Ip6", "InECT1Pkts", Mib::IpInMarks),
    ("Ip6", "InECT0Pkts", Mib::IpInMarks),
    ("Ip6", "InCEPkts", Mib::IpInMarks),
    ("Ip", "ForwDatagrams", Mib::IpForwarded),
    ("Ip6", "OutForwDatagrams", Mib::IpForwarded),
    ("Udp", "InDatagrams", Mib::UdpInDatagrams),
    ("Udp6", "InDatagrams", Mib::UdpInDatagrams),
    ("Udp", "InErrors", Mib::UdpInErrors),
    ("Udp6", "InErrors", Mib::UdpInErrors),
    ("Udp", "OutDatagrams", Mib::UdpOutDatagrams),
    ("Udp6", "OutDatagrams", Mib::UdpOutDatagrams),
];

/// What is audited, in the order in which it is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audited {
    /// TCP segments sent by connections.
    SentSegments,
    /// TCP segments received by connections.
    ReceivedSegments,
    /// TCP segments sent again.
    RetransmittedSegments,
    /// Connections begun by clients and accepted by servers.
    ConnectionsOpened,
    /// UDP datagrams sent.
    UdpSent,
    /// UDP datagrams that arrived.
    UdpReceived,
}

/// What was counted, and what the kernel says that it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// By flowgauge.
    pub counted: u64,
    /// By the kernel, less what no socket does.
    pub expected: u64,
}

impl Audited {
    /// All, in order.
    pub const ALL: [Audited; 6] = [
        Audited::SentSegments,
        Audited::ReceivedSegments,
        Audited::RetransmittedSegments,
        Audited::ConnectionsOpened,
        Audited::UdpSent,
        Audited::UdpReceived,
    ];

    /// The value of the label.
    pub const fn name(self) -> &'static str {
        match self {
            Audited::SentSegments => "tcp_sent_segments",
            Audited::ReceivedSegments => "tcp_received_segments",
            Audited::RetransmittedSegments => "tcp_retransmitted_segments",
            Audited::ConnectionsOpened => "tcp_connections_opened",
            Audited::UdpSent => "udp_sent_packets",
            Audited::UdpReceived => "udp_received_packets",
        }
    }

    /// Whether the collector `tcp` counts it; else `udp` does.
    pub const fn is_tcp(self) -> bool {
        !matches!(self, Audited::UdpSent | Audited::UdpReceived)
    }

    /// So many there must be for a ratio: what happens between the reading of the kernel's counters and of flowgauge's is
    /// some packets, and must not make one percent.
    pub const fn least(self) -> u64 {
        match self {
            Audited::RetransmittedSegments | Audited::ConnectionsOpened => 100,
            _ => 1000,
        }
    }

    /// Both sides, from what both counted over the same span in the same namespaces.
    pub fn balance(self, own: &Own, snmp: &Snmp) -> Balance {
        let resets_without_socket = snmp[Mib::TcpOutRsts].saturating_sub(own[Sum::ResetsSent]);
        let unanswered_cookies = snmp[Mib::SyncookiesSent].saturating_sub(snmp[Mib::SyncookiesRecv]);
        let (counted, all, not_of_sockets) = match self {
            Audited::SentSegments => {
                let syn_acks = snmp[Mib::TcpPassiveOpens]
                    + 2 * own[Sum::SynAckRetransmits]
                    + unanswered_cookies
                    + snmp[Mib::EmbryonicRsts];
                let all = snmp[Mib::TcpOutSegs] + snmp[Mib::TcpRetransSegs];
                (own[Sum::SentSegments], all, syn_acks + resets_without_socket + own[Sum::HandedOver])
            }
            Audited::ReceivedSegments => {
                let merged = snmp[Mib::IpInMarks].saturating_sub(snmp[Mib::IpInReceives]);
                let merged = merged.saturating_sub(own[Sum::ReceivedJoined]);
                let requests = unanswered_cookies + 2 * snmp[Mib::EmbryonicRsts] + snmp[Mib::ListenDrops];
                let nobodys = snmp[Mib::TcpInCsumErrors] + resets_without_socket + own[Sum::HandedOver];
                (own[Sum::ReceivedSegments], snmp[Mib::TcpInSegs] + merged, requests + nobodys)
            }
            Audited::RetransmittedSegments => {
                let counted = own[Sum::Retransmitted] + own[Sum::SynAckRetransmits];
                (counted, snmp[Mib::TcpRetransSegs], 0)
            }
            Audited::ConnectionsOpened => {
                let counted = own[Sum::Begun].saturating_sub(own[Sum::WithoutPort]);
                (counted, snmp[Mib::TcpActiveOpens] + snmp[Mib::TcpPassiveOpens], 0)
            }
            Audited::UdpSent => {
                let counted = own[Sum::SentDatagrams].saturating_sub(own[Sum::SentJoined]);
                (counted, snmp[Mib::UdpOutDatagrams], 0)
            }
            Audited::UdpReceived => {
                let counted = own[Sum::ReceivedDatagrams].saturating_sub(own[Sum::ReceivedJoined]);
                (counted, snmp[Mib::UdpInDatagrams] + snmp[Mib::UdpInErrors], 0)
            }
        };
        Balance { counted, expected: all.saturating_sub(not_of_sockets) }
    }
}
