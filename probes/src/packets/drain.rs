// SPDX-License-Identifier: Apache-2.0
//! Taking over what the programs counted.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use libbpf_rs::{MapCore, MapFlags, MapMut, RingBufferBuilder};

use super::DnsCounts;
use super::dns::{Fate, counts_of, fate_of};
use super::{Packets, Sink, key, sample, udp};
use crate::Error;
use crate::maps::{Plain, bytes_of, read, run_iterator};
use crate::skeleton::packets::{PacketsMaps, types};
use crate::tcp::Listener;
use crate::{FlowKey, Peer, Role, Transport};

impl<T: Default> Packets<'_, T> {
    /// Puts the empty maps of DNS and HTTP flows in place of those being written. When the call returns, no program writes the
    /// old ones any more, nor adds to a slot of a flow that was retired before: the kernel waits for a grace period.
    pub(super) fn swap(&mut self) -> Result<(), Error> {
        let maps = &self.skeleton.maps;
        let [dns, http] =
            [at_rest(maps, self.writing_b), if self.writing_b { &maps.http_a } else { &maps.http_b }]
                .map(|map| map.as_fd().as_raw_fd().to_ne_bytes());
        // Before the swap: what is added during the grace period counts for the new map, or for both.
        if let Some(bss) = self.skeleton.maps.bss_data.as_deref_mut() {
            bss.fg_dns_pending = 0;
            bss.fg_http_pending = 0;
        }
        let maps = &self.skeleton.maps;
        let mut slots = Vec::new();
        if self.options.http {
            slots.push((&maps.http_flows, http, "swapping the maps of HTTP flows"));
        }
        slots.push((&maps.dns_flows, dns, "swapping the maps of DNS flows"));
        for (slot, next, step) in slots {
            slot.update(&0u32.to_ne_bytes(), &next, MapFlags::ANY)
                .map_err(|error| Error::libbpf(step, error))?;
        }
        self.writing_b = !self.writing_b;
        Ok(())
    }

    pub(super) fn learn_processes(&mut self) -> Result<(), Error> {
        let next = self.skeleton.maps.data_data.as_deref().map_or(1, |data| read(&data.fg_next_process));
        self.processes.learn(self.skeleton.maps.processes.as_fd(), next)
    }

    /// Tells the sink which sockets serve.
    pub(super) fn tell_servers(&mut self, sink: &mut impl Sink<T>) -> Result<(), Error> {
        let mut nameless = self.read_servers()?;
        nameless.retain(|server| self.looked_for.insert(*server));
        if !nameless.is_empty() {
            let holders = &self.skeleton.progs.udp_holders;
            run_iterator(holders, "looking for the processes behind UDP sockets")?;
            self.learn_processes()?;
            self.read_servers()?;
        }
        sink.servers(&self.servers, self.processes.known());
        Ok(())
    }

    /// Reads them if they have changed. Returns those whose process should be known and is not.
    fn read_servers(&mut self) -> Result<Vec<(u32, u16, u64)>, Error> {
        let noted = self.bss().map_or(0, |bss| read(&bss.fg_udp_noted));
        if noted == self.noted {
            return Ok(Vec::new());
        }
        let mut found: Vec<(u64, Listener)> = Vec::new();
        let map = self.skeleton.maps.udp_servers.as_fd();
        self.server_reader.look_at_all(map, "udp_servers", |server, serving| {
            found.push((serving.since, listener_of(server, serving.process)));
        })?;
        // Of several on one address and port, the others have gone: the newest counts.
        let place = |listener: &Listener| (listener.key.netns, listener.key.port, listener.key.remote);
        found.sort_unstable_by_key(|(since, listener)| (place(listener), std::cmp::Reverse(*since)));
        found.dedup_by_key(|(_, listener)| place(listener));
        self.servers = found.into_iter().map(|(_, listener)| listener).collect();
        self.noted = noted;
        let wanted = |listener: &&Listener| {
            let key = &listener.key;
            key.process == 0 && (self.options.want_process || self.options.mute_cgroups.contains(&key.cgroup))
        };
        let nameless = self.servers.iter().filter(wanted);
        Ok(nameless.map(|server| (server.key.netns, server.key.port, server.key.cgroup)).collect())
    }

    /// Hands out what waits in the ring.
    pub(super) fn drain_samples(&mut self, sink: &mut impl Sink<T>) -> Result<(), Error> {
        let sampled = self.bss().map_or(0, |bss| read(&bss.fg_dns_sampled));
        if sampled == self.sampled {
            return Ok(());
        }
        let (processes, undecodable) = (self.processes.known(), &mut self.undecodable);
        let take = |record: &[u8]| {
            match sample::decode(record) {
                Some(sample) => sink.sample(&sample, processes),
                None => *undecodable += 1,
            }
            0
        };
        let step = |error| Error::libbpf("reading the ring of DNS messages", error);
        let mut builder = RingBufferBuilder::new();
        builder.add(&self.skeleton.maps.dns_samples, take).map_err(step)?;
        let ring = builder.build().map_err(step)?;
        ring.consume().map_err(step)?;
        drop(ring);
        self.sampled = sampled;
        Ok(())
    }

    /// Hands out what was counted of DNS messages until the last swap.
    pub(super) fn drain_dns(&mut self, sink: &mut impl Sink<T>, now: Instant) -> Result<(), Error> {
        let full = at_rest(&self.skeleton.maps, self.writing_b);
        let (tags, undecodable) = (&mut self.tags, &mut self.undecodable);
        let processes = self.processes.known();
        self.dns.take_all(full.as_fd(), "dns_flows", |raw, sums| match key::decode(raw) {
            Some(key) => sink.dns(&key, tags.of(&key, now), &counts_of(sums), processes),
            None => *undecodable += 1,
        })?;
        Ok(())
    }

    /// Counts the queries that nobody answered in time.
    pub(super) fn time_out(&mut self, sink: &mut impl Sink<T>, now: Instant) -> Result<(), Error> {
        let waiting = self.waiting().map_or(0, |waiting| waiting.load(Ordering::Relaxed));
        let (Some(dns), true) = (&self.options.dns, waiting > 0) else { return Ok(()) };
        let (timeout, clock) = (dns.timeout, crate::kernel::monotonic());
        let map = &self.skeleton.maps.dns_queries;
        let crowded = waiting > u64::from(map.max_entries()) / 2;
        let mut ended = Vec::new();
        self.queries.look_at_all(map.as_fd(), "dns_queries", |id, query| {
            match fate_of(query, clock, timeout, crowded) {
                Fate::Waits => {}
                fate => ended.push((*id, fate)),
            }
        })?;
        for (id, fate) in ended {
            // An answer, or another query with this id, may have come meanwhile.
            let Ok(Some(bytes)) = map.lookup_and_delete(bytes_of(&id)) else { continue };
            self.count_waiting(-1);
            let Some(mut query) = value_of::<types::fg_dns_query>(&bytes) else { continue };
            let timed_out = fate_of(&query, clock, timeout, crowded) == Fate::TimesOut;
            if timed_out && let Some(key) = key::decode(&query.key) {
                let growth = DnsCounts { timeouts: 1, ..DnsCounts::default() };
                sink.dns(&key, self.tags.of(&key, now), &growth, self.processes.known());
            }
            if timed_out {
                query.timed_out = 1;
            }
            let keep = !crowded && (timed_out || fate_of(&query, clock, timeout, crowded) == Fate::Waits);
            let _ = fate;
            if keep && map.update(bytes_of(&id), bytes_of(&query), MapFlags::NO_EXIST).is_ok() {
                self.count_waiting(1);
            }
        }
        Ok(())
    }

    /// Hands out what UDP flows grew.
    pub(super) fn drain_udp(&mut self, sink: &mut impl Sink<T>, now: Instant) -> Result<(), Error> {
        let assigned = self.bss().map_or(0, |bss| read(&bss.fg_udp_assigned));
        let processes = self.processes.known();
        self.flows.pass(&self.skeleton.maps, assigned, now, |key, tag, growth| {
            if key.role == Role::Listener {
                sink.receive_drops(key, growth.received_packets, processes);
            } else {
                sink.udp(key, tag, growth, processes);
            }
        })
    }

    fn waiting(&self) -> Option<&AtomicU64> {
        let bss = self.skeleton.maps.bss_data.as_deref()?;
        // SAFETY: aligned, lives as long as the skeleton, and is written by programs only with atomic additions.
        Some(unsafe { AtomicU64::from_ptr((&raw const bss.fg_dns_waiting).cast_mut()) })
    }

    fn count_waiting(&self, change: i64) {
        if let Some(waiting) = self.waiting() {
            waiting.fetch_add(change as u64, Ordering::Relaxed);
        }
    }
}

