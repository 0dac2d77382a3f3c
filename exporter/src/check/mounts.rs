// SPDX-License-Identifier: Apache-2.0
//! Whether the host's trees are where they are looked for, and whose namespaces they show. Each function looks at one
//! thing.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use flowgauge_labels::{Mode, cgroup_layout};

use super::Item;
use super::kernel::unreadable;
use crate::flags::Paths;

/// Control groups, processes, namespaces, devices.
pub fn items(paths: &Paths) -> Vec<Item> {
    vec![cgroup(paths), procfs(paths), pid_namespace(paths), network_namespace(paths), sysfs(paths)]
}

/// Which hierarchies of control groups tell the owners of sockets, found as the exporter finds them.
fn cgroup(paths: &Paths) -> Item {
    let layout = cgroup_layout(&paths.cgroup, &paths.procfs);
    let unified = layout.unified.as_deref().unwrap_or(&paths.cgroup).display();
    if layout.namespaced {
        return Item::warn(
            "cgroup",
            format!(
                "{unified} is not the host's, but a control group namespace's: groups outside are not seen"
            ),
            "in a container mount the host's /sys/fs/cgroup and set --path.cgroup, or run in the host's cgroup namespace",
        );
    }
    let remedy = "none needed; systemd.unified_cgroup_hierarchy=1 on the kernel's command line makes it v2";
    let v1 =
        layout.v1.first().map(|controller| controller.path.parent().unwrap_or(&controller.path).display());
    match (layout.mode, v1) {
        (Mode::Unified, _) => Item::ok("cgroup", format!("v2 at {unified}")),
        (Mode::Hybrid, Some(v1)) => {
            let finding = format!(
                "hybrid, v2 at {unified}, v1 at {v1}: sockets are named by their process's v1 cgroup"
            );
            Item::warn("cgroup", finding, remedy)
        }
        (Mode::Legacy, Some(v1)) => {
            Item::warn("cgroup", format!("v1 at {v1}: sockets are named by their process's cgroup"), remedy)
        }
        _ => Item::warn(
            "cgroup",
            format!(
                "no hierarchy at {}, none is mounted: sockets are named by process only",
                paths.cgroup.display()
            ),
            "mount cgroup2 there; in a container mount the host's /sys/fs/cgroup, or set --path.cgroup",
        ),
    }
}

/// Whether other processes can be seen, which name sockets whose cgroup says nothing.
fn procfs(paths: &Paths) -> Item {
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

/// Whether `--path.procfs` shows the host's processes, or those of a container alone.
fn pid_namespace(paths: &Paths) -> Item {
    // Process 2 of a machine is the kernel's own, and has no like in any other PID namespace.
    let file = paths.procfs.join("2/comm");
    let own = paths.procfs.join("self");
    match fs::read_to_string(&file) {
        Ok(name) if name.trim() == "kthreadd" => {
            Item::ok("PID namespace", format!("{} is the host's", paths.procfs.display()))
        }
        _ if !own.exists() => Item::warn(
            "PID namespace",
            format!("{} is no procfs", paths.procfs.display()),
            "mount procfs there, or set --path.procfs",
        ),
        _ => Item::warn(
            "PID namespace",
            format!("{} is not the host's: it shows no kthreadd", paths.procfs.display()),
            "in a container mount the host's /proc and set --path.procfs, or use the host's PID namespace (hostPID: true); else \
             processes and network namespaces outside have no name",
        ),
    }
}

/// Whether this process is in the host's network namespace, where its addresses and translations are.
fn network_namespace(paths: &Paths) -> Item {
    let host = paths.procfs.join("1/ns/net");
    let identity = |path: &Path| fs::metadata(path).map(|namespace| (namespace.dev(), namespace.ino()));
    match (identity(&host), identity(Path::new("/proc/self/ns/net"))) {
        (Ok(host), Ok(own)) if host == own => Item::ok("network namespace", "the host's"),
        (Ok(_), Ok(_)) => Item::warn(
            "network namespace",
            "not the host's: some items of the node collector are not served, and translations take CAP_SYS_ADMIN",
            "run in the host's network namespace (hostNetwork: true)",
        ),
        // Who may not look into process 1 needs not: translations are then listened to from here.
        (Err(error), _) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Item::ok("network namespace", format!("taken for the host's: {}", unreadable(&host, &error)))
        }
        (Err(error), _) => Item::warn(
            "network namespace",
            unreadable(&host, &error),
            "mount the host's /proc and set --path.procfs",
        ),
        (_, Err(error)) => Item::warn(
            "network namespace",
            unreadable(Path::new("/proc/self/ns/net"), &error),
            "mount procfs at /proc",
        ),
    }
}

/// Whether the host's devices are to be seen.
fn sysfs(paths: &Paths) -> Item {
    let file = paths.sysfs.join("class/net");
    match fs::read_dir(&file) {
        Ok(_) => Item::ok("sysfs", format!("{} shows devices", paths.sysfs.display())),
        Err(error) => Item::warn(
            "sysfs",
            unreadable(&file, &error),
            "mount sysfs, in a container the host's, and set --path.sysfs; else links have no carrier and no speed",
        ),
    }
}

#[cfg(test)]
mod tests;
