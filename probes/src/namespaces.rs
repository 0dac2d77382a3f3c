// SPDX-License-Identifier: Apache-2.0
//! Network namespaces by the numbers that everybody can see (`bpf/namespaces.bpf.c`).

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, OpenObject, ProgramInput};

use crate::Error;
use crate::maps::{Plain, Shared, read};
use crate::skeleton::namespaces::{NamespacesSkel, NamespacesSkelBuilder, types::fg_namespace};

// SAFETY: a structure of integers, generated from the C one.
unsafe impl Plain for fg_namespace {}

/// Memory in which libbpf keeps the object; outlives the probe.
#[derive(Default)]
pub struct Storage(Option<Box<MaybeUninit<OpenObject>>>);

/// All network namespaces of the kernel.
#[derive(Debug, Default)]
pub struct Found {
    /// The number of a namespace, as [`crate::FlowKey::netns`], by the inode number of its `/proc/<pid>/net/dev`.
    pub by_devices: HashMap<u64, u32>,
    /// Namespaces for which there was no room.
    pub left_out: usize,
}

/// The loaded program. Nothing is attached: it runs when it is asked, and takes no capability then.
pub struct Namespaces<'o> {
    skeleton: NamespacesSkel<'o>,
    answer: Shared<fg_namespace>,
}

impl<'o> Namespaces<'o> {
    /// Loads the program.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn load(storage: &'o mut Storage) -> Result<Self, Error> {
        let place = storage.0.insert(Box::new(MaybeUninit::uninit()));
        let open = NamespacesSkelBuilder::default()
            .open(place)
            .map_err(|error| Error::libbpf("opening the namespaces program", error))?;
        let skeleton = open.load().map_err(|error| Error::libbpf("loading the namespaces program", error))?;
        let entries = skeleton.maps.namespaces.max_entries() as usize;
        let answer = Shared::map(skeleton.maps.namespaces.as_fd(), entries, "the map of namespaces")?;
        Ok(Self { skeleton, answer })
    }

    /// All there are now. Takes about a microsecond for each.
    ///
    /// # Errors
    /// When the kernel refuses the run.
    pub fn find(&mut self) -> Result<Found, Error> {
        self.skeleton
            .progs
            .namespaces_all
            .test_run(ProgramInput::default())
            .map_err(|error| Error::libbpf("listing network namespaces", error))?;
        let there = self.skeleton.maps.bss_data.as_deref().map_or(0, |bss| read(&bss.fg_namespaces)) as usize;
        let entries = self.skeleton.maps.namespaces.max_entries() as usize;
        let fitting = there.min(entries);
        let each = (0..fitting).map(|index| self.answer.get(index)).filter(|found| found.devices != 0);
        let by_devices = each.map(|found| (u64::from(found.devices), found.netns)).collect();
        Ok(Found { by_devices, left_out: there - fitting })
    }
}
