// SPDX-License-Identifier: Apache-2.0
//! What the programs and maps cost.

/// How often a program ran and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramUse {
    /// The program's name in the kernel.
    pub program: &'static str,
    /// Runs since the start.
    pub runs: u64,
    /// Nanoseconds inside the program, from the runs that were timed (one in 64; each run of the walk).
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
