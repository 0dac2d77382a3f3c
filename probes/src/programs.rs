// SPDX-License-Identifier: Apache-2.0
//! What the programs and maps cost.

use std::os::fd::{AsRawFd, BorrowedFd};

use libbpf_rs::{MapCore, MapFlags};

/// How often a program ran and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramUse {
    /// The program's name in the kernel.
    pub program: &'static str,
    /// Runs since the start.
    pub runs: u64,
    /// Nanoseconds inside the program, from the runs that were timed (one in 64; each run of the walk and of `cgroup_mkdir`).
    pub run_ns: u64,
    /// Runs that the kernel skipped because the program was running on that CPU already.
    pub recursion_misses: u64,
}

/// How full a map is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapUse {
    /// The map's name in the kernel.
    pub map: &'static str,
    /// Entries in use, where the probe knows without counting them one by one.
    pub entries: u64,
    /// Most entries it can hold.
    pub capacity: u64,
}

/// Runs and timed nanoseconds of a program, over all CPUs, from the `costs` map of its object (`bpf/cost.h`).
pub(crate) fn cost(costs: &impl MapCore, index: u32) -> (u64, u64) {
    words_over_cpus(costs, index).into()
}

/// A counter of a per-CPU array, over all CPUs.
pub(crate) fn sum_over_cpus(counters: &impl MapCore, index: u32) -> u64 {
    let [sum] = words_over_cpus(counters, index);
    sum
}

/// The first words of an entry of a per-CPU array, each added up over all CPUs.
fn words_over_cpus<const N: usize>(map: &impl MapCore, index: u32) -> [u64; N] {
    let Ok(Some(values)) = map.lookup_percpu(&index.to_ne_bytes(), MapFlags::ANY) else {
        return [0; N];
    };
    let word = |value: &[u8], at: usize| {
        value.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes)
    };
    std::array::from_fn(|at| values.iter().map(|value| word(value, at * 8)).sum())
}

/// Runs that the kernel skipped because the program was running on that CPU already; 0 if it does not say.
pub(crate) fn recursion_misses(program: BorrowedFd<'_>) -> u64 {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut length = size_of::<libbpf_sys::bpf_prog_info>() as u32;
    // SAFETY: the structure and its length belong together; pointers in it are null.
    let result = unsafe {
        libbpf_sys::bpf_obj_get_info_by_fd(
            program.as_raw_fd(),
            std::ptr::from_mut(&mut info).cast(),
            &mut length,
        )
    };
    if result == 0 { info.recursion_misses } else { 0 }
}
