// SPDX-License-Identifier: Apache-2.0
//! Packets that the kernel drops, by owner and reason (`bpf/drops.bpf.c`).

mod drain;
mod health;
mod holders;
mod reasons;

use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, OpenObject};

pub use health::{Health, LOST_REASONS};
pub use holders::{Holder, Holders};
pub use reasons::LEFT_OUT;

use crate::maps::BatchReader;
use crate::processes::mute_cgroups;
use crate::skeleton::drops::{DropsSkel, DropsSkelBuilder, types};
use crate::tcp::ProcessHierarchy;
use crate::{Error, FlowKey};
use reasons::Reasons;

/// How the probe is to be loaded.
#[derive(Debug, Clone)]
pub struct DropOptions {
    /// cgroup v2 ids that tell nothing about a socket's owner, as for TCP.
    pub mute_cgroups: Vec<u64>,
    /// Where a process's cgroup is read.
    pub process_hierarchy: ProcessHierarchy,
    /// The cgroup tells too little of any socket.
    pub want_process: bool,
}

/// Packets that were dropped for one reason, of one owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Whose socket they were of, if there was one. Role [`Role::Listener`]; the port is 0 unless it helps to find whose it is.
    pub socket: Option<FlowKey>,
    /// Inode number of the network namespace; 0 where it is not known.
    pub netns: u32,
    /// The running kernel's name of the reason, such as `NO_SOCKET`; of a subsystem's, the subsystem's.
    pub reason: Arc<str>,
    /// How many.
    pub packets: u64,
}

/// Memory in which libbpf keeps the object; outlives the probe.
#[derive(Default)]
pub struct Storage(Option<Box<MaybeUninit<OpenObject>>>);

/// The loaded and attached probe.
pub struct Drops<'o> {
    skeleton: DropsSkel<'o>,
    /// Detaches when dropped.
    _link: Link,
    reasons: Reasons,
    reader: BatchReader<types::fg_drop, u64>,
    holders: Holders,
    writing_b: bool,
    /// Of either map.
    taken: [drain::Taken; 2],
    /// What was taken and not handed out yet.
    found: Vec<Dropped>,
}

impl<'o> Drops<'o> {
    /// Loads and attaches the program: counts what is dropped from now on. `openers` is [`crate::tcp::Tcp::openers`] of the
    /// TCP probe, if that runs: the processes behind sockets, whose ids [`Dropped::socket`] has then.
    ///
    /// # Errors
    /// When the kernel refuses the program, a map or the attachment, or gives no reasons; nothing stays attached then.
    pub fn load(
        storage: &'o mut Storage,
        options: &DropOptions,
        openers: Option<BorrowedFd<'_>>,
    ) -> Result<Self, Error> {
        let (reasons, tells_receiver) = reasons::of_this_kernel()?;
        let place = storage.0.insert(Box::new(MaybeUninit::uninit()));
        let mut open = DropsSkelBuilder::default()
            .open(place)
            .map_err(|error| Error::libbpf("opening the drops program", error))?;
        if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
            rodata.fg_mute_cgroups = mute_cgroups(&options.mute_cgroups);
            rodata.fg_want_process = options.want_process;
            let subsystem = options.process_hierarchy.subsystem();
            rodata.fg_process_subsys = subsystem.and_then(|number| i32::try_from(number).ok()).unwrap_or(-1);
            rodata.fg_tells_receiver = tells_receiver;
            rodata.fg_left_out = reasons.left_out_bits();
            rodata.fg_left_out_subsystems = reasons.left_out_subsystems();
        }
        let sharing = |error| Error::libbpf("sharing the processes behind sockets", error);
        match openers {
            Some(map) => open.maps.sock_process.reuse_fd(map).map_err(sharing)?,
            None => open.maps.sock_process.set_max_entries(1).map_err(sharing)?,
        }
        let mut skeleton = open.load().map_err(|error| Error::libbpf("loading the drops program", error))?;
        // First of all: it tells the program what a network namespace looks like.
        let mut holders = Holders::default();
        holders.look(&mut skeleton)?;
        let link = skeleton
            .progs
            .drop
            .attach()
            .map_err(|error| Error::libbpf("attaching to the tracepoint kfree_skb", error))?;
        Ok(Self {
            skeleton,
            _link: link,
            reasons,
            reader: BatchReader::new(),
            holders,
            writing_b: false,
            taken: Default::default(),
            found: Vec::new(),
        })
    }

    /// Looks who lives in the network namespaces of these, if it is time.
    ///
    /// # Errors
    /// When the kernel refuses to go through the processes; those known stay known.
    pub fn look_for_holders(&mut self, all: &[Dropped]) -> Result<(), Error> {
        self.holders.look_for(all.iter().map(|dropped| dropped.netns), &mut self.skeleton)
    }

    /// Who lives in network namespaces.
    pub fn holders(&self) -> &Holders {
        &self.holders
    }

    /// How many reasons this kernel has of its own, and subsystems with others.
    pub fn reasons(&self) -> usize {
        self.reasons.len()
    }
}
