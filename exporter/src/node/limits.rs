// SPDX-License-Identifier: Apache-2.0
//! Settings of the kernel that something can run against.

use super::host::{Absent, Host};
use super::samples::{Samples, bytes, plain};
use super::{Item, Name};
use crate::source::Family;
use crate::source::FamilyKind::Gauge;

static CONNTRACK: Family = plain(
    "node_conntrack_limit",
    Gauge,
    &[],
    "Most entries that the connection tracking table of one network namespace may have.",
    "net.netfilter.nf_conntrack_max",
);
static NEIGHBOURS: Family = plain(
    "node_neighbour_limit",
    Gauge,
    &["family"],
    "Most entries that the neighbour table may have, permanent ones not counted.",
    "net.ipv4.neigh.default.gc_thresh3, net.ipv6.neigh.default.gc_thresh3",
);
static TCP_MEMORY: Family = bytes(plain(
    "node_tcp_memory_limit_bytes",
    Gauge,
    &[],
    "Memory of TCP buffers beyond which packets are dropped and connections are reset.",
    "net.ipv4.tcp_mem, third number, in pages",
));
static TCP_PRESSURE: Family = bytes(plain(
    "node_tcp_memory_pressure_limit_bytes",
    Gauge,
    &[],
    "Memory of TCP buffers beyond which the kernel makes them smaller.",
    "net.ipv4.tcp_mem, second number, in pages",
));
static UDP_MEMORY: Family = bytes(plain(
    "node_udp_memory_limit_bytes",
    Gauge,
    &[],
    "Memory of UDP buffers beyond which datagrams are dropped.",
    "net.ipv4.udp_mem, third number, in pages",
));
static ORPHANS: Family = plain(
    "node_tcp_orphans_limit",
    Gauge,
    &[],
    "Most TCP sockets without a process; further ones are reset.",
    "net.ipv4.tcp_max_orphans",
);
static TIME_WAIT: Family = plain(
    "node_tcp_time_wait_limit",
    Gauge,
    &[],
    "Most connections in state TIME_WAIT in the host's network namespace; further ones are forgotten at once.",
    "net.ipv4.tcp_max_tw_buckets",
);
static FRAGMENTS: Family = bytes(plain(
    "node_ip_fragment_memory_limit_bytes",
    Gauge,
    &["family"],
    "Memory of waiting fragments beyond which further ones are dropped, in the host's network namespace.",
    "net.ipv4.ipfrag_high_thresh, net.ipv6.ip6frag_high_thresh",
));

/// Of all of them, in the order in which they are served; they come in three parts with other families between.
pub const CONNTRACK_FAMILIES: &[&Family] = &[&CONNTRACK];
/// The second part.
pub const NEIGHBOUR_FAMILIES: &[&Family] = &[&NEIGHBOURS];
/// The third.
pub const SOCKET_FAMILIES: &[&Family] =
    &[&TCP_MEMORY, &TCP_PRESSURE, &UDP_MEMORY, &ORPHANS, &TIME_WAIT, &FRAGMENTS];

/// Whose setting it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// One for the kernel, whether or not every network namespace shows it.
    Kernel,
    /// Each network namespace has its own, and one sees only one's own.
    Namespace,
}

/// One number of one file below `/proc/sys/net`.
struct Setting {
    family: &'static Family,
    /// The value of its label.
    label: Option<&'static str>,
    file: &'static str,
    column: usize,
    pages: bool,
    /// Kernels without IPv6 have none.
    optional: bool,
}

/// Settings that are there or not there together.
pub struct Limits {
    name: Name,
    scope: Scope,
    settings: &'static [Setting],
}

const fn setting(family: &'static Family, file: &'static str) -> Setting {
    Setting { family, label: None, file, column: 0, pages: false, optional: false }
}

const fn pages(family: &'static Family, file: &'static str, column: usize) -> Setting {
    Setting { column, pages: true, ..setting(family, file) }
}

const fn of_family(
    family: &'static Family,
    label: &'static str,
    file: &'static str,
    optional: bool,
) -> Setting {
    Setting { label: Some(label), optional, ..setting(family, file) }
}

/// Beside [`super::conntrack::Conntrack`].
pub const CONNTRACK_LIMIT: Limits = Limits {
    name: "conntrack_limit",
    scope: Scope::Kernel,
    settings: &[setting(&CONNTRACK, "netfilter/nf_conntrack_max")],
};
/// Beside [`super::neighbours::Neighbours`].
pub const NEIGHBOUR_LIMITS: Limits = Limits {
    name: "neighbour_limits",
    scope: Scope::Kernel,
    settings: &[
        of_family(&NEIGHBOURS, "ipv4", "ipv4/neigh/default/gc_thresh3", false),
        of_family(&NEIGHBOURS, "ipv6", "ipv6/neigh/default/gc_thresh3", true),
    ],
};
/// Beside [`super::sockets::Sockets`].
pub const MEMORY_LIMITS: Limits = Limits {
    name: "memory_limits",
    scope: Scope::Kernel,
    settings: &[
        pages(&TCP_MEMORY, "ipv4/tcp_mem", 2),
        pages(&TCP_PRESSURE, "ipv4/tcp_mem", 1),
        pages(&UDP_MEMORY, "ipv4/udp_mem", 2),
        setting(&ORPHANS, "ipv4/tcp_max_orphans"),
    ],
};
/// Beside [`super::sockets::Sockets`].
pub const NAMESPACE_LIMITS: Limits = Limits {
    name: "namespace_limits",
    scope: Scope::Namespace,
    settings: &[
        setting(&TIME_WAIT, "ipv4/tcp_max_tw_buckets"),
        of_family(&FRAGMENTS, "ipv4", "ipv4/ipfrag_high_thresh", false),
        of_family(&FRAGMENTS, "ipv6", "ipv6/ip6frag_high_thresh", true),
    ],
};

impl Item for Limits {
    fn name(&self) -> Name {
        self.name
    }

    fn read(&mut self, host: &Host, out: &mut Samples) -> Result<(), Absent> {
        if self.scope == Scope::Namespace {
            host.require_inside()?;
        }
        for setting in self.settings {
            let number = match host.proc(&format!("sys/net/{}", setting.file)) {
                Ok(text) => text.number(setting.column)?,
                Err(error) if setting.optional && error.is_missing() => continue,
                Err(error) => return Err(error),
            };
            let value = if setting.pages { number * procfs::page_size() as f64 } else { number };
            match setting.label {
                Some(label) => out.each(setting.family, [(label, value)]),
                None => out.one(setting.family, value),
            }
        }
        Ok(())
    }
}
