// SPDX-License-Identifier: Apache-2.0
//! What the TCP programs cost and what they missed.

use std::os::fd::AsFd;

use libbpf_rs::MapCore;

use super::{Health, Tcp};
use crate::maps::read;
use crate::programs::{cost, recursion_misses};
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
            let (runs, timed_ns) = cost(&self.skeleton.maps.costs, index as u32);
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

    fn recursion_misses(&self, program: &str) -> u64 {
        let programs = &self.skeleton.progs;
        let program = match program {
            "tcp_destroy" => &programs.tcp_destroy,
            "tcp_state" => &programs.tcp_state,
            "tcp_synack" => &programs.tcp_synack,
            "tcp_walk" => &programs.tcp_walk,
            _ => &programs.tcp_tables,
        };
        recursion_misses(program.as_fd())
    }
}
