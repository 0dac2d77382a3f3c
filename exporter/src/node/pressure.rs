// SPDX-License-Identifier: Apache-2.0
//! Time that tasks waited for what they need.

use procfs::parse_pressure_record;

use super::host::{Absent, Host};
use super::samples::{Samples, plain, seconds};
use super::{Item, Name};
use crate::source::Family;
use crate::source::FamilyKind::Counter;

static STALLED: Family = seconds(plain(
    "node_pressure_stalled_seconds",
    Counter,
    &["resource", "kind"],
    "Time in which some or all (full) of the tasks that had work to do waited for the resource; irq is time that they lost to interrupts.",
    "`total` of /proc/pressure/cpu, memory, io and irq",
));

/// In the order in which they are served.
pub const FAMILIES: &[&Family] = &[&STALLED];

const RESOURCES: [&str; 4] = ["cpu", "memory", "io", "irq"];

/// Reads `/proc/pressure`. Kernels without accounting of interrupt time, and those before 6.1, have no `irq`.
pub struct Pressure;

impl Item for Pressure {
    fn name(&self) -> Name {
        "pressure"
    }

    fn read(&mut self, host: &Host, out: &mut Samples) -> Result<(), Absent> {
        let mut stalled = Vec::new();
        for resource in RESOURCES {
            let text = match host.proc(&format!("pressure/{resource}")) {
                Ok(text) => text,
                Err(error) if resource == "irq" && error.is_missing() => continue,
                Err(error) => return Err(error),
            };
            for line in text.lines() {
                let kind = match line.split_whitespace().next() {
                    Some("some") => "some",
                    Some("full") => "full",
                    _ => return Err(text.odd("neither some nor full")),
                };
                let record = parse_pressure_record(line).map_err(|_| text.odd("no total"))?;
                stalled.push((resource, kind, record.total as f64 / 1e6));
            }
        }
        out.each_pair(&STALLED, stalled);
        Ok(())
    }
}
