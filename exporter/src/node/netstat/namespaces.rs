// SPDX-License-Identifier: Apache-2.0
//! Which network namespaces there are, and a process in each.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A namespace, by the number of its `net/dev`: each has files of its own there. Unlike the number of `ns/net`, it is for
/// everybody to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(u64);

impl Id {
    /// The inode's number.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// More processes than this are not looked at.
const MOST_PROCESSES: usize = 65_536;

/// The namespace that a process is in; None if there is no such process any more.
pub fn of(procfs: &Path, pid: u32) -> Option<Id> {
    fs::metadata(net(procfs, pid).join("dev")).ok().map(|metadata| Id(metadata.ino()))
}

/// Where the files of the process's namespace are.
pub fn net(procfs: &Path, pid: u32) -> PathBuf {
    procfs.join(format!("{pid}/net"))
}

/// All namespaces, each with the process that has the lowest number: in a pod that is mostly the one that holds it.
pub fn scan(procfs: &Path) -> HashMap<Id, u32> {
    let mut found = HashMap::new();
    let Ok(entries) = fs::read_dir(procfs) else { return found };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in pids.take(MOST_PROCESSES) {
        if let Some(id) = of(procfs, pid) {
            let lowest = found.entry(id).or_insert(pid);
            *lowest = pid.min(*lowest);
        }
    }
    found
}
