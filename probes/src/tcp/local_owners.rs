// SPDX-License-Identifier: Apache-2.0
//! Keeping the map of connections within this host free of those whose server's end never came to be.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use libbpf_rs::MapCore;

use super::Tcp;
use crate::Error;
use crate::maps::bytes_of;

/// Passes after which an entry that no walk used is nobody's. A connection's server end exists a round trip after its
/// client's, within this host.
const UNUSED_PASSES: u32 = 2;

impl<T: Default> Tcp<'_, T> {
    /// Numbers the pass, for the walk to stamp the entries that it uses.
    pub(super) fn count_pass(&mut self) {
        if let Some(bss) = self.skeleton.maps.bss_data.as_deref_mut() {
            bss.fg_pass = bss.fg_pass.wrapping_add(1);
        }
    }

    /// Removes unused entries, once the map is half full.
    pub(super) fn sweep_local_owners(&mut self) -> Result<(), Error> {
        let map = &self.skeleton.maps.local_owners;
        let Some(bss) = self.skeleton.maps.bss_data.as_deref_mut() else { return Ok(()) };
        // SAFETY: aligned, lives as long as the skeleton, and is written by programs only with atomic additions.
        let entries = unsafe { AtomicU64::from_ptr(&raw mut bss.fg_local_owners) };
        if entries.load(Ordering::Relaxed) < u64::from(map.max_entries()) / 2 {
            return Ok(());
        }
        let pass = bss.fg_pass;
        let mut unused = Vec::new();
        self.owner_reader.look_at_all(map.as_fd(), "local_owners", |pair, owner| {
            if pass.wrapping_sub(owner.pass) > UNUSED_PASSES {
                unused.push(*pair);
            }
        })?;
        for pair in &unused {
            // Gone already: its connection was destroyed meanwhile.
            if map.delete(bytes_of(pair)).is_ok() {
                entries.fetch_sub(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}
