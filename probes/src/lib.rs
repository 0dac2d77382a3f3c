// SPDX-License-Identifier: Apache-2.0
//! All of Flowgauge that knows the kernel: BPF programs, attaching, draining, decoding.
//!
//! Knows no names and no Prometheus. A probe hands out what was counted by [`FlowKey`]; who the ends
//! of a flow are is asked elsewhere.

pub mod cgroups;
pub mod drops;
mod error;
pub mod ethtool;
mod features;
mod kernel;
mod maps;
pub mod namespaces;
pub mod packets;
mod processes;
mod programs;
pub mod tcp;

pub use error::Error;
pub use features::{Feature, features};
pub use kernel::{Facts, MINIMUM_KERNEL, monotonic};
pub use programs::{MapUse, ProgramUse};
pub use tcp::{FlowKey, Peer, Role, Transport};

/// What libbpf-cargo generates from `bpf/*.bpf.c`.
#[allow(
    missing_docs,
    unused_imports,
    dead_code,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used
)]
mod skeleton {
    pub mod cgroups {
        include!(concat!(env!("OUT_DIR"), "/cgroups.skel.rs"));
    }
    pub mod drops {
        include!(concat!(env!("OUT_DIR"), "/drops.skel.rs"));
    }
    pub mod namespaces {
        include!(concat!(env!("OUT_DIR"), "/namespaces.skel.rs"));
    }
    pub mod packets {
        include!(concat!(env!("OUT_DIR"), "/packets.skel.rs"));
    }
    pub mod tcp {
        include!(concat!(env!("OUT_DIR"), "/tcp.skel.rs"));
    }
}

/// Sends libbpf's own messages to the log, where they explain a program the kernel refused.
pub fn forward_libbpf_messages() {
    use libbpf_rs::PrintLevel;
    fn forward(level: PrintLevel, message: String) {
        let message = message.trim_end();
        match level {
            PrintLevel::Debug => tracing::trace!(target: "libbpf", "{message}"),
            PrintLevel::Info | PrintLevel::Warn => tracing::debug!(target: "libbpf", "{message}"),
        }
    }
    libbpf_rs::set_print(Some((PrintLevel::Debug, forward)));
}
