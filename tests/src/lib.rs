// SPDX-License-Identifier: Apache-2.0
//! The end-to-end world: network namespaces, real servers, faults made on purpose, and what the exporter says of them.
//!
//! The world can be trusted without the exporter: `tests/world.rs` proves its links, delays, losses and counters. The
//! other files of `tests/` hold the exporter against other people's counts: nginx's access log, the kernel's SNMP
//! counters, `ss`, iperf3, Prometheus. All of it needs root and the packages listed in `PACKAGES`.

pub mod api_server;
pub mod audit;
pub mod bench;
pub mod browser;
pub mod cgroup;
pub mod dashboards;
pub mod delay;
pub mod disguise;
pub mod dns;
pub mod envoy;
pub mod exporter;
pub mod faults;
pub mod flows_server;
pub mod http;
pub mod inside;
pub mod kernels;
pub mod kubernetes;
pub mod metadata_server;
pub mod metrics;
pub mod monitoring;
pub mod names;
pub mod netns;
pub mod nginx;
pub mod process;
pub mod prometheus;
pub mod provider;
pub mod python;
pub mod raw;
pub mod shop;
pub mod stage;
mod subnet;
mod sweep;
pub mod sys;
pub mod terminal;
pub mod traffic;
pub mod truth;
pub mod udp;
pub mod unseen;
pub mod web;

pub mod prelude {
    //! What nearly every test uses.
    pub use std::time::Duration;

    pub use anyhow::{Context, Result, ensure};

    pub use crate::exporter::Exporter;
    pub use crate::names::{Name, NamesFile};
    pub use crate::netns::{Host, World};
    pub use crate::stage::{CLIENT, Edge, SERVER, Stage};
    pub use crate::traffic::{Client, ClientReport, Server, get};
    pub use crate::truth::Snmp;
    pub use crate::unseen::but_for_unseen;

    /// How long the exporter may take to show what has just happened.
    pub const SOON: Duration = Duration::from_secs(10);
}
