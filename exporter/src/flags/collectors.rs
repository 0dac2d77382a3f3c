// SPDX-License-Identifier: Apache-2.0
//! `--collector.…` and `--no-collector.…`: what is measured.

use clap::{ArgAction, Args};

/// One pair for each collector; the last word counts.
#[derive(Args, Clone, Debug)]
pub struct CollectorFlags {
    /// Read what TCP does: bytes, retransmits, round trips, failures by edge.
    #[arg(
        long = "collector.tcp",
        env = "FLOWGAUGE_COLLECTOR_TCP",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = ArgAction::Set,
        overrides_with = "no_tcp",
        global = true
    )]
    tcp: bool,

    /// Do without the TCP collector.
    #[arg(long = "no-collector.tcp", overrides_with = "tcp", global = true)]
    no_tcp: bool,

    /// Count what UDP does: bytes, datagrams and drops by edge.
    #[arg(
        long = "collector.udp",
        env = "FLOWGAUGE_COLLECTOR_UDP",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = ArgAction::Set,
        overrides_with = "no_udp",
        global = true
    )]
    udp: bool,

    /// Do without the UDP collector.
    #[arg(long = "no-collector.udp", overrides_with = "udp", global = true)]
    no_udp: bool,

    /// Measure DNS: queries, answers by code, response times and timeouts by edge.
    #[arg(
        long = "collector.dns",
        env = "FLOWGAUGE_COLLECTOR_DNS",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = ArgAction::Set,
        overrides_with = "no_dns",
        global = true
    )]
    dns: bool,

    /// Do without the DNS collector.
    #[arg(long = "no-collector.dns", overrides_with = "dns", global = true)]
    no_dns: bool,

    /// Count clear-text HTTP and gRPC: responses by method and code, response times and requests without a response by edge.
    #[arg(
        long = "collector.http",
        env = "FLOWGAUGE_COLLECTOR_HTTP",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = ArgAction::Set,
        overrides_with = "no_http",
        global = true
    )]
    http: bool,

    /// Do without the HTTP collector.
    #[arg(long = "no-collector.http", overrides_with = "http", global = true)]
    no_http: bool,

    /// Count the packets that the kernel drops, by whose they are and by its reason.
    #[arg(
        long = "collector.drops",
        env = "FLOWGAUGE_COLLECTOR_DROPS",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = ArgAction::Set,
        overrides_with = "no_drops",
        global = true
    )]
    drops: bool,

    /// Do without the drops collector.
    #[arg(long = "no-collector.drops", overrides_with = "drops", global = true)]
    no_drops: bool,

    /// Read what the operating system counts and limits: address translation, interfaces, memory, pressure.
    #[arg(
        // `node` alone is another flag's.
        id = "collector_node",
        long = "collector.node",
        env = "FLOWGAUGE_COLLECTOR_NODE",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = ArgAction::Set,
        overrides_with = "no_node",
        global = true
    )]
    node: bool,

    /// Do without the node collector.
    #[arg(long = "no-collector.node", overrides_with = "collector_node", global = true)]
    no_node: bool,
}

impl CollectorFlags {
    /// Whether the TCP collector is wanted.
    pub const fn tcp(&self) -> bool {
        self.tcp && !self.no_tcp
    }

    /// Whether the UDP collector is wanted.
    pub const fn udp(&self) -> bool {
        self.udp && !self.no_udp
    }

    /// Whether the DNS collector is wanted.
    pub const fn dns(&self) -> bool {
        self.dns && !self.no_dns
    }

    /// Whether the HTTP collector is wanted.
    pub const fn http(&self) -> bool {
        self.http && !self.no_http
    }

    /// Whether the drops collector is wanted.
    pub const fn drops(&self) -> bool {
        self.drops && !self.no_drops
    }

    /// Whether the node collector is wanted.
    pub const fn node(&self) -> bool {
        self.node && !self.no_node
    }
}
