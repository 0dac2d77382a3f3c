// SPDX-License-Identifier: Apache-2.0
//! The `process_*` families, named and meant as in every Prometheus client library.

use std::path::{Path, PathBuf};

use procfs::process::{LimitValue, Process};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::{counter::ConstCounter, gauge::ConstGauge};

use crate::source::{Family, FamilyKind, Unit};

/// The process's families, in the order they are exposed. They have no prefix.
pub static PROCESS_FAMILIES: &[&Family] =
    &[CPU_SECONDS, RESIDENT_MEMORY, VIRTUAL_MEMORY, START_TIME, THREADS, OPEN_FDS, MAX_FDS];

const fn family(
    name: &'static str,
    kind: FamilyKind,
    unit: Option<Unit>,
    texts: (&'static str, &'static str),
) -> Family {
    Family { name, kind, unit, help: texts.0, labels: &[], edge: false, source: texts.1, buckets: "" }
}

const CPU_SECONDS: &Family = &family(
    "process_cpu_seconds",
    FamilyKind::Counter,
    Some(Unit::Seconds),
    ("User and system CPU time spent.", "`utime` and `stime` of /proc/self/stat"),
);
const RESIDENT_MEMORY: &Family = &family(
    "process_resident_memory_bytes",
    FamilyKind::Gauge,
    Some(Unit::Bytes),
    ("Resident memory size.", "`rss` of /proc/self/stat"),
);
const VIRTUAL_MEMORY: &Family = &family(
    "process_virtual_memory_bytes",
    FamilyKind::Gauge,
    Some(Unit::Bytes),
    ("Virtual memory size.", "`vsize` of /proc/self/stat"),
);
const START_TIME: &Family = &family(
    "process_start_time_seconds",
    FamilyKind::Gauge,
    Some(Unit::Seconds),
    (
        "Start time of the process since the Unix epoch.",
        "`starttime` of /proc/self/stat and `btime` of /proc/stat",
    ),
);
const THREADS: &Family = &family(
    "process_threads",
    FamilyKind::Gauge,
    None,
    ("Number of threads.", "`num_threads` of /proc/self/stat"),
);
const OPEN_FDS: &Family = &family(
    "process_open_fds",
    FamilyKind::Gauge,
    None,
    ("Number of open file descriptors.", "entries of /proc/self/fd"),
);
const MAX_FDS: &Family = &family(
    "process_max_fds",
    FamilyKind::Gauge,
    None,
    ("Maximum number of open file descriptors.", "soft limit `Max open files` of /proc/self/limits"),
);

/// Reads the process's own entries when scraped. What cannot be read is left out.
#[derive(Debug)]
pub struct ProcessCollector {
    own: PathBuf,
    boot_time: Option<u64>,
}

impl ProcessCollector {
    /// Below this procfs, which `--path.procfs` names.
    pub fn new(procfs: &Path) -> Self {
        let stat = std::fs::read_to_string(procfs.join("stat")).unwrap_or_default();
        let boot_time = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
        Self { own: procfs.join("self"), boot_time }
    }
}

impl Collector for ProcessCollector {
    // Counts of bytes, ticks and descriptors as gauges: exact below 2^53.
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let Ok(process) = Process::new_with_root(self.own.clone()) else { return Ok(()) };
        let stat = process.stat().ok();
        let ticks = procfs::ticks_per_second() as f64;
        if let Some(stat) = &stat {
            let seconds = (stat.utime + stat.stime) as f64 / ticks;
            ConstCounter::new(seconds).encode(CPU_SECONDS.describe(&mut encoder)?)?;
        }
        let mut gauge = |family: &'static Family, value: f64| {
            ConstGauge::new(value).encode(family.describe(&mut encoder)?)
        };
        if let Some(stat) = &stat {
            gauge(RESIDENT_MEMORY, (stat.rss * procfs::page_size()) as f64)?;
            gauge(VIRTUAL_MEMORY, stat.vsize as f64)?;
            if let Some(boot_time) = self.boot_time {
                gauge(START_TIME, boot_time as f64 + stat.starttime as f64 / ticks)?;
            }
            gauge(THREADS, stat.num_threads as f64)?;
        }
        if let Ok(count) = process.fd_count() {
            gauge(OPEN_FDS, count as f64)?;
        }
        if let Ok(LimitValue::Value(limit)) = process.limits().map(|limits| limits.max_open_files.soft_limit)
        {
            gauge(MAX_FDS, limit as f64)?;
        }
        Ok(())
    }
}