impl udp::Maps for PacketsMaps<'_> {
    fn index(&self) -> BorrowedFd<'_> {
        self.udp_index.as_fd()
    }

    fn remove(&self, key: &types::fg_key) -> Result<(), Error> {
        self.udp_index
            .delete(bytes_of(key))
            .map_err(|error| Error::libbpf("removing a quiet UDP flow", error))
    }

    fn free(&self, slot: u32) -> Result<(), Error> {
        self.udp_free
            .update(&[], &slot.to_ne_bytes(), MapFlags::ANY)
            .map_err(|error| Error::libbpf("giving back a UDP flow's slot", error))
    }
}

/// The map of DNS flows that programs do not write: empty before a swap, full after it.
fn at_rest<'a>(maps: &'a PacketsMaps<'_>, writing_b: bool) -> &'a MapMut<'a> {
    if writing_b { &maps.dns_a } else { &maps.dns_b }
}

fn listener_of(server: &types::fg_server, process: u32) -> Listener {
    let types::fg_server { address: remote, cgroup, netns, port, .. } = *server;
    let (role, peer, transport) = (Role::Listener, Peer::Remote, Transport::Udp);
    let key = FlowKey { remote, cgroup, netns, process, port, role, peer, transport };
    Listener { key, queue_length: 0, queue_limit: 0, half_open: 0 }
}

/// The value that a map returned as bytes.
fn value_of<V: Plain>(bytes: &[u8]) -> Option<V> {
    // SAFETY: as many bytes as the type has, any bits of which are a value.
    (bytes.len() >= size_of::<V>()).then(|| unsafe { bytes.as_ptr().cast::<V>().read_unaligned() })
}
