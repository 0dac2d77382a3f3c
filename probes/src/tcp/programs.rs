// SPDX-License-Identifier: Apache-2.0
//! What the TCP programs cost and what they missed.

use std::os::fd::AsFd;

use libbpf_rs::{MapCore, MapFlags};

use super::{Health, Tcp};
use crate::maps::read;
use crate::{MapUse, ProgramUse};

/// Names in the kernel, and how many runs each timed one stands for, in the order of `enum fg_program`.
const PROGRAMS: [(&str, u64); 5] =
    [("tcp_destroy", 64), ("tcp_state", 64), ("tcp_synack", 64), ("tcp_walk", 1), ("tcp_tables", 1)];

/// The place in [`super::LOST_REASONS`] of the one that is counted here and not in the kernel.
const SERVICES_FULL: usize = super::LOST_REASONS.len() - 1;

impl<T: Default> Tcp<'_, T> {
    /// What went wrong so far, and what it cost.
    pub fn health(&self) -> Health {
        let mut health =
            Health { moved_chains: self.moved_chains, undecodable: self.undecodable, ..Default::default() };
        let (mut parked, mut processes, mut owners) = (0, 0, 0);
        if let Some(bss) = self.bss() {
            for (lost, counted) in health.lost.iter_mut().zip(&bss.fg_lost) {
                *lost = read(counted);
            }
            health.lost[SERVICES_FULL] = self.services.lost;
            (parked, processes, owners) =
                (read(&bss.fg_parked), read(&bss.fg_sock_processes), read(&bss.fg_local_owners));
        }
        for (index, (program, every)) in PROGRAMS.into_iter().enumerate() {
            let (runs, timed_ns) = self.cost(index as u32);
            let recursion_misses = self.recursion_misses(program);
            health.programs.push(ProgramUse { program, runs, run_ns: timed_ns * every, recursion_misses });
        }
        let maps = &self.skeleton.maps;
        let (waiting, capacity) = self.waiting();
        let used = |map, entries, capacity: u32| MapUse { map, entries, capacity: u64::from(capacity) };
        health.maps = vec![
            MapUse { map: "flows", entries: waiting, capacity },
            used("parked", parked, maps.parked.max_entries()),
            used("sock_process", processes, maps.sock_process.max_entries()),
            used("local_owners", owners, maps.local_owners.max_entries()),
            used("services", self.services.len() as u64, maps.services.max_entries()),
        ];
        health
    }

    /// Runs and timed nanoseconds of a program, over all CPUs.
    fn cost(&self, index: u32) -> (u64, u64) {
        let Ok(Some(values)) = self.skeleton.maps.costs.lookup_percpu(&index.to_ne_bytes(), MapFlags::ANY)
        else {
            return (0, 0);
        };
        let word = |value: &[u8], at: usize| {
            value.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes)
        };
        values.iter().fold((0, 0), |(runs, ns), value| (runs + word(value, 0), ns + word(value, 8)))
    }

    fn recursion_misses(&self, program: &str) -> u64 {
        let programs = &self.skeleton.progs;
        let program = match program {
            "tcp_destroy" => &programs.tcp_destroy,
            "tcp_state" => &programs.tcp_state,
            "tcp_synack" => &programs.tcp_synack,
            "tcp_walk" => &programs.tcp_walk,
            _ => &programs.tcp_tables,
        };
        let mut info = libbpf_sys::bpf_prog_info::default();
        let mut length = size_of::<libbpf_sys::bpf_prog_info>() as u32;
        // SAFETY: the structure and its length belong together; pointers in it are null.
        let result = unsafe {
            libbpf_sys::bpf_obj_get_info_by_fd(
                std::os::fd::AsRawFd::as_raw_fd(&program.as_fd()),
                std::ptr::from_mut(&mut info).cast(),
                &mut length,
            )
        };
        if result == 0 { info.recursion_misses } else { 0 }
    }
}
