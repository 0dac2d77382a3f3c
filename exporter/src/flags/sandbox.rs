// SPDX-License-Identifier: Apache-2.0
//! `--sandbox.…`: what the program forbids itself once it has started.

use clap::{Args, ValueEnum};

/// What the program forbids itself once it has started.
#[derive(Args, Clone, Copy, Debug)]
pub struct SandboxFlags {
    /// Forbid itself every file that it has no business with, by Landlock, where the kernel has it.
    #[arg(
        long = "sandbox.landlock",
        env = "FLOWGAUGE_SANDBOX_LANDLOCK",
        value_name = "MODE",
        default_value = "auto",
        ignore_case = true,
        global = true
    )]
    pub landlock: LandlockMode,

    /// Forbid itself every system call that it does not make, by seccomp; `log` lets them pass and has the kernel log them.
    #[arg(
        long = "sandbox.seccomp",
        env = "FLOWGAUGE_SANDBOX_SECCOMP",
        value_name = "MODE",
        default_value = "auto",
        ignore_case = true,
        global = true
    )]
    pub seccomp: SeccompMode,
}

/// Whether files are forbidden.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LandlockMode {
    Auto,
    Off,
}

/// Whether system calls are forbidden.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeccompMode {
    Auto,
    Log,
    Off,
}
