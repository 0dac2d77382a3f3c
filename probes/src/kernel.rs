// SPDX-License-Identifier: Apache-2.0
//! Facts about the running kernel, found once. The rules that follow from them are elsewhere.

use std::io;
use std::path::Path;

use libbpf_rs::btf::{Btf, ReferencesType as _, types};

use crate::Error;

/// The oldest kernel the probes are written and tested for, as (major, minor).
pub const MINIMUM_KERNEL: (u32, u32) = (6, 1);

const VMLINUX_BTF: &str = "/sys/kernel/btf/vmlinux";

/// What this kernel has.
#[derive(Debug, Clone)]
pub struct Facts {
    /// `uname -r`.
    pub release: String,
    /// The first two numbers of the release, if it begins with two numbers.
    pub version: Option<(u32, u32)>,
    /// `bpf_rdonly_cast` (6.2 and newer): socket fields are plain loads during the walk.
    pub typed_casts: bool,
}

impl Facts {
    /// Reads them from `uname` and the kernel's BTF.
    ///
    /// # Errors
    /// When the kernel has no readable BTF, without which no probe can be loaded.
    pub fn read() -> Result<Facts, Error> {
        let release = release();
        let btf = vmlinux()?;
        let typed_casts = btf.type_by_name::<types::Func<'_>>("bpf_rdonly_cast").is_some();
        Ok(Facts { version: parse_version(&release), release, typed_casts })
    }

    /// Whether the kernel is at least [`MINIMUM_KERNEL`].
    pub fn is_supported(&self) -> bool {
        self.version.is_some_and(|version| version >= MINIMUM_KERNEL)
    }
}

/// The running kernel's types.
pub(crate) fn vmlinux() -> Result<Btf<'static>, Error> {
    if let Err(source) = std::fs::File::open(VMLINUX_BTF) {
        return Err(Error::NoBtf { path: VMLINUX_BTF.to_owned(), source });
    }
    Btf::from_vmlinux().map_err(|error| Error::NoBtf {
        path: VMLINUX_BTF.to_owned(),
        source: io::Error::other(error.to_string()),
    })
}

/// How many arguments a tracepoint has; None if there is none by this name.
pub(crate) fn tracepoint_arguments(btf: &Btf<'_>, name: &str) -> Option<usize> {
    let probe = btf.type_by_name::<types::Typedef<'_>>(&format!("btf_trace_{name}"))?;
    let pointer = types::Ptr::try_from(probe.referenced_type()).ok()?;
    let function = types::FuncProto::try_from(pointer.referenced_type()).ok()?;
    // The first one is the tracing's own.
    function.len().checked_sub(1)
}

/// The running kernel's release, as `uname -r` prints it.
fn release() -> String {
    std::fs::read_to_string(Path::new("/proc/sys/kernel/osrelease"))
        .map(|text| text.trim().to_owned())
        .unwrap_or_else(|_| "unknown".to_owned())
}

fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The running kernel's number for a cgroup subsystem (`memory_cgrp_id`), if it has that one.
pub(crate) fn subsystem(name: &str) -> Option<u32> {
    let btf = Btf::from_vmlinux().ok()?;
    let subsystems = btf.type_by_name::<types::Enum<'_>>("cgroup_subsys_id")?;
    let member = subsystems.iter().find(|member| member.name.is_some_and(|found| found == name))?;
    u32::try_from(member.value).ok()
}

/// Nanoseconds of the monotonic clock, as programs read it (`bpf_ktime_get_ns`).
pub fn monotonic() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a clock that always exists, and room for its answer.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The kernel's timer frequency from two readings of its jiffies, as one of those it can be built with.
///
/// `jiffies` and `elapsed` are the differences between the readings. None when they are too close
/// to tell 250 from 300.
pub(crate) fn timer_frequency(jiffies: u64, elapsed: std::time::Duration) -> Option<u32> {
    if elapsed.as_millis() < 90 {
        return None;
    }
    let measured = jiffies as f64 / elapsed.as_secs_f64();
    [100u32, 250, 300, 1000]
        .into_iter()
        .min_by(|a, b| distance(measured, *a).total_cmp(&distance(measured, *b)))
}

fn distance(measured: f64, frequency: u32) -> f64 {
    (measured.max(1.0) / f64::from(frequency)).ln().abs()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn versions_of_real_releases() {
        assert_eq!(parse_version("6.1.0-56-cloud-amd64"), Some((6, 1)));
        assert_eq!(parse_version("6.12.117+deb12-cloud-amd64"), Some((6, 12)));
        assert_eq!(parse_version("6.18"), Some((6, 18)));
        assert_eq!(parse_version("unknown"), None);
    }

    #[test]
    fn arguments_of_tracepoints() {
        let btf = vmlinux().unwrap();
        assert_eq!(tracepoint_arguments(&btf, "inet_sock_set_state"), Some(3));
        assert_eq!(tracepoint_arguments(&btf, "no_such_tracepoint"), None);
        assert!(tracepoint_arguments(&btf, "kfree_skb").is_some_and(|count| count >= 3));
    }

    #[test]
    fn timer_frequency_survives_a_tick_of_error() {
        for frequency in [100u32, 250, 300, 1000] {
            for error in [-1i64, 0, 1] {
                let jiffies = (i64::from(frequency) / 10 + error) as u64;
                let found = timer_frequency(jiffies, Duration::from_millis(100));
                assert_eq!(found, Some(frequency), "{jiffies} jiffies in 100 ms");
            }
        }
        assert_eq!(timer_frequency(10, Duration::from_millis(40)), None);
    }
}
