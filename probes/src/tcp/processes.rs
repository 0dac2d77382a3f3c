// SPDX-License-Identifier: Apache-2.0
//! The processes behind sockets whose cgroup does not tell who owns them.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::{MUTE_CGROUPS, Tcp};
use crate::Error;
use crate::maps::read;

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

impl<T: Default> Tcp<'_, T> {
    /// Reads the names of processes, if there are new ones.
    pub(super) fn learn_processes(&mut self) -> Result<(), Error> {
        let next = self.skeleton.maps.data_data.as_deref().map_or(1, |data| read(&data.fg_next_process));
        if next == self.next_process {
            return Ok(());
        }
        // Those that the kernel has evicted meanwhile are remembered, up to a point.
        if self.processes.len() > REMEMBERED_PROCESSES {
            self.processes.clear();
        }
        let processes = &mut self.processes;
        self.process_reader.look_at_all(self.skeleton.maps.processes.as_fd(), "processes", |raw, id| {
            processes.entry(*id).or_insert_with(|| Process { cgroup: raw.cgroup, name: name_of(&raw.name) });
        })?;
        self.next_process = next;
        Ok(())
    }

    /// Looks for the processes behind sockets whose cgroup tells nothing and whose opening was not seen: at the start,
    /// those older than the probe; later only listeners, which service managers hand on. Costs a microsecond for each
    /// open file of the host.
    pub(super) fn find_holders(&mut self) -> Result<(), Error> {
        let step = || "looking for the processes behind open sockets".to_owned();
        let link = self.skeleton.progs.tcp_holders.attach().map_err(|error| Error::libbpf(step(), error))?;
        let mut iterator = libbpf_rs::Iter::new(&link).map_err(|error| Error::libbpf(step(), error))?;
        std::io::copy(&mut iterator, &mut std::io::sink()).map_err(|error| Error::os(step(), error))?;
        self.learn_processes()
    }
}

/// The ids as the programs compare them; unused places hold an id that no cgroup has.
pub(super) fn mute_cgroups(ids: &[u64]) -> [u64; MUTE_CGROUPS] {
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
fn name_of(comm: &[u8]) -> Arc<str> {
    let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
    String::from_utf8_lossy(&comm[..end]).into()
}
