// SPDX-License-Identifier: Apache-2.0
//! The processes behind sockets whose cgroup does not tell who owns them (`bpf/process.h`).

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::Error;
use crate::maps::{BatchReader, Plain};

/// Most cgroups that can be said to tell nothing.
pub const MUTE_CGROUPS: usize = 4;

/// A process that sockets belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// cgroup id in the process hierarchy; 0 for none.
    pub cgroup: u64,
    /// `comm` of the thread group's leader, at most 15 bytes, made valid UTF-8.
    pub name: Arc<str>,
}

/// The processes behind the ids in keys.
pub type Processes = HashMap<u32, Process, foldhash::fast::RandomState>;

/// Processes remembered in user space, four times what the kernel holds.
const REMEMBERED_PROCESSES: usize = 65_536;

/// `struct fg_process`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct RawProcess {
    cgroup: u64,
    name: [u8; 16],
}

// SAFETY: integers and an array of integers.
unsafe impl Plain for RawProcess {}

/// What is known of the ids that one probe gave out.
pub(crate) struct ProcessTable {
    known: Processes,
    reader: BatchReader<RawProcess, u32>,
    /// The next id, when the names were read last.
    next: u32,
}

impl ProcessTable {
    pub(crate) fn new() -> Self {
        Self { known: Processes::default(), reader: BatchReader::new(), next: 1 }
    }

    pub(crate) fn known(&self) -> &Processes {
        &self.known
    }

    /// Reads the names from the probe's map, if there are new ones: `next` is the id that comes next.
    pub(crate) fn learn(&mut self, map: BorrowedFd<'_>, next: u32) -> Result<(), Error> {
        if next == self.next {
            return Ok(());
        }
        // Those that the kernel has evicted meanwhile are remembered, up to a point.
        if self.known.len() > REMEMBERED_PROCESSES {
            self.known.clear();
        }
        let known = &mut self.known;
        self.reader.look_at_all(map, "processes", |raw, id| {
            known.entry(*id).or_insert_with(|| Process { cgroup: raw.cgroup, name: name_of(&raw.name) });
        })?;
        self.next = next;
        Ok(())
    }
}

/// The ids as the programs compare them; unused places hold an id that no cgroup has.
pub(crate) fn mute_cgroups(ids: &[u64]) -> [u64; MUTE_CGROUPS] {
    let mut places = [u64::MAX; MUTE_CGROUPS];
    let mut used = 0;
    for id in ids {
        if used < MUTE_CGROUPS && !places.contains(id) {
            places[used] = *id;
            used += 1;
        }
    }
    places
}

/// A process name as labels can hold it.
pub(crate) fn name_of(comm: &[u8]) -> Arc<str> {
    let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
    String::from_utf8_lossy(&comm[..end]).into()
}
