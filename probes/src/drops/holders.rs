// SPDX-License-Identifier: Apache-2.0
//! Which process stands for a network namespace.
//!
//! `/proc/<pid>/ns/net` is for those to see who may trace the process. A BPF iterator over tasks needs nothing more than the
//! probes have anyway.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Error;
use crate::maps::{BatchReader, Plain, run_iterator};
use crate::processes::{Process, name_of};
use crate::skeleton::drops::{DropsSkel, types};

/// Looking takes at most a hundredth of the time when a namespace is not known, and a two-thousandth otherwise.
const SOON: Duration = Duration::from_secs(1);
const SOON_COST: u32 = 100;
const PERIOD: Duration = Duration::from_secs(10);
const PERIOD_COST: u32 = 2000;

/// Those that have gone are remembered, for what they dropped last, up to so many.
const REMEMBERED: usize = 8192;

// SAFETY: a structure of integers, generated from the C one.
unsafe impl Plain for types::fg_holder {}

/// The process with the lowest number in a network namespace: in a pod that is mostly the one that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its cgroup v2 id.
    pub cgroup: u64,
    /// Its cgroup in the hierarchy that names processes, and its name.
    pub process: Process,
}

/// Those of all namespaces in which a process lives that the exporter can see.
pub struct Holders {
    known: HashMap<u32, Holder, foldhash::fast::RandomState>,
    reader: BatchReader<u32, types::fg_holder>,
    cost: Duration,
    looked: Instant,
}

impl Default for Holders {
    fn default() -> Self {
        let known = HashMap::default();
        Self { known, reader: BatchReader::new(), cost: Duration::ZERO, looked: Instant::now() }
    }
}

impl Holders {
    /// The process that stands for a namespace.
    pub fn of(&self, netns: u32) -> Option<&Holder> {
        self.known.get(&netns)
    }

    /// Looks if one of these is not known, or if what is known may be out of date.
    pub(super) fn look_for(
        &mut self,
        mut all: impl Iterator<Item = u32>,
        skeleton: &mut DropsSkel<'_>,
    ) -> Result<(), Error> {
        let unknown = all.any(|netns| netns != 0 && !self.known.contains_key(&netns));
        let gap = if unknown { SOON.max(self.cost * SOON_COST) } else { PERIOD.max(self.cost * PERIOD_COST) };
        if self.looked.elapsed() < gap {
            return Ok(());
        }
        self.look(skeleton)
    }

    /// Looks at all processes.
    pub(super) fn look(&mut self, skeleton: &mut DropsSkel<'_>) -> Result<(), Error> {
        let begun = Instant::now();
        run_iterator(&skeleton.progs.find_holders, "looking at who lives in network namespaces")?;
        if self.known.len() > REMEMBERED {
            self.known.clear();
        }
        let known = &mut self.known;
        self.reader.take_all(skeleton.maps.netns_holders.as_fd(), "netns_holders", |netns, raw| {
            let name: Arc<str> = name_of(&raw.process.name);
            let process = Process { cgroup: raw.process.cgroup, name };
            known.insert(*netns, Holder { cgroup: raw.cgroup, process });
        })?;
        self.looked = Instant::now();
        self.cost = begun.elapsed();
        Ok(())
    }
}
