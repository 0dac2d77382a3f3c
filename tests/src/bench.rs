// SPDX-License-Identifier: Apache-2.0

//! The cost benchmark: what the exporter costs those it observes, and what it costs itself.
//!
//! The figures of `make bench` come from here. Traffic makers and measures are this crate's own; nothing is taken from
//! what the exporter says of itself, but for the run times of its kernel programs, which the kernel counts.

mod account;
mod arms;
mod cluster;
mod datagrams;
mod flood;
mod floor;
mod hold;
mod machine;
mod rig;
mod scale;
mod spread;
mod table;
mod trace;
mod web;
mod work;

pub use account::other_load;
pub use arms::per_operation;
pub use cluster::cluster;
pub use flood::per_dropped_packet;
pub use hold::hold;
pub use machine::Cgroup;
pub use scale::{many_series, many_sockets, ordinary_node, start};
pub use table::Table;
pub use web::per_request;
pub use work::{Operation, work};
