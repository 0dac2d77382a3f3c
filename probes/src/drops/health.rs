// SPDX-License-Identifier: Apache-2.0
//! What the program costs, what it left out, and what it missed.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::Drops;
use crate::maps::read;
use crate::programs::{cost, recursion_misses, sum_over_cpus};
use crate::{MapUse, ProgramUse};

/// Why a packet was not counted where it belongs, in the order of [`Health::lost`].
pub const LOST_REASONS: [&str; 2] = ["drops_full", "drop_namespaces_full"];

/// What went wrong in the kernel so far, and how full things are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// In the order of [`LOST_REASONS`].
    pub lost: [u64; LOST_REASONS.len()],
    /// How often each reason occurred that is no loss. Of those only that this kernel knows.
    pub left_out: Vec<(Arc<str>, u64)>,
    /// The program's cost and misses. Reasons that are no loss are no runs.
    pub program: ProgramUse,
    /// Owners and reasons that wait.
    pub map: MapUse,
}

impl Drops<'_> {
    /// What went wrong so far, and what it cost.
    pub fn health(&self) -> Health {
        let (maps, progs) = (&self.skeleton.maps, &self.skeleton.progs);
        let (runs, timed_ns) = cost(&maps.costs, 0);
        let (entries, capacity) = self.pending();
        let times = |number: u32| sum_over_cpus(&maps.left_out, number);
        Health {
            lost: maps
                .bss_data
                .as_deref()
                .map_or([0; LOST_REASONS.len()], |bss| std::array::from_fn(|at| read(&bss.fg_lost[at]))),
            left_out: self
                .reasons
                .left_out()
                .map(|(number, name)| (Arc::clone(name), times(number)))
                .collect(),
            program: ProgramUse {
                program: "drop",
                runs,
                run_ns: timed_ns * 64,
                recursion_misses: recursion_misses(progs.drop.as_fd()),
            },
            map: MapUse { map: "drops", entries, capacity },
        }
    }
}
