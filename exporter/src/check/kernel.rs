// SPDX-License-Identifier: Apache-2.0
//! What the kernel is, and what it has. Each function looks at one thing.

use std::fs;
use std::path::Path;

use caps::Capability;
use flowgauge_probes::{Facts, Feature};

use super::Item;
use crate::flags::{Flags, Paths};
use crate::privileges;

/// The oldest kernel that the probes load on.
const OLDEST_KERNEL: (u32, u32) = flowgauge_probes::MINIMUM_KERNEL;

/// Release, BTF, lockdown, memory.
pub fn items(paths: &Paths) -> Vec<Item> {
    vec![release(paths), btf(), lockdown(paths), memory(paths)]
}

/// The kernel's release.
fn release(paths: &Paths) -> Item {
    let file = paths.procfs.join("sys/kernel/osrelease");
    let release = match fs::read_to_string(&file) {
        Ok(release) => release.trim().to_owned(),
        Err(error) => {
            return Item::fail("release", unreadable(&file, &error), "mount procfs, or set --path.procfs");
        }
    };
    match version(&release) {
        Some(version) if version >= OLDEST_KERNEL => Item::ok("release", release),
        Some(_) => Item::fail("release", format!("{release} is older than 6.1"), "run Linux 6.1 or newer"),
        None => Item::warn(
            "release",
            format!("{release} has no version that can be read"),
            "needs Linux 6.1 or newer",
        ),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The kernel's own type information, which the probes are fitted to when they are loaded. They read it where the kernel
/// puts it, whatever `--path.sysfs` is.
fn btf() -> Item {
    match Facts::read() {
        Ok(facts) => {
            let casts =
                if facts.typed_casts { "bpf_rdonly_cast: plain loads" } else { "no bpf_rdonly_cast: copies" };
            Item::ok("BTF", format!("readable; {casts} in the walk over the sockets"))
        }
        Err(error) => Item::fail(
            "BTF",
            error.to_string(),
            "run a kernel built with CONFIG_DEBUG_INFO_BTF=y; in a container see that /sys/kernel/btf is not hidden",
        ),
    }
}

/// Kernel lockdown, which Secure Boot switches on.
fn lockdown(paths: &Paths) -> Item {
    let file = paths.sysfs.join("kernel/security/lockdown");
    let Ok(modes) = fs::read_to_string(&file) else {
        return Item::ok(
            "lockdown",
            format!("{} is not there: not enforced, or securityfs is not mounted", file.display()),
        );
    };
    let mode =
        modes.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("unknown", |(mode, _)| mode);
    match mode {
        "confidentiality" => Item::fail(
            "lockdown",
            "confidentiality: no BPF program may read kernel memory",
            "boot with lockdown=integrity, which allows all that Flowgauge does",
        ),
        mode => Item::ok("lockdown", mode),
    }
}

/// What bounds the memory of BPF maps: the memory cgroup, on every kernel that is new enough.
fn memory(paths: &Paths) -> Item {
    let file = paths.procfs.join("self/limits");
    let limits = match fs::read_to_string(&file) {
        Ok(limits) => limits,
        Err(error) => {
            return Item::warn(
                "locked memory",
                unreadable(&file, &error),
                "mount procfs, or set --path.procfs",
            );
        }
    };
    let limit = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))
        .and_then(|columns| columns.split_whitespace().next())
        .unwrap_or("unknown");
    Item::ok(
        "locked memory",
        format!("limit {limit} bytes, not used: BPF maps are charged to the memory cgroup since 5.11"),
    )
}

/// What the probes use of the kernel, tried one by one, of the collectors that are wanted.
pub fn features(flags: &Flags) -> Vec<Item> {
    let probes = [
        ("tcp", flags.collector_tcp()),
        ("udp", flags.collector_udp()),
        ("dns", flags.collector_dns()),
        ("http", flags.collector_http()),
        ("drops", flags.collector_drops()),
    ];
    let wanted: Vec<_> = probes.into_iter().filter(|(_, wanted)| *wanted).map(|(probe, _)| probe).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let needed = [Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_NET_ADMIN];
    let missing = match privileges::effective() {
        Ok(effective) => privileges::lacking(&effective, &needed),
        Err(error) => return vec![Item::warn("not tried", error.to_string(), "run on Linux 6.1 or newer")],
    };
    if !missing.is_empty() {
        let finding = format!("missing {}", missing.join(", "));
        return vec![Item::warn(
            "not tried",
            finding,
            "mend the capabilities below, or run the check as root",
        )];
    }
    flowgauge_probes::features().into_iter().filter_map(|feature| item(&feature, &wanted)).collect()
}

/// None if no collector that is wanted needs the feature.
fn item(feature: &Feature, wanted: &[&str]) -> Option<Item> {
    let by: Vec<_> = feature.probes.iter().copied().filter(|probe| wanted.contains(probe)).collect();
    if by.is_empty() && !feature.probes.is_empty() {
        return None;
    }
    let users = if by.is_empty() { "names of short-lived control groups".to_owned() } else { by.join(", ") };
    Some(match &feature.found {
        Ok(()) => Item::ok(feature.name, format!("for {users}")),
        Err(reason) => {
            let remedy = "run Linux 6.1 or newer, built with what distributions build it with";
            let wrong = if by.is_empty() { Item::warn } else { Item::fail };
            wrong(feature.name, &format!("{reason}; for {users}"), remedy)
        }
    })
}

pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("{} cannot be read: {error}", path.display())
}

#[cfg(test)]
mod tests;
