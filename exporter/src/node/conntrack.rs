// SPDX-License-Identifier: Apache-2.0
//! The connection tracking table of the host's network namespace.

use super::host::{Absent, Host};
use super::per_cpu::PerCpu;
use super::samples::{Samples, plain};
use super::{Item, Name};
use crate::source::Family;
use crate::source::FamilyKind::{Counter, Gauge};

static ENTRIES: Family = plain(
    "node_conntrack_entries",
    Gauge,
    &[],
    "Entries of the connection tracking table of the host's network namespace.",
    "`entries` of /proc/1/net/stat/nf_conntrack",
);
static EVENTS: Family = plain(
    "node_conntrack_events",
    Counter,
    &["event"],
    "What went wrong in connection tracking in the host's network namespace: packets dropped because the table was full (drop) or because another connection had taken the same translation (insert_failed), entries evicted for new ones (early_drop), clashes mended (clash_resolved), hash chains too long (chain_too_long), packets that fit no connection (invalid), ICMP errors that fit none (icmp_error), searches begun anew (search_restart).",
    "/proc/1/net/stat/nf_conntrack",
);

/// In the order in which they are served.
pub const FAMILIES: &[&Family] = &[&ENTRIES, &EVENTS];

/// Columns by what kernels call them, and the event of each. Older ones have `delete_list` where newer have `chainlength`, and
/// `searched` where newer have `clashres`; the columns left out tell of no trouble.
const COLUMNS: [(&str, &str); 9] = [
    ("drop", "drop"),
    ("insert_failed", "insert_failed"),
    ("early_drop", "early_drop"),
    ("clashres", "clash_resolved"),
    ("chainlength", "chain_too_long"),
    ("chaintoolong", "chain_too_long"),
    ("invalid", "invalid"),
    ("icmp_error", "icmp_error"),
    ("search_restart", "search_restart"),
];

/// Reads `net/stat/nf_conntrack`: a header and a line for each CPU, in hexadecimal.
#[derive(Default)]
pub struct Conntrack {
    sums: [PerCpu; COLUMNS.len()],
}

impl Item for Conntrack {
    fn name(&self) -> Name {
        "conntrack"
    }

    fn read(&mut self, host: &Host, out: &mut Samples) -> Result<(), Absent> {
        let text = host.net("stat/nf_conntrack")?;
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
        let rows = lines.map(|line| {
            line.split_whitespace().map(|word| u32::from_str_radix(word, 16)).collect::<Result<Vec<_>, _>>()
        });
        let rows: Vec<_> = rows.collect::<Result<_, _>>().map_err(|_| text.odd("not all numbers"))?;
        let column = |name| header.iter().position(|column| *column == name);
        let entries = column("entries").ok_or_else(|| text.odd("no column entries"))?;
        if rows.is_empty() || rows.iter().any(|row| row.len() != header.len()) {
            return Err(text.odd("rows do not fit the header"));
        }
        // Each row has the number of the whole table.
        out.one(&ENTRIES, f64::from(rows[0][entries]));
        let mut events = Vec::new();
        for ((name, event), sum) in COLUMNS.iter().zip(&mut self.sums) {
            let Some(column) = column(name) else { continue };
            rows.iter().enumerate().for_each(|(cpu, row)| sum.note(cpu, row[column]));
            events.push((*event, sum.total()));
        }
        out.each(&EVENTS, events);
        Ok(())
    }
}
