// SPDX-License-Identifier: Apache-2.0
//! Removes what test processes left behind that could not clean up: namespaces, cgroups and instances of ftrace whose maker is dead.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cgroup::{self, Cgroup};
use crate::kubernetes::maker_of;
use crate::netns::{PREFIX, ip};
use crate::unseen::INSTANCES;

/// Removes all of it.
pub(crate) fn sweep() {
    for namespace in names(Path::new("/run/netns")).into_iter().filter(|name| is_leftover(name)) {
        if let Err(error) = ip(&["netns", "del", &namespace]) {
            eprintln!("cannot remove leftover namespace {namespace}: {error:#}");
        }
    }
    let instances = Path::new(INSTANCES);
    for instance in names(instances).into_iter().filter(|name| is_leftover(name)) {
        if let Err(error) = fs::remove_dir(instances.join(&instance)) {
            eprintln!("cannot remove leftover instance of ftrace {instance}: {error}");
        }
    }
    let Ok(root) = Cgroup::root() else { return };
    let services = names(&root).into_iter().filter(|name| is_leftover(name)).map(|name| root.join(name));
    for path in services.chain(pods(&root)) {
        if let Err(error) = cgroup::remove_tree(&path) {
            eprintln!("cannot remove leftover cgroup {}: {error}", path.display());
        }
        cgroup::remove_empty_above(&path);
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Whether this was made by a test process that is dead.
fn is_leftover(name: &str) -> bool {
    let pid =
        name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse().ok());
    pid.is_some_and(is_dead)
}

fn is_dead(pid: u32) -> bool {
    !Path::new("/proc").join(pid.to_string()).exists()
}

/// Cgroups of pods of this library's making, wherever a kubelet puts them.
fn pods(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for top in ["kubepods.slice", "kubepods"] {
        let top = root.join(top);
        let classes = names(&top).into_iter().map(|name| top.join(name)).filter(|path| path.is_dir());
        for directory in classes.chain([top.clone()]) {
            let pods = names(&directory).into_iter().filter(|name| maker_of(name).is_some_and(is_dead));
            found.extend(pods.map(|name| directory.join(name)));
        }
    }
    found
}
