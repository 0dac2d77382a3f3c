// SPDX-License-Identifier: Apache-2.0
//! What the kernel and the privileges allow. Each function looks at one thing.

use std::fs;
use std::path::Path;

use caps::{Capability, CapsHashSet};

use super::Item;
use crate::flags::Paths;
use crate::privileges;

/// The oldest kernel that the probes load on.
const OLDEST_KERNEL: (u32, u32) = (6, 1);

/// The kernel's release.
pub fn kernel(paths: &Paths) -> Item {
    let file = paths.procfs.join("sys/kernel/osrelease");
    let release = match fs::read_to_string(&file) {
        Ok(release) => release.trim().to_owned(),
        Err(error) => {
            return Item::fail("kernel", unreadable(&file, &error), "mount procfs, or set --path.procfs");
        }
    };
    match version(&release) {
        Some(version) if version >= OLDEST_KERNEL => Item::ok("kernel", release),
        Some(_) => Item::fail("kernel", format!("{release} is older than 6.1"), "run Linux 6.1 or newer"),
        None => Item::warn(
            "kernel",
            format!("{release} has no version that can be read"),
            "needs Linux 6.1 or newer",
        ),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The kernel's own type information, which the probes are fitted to when they are loaded.
pub fn btf(paths: &Paths) -> Item {
    let file = paths.sysfs.join("kernel/btf/vmlinux");
    match fs::File::open(&file) {
        Ok(_) => Item::ok("BTF", format!("{} is readable", file.display())),
        Err(error) => Item::fail(
            "BTF",
            unreadable(&file, &error),
            "run a kernel built with CONFIG_DEBUG_INFO_BTF=y; in a container mount the host's /sys, or set --path.sysfs",
        ),
    }
}

/// Whether BPF programs may be loaded.
pub fn bpf(effective: &CapsHashSet) -> Item {
    let missing = lacking(effective, privileges::BPF);
    if missing.is_empty() || effective.contains(&Capability::CAP_SYS_ADMIN) {
        return Item::ok("BPF privileges", "CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN");
    }
    Item::fail(
        "BPF privileges",
        format!("missing {}", missing.join(", ")),
        "run as root, or give the service AmbientCapabilities=CAP_BPF CAP_PERFMON (see contrib/flowgauge.service)",
    )
}

/// Whether programs may be attached to control groups, as UDP and DNS need it.
pub fn attaching(effective: &CapsHashSet) -> Item {
    let missing = lacking(effective, privileges::ATTACHING);
    if missing.is_empty() {
        return Item::ok("attaching privileges", "CAP_NET_ADMIN");
    }
    Item::fail(
        "attaching privileges",
        format!("missing {}: neither UDP nor DNS can be observed", missing.join(", ")),
        "run as root, or give the service AmbientCapabilities=CAP_NET_ADMIN (see contrib/flowgauge.service), or do with --no-collector.udp --no-collector.dns --no-collector.http",
    )
}

/// Whether what names containers can be read.
pub fn reading(effective: &CapsHashSet) -> Item {
    let missing = lacking(effective, privileges::READING);
    if missing.is_empty() {
        return Item::ok("reading privileges", "CAP_DAC_READ_SEARCH");
    }
    Item::warn(
        "reading privileges",
        format!(
            "missing {}: containers go by their id where their description is not readable",
            missing.join(", ")
        ),
        "run as root, or give the service AmbientCapabilities=CAP_DAC_READ_SEARCH (see contrib/flowgauge.service)",
    )
}

fn lacking(effective: &CapsHashSet, needed: &[Capability]) -> Vec<String> {
    needed.iter().filter(|capability| !effective.contains(capability)).map(ToString::to_string).collect()
}

/// Kernel lockdown, which Secure Boot switches on.
pub fn lockdown(paths: &Paths) -> Item {
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

/// Which cgroup hierarchy tells the owners of sockets.
pub fn cgroup(paths: &Paths) -> Item {
    let root = &paths.cgroup;
    if root.join("cgroup.controllers").exists() {
        return Item::ok("cgroup", format!("v2 at {}", root.display()));
    }
    let remedy = "none needed; systemd.unified_cgroup_hierarchy=1 on the kernel's command line makes it v2";
    if root.join("unified/cgroup.controllers").exists() {
        let finding = format!("hybrid at {}: sockets are named by their process's v1 cgroup", root.display());
        return Item::warn("cgroup", finding, remedy);
    }
    if ["memory", "systemd", "cpu", "pids"].iter().any(|controller| root.join(controller).is_dir()) {
        let finding = format!("v1 at {}: sockets are named by their process's cgroup", root.display());
        return Item::warn("cgroup", finding, remedy);
    }
    Item::warn(
        "cgroup",
        format!("no hierarchy at {}: sockets are named by process only", root.display()),
        "mount cgroup2 there; in a container mount the host's /sys/fs/cgroup, or set --path.cgroup",
    )
}

/// What bounds the memory of BPF maps: the memory cgroup, on every kernel that is new enough.
pub fn memory(paths: &Paths) -> Item {
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

/// Whether other processes can be seen, which name sockets whose cgroup says nothing.
pub fn procfs(paths: &Paths) -> Item {
    for entry in ["1/cgroup", "1/comm"] {
        let file = paths.procfs.join(entry);
        if let Err(error) = fs::read(&file) {
            return Item::warn(
                "procfs",
                unreadable(&file, &error),
                "mount procfs without hidepid=, or run in the group that its option gid= names; in a container mount the \
                 host's /proc and set --path.procfs, or use the host's PID namespace",
            );
        }
    }
    Item::ok("procfs", format!("{} shows other processes", paths.procfs.display()))
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("{} cannot be read: {error}", path.display())
}

#[cfg(test)]
mod tests;
