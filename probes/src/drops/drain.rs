// SPDX-License-Identifier: Apache-2.0
//! Taking over what the program counted.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd};

use libbpf_rs::{MapCore, MapFlags, MapMut};

use super::{Dropped, Drops};
use crate::maps::{Plain, bytes_of, read};
use crate::skeleton::drops::{DropsMaps, types};
use crate::{Error, FlowKey, Peer, Role, Transport};

// SAFETY: a structure of integers, generated from the C one.
unsafe impl Plain for types::fg_drop {}

/// What was taken of each entry of a map already, by the bytes of its key.
pub(super) type Taken = HashMap<[u8; size_of::<types::fg_drop>()], u64, foldhash::fast::RandomState>;

impl Drops<'_> {
    /// Takes what was dropped since the last time. Costs nothing if that is nothing.
    ///
    /// The map is read while the program writes it: its counts only grow. Swapping it for an empty one makes the kernel wait for a
    /// grace period, and is left for when it fills.
    ///
    /// # Errors
    /// When the kernel refuses a map; what was not taken is taken the next time.
    pub fn take(&mut self) -> Result<Vec<Dropped>, Error> {
        if self.is_filling() {
            self.swap()?;
            self.empty()?;
        } else if self.pending().0 > 0 {
            let map = map_of(&self.skeleton.maps, self.writing_b);
            let taken = &mut self.taken[usize::from(self.writing_b)];
            let (reasons, found) = (&self.reasons, &mut self.found);
            self.reader.look_at_all_by_cpu(map.as_fd(), "drops", |raw, packets| {
                let sum: u64 = packets.iter().sum();
                let before = taken.insert(bytes(raw), sum).unwrap_or_default();
                if sum > before {
                    found.push(reasons.dropped(raw, sum - before));
                }
            })?;
        }
        Ok(std::mem::take(&mut self.found))
    }

    /// Whether so much waits in the kernel that it should be taken before the next pass.
    pub fn is_filling(&self) -> bool {
        let (pending, capacity) = self.pending();
        pending > capacity / 4
    }

    /// Entries of the map being written, and how many fit.
    pub(super) fn pending(&self) -> (u64, u64) {
        let pending = self.skeleton.maps.bss_data.as_deref().map_or(0, |bss| read(&bss.fg_pending));
        (pending, u64::from(self.skeleton.maps.drops_a.max_entries()))
    }

    /// Puts the other map in place of the one being written. When the call returns, no program writes the old one any more:
    /// for a map in a map the kernel waits for a grace period.
    fn swap(&mut self) -> Result<(), Error> {
        let next = map_of(&self.skeleton.maps, !self.writing_b).as_fd().as_raw_fd().to_ne_bytes();
        // Before the swap: what is added during the grace period counts for the new map, or for both.
        if let Some(bss) = self.skeleton.maps.bss_data.as_deref_mut() {
            bss.fg_pending = 0;
        }
        let slot = &self.skeleton.maps.drops;
        slot.update(&0u32.to_ne_bytes(), &next, MapFlags::ANY)
            .map_err(|error| Error::libbpf("swapping the maps of drops", error))?;
        self.writing_b = !self.writing_b;
        Ok(())
    }

    /// Takes all that is in the map which the program does not write.
    fn empty(&mut self) -> Result<(), Error> {
        let map = map_of(&self.skeleton.maps, !self.writing_b);
        let taken = &mut self.taken[usize::from(!self.writing_b)];
        let (reasons, found) = (&self.reasons, &mut self.found);
        self.reader.take_all_by_cpu(map.as_fd(), "drops", |raw, packets| {
            let before = taken.remove(&bytes(raw)).unwrap_or_default();
            let sum: u64 = packets.iter().sum();
            if sum > before {
                found.push(reasons.dropped(raw, sum - before));
            }
        })?;
        Ok(())
    }
}

fn map_of<'a>(maps: &'a DropsMaps<'_>, b: bool) -> &'a MapMut<'a> {
    if b { &maps.drops_b } else { &maps.drops_a }
}

fn bytes(raw: &types::fg_drop) -> [u8; size_of::<types::fg_drop>()] {
    let mut key = [0; size_of::<types::fg_drop>()];
    key.copy_from_slice(bytes_of(raw));
    key
}

impl super::reasons::Reasons {
    fn dropped(&self, raw: &types::fg_drop, packets: u64) -> Dropped {
        Dropped { socket: socket_of(raw), netns: raw.netns, reason: self.name(raw.reason), packets }
    }
}

fn socket_of(raw: &types::fg_drop) -> Option<FlowKey> {
    let transport =
        if i32::from(raw.transport) == libc::IPPROTO_TCP { Transport::Tcp } else { Transport::Udp };
    (raw.socket != 0).then_some(FlowKey {
        remote: [0; 16],
        cgroup: raw.cgroup,
        netns: raw.netns,
        process: raw.process,
        port: raw.port,
        role: Role::Listener,
        peer: Peer::Remote,
        transport,
    })
}
