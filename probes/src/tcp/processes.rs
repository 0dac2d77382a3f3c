// SPDX-License-Identifier: Apache-2.0
//! The processes behind TCP sockets.

use std::os::fd::AsFd;

use super::Tcp;
use crate::Error;
use crate::maps::{read, run_iterator};

impl<T: Default> Tcp<'_, T> {
    /// Reads the names of processes, if there are new ones.
    ///
    /// # Errors
    /// When the kernel refuses the map; those known stay known.
    pub fn learn_processes(&mut self) -> Result<(), Error> {
        let next = self.skeleton.maps.data_data.as_deref().map_or(1, |data| read(&data.fg_next_process));
        self.processes.learn(self.skeleton.maps.processes.as_fd(), next)
    }

    /// Looks for the processes behind sockets whose cgroup tells nothing and whose opening was not seen: at the start,
    /// those older than the probe; later only listeners, which service managers hand on. Costs a microsecond for each
    /// open file of the host.
    pub(super) fn find_holders(&mut self) -> Result<(), Error> {
        run_iterator(&self.skeleton.progs.tcp_holders, "looking for the processes behind open sockets")?;
        self.learn_processes()
    }
}
