// SPDX-License-Identifier: Apache-2.0
//! What flowgauge counted itself, by network namespace: what its families grew by, before names and the budget of series.

use std::collections::HashMap;
use std::ops::{Index, IndexMut};

use flowgauge_probes::Role;
use flowgauge_probes::packets::UdpCounts;
use flowgauge_probes::tcp::{Counter, Counters, Events, NO_LOCAL_PORT, RESET_SENT};
use foldhash::fast::RandomState;

/// A sum of flowgauge's own, by its place in [`Own`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Sum {
    /// `tcp_sent_segments`.
    SentSegments,
    /// `tcp_received_segments`.
    ReceivedSegments,
    /// `tcp_retransmitted_segments`.
    Retransmitted,
    /// `tcp_synack_retransmits`.
    SynAckRetransmits,
    /// `tcp_connect_attempts` of clients and `tcp_connections_opened` of servers.
    Begun,
    /// `tcp_connect_failures` with the reason `no_local_port`: no SYN was sent.
    WithoutPort,
    /// `tcp_connections_closed` with the reason `reset_sent`.
    ResetsSent,
    /// Connections closed before the other end's FIN came: the socket of TIME-WAIT takes and acknowledges it.
    HandedOver,
    /// `udp_sent_packets`.
    SentDatagrams,
    /// Of those, the ones behind the first in a batch.
    SentJoined,
    /// `udp_received_packets`.
    ReceivedDatagrams,
    /// Of those, the ones behind the first in a batch.
    ReceivedJoined,
}

/// How many there are.
pub const SUMS: usize = Sum::ReceivedJoined as usize + 1;

/// One value for each [`Sum`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Own(pub [u64; SUMS]);

impl Index<Sum> for Own {
    type Output = u64;
    fn index(&self, sum: Sum) -> &u64 {
        &self.0[sum as usize]
    }
}

impl IndexMut<Sum> for Own {
    fn index_mut(&mut self, sum: Sum) -> &mut u64 {
        &mut self.0[sum as usize]
    }
}

/// The sums of each namespace since the start. Numbers of namespaces are given out again, so that there are as many as ever
/// lived at one time.
#[derive(Debug, Default)]
pub struct Counted {
    sums: Vec<(u32, Own)>,
    places: HashMap<u32, usize, RandomState>,
    /// The place asked for last: mostly it is the same one again.
    last: usize,
}

impl Counted {
    /// Adds what connections grew.
    pub fn tcp(&mut self, netns: u32, role: Role, growth: &Counters) {
        let begun = match role {
            Role::Client => Counter::Attempts,
            Role::Server => Counter::Opened,
            Role::Listener => return,
        };
        let own = self.of(netns);
        own[Sum::SentSegments] += growth[Counter::SentSegments];
        own[Sum::ReceivedSegments] += growth[Counter::ReceivedSegments];
        own[Sum::Retransmitted] += growth[Counter::RetransmittedSegments];
        own[Sum::Begun] += growth[begun];
    }

    /// Adds what happened to them.
    pub fn tcp_events(&mut self, netns: u32, events: &Events) {
        let own = self.of(netns);
        own[Sum::SynAckRetransmits] += events.synack_retransmits;
        own[Sum::WithoutPort] += u64::from(events.failed[NO_LOCAL_PORT]);
        own[Sum::ResetsSent] += u64::from(events.closed[RESET_SENT]);
        own[Sum::HandedOver] += u64::from(events.handed_over);
    }

    /// Adds datagrams.
    pub fn udp(&mut self, netns: u32, growth: &UdpCounts) {
        let own = self.of(netns);
        own[Sum::SentDatagrams] += growth.sent_packets;
        own[Sum::SentJoined] += growth.sent_joined;
        own[Sum::ReceivedDatagrams] += growth.received_packets;
        own[Sum::ReceivedJoined] += growth.received_joined;
    }

    /// The sums of a namespace.
    pub fn get(&self, netns: u32) -> Own {
        self.places
            .get(&netns)
            .and_then(|place| self.sums.get(*place))
            .map_or(Own::default(), |(_, own)| *own)
    }

    fn of(&mut self, netns: u32) -> &mut Own {
        if self.sums.get(self.last).is_none_or(|(of, _)| *of != netns) {
            let sums = &mut self.sums;
            self.last = *self.places.entry(netns).or_insert_with(|| {
                sums.push((netns, Own::default()));
                sums.len() - 1
            });
        }
        &mut self.sums[self.last].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_namespace_has_its_own() {
        let mut counted = Counted::default();
        for (netns, more) in [(1, 5), (2, 7), (1, 1), (1, 2), (3, 9), (2, 1)] {
            counted.of(netns)[Sum::SentSegments] += more;
        }
        let of = |netns| counted.get(netns)[Sum::SentSegments];
        assert_eq!([of(1), of(2), of(3), of(4)], [8, 8, 9, 0]);
    }
}
