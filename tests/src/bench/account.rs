// SPDX-License-Identifier: Apache-2.0

//! Processor time and memory, from the kernel's accounts.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Processor time that the calling process has used, all threads, to the nanosecond.
pub fn own_cpu() -> Result<Duration> {
    cpu_of(std::process::id())
}

/// Processor time that a process has used, all threads, those that ended too, to the nanosecond.
pub fn cpu_of(pid: u32) -> Result<Duration> {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointers are to live values.
    let failed = unsafe {
        libc::clock_getcpuclockid(libc::pid_t::try_from(pid)?, &raw mut clock) != 0
            || libc::clock_gettime(clock, &raw mut time) != 0
    };
    ensure!(!failed, "processor time of process {pid}: {}", std::io::Error::last_os_error());
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Time that all processors together were busy since boot, interrupts and soft interrupts included, in steps of a
/// clock tick (`/proc/stat`).
pub fn machine_busy() -> Result<Duration> {
    // SAFETY: no memory is involved.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    let fields: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time is within user.
    let busy: f64 = [0, 1, 2, 5, 6].iter().filter_map(|at| fields.get(*at)).sum();
    Ok(Duration::from_secs_f64(busy / ticks_per_second))
}

/// How many processors are busy now, over two seconds, while the benchmark itself does nothing.
pub fn other_load() -> Result<f64> {
    let (started, before) = (Instant::now(), machine_busy()?);
    std::thread::sleep(Duration::from_secs(2));
    Ok(machine_busy()?.saturating_sub(before).as_secs_f64() / started.elapsed().as_secs_f64())
}

/// Memory of a process in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Resident: `VmRSS`.
    pub resident: u64,
    /// Resident and its own, no file: `RssAnon`.
    pub anonymous: u64,
    /// Of the BPF maps it has open: `memlock` of their `fdinfo`.
    pub maps: u64,
}

/// Of a running process.
pub fn memory_of(pid: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<u64> {
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| name.to_string())?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    };
    let maps: BTreeMap<u64, u64> = descriptors(pid)?
        .iter()
        .filter_map(|fields| Some((*fields.get("map_id")?, *fields.get("memlock")?)))
        .collect();
    Ok(Memory { resident: field("VmRSS:")?, anonymous: field("RssAnon:")?, maps: maps.values().sum() })
}

/// Run time of the BPF programs that a process has open, as the kernel counts it while `kernel.bpf_stats_enabled` is on
/// (`fdinfo` of the programs).
#[derive(Debug, Clone, Default)]
pub struct Programs(BTreeMap<u64, Runs>);

#[derive(Debug, Clone, Copy, Default)]
struct Runs {
    kind: u64,
    time: Duration,
}

/// `BPF_PROG_TYPE_TRACING`: the kind that runs in the time of whoever comes by.
const TRACING: u64 = 26;

impl Programs {
    /// What was added since an earlier account.
    pub fn since(&self, earlier: &Self) -> Self {
        let added = self.0.iter().map(|(id, runs)| {
            let before = earlier.0.get(id).copied().unwrap_or_default();
            let time = runs.time.saturating_sub(before.time);
            (*id, Runs { kind: runs.kind, time })
        });
        Self(added.collect())
    }

    /// Time spent by programs that run in other processes' time.
    pub fn elsewhere(&self) -> Duration {
        self.0.values().filter(|runs| runs.kind == TRACING).map(|runs| runs.time).sum()
    }
}

/// Of a running process.
pub fn programs_of(pid: u32) -> Result<Programs> {
    let mut programs = BTreeMap::new();
    for fields in descriptors(pid)? {
        if let (Some(id), Some(kind)) = (fields.get("prog_id"), fields.get("prog_type"))
            && let Some(time) = fields.get("run_time_ns")
        {
            programs.insert(*id, Runs { kind: *kind, time: Duration::from_nanos(*time) });
        }
    }
    Ok(Programs(programs))
}

/// The numbers in `fdinfo` of each open file.
fn descriptors(pid: u32) -> Result<Vec<BTreeMap<String, u64>>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // One that was closed meanwhile says nothing.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let fields = text.lines().filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_string(), value.trim().parse().ok()?))
        });
        all.push(fields.collect());
    }
    Ok(all)
}
