// SPDX-License-Identifier: Apache-2.0
//! Sockets and the memory of their buffers.

use super::host::{Absent, Host, Text};
use super::samples::{Samples, bytes, plain};
use super::{Item, Name};
use crate::source::Family;
use crate::source::FamilyKind::Gauge;

static SOCKETS: Family = plain(
    "node_sockets",
    Gauge,
    &[],
    "Open sockets of every kind in the host's network namespace.",
    "`sockets: used` of /proc/1/net/sockstat",
);
static ORPHANS: Family = plain(
    "node_tcp_orphans",
    Gauge,
    &[],
    "TCP sockets that no process holds any more and that still have something to send, in all network namespaces.",
    "`orphan` of /proc/1/net/sockstat",
);
static TIME_WAIT: Family = plain(
    "node_tcp_time_wait",
    Gauge,
    &[],
    "TCP connections in state TIME_WAIT in the host's network namespace.",
    "`tw` of /proc/1/net/sockstat",
);
static TCP_MEMORY: Family = bytes(plain(
    "node_tcp_memory_bytes",
    Gauge,
    &[],
    "Memory of the buffers of TCP sockets, of all network namespaces.",
    "`TCP: mem` of /proc/1/net/sockstat, in pages",
));
static UDP_MEMORY: Family = bytes(plain(
    "node_udp_memory_bytes",
    Gauge,
    &[],
    "Memory of the buffers of UDP sockets, of all network namespaces.",
    "`UDP: mem` of /proc/1/net/sockstat, in pages",
));
static FRAGMENTS: Family = bytes(plain(
    "node_ip_fragment_memory_bytes",
    Gauge,
    &["family"],
    "Memory of fragments that wait for the rest of their packets, in the host's network namespace.",
    "`FRAG: memory` of /proc/1/net/sockstat, `FRAG6: memory` of sockstat6",
));

/// In the order in which they are served.
pub const FAMILIES: &[&Family] = &[&SOCKETS, &ORPHANS, &TIME_WAIT, &TCP_MEMORY, &UDP_MEMORY, &FRAGMENTS];

/// Reads `net/sockstat` and `net/sockstat6`.
pub struct Sockets;

impl Item for Sockets {
    fn name(&self) -> Name {
        "sockets"
    }

    fn read(&mut self, host: &Host, out: &mut Samples) -> Result<(), Absent> {
        let text = host.net("sockstat")?;
        let page = procfs::page_size() as f64;
        out.one(&SOCKETS, number(&text, "sockets:", "used")?);
        out.one(&ORPHANS, number(&text, "TCP:", "orphan")?);
        out.one(&TIME_WAIT, number(&text, "TCP:", "tw")?);
        out.one(&TCP_MEMORY, number(&text, "TCP:", "mem")? * page);
        out.one(&UDP_MEMORY, number(&text, "UDP:", "mem")? * page);
        let mut fragments = vec![("ipv4", number(&text, "FRAG:", "memory")?)];
        match host.net("sockstat6") {
            Ok(text) => fragments.push(("ipv6", number(&text, "FRAG6:", "memory")?)),
            // A kernel started without IPv6.
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
        out.each(&FRAGMENTS, fragments);
        Ok(())
    }
}

/// The number behind a word in the line that begins with `section`. Numbers that several CPUs keep may be below nothing
/// for a moment.
fn number(text: &Text, section: &str, key: &str) -> Result<f64, Absent> {
    let line = text.lines().find_map(|line| line.strip_prefix(section));
    let mut words = line.unwrap_or_default().split_whitespace();
    let value = words.find(|word| *word == key).and_then(|_| words.next());
    let value = value.and_then(|value| value.parse::<i64>().ok());
    value.map(|value| value.max(0) as f64).ok_or_else(|| text.odd(format!("no number {section} {key}")))
}
