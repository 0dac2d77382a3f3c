// SPDX-License-Identifier: Apache-2.0
//! UDP and DNS: what passes the sockets, by flow key (`bpf/packets.bpf.c`).

mod counts;
mod sample;

pub use counts::{DNS_BUCKETS, DNS_POWERS, DnsCounts, NXDOMAIN, QTYPES, RCODES, UdpCounts};
pub use sample::DnsSample;

use crate::FlowKey;
use crate::tcp::{Listener, Processes};

/// Takes what the probe hands out. `T` is kept with each key from one pass to the next.
pub trait Sink<T> {
    /// The UDP sockets that serve: `key` has role [`crate::Role::Listener`], their own address as remote and their own port.
    fn servers(&mut self, servers: &[Listener], processes: &Processes);
    /// A DNS message that tells something besides the counts. All of those that the counts handed out later in this pass
    /// include come before them.
    fn sample(&mut self, sample: &DnsSample<'_>, processes: &Processes);
    /// How much a UDP flow grew.
    fn udp(&mut self, key: &FlowKey, tag: &mut T, growth: &UdpCounts, processes: &Processes);
    /// How much the DNS messages of a flow grew.
    fn dns(&mut self, key: &FlowKey, tag: &mut T, growth: &DnsCounts, processes: &Processes);
    /// Datagrams that a UDP socket's receive buffer had no room for. `key` has role [`crate::Role::Listener`].
    fn receive_drops(&mut self, key: &FlowKey, drops: u64, processes: &Processes);
}
