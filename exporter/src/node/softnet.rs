// SPDX-License-Identifier: Apache-2.0
//! What the CPUs did with received packets.

use super::host::{Absent, Host};
use super::per_cpu::PerCpu;
use super::samples::{Samples, plain};
use super::{Item, Name};
use crate::source::Family;
use crate::source::FamilyKind::{Counter, Gauge};

static PROCESSED: Family = plain(
    "node_softnet_processed",
    Counter,
    &[],
    "Packets that the CPUs took from interfaces and backlogs.",
    "/proc/1/net/softnet_stat, column 1",
);
static DROPPED: Family = plain(
    "node_softnet_dropped",
    Counter,
    &[],
    "Packets dropped because a CPU's backlog was full (net.core.netdev_max_backlog).",
    "/proc/1/net/softnet_stat, column 2",
);
static SQUEEZED: Family = plain(
    "node_softnet_time_squeezed",
    Counter,
    &[],
    "Times that a CPU stopped taking packets with some left, because its budget or time was used up (net.core.netdev_budget).",
    "/proc/1/net/softnet_stat, column 3",
);
static FLOW_LIMITED: Family = plain(
    "node_softnet_flow_limited",
    Counter,
    &[],
    "Packets dropped because one flow filled half of a CPU's backlog (net.core.flow_limit_cpu_bitmap).",
    "/proc/1/net/softnet_stat, column 11",
);
static BACKLOG: Family = plain(
    "node_softnet_backlog_packets",
    Gauge,
    &[],
    "Packets waiting in the backlogs of all CPUs.",
    "/proc/1/net/softnet_stat, column 12",
);

/// In the order in which they are served.
pub const FAMILIES: &[&Family] = &[&PROCESSED, &DROPPED, &SQUEEZED, &FLOW_LIMITED, &BACKLOG];

/// Columns, from 0. Old kernels have no backlog and no number of the CPU, and 6.4 and newer have two columns more.
const COUNTERS: [(usize, &Family); 4] = [(0, &PROCESSED), (1, &DROPPED), (2, &SQUEEZED), (10, &FLOW_LIMITED)];
const BACKLOG_COLUMN: usize = 11;
const CPU_COLUMN: usize = 12;

/// Reads `net/softnet_stat`: a line for each CPU that is switched on, in hexadecimal.
#[derive(Default)]
pub struct Softnet {
    sums: [PerCpu; COUNTERS.len()],
}

impl Item for Softnet {
    fn name(&self) -> Name {
        "softnet"
    }

    fn read(&mut self, host: &Host, out: &mut Samples) -> Result<(), Absent> {
        let text = host.net("softnet_stat")?;
        let rows = text.lines().map(|line| {
            line.split_whitespace().map(|word| u32::from_str_radix(word, 16)).collect::<Result<Vec<_>, _>>()
        });
        let rows: Vec<_> = rows.collect::<Result<_, _>>().map_err(|_| text.odd("not all numbers"))?;
        let columns = rows.iter().map(Vec::len).min().unwrap_or_default();
        if columns < 3 {
            return Err(text.odd("fewer than three columns"));
        }
        for ((column, family), sum) in COUNTERS.into_iter().zip(&mut self.sums) {
            if column >= columns {
                continue;
            }
            for (line, row) in rows.iter().enumerate() {
                let cpu = row.get(CPU_COLUMN).map_or(line, |cpu| *cpu as usize);
                sum.note(cpu, row[column]);
            }
            out.one(family, sum.total());
        }
        if columns > BACKLOG_COLUMN {
            out.one(&BACKLOG, rows.iter().map(|row| f64::from(row[BACKLOG_COLUMN])).sum());
        }
        Ok(())
    }
}
