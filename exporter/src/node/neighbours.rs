// SPDX-License-Identifier: Apache-2.0
//! The tables of neighbours (ARP, neighbour discovery), which all network namespaces of a kernel share.

use super::host::{Absent, Host, Text};
use super::samples::{Samples, plain};
use super::{Item, Name};
use crate::source::Family;
use crate::source::FamilyKind::{Counter, Gauge};

static ENTRIES: Family = plain(
    "node_neighbour_entries",
    Gauge,
    &["family"],
    "Entries of the neighbour table, those of all network namespaces together, permanent ones included.",
    "`entries` of /proc/1/net/stat/arp_cache and ndisc_cache",
);
static OVERFLOWS: Family = plain(
    "node_neighbour_overflows",
    Counter,
    &["family"],
    "Times that a neighbour could not be entered because the table was full (gc_thresh3): the packet was not sent.",
    "`table_fulls` of /proc/1/net/stat/arp_cache and ndisc_cache",
);
static FAILURES: Family = plain(
    "node_neighbour_resolution_failures",
    Counter,
    &["family"],
    "Times that a neighbour did not answer.",
    "`res_failed` of /proc/1/net/stat/arp_cache and ndisc_cache",
);
static DISCARDS: Family = plain(
    "node_neighbour_unresolved_discards",
    Counter,
    &["family"],
    "Packets dropped because too many waited for a neighbour's answer already.",
    "`unresolved_discards` of /proc/1/net/stat/arp_cache and ndisc_cache",
);

/// In the order in which they are served.
pub const FAMILIES: &[&Family] = &[&ENTRIES, &OVERFLOWS, &FAILURES, &DISCARDS];

const COUNTERS: [(&str, &Family); 3] =
    [("table_fulls", &OVERFLOWS), ("res_failed", &FAILURES), ("unresolved_discards", &DISCARDS)];

/// Reads `net/stat/arp_cache` and `ndisc_cache`, which the kernel shows in its first network namespace only.
pub struct Neighbours;

impl Item for Neighbours {
    fn name(&self) -> Name {
        "neighbours"
    }

    fn read(&mut self, host: &Host, out: &mut Samples) -> Result<(), Absent> {
        let mut tables = vec![("ipv4", Table::of(&host.net("stat/arp_cache")?)?)];
        match host.net("stat/ndisc_cache") {
            Ok(text) => tables.push(("ipv6", Table::of(&text)?)),
            // A kernel started without IPv6.
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
        out.each(&ENTRIES, tables.iter().map(|(family, table)| (*family, table.entries as f64)));
        for (at, (_, family)) in COUNTERS.into_iter().enumerate() {
            let counted = tables.iter().filter_map(|(name, table)| Some((*name, table.counters[at]? as f64)));
            out.each(family, counted);
        }
        Ok(())
    }
}

/// What one table tells. The counters are as wide as a machine word.
struct Table {
    entries: u64,
    /// In the order of [`COUNTERS`]; none if this kernel does not count it.
    counters: [Option<u64>; COUNTERS.len()],
}

impl Table {
    /// From a header and a line for each CPU, in hexadecimal.
    fn of(text: &Text) -> Result<Self, Absent> {
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
        let rows = lines.map(|line| {
            line.split_whitespace().map(|word| u64::from_str_radix(word, 16)).collect::<Result<Vec<_>, _>>()
        });
        let rows: Vec<_> = rows.collect::<Result<_, _>>().map_err(|_| text.odd("not all numbers"))?;
        if rows.is_empty() || rows.iter().any(|row| row.len() != header.len()) {
            return Err(text.odd("rows do not fit the header"));
        }
        let column = |name| header.iter().position(|column| *column == name);
        let sum = |name| {
            let column = column(name)?;
            Some(rows.iter().fold(0, |sum: u64, row| sum.wrapping_add(row[column])))
        };
        // Each row has the number of the whole table.
        let entries = column("entries").map(|column| rows[0][column]);
        let entries = entries.ok_or_else(|| text.odd("no column entries"))?;
        Ok(Self { entries, counters: COUNTERS.map(|(name, _)| sum(name)) })
    }
}
