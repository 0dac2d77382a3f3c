// SPDX-License-Identifier: Apache-2.0
//! Ports for connections that the host opens.

use super::host::{Absent, Host};
use super::samples::{Samples, plain};
use super::{Item, Name};
use crate::source::Family;
use crate::source::FamilyKind::Gauge;

static LIMIT: Family = plain(
    "node_local_ports_limit",
    Gauge,
    &[],
    "Ports that connections opened in the host's network namespace can have, without reserved ones: so many connections from one address to one address and port there can be, those in state TIME_WAIT included.",
    "net.ipv4.ip_local_port_range, net.ipv4.ip_local_reserved_ports",
);

/// In the order in which they are served.
pub const FAMILIES: &[&Family] = &[&LIMIT];

/// Reads the range. How many of the ports are taken has no meaning without the destination: each has the whole range.
pub struct Ports;

impl Item for Ports {
    fn name(&self) -> Name {
        "local_ports"
    }

    fn read(&mut self, host: &Host, out: &mut Samples) -> Result<(), Absent> {
        host.require_inside()?;
        let text = host.proc("sys/net/ipv4/ip_local_port_range")?;
        let (first, last) = (text.number(0)? as i64, text.number(1)? as i64);
        let reserved = host.proc("sys/net/ipv4/ip_local_reserved_ports")?;
        let mut count = (last - first + 1).max(0);
        for range in reserved.lines().flat_map(|line| line.split(',')).filter(|range| !range.is_empty()) {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            match (from.parse::<u16>(), to.parse::<u16>()) {
                // The kernel merges ranges that overlap.
                (Ok(from), Ok(to)) => {
                    count -= (last.min(to.into()) - first.max(from.into()) + 1).max(0);
                }
                _ => return Err(reserved.odd("not a list of ports")),
            }
        }
        out.one(&LIMIT, count.max(0) as f64);
        Ok(())
    }
}
