// SPDX-License-Identifier: Apache-2.0
//! What UDP did on one edge.

use flowgauge_probes::packets::UdpCounts;

/// Everything counted of the edge's datagrams since the start.
#[derive(Debug, Clone, Default)]
pub struct UdpPart(pub UdpCounts);

impl UdpPart {
    /// Series it is served as: bytes and packets of both directions, whichever moved.
    pub const SERIES: usize = 4;

    /// Adds what the flows grew.
    pub fn add(&mut self, growth: &UdpCounts) {
        let UdpCounts { sent_bytes, sent_packets, received_bytes, received_packets, .. } = growth;
        self.0.sent_bytes += sent_bytes;
        self.0.sent_packets += sent_packets;
        self.0.received_bytes += received_bytes;
        self.0.received_packets += received_packets;
    }

    /// Adds all that another edge counted.
    pub fn absorb(&mut self, other: &UdpPart) {
        self.add(&other.0);
    }
}
