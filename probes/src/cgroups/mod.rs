// SPDX-License-Identifier: Apache-2.0
//! Control groups: the path of each one that is made (`bpf/cgroups.bpf.c`), so that those which live shortly have names.

mod record;

use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, OpenObject, RingBufferBuilder};

pub use record::NewGroup;

use crate::maps::read;
use crate::programs::{cost, recursion_misses};
use crate::skeleton::cgroups::{CgroupsSkel, CgroupsSkelBuilder};
use crate::tcp::ProcessHierarchy;
use crate::{Error, ProgramUse};

/// Why a new group was not told of, in the order of [`Health::lost`].
pub const LOST_REASONS: [&str; 2] = ["cgroup_ring_full", "cgroup_path_too_long"];

/// Memory in which libbpf keeps the object; outlives the probe.
#[derive(Default)]
pub struct Storage(Option<Box<MaybeUninit<OpenObject>>>);

/// What went wrong so far, and what it cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Groups of which the kernel has told.
    pub made: u64,
    /// In the order of [`LOST_REASONS`].
    pub lost: [u64; LOST_REASONS.len()],
    /// Records that could not be decoded (a bug, if ever).
    pub undecodable: u64,
    /// The program's cost and misses.
    pub program: ProgramUse,
}

/// The loaded and attached probe.
pub struct Cgroups<'o> {
    skeleton: CgroupsSkel<'o>,
    /// Detaches when dropped.
    _link: Link,
    /// Records in the ring when it was emptied last, of all that were ever written.
    drained: u64,
    /// Records lost by then: by the kernel or undecodable.
    lost: u64,
    undecodable: u64,
}

impl<'o> Cgroups<'o> {
    /// Loads and attaches the program: groups made from now on will be told of, in the version 2 hierarchy and in the one
    /// that names processes.
    ///
    /// # Errors
    /// When the kernel refuses the program, a map or the attachment; nothing stays attached then.
    pub fn load(storage: &'o mut Storage, processes: ProcessHierarchy) -> Result<Self, Error> {
        let place = storage.0.insert(Box::new(MaybeUninit::uninit()));
        let mut open = CgroupsSkelBuilder::default()
            .open(place)
            .map_err(|error| Error::libbpf("opening the cgroups program", error))?;
        if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
            rodata.fg_v1_controllers =
                processes.subsystem().and_then(|bit| 1u32.checked_shl(bit)).unwrap_or(0);
        }
        let skeleton = open.load().map_err(|error| Error::libbpf("loading the cgroups program", error))?;
        let link = skeleton
            .progs
            .cgroup_mkdir
            .attach()
            .map_err(|error| Error::libbpf("attaching to the tracepoint cgroup_mkdir", error))?;
        Ok(Self { skeleton, _link: link, drained: 0, lost: 0, undecodable: 0 })
    }

    /// Hands out the groups made since the last time, oldest first. True if some are missing: only a walk of the
    /// hierarchies finds those. Costs nothing if no group was made.
    ///
    /// # Errors
    /// When the ring cannot be read; what it holds is handed out the next time.
    pub fn drain(&mut self, mut each: impl FnMut(NewGroup<'_>)) -> Result<bool, Error> {
        let made = self.made();
        if made != self.drained {
            let mut undecodable = 0;
            let mut builder = RingBufferBuilder::new();
            let take = |record: &[u8]| {
                match record::decode(record) {
                    Some(group) => each(group),
                    None => undecodable += 1,
                }
                0
            };
            let step = |error| Error::libbpf("reading the ring of new control groups", error);
            builder.add(&self.skeleton.maps.groups, take).map_err(step)?;
            let ring = builder.build().map_err(step)?;
            ring.consume().map_err(step)?;
            drop(ring);
            self.drained = made;
            self.undecodable += undecodable;
        }
        let lost = self.lost_in_kernel().iter().sum::<u64>() + self.undecodable + self.recursion_misses();
        Ok(std::mem::replace(&mut self.lost, lost) != lost)
    }

    /// What went wrong so far, and what it cost.
    pub fn health(&self) -> Health {
        let (runs, run_ns) = cost(&self.skeleton.maps.costs, 0);
        let made = self.made();
        Health {
            made,
            lost: self.lost_in_kernel(),
            undecodable: self.undecodable,
            program: ProgramUse {
                program: "cgroup_mkdir",
                runs,
                run_ns,
                recursion_misses: self.recursion_misses(),
            },
        }
    }

    fn made(&self) -> u64 {
        self.skeleton.maps.bss_data.as_deref().map_or(0, |bss| read(&bss.fg_made))
    }

    fn lost_in_kernel(&self) -> [u64; LOST_REASONS.len()] {
        let bss = self.skeleton.maps.bss_data.as_deref();
        bss.map_or([0; LOST_REASONS.len()], |bss| std::array::from_fn(|reason| read(&bss.fg_lost[reason])))
    }

    fn recursion_misses(&self) -> u64 {
        recursion_misses(self.skeleton.progs.cgroup_mkdir.as_fd())
    }
}
