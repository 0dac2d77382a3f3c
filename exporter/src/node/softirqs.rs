// SPDX-License-Identifier: Apache-2.0
//! Software interrupts, in which the kernel receives and sends packets.

use super::host::{Absent, Host};
use super::per_cpu::PerCpu;
use super::samples::{Samples, plain, seconds};
use super::{Item, Name};
use crate::source::Family;
use crate::source::FamilyKind::{Counter, Gauge};

static RUNS: Family = plain(
    "node_softirqs",
    Counter,
    &["vector"],
    "Runs of the software interrupts that receive (net_rx) and clean up after sending (net_tx).",
    "NET_RX and NET_TX of /proc/softirqs",
);
static TIME: Family = seconds(plain(
    "node_softirq_seconds",
    Counter,
    &[],
    "CPU time of all software interrupts, which the kernel does not tell apart, outside the threads that take over when there are too many (ksoftirqd).",
    "`softirq` of the line `cpu` in /proc/stat",
));
static CPUS: Family =
    plain("node_cpus", Gauge, &[], "CPUs that are switched on.", "lines `cpu0`… of /proc/stat");

/// In the order in which they are served.
pub const FAMILIES: &[&Family] = &[&RUNS, &TIME, &CPUS];

const VECTORS: [(&str, &str); 2] = [("NET_RX:", "net_rx"), ("NET_TX:", "net_tx")];

/// Reads `/proc/softirqs`: a line for each vector, a column for each CPU.
#[derive(Default)]
pub struct Runs {
    sums: [PerCpu; VECTORS.len()],
}

impl Item for Runs {
    fn name(&self) -> Name {
        "softirqs"
    }

    fn read(&mut self, host: &Host, out: &mut Samples) -> Result<(), Absent> {
        let text = host.proc("softirqs")?;
        let mut runs = Vec::new();
        for ((name, vector), sum) in VECTORS.into_iter().zip(&mut self.sums) {
            let counts = text.lines().find_map(|line| line.trim_start().strip_prefix(name));
            let counts = counts.ok_or_else(|| text.odd(format!("no line {name}")))?;
            for (cpu, count) in counts.split_whitespace().enumerate() {
                sum.note(cpu, count.parse().map_err(|_| text.odd(format!("not all numbers in {name}")))?);
            }
            runs.push((vector, sum.total()));
        }
        out.each(&RUNS, runs);
        Ok(())
    }
}

/// Reads `/proc/stat`.
pub struct Time;

impl Item for Time {
    fn name(&self) -> Name {
        "cpu"
    }

    fn read(&mut self, host: &Host, out: &mut Samples) -> Result<(), Absent> {
        let text = host.proc("stat")?;
        let all = text.lines().find_map(|line| line.strip_prefix("cpu "));
        let softirq = all.and_then(|line| line.split_whitespace().nth(6)?.parse::<u64>().ok());
        let softirq = softirq.ok_or_else(|| text.odd("no softirq time in the line cpu"))?;
        let of_a_cpu = |line: &&str| {
            line.strip_prefix("cpu")
                .is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()))
        };
        out.one(&TIME, softirq as f64 / procfs::ticks_per_second() as f64);
        out.one(&CPUS, text.lines().filter(of_a_cpu).count() as f64);
        Ok(())
    }
}
