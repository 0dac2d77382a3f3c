// SPDX-License-Identifier: Apache-2.0
//! Taking over the sums of closed sockets.

use std::os::fd::{AsFd, AsRawFd};

use libbpf_rs::{MapCore, MapFlags, MapMut};

use super::{Counter, Counters, FlowKey, Sink, Tcp};
use crate::Error;
use crate::skeleton::tcp::{TcpMaps, types};

impl<T: Default> Tcp<'_, T> {
    /// Takes over what closed sockets left in the kernel, without walking the live ones. Their
    /// counters are reported by the next pass; their events are handed out at once.
    ///
    /// # Errors
    /// When the kernel refuses to swap or read the map; what it holds is kept for the next time.
    pub fn drain_closed(&mut self, sink: &mut impl Sink<T>) -> Result<u64, Error> {
        self.swap_flow_maps()?;
        sink.catch_up();
        self.learn_processes()?;
        let full = at_rest(&self.skeleton.maps, self.writing_b);
        let (totals, services) = (&mut self.totals, &mut self.services);
        let (processes, undecodable) = (self.processes.known(), &mut self.undecodable);
        let taken = self.closed.take_all(full.as_fd(), "flows", |raw, sums| {
            let Some(key) = FlowKey::decode(raw).map(|key| key.without_holder()) else {
                *undecodable += 1;
                return;
            };
            let began: u32 = sums.connect.iter().sum();
            let key = services.closed(key, u64::from(began) > sums.opened, totals, sink);
            let tag = totals.closed(&key, &counters_of(sums));
            sink.events(&key, tag, sums, processes);
        })?;
        Ok(taken as u64)
    }

    /// Puts the empty flow map in place of the one being written. When the call returns, no program
    /// writes the old one any more: for a map in a map the kernel waits for a grace period.
    fn swap_flow_maps(&mut self) -> Result<(), Error> {
        let next = at_rest(&self.skeleton.maps, self.writing_b);
        let fd = next.as_fd().as_raw_fd().to_ne_bytes();
        // Before the swap: what is added during the grace period counts for the new map, or for both.
        if let Some(bss) = self.skeleton.maps.bss_data.as_deref_mut() {
            bss.fg_pending = 0;
        }
        self.skeleton
            .maps
            .flows
            .update(&0u32.to_ne_bytes(), &fd, MapFlags::ANY)
            .map_err(|error| Error::libbpf("swapping the flow maps", error))?;
        self.writing_b = !self.writing_b;
        Ok(())
    }
}

/// The flow map that programs do not write: empty before a swap, full after it.
fn at_rest<'a>(maps: &'a TcpMaps<'_>, writing_b: bool) -> &'a MapMut<'a> {
    if writing_b { &maps.flows_a } else { &maps.flows_b }
}

/// The part of the sums that live sockets have as well.
fn counters_of(sums: &types::fg_sums) -> Counters {
    let mut counters = Counters::default();
    counters[Counter::SentBytes] = sums.sent_bytes;
    counters[Counter::ReceivedBytes] = sums.received_bytes;
    counters[Counter::SentSegments] = sums.sent_segments;
    counters[Counter::ReceivedSegments] = sums.received_segments;
    counters[Counter::RetransmittedSegments] = sums.retransmitted;
    counters[Counter::OutOfOrderSegments] = sums.out_of_order;
    counters[Counter::LimitedBusy] = sums.limited[0];
    counters[Counter::LimitedReceiveWindow] = sums.limited[1];
    counters[Counter::LimitedSendBuffer] = sums.limited[2];
    counters[Counter::Opened] = sums.opened;
    counters[Counter::Attempts] = sums.attempts;
    counters[Counter::SynRetransmits] = sums.syn_retransmits;
    counters[Counter::ListenDrops] = sums.listen_drops;
    counters
}
