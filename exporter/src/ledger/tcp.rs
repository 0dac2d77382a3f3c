// SPDX-License-Identifier: Apache-2.0
//! What TCP did on one edge.

use std::time::Duration;

use flowgauge_probes::tcp::{CLOSE_REASONS, CONNECT_POWERS, Counters, Events, FAILURES, RTT_POWERS};

use super::entry::add;
use crate::edge::Observer;

/// Buckets of the RTT histogram, +Inf included.
pub const RTT_BUCKETS: usize = (*RTT_POWERS.end() - *RTT_POWERS.start() + 2) as usize;

/// Buckets of the connect histogram, +Inf included.
pub const CONNECT_BUCKETS: usize = (*CONNECT_POWERS.end() - *CONNECT_POWERS.start() + 2) as usize;

/// Everything counted of the edge's connections since the start.
#[derive(Debug, Clone, Default)]
pub struct TcpPart {
    /// What sockets count.
    pub counters: Counters,
    /// SYN-ACKs sent again.
    pub synack_retransmits: u64,
    /// Closes by reason.
    pub closed: [u64; CLOSE_REASONS.len()],
    /// Failed attempts by reason.
    pub failed: [u64; FAILURES.len()],
    /// RTT samples by bucket.
    pub rtt: [u64; RTT_BUCKETS],
    /// Their sum, microseconds.
    pub rtt_sum: u64,
    /// Handshakes by bucket.
    pub connect: [u64; CONNECT_BUCKETS],
    /// Their sum, microseconds.
    pub connect_sum: u64,
    /// Open connections at the last pass.
    pub connections: u64,
}

impl TcpPart {
    /// Adds what happened in the kernel.
    pub fn add_events(&mut self, events: &Events) {
        self.synack_retransmits += events.synack_retransmits;
        self.rtt_sum += events.rtt_sum;
        self.connect_sum += events.connect_sum;
        add(&mut self.closed, events.closed);
        add(&mut self.failed, events.failed);
        add(&mut self.rtt, events.rtt);
        add(&mut self.connect, events.connect);
    }

    /// Adds one RTT sample.
    pub fn add_rtt(&mut self, rtt: Duration) {
        let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
        let bucket = RTT_POWERS.filter(|power| micros > 1 << power).count();
        self.rtt[bucket] += 1;
        self.rtt_sum += micros;
    }

    /// Adds all that another edge counted.
    pub fn absorb(&mut self, other: &TcpPart) {
        self.counters.add(&other.counters);
        self.synack_retransmits += other.synack_retransmits;
        self.rtt_sum += other.rtt_sum;
        self.connect_sum += other.connect_sum;
        self.connections += other.connections;
        add(&mut self.closed, other.closed);
        add(&mut self.failed, other.failed);
        add(&mut self.rtt, other.rtt);
        add(&mut self.connect, other.connect);
    }

    /// Whether any RTT was measured.
    pub fn has_rtt(&self) -> bool {
        self.rtt.iter().any(|count| *count > 0)
    }

    /// Whether any handshake was measured.
    pub fn has_connect(&self) -> bool {
        self.connect.iter().any(|count| *count > 0)
    }

    /// How many series it is served as, its gauge included.
    pub fn series(&self, observer: Observer) -> usize {
        // Bytes 2, segments 4, connections, opened, closed by reason, limited by what.
        const BOTH: usize = 2 + 4 + 1 + 1 + CLOSE_REASONS.len() + 3;
        // Attempts, SYN retransmits, failures by reason.
        const CLIENT: usize = 1 + 1 + FAILURES.len();
        // SYN-ACK retransmits.
        const SERVER: usize = 1;
        // Sum and count come on top of the buckets.
        let rtt = if self.has_rtt() { RTT_BUCKETS + 2 } else { 0 };
        let connect = if self.has_connect() { CONNECT_BUCKETS + 2 } else { 0 };
        BOTH + rtt + if observer.opened() { CLIENT + connect } else { SERVER }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtt_buckets_are_inclusive() {
        let mut part = TcpPart::default();
        for micros in [1, 64, 65, 128, 4_194_304, 4_194_305] {
            part.add_rtt(Duration::from_micros(micros));
        }
        assert_eq!(part.rtt[0], 2, "1 and 64 µs are at most 64 µs");
        assert_eq!(part.rtt[1], 2);
        assert_eq!(part.rtt[RTT_BUCKETS - 2], 1);
        assert_eq!(part.rtt[RTT_BUCKETS - 1], 1, "beyond 4.2 s");
        assert_eq!(part.rtt_sum, 1 + 64 + 65 + 128 + 4_194_304 + 4_194_305);
    }
}
