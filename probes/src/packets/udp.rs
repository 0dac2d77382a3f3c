// SPDX-License-Identifier: Apache-2.0
//! Flows of datagrams and their slots (`bpf/udp.h`).
//!
//! A slot's sums only ever grow. A flow that has gone quiet loses its slot in two steps: at one pass its key is removed
//! and the slot's tenant number raised; at the next, when no program can still be adding for the old tenant, what it
//! added last is handed out and the slot is free for another flow.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::{UdpCounts, key};
use crate::maps::{BatchReader, Plain, Shared};
use crate::skeleton::packets::types::{self, fg_udp};
use crate::{Error, FlowKey};

/// How long a flow may be quiet before it loses its slot.
const QUIET: Duration = Duration::from_secs(60);

/// The same when slots run short.
const QUIET_IF_SHORT: Duration = Duration::from_secs(2);

// SAFETY: a structure of integers, generated from the C one.
unsafe impl Plain for fg_udp {}

struct Slot<T> {
    key: FlowKey,
    raw: types::fg_key,
    tenant: u64,
    tag: T,
    active: Instant,
    retired: bool,
}

/// All slots that were ever given out: the kernel takes a new one only when none is free.
pub(super) struct Flows<T> {
    sums: Shared<fg_udp>,
    reader: BatchReader<types::fg_key, u64>,
    slots: Vec<Option<Slot<T>>>,
    /// How many the kernel has.
    entries: usize,
    /// What was handed out of each slot, over all its tenants.
    reported: Vec<UdpCounts>,
    /// Slots given out, as of the last reading of the index.
    assigned: u64,
    used: usize,
    /// Keys that could not be decoded (a bug, if ever).
    pub undecodable: u64,
}

/// What [`Flows::pass`] wants of the kernel's maps.
pub(super) trait Maps {
    /// The index of flows.
    fn index(&self) -> BorrowedFd<'_>;
    /// Removes a flow from the index.
    fn remove(&self, key: &types::fg_key) -> Result<(), Error>;
    /// Gives a slot back.
    fn free(&self, slot: u32) -> Result<(), Error>;
}

impl<T: Default> Flows<T> {
    pub(super) fn new(map: BorrowedFd<'_>, entries: usize) -> Result<Self, Error> {
        Ok(Self {
            sums: Shared::map_writable(map, entries, "the sums of UDP flows")?,
            reader: BatchReader::new(),
            slots: Vec::new(),
            entries,
            reported: Vec::new(),
            assigned: 0,
            used: 0,
            undecodable: 0,
        })
    }

    /// Slots in use, and how many there are.
    pub(super) fn usage(&self) -> (u64, u64) {
        (self.used as u64, self.entries as u64)
    }

    /// Slots given out, as of the last pass.
    pub(super) fn assigned(&self) -> u64 {
        self.assigned
    }

    /// Hands out what each flow grew. `assigned` is the kernel's count of slots given out. No program that ran when the
    /// last pass ended may still be running.
    pub(super) fn pass(
        &mut self,
        maps: &impl Maps,
        assigned: u64,
        now: Instant,
        mut grown: impl FnMut(&FlowKey, &mut T, &UdpCounts),
    ) -> Result<(), Error> {
        self.read_index(maps, assigned, now)?;
        let quiet = if self.used > self.entries / 4 * 3 { QUIET_IF_SHORT } else { QUIET };
        for (index, (place, reported)) in self.slots.iter_mut().zip(&mut self.reported).enumerate() {
            let Some(slot) = place else { continue };
            let sums = counts_of(&self.sums.get(index));
            let growth = difference(&sums, reported);
            if growth != UdpCounts::default() {
                *reported = sums;
                slot.active = now;
                grown(&slot.key, &mut slot.tag, &growth);
            }
            if slot.retired {
                maps.free(index as u32)?;
                *place = None;
                self.used -= 1;
            } else if now.duration_since(slot.active) >= quiet {
                maps.remove(&slot.raw)?;
                self.sums.set(index, tenant_of, slot.tenant + 1);
                slot.retired = true;
            }
        }
        Ok(())
    }

    /// Learns of the flows that have come.
    fn read_index(&mut self, maps: &impl Maps, assigned: u64, now: Instant) -> Result<(), Error> {
        if assigned == self.assigned {
            return Ok(());
        }
        let (entries, reported) = (self.entries, &mut self.reported);
        let (slots, used, undecodable) = (&mut self.slots, &mut self.used, &mut self.undecodable);
        self.reader.look_at_all(maps.index(), "udp_index", |raw, tenancy| {
            let (index, tenant) = ((*tenancy & 0xffff_ffff) as usize, (*tenancy >> 32) - 1);
            if index >= entries {
                return;
            }
            if index >= slots.len() {
                slots.resize_with(index + 1, || None);
                reported.resize(index + 1, UdpCounts::default());
            }
            let place = &mut slots[index];
            if place.as_ref().is_some_and(|slot| slot.tenant == tenant) {
                return;
            }
            let Some(key) = key::decode(raw) else {
                *undecodable += 1;
                return;
            };
            *used += usize::from(place.is_none());
            *place = Some(Slot { key, raw: *raw, tenant, tag: T::default(), active: now, retired: false });
        })?;
        self.assigned = assigned;
        Ok(())
    }
}

/// The word of an entry that holds the tenant number.
fn tenant_of(sums: *mut fg_udp) -> *mut u64 {
    sums.cast::<u64>().wrapping_add(std::mem::offset_of!(fg_udp, tenant) / size_of::<u64>())
}

fn counts_of(sums: &fg_udp) -> UdpCounts {
    UdpCounts {
        sent_bytes: sums.sent_bytes,
        sent_packets: sums.sent_packets,
        received_bytes: sums.received_bytes,
        received_packets: sums.received_packets,
        sent_joined: sums.sent_joined.into(),
        received_joined: sums.received_joined.into(),
    }
}

fn difference(now: &UdpCounts, before: &UdpCounts) -> UdpCounts {
    // The kernel's are 32 bits wide.
    let joined = |now: u64, before: u64| u64::from((now as u32).wrapping_sub(before as u32));
    UdpCounts {
        sent_bytes: now.sent_bytes.wrapping_sub(before.sent_bytes),
        sent_packets: now.sent_packets.wrapping_sub(before.sent_packets),
        received_bytes: now.received_bytes.wrapping_sub(before.received_bytes),
        received_packets: now.received_packets.wrapping_sub(before.received_packets),
        sent_joined: joined(now.sent_joined, before.sent_joined),
        received_joined: joined(now.received_joined, before.received_joined),
    }
}
