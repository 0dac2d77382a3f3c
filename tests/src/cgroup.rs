// SPDX-License-Identifier: Apache-2.0
//! Cgroups that carry a workload's name, as systemd would have made them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns::PREFIX;

/// A cgroup v2 directory; removed when dropped, so every process in it must have ended by then.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    procs: Arc<File>,
}

impl Cgroup {
    /// The mount point of the cgroup v2 hierarchy.
    pub fn root() -> Result<PathBuf> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")?;
        mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|fields| fields.get(2) == Some(&"cgroup2"))
            .and_then(|fields| fields.get(1).map(PathBuf::from))
            .context("no cgroup v2 hierarchy is mounted: mount -t cgroup2 none /sys/fs/cgroup/unified")
    }

    /// `cgroup.procs` of the root cgroup, open for writing: what is in there belongs to no service.
    pub fn root_procs() -> Result<Arc<File>> {
        open_procs(&Self::root()?)
    }

    /// Makes a cgroup called `name` right below the root.
    pub fn new(name: &str) -> Result<Self> {
        let path = Self::root()?.join(name);
        fs::create_dir(&path).with_context(|| format!("making cgroup {}", path.display()))?;
        let procs = open_procs(&path)?;
        Ok(Cgroup { path, procs })
    }

    /// Makes a cgroup at a path below the root, and what leads there, which is removed with the last that is in it.
    pub fn nested(below: &Path) -> Result<Self> {
        let path = Self::root()?.join(below);
        // Somebody else may be removing what leads there.
        let made = (0..100).find_map(|_| fs::create_dir_all(&path).and_then(|()| open(&path)).ok());
        let procs = match made {
            Some(procs) => Arc::new(procs),
            None => open_procs(&path)?,
        };
        Ok(Cgroup { path, procs })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its `cgroup.procs`, open for writing.
    pub fn procs(&self) -> Arc<File> {
        Arc::clone(&self.procs)
    }
}

fn open_procs(path: &Path) -> Result<Arc<File>> {
    let opened = open(path).with_context(|| format!("opening cgroup.procs of {}", path.display()))?;
    Ok(Arc::new(opened))
}

fn open(path: &Path) -> std::io::Result<File> {
    File::options().write(true).open(path.join("cgroup.procs"))
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            eprintln!("leaving cgroup {} behind: {error}", self.path.display());
        }
        remove_empty_above(&self.path);
    }
}

/// Removes what led to a pod's, a container's or a named service's cgroup, as far up as nothing else is in it.
pub(crate) fn remove_empty_above(path: &Path) {
    let ours = |path: &&Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.to_string_lossy().contains("kubepods") || name.starts_with(PREFIX)
    };
    for path in path.ancestors().skip(1).take_while(ours) {
        if fs::remove_dir(path).is_err() {
            break;
        }
    }
}

/// Ends whatever is left in a cgroup of this library's making and removes it.
pub(crate) fn remove(path: &Path) -> std::io::Result<()> {
    fs::write(path.join("cgroup.kill"), "1")?;
    // The kernel finishes killed processes a moment later.
    for _ in 0..100 {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
    Err(std::io::ErrorKind::ResourceBusy.into())
}

/// The same with all that is below it.
pub(crate) fn remove_tree(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    remove(path)
}
