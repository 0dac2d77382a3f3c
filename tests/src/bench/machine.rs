// SPDX-License-Identifier: Apache-2.0

//! Where processes run: processor, control group, network namespace, limits.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// A control group of the v2 hierarchy, made for the time of the benchmark.
#[derive(Debug)]
pub enum Cgroup {
    /// As on a host with cgroup v2 alone: a group of its own, which names the sockets' owner.
    Named(PathBuf),
    /// As on a host with a hybrid hierarchy: the root, which names nobody, so that the exporter looks for processes.
    Root(PathBuf),
}

impl Cgroup {
    /// Makes a group that looks like a systemd unit's.
    pub fn named(name: &str) -> Result<Self> {
        let path = hierarchy()?.join(name);
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Self::Named(path))
    }

    /// The root of the hierarchy.
    pub fn root() -> Result<Self> {
        hierarchy().map(Self::Root)
    }

    /// For tables.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Named(_) => "named cgroup",
            Self::Root(_) => "root cgroup",
        }
    }

    /// The flags that show the exporter such a host: with a named group, one on cgroup v2 alone.
    pub fn flags(&self) -> Vec<String> {
        match self {
            Self::Named(path) => {
                let hierarchy = path.parent().unwrap_or(path);
                vec![format!("--path.cgroup={}", hierarchy.display())]
            }
            Self::Root(_) => Vec::new(),
        }
    }

    /// The file that takes a process into the group.
    pub fn procs(&self) -> PathBuf {
        let (Self::Named(path) | Self::Root(path)) = self;
        path.join("cgroup.procs")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Self::Named(path) = self {
            // A group whose last process has just ended can be busy for a moment.
            for _ in 0..50 {
                if fs::remove_dir(&*path).is_ok() {
                    return;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            eprintln!("{} stays", path.display());
        }
    }
}

/// Where the v2 hierarchy is mounted.
pub fn hierarchy() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let path = fields.next()?;
        (fields.next()? == "cgroup2").then(|| Path::new(path).to_path_buf())
    });
    mount.context("no cgroup2 file system is mounted")
}

/// Binds the calling process to one processor.
pub fn pin(processor: usize) -> io::Result<()> {
    // SAFETY: cpu_set_t is a plain bit set, for which zero is a value; the size passed is its own.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How many processors there are.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Moves the calling process into a network namespace of its own, with loopback up.
pub fn own_network() -> Result<()> {
    // SAFETY: no memory is involved.
    ensure!(unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0, "unshare: {}", io::Error::last_os_error());
    let status = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().context("ip")?;
    ensure!(status.success(), "ip link set lo up: {status}");
    Ok(())
}

/// Allows the calling process all the open files that it may have, and says how many: only a process with
/// CAP_SYS_RESOURCE, which root in a container often lacks, could have more.
pub fn open_files() -> Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to a live value.
    let set = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    };
    ensure!(set == 0, "RLIMIT_NOFILE {}: {}", limit.rlim_max, io::Error::last_os_error());
    Ok(limit.rlim_max)
}
