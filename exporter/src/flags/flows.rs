// SPDX-License-Identifier: Apache-2.0
//! `--web.flows…`: the drill-down by address.

use clap::{Args, ValueEnum};

/// Whether the drill-down is kept and served, and of how much.
#[derive(Args, Clone, Debug)]
pub struct FlowsFlags {
    /// Keep and serve what was counted by remote address over the last minutes, at `/flows`.
    #[arg(
        long = "web.flows",
        env = "FLOWGAUGE_WEB_FLOWS",
        value_name = "MODE",
        default_value = "on",
        ignore_case = true,
        global = true
    )]
    pub flows_mode: FlowsMode,

    /// Remote addresses of edges that are kept for it, 100 to 1000000; the one idle longest makes room for a new one.
    #[arg(
        long = "web.flows.addresses",
        env = "FLOWGAUGE_WEB_FLOWS_ADDRESSES",
        value_name = "COUNT",
        default_value_t = 20_000,
        value_parser = clap::value_parser!(u32).range(100..=1_000_000),
        global = true
    )]
    pub flow_addresses: u32,
}

/// Whether the drill-down is kept and served.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowsMode {
    On,
    Off,
}
