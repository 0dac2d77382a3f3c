// SPDX-License-Identifier: Apache-2.0
//! Which pod a network namespace is of.
//!
//! Some sockets lead to no pod by their control group, though they live in a pod's network namespace: the kernel's own,
//! those of `nsenter`, of CNI plugins. A namespace is told by the processes that live in it, which `/proc` lists. Until
//! those have been read, a socket whose control group is a pod's tells, too; but some programs (ztunnel) open sockets in
//! the namespaces of others, so that they are not believed where the processes say otherwise.
//!
//! Numbers of namespaces are given out again, hence nothing is believed of a pod that has gone once another is found.

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;

use crate::Map;
use crate::cgroup::path::parse;
use crate::changes::Subject;
use crate::kubernetes::cluster::Uid;
use crate::status::SourceStatus;

/// Reading takes its turn as walking control groups does: by the clock while anybody asks, and when an unknown namespace
/// is asked for, at most 5 % of the time.
const PERIOD: Duration = Duration::from_secs(10);
const MIN_GAP: Duration = Duration::from_millis(20);
const PERIOD_COST: u32 = 2000;
const GAP_COST: u32 = 20;

const REMEMBERED: NonZeroUsize = match NonZeroUsize::new(4096) {
    Some(many) => many,
    None => NonZeroUsize::MIN,
};
/// More processes than this are not read at a time.
const MAX_PROCESSES: usize = 65_536;
/// A process is in a dozen control groups at most.
const MAX_CGROUP_BYTES: u64 = 64 << 10;

#[derive(Clone, Copy, Debug)]
struct Known {
    pod: Uid,
    /// The processes in it say so.
    sure: bool,
}

/// Network namespaces of pods.
#[derive(Debug)]
pub(crate) struct PodNetns {
    procfs: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The host's own, which is no pod's.
    host: Option<u32>,
    known: LruCache<u32, Known, foldhash::fast::RandomState>,
    by_pod: Map<Uid, u32>,
    /// Asked for and not found; true once all processes have been read for it.
    missing: LruCache<u32, bool, foldhash::fast::RandomState>,
    asked: bool,
    next_asked: Instant,
    next_periodic: Instant,
    scans: u64,
    failed: u64,
    refused: usize,
    error: Option<String>,
}

impl PodNetns {
    /// Reads all processes once, so that it is known from the start whether they may be read.
    pub fn new(procfs: &Path) -> PodNetns {
        let hasher = foldhash::fast::RandomState::default;
        let host = netns_of(&procfs.join("1")).or_else(|_| netns_of(&procfs.join("self"))).ok();
        let now = Instant::now();
        let mut inner = Inner {
            host,
            known: LruCache::with_hasher(REMEMBERED, hasher()),
            by_pod: Map::default(),
            missing: LruCache::with_hasher(REMEMBERED, hasher()),
            asked: false,
            next_asked: now,
            next_periodic: now,
            scans: 0,
            failed: 0,
            refused: 0,
            error: None,
        };
        if host.is_some() {
            inner.scan(procfs);
            // Nobody has had to wait for it.
            (inner.next_asked, inner.next_periodic) = (now, now);
        }
        PodNetns { procfs: procfs.to_owned(), inner: Mutex::new(inner) }
    }

    /// A socket of this pod was seen there. True if something else was said of the namespace before. `is_alive` says
    /// whether a pod still runs.
    pub fn learn(&self, netns: u32, pod: Uid, is_alive: &dyn Fn(Uid) -> bool) -> bool {
        let mut inner = self.inner.lock();
        if inner.host.is_none_or(|host| host == netns) {
            return false;
        }
        match inner.known.peek(&netns) {
            Some(known) if known.pod == pod || is_alive(known.pod) => return false,
            _ => {}
        }
        // A pod has one namespace; where it is seen in others, it is a guest there.
        if inner.by_pod.get(&pod).is_some_and(|home| *home != netns) {
            return false;
        }
        inner.note(netns, Known { pod, sure: false })
    }

    /// The pod whose namespace it is; and every namespace that something else is said of now.
    pub fn look_up(&self, netns: u32, is_alive: &dyn Fn(Uid) -> bool) -> (Option<Uid>, Vec<Subject>) {
        let mut inner = self.inner.lock();
        if netns == 0 || inner.host.is_none_or(|host| host == netns) {
            return (None, Vec::new());
        }
        inner.asked = true;
        let known = inner.known.get(&netns).copied();
        if let Some(known) = known.filter(|known| known.sure && is_alive(known.pod)) {
            return (Some(known.pod), Vec::new());
        }
        let mut changed = Vec::new();
        if inner.missing.get(&netns) != Some(&true) {
            let scan = Instant::now() >= inner.next_asked;
            if scan {
                changed = inner.scan(&self.procfs);
            }
            match inner.known.peek(&netns).copied() {
                Some(known) => return (Some(known.pod), changed),
                None => {
                    let complete = scan && inner.error.is_none();
                    inner.missing.put(netns, complete);
                }
            }
        }
        (known.map(|known| known.pod), changed)
    }

    /// True for the host's own.
    pub fn is_host(&self, netns: u32) -> bool {
        self.inner.lock().host == Some(netns)
    }

    /// Reads again if it is time and anybody asks: every namespace that something else is said of now.
    pub fn refresh(&self) -> Vec<Subject> {
        let mut inner = self.inner.lock();
        if inner.asked && Instant::now() >= inner.next_periodic {
            inner.scan(&self.procfs)
        } else {
            Vec::new()
        }
    }

    /// Makes the next look-up of an unknown namespace read at once.
    pub fn expire(&self) {
        let mut inner = self.inner.lock();
        inner.next_asked = Instant::now();
        inner.next_periodic = inner.next_asked;
    }

    pub fn status(&self) -> SourceStatus {
        let inner = self.inner.lock();
        let known = inner.known.len();
        let detail = match (&inner.error, inner.host) {
            (Some(error), _) => error.clone(),
            (None, None) => {
                "the host's network namespace cannot be told (CAP_SYS_PTRACE is needed); sockets are named by control group alone"
                    .to_owned()
            }
            (None, Some(_)) if inner.refused > 0 => format!(
                "{known} network namespaces of pods; those of {} processes may not be read (CAP_SYS_PTRACE is needed)",
                inner.refused
            ),
            (None, Some(_)) => format!("{known} network namespaces of pods"),
        };
        let up = inner.error.is_none() && inner.host.is_some() && inner.refused == 0;
        SourceStatus {
            entries: known as u64,
            reloads: inner.scans,
            reloads_failed: inner.failed,
            ..SourceStatus::new("network_namespaces", up, detail)
        }
    }
}

impl Inner {
    /// True if something else was said of it before.
    fn note(&mut self, netns: u32, now: Known) -> bool {
        let missed = self.missing.pop(&netns).is_some();
        let before = self.known.push(netns, now);
        let mut changed = missed;
        if let Some((other, old)) = before {
            // Either what was said of it, or what had to go for it.
            if self.by_pod.get(&old.pod) == Some(&other) {
                self.by_pod.remove(&old.pod);
            }
            changed |= other == netns && old.pod != now.pod;
        }
        self.by_pod.insert(now.pod, netns);
        changed
    }

    fn scan(&mut self, procfs: &Path) -> Vec<Subject> {
        let start = Instant::now();
        let outcome = self.read_all(procfs);
        let cost = start.elapsed();
        self.next_asked = start + cost + MIN_GAP.max(cost * GAP_COST);
        self.next_periodic = start + cost + PERIOD.max(cost * PERIOD_COST);
        self.asked = false;
        match outcome {
            Ok(changed) => {
                self.scans += 1;
                self.error = None;
                changed
            }
            Err(error) => {
                self.failed += 1;
                self.error = Some(format!("{}: {error}", procfs.display()));
                Vec::new()
            }
        }
    }

    /// A namespace is the pod's that has most of the processes in it.
    fn read_all(&mut self, procfs: &Path) -> io::Result<Vec<Subject>> {
        let mut votes: Map<u32, Map<Uid, u32>> = Map::default();
        self.refused = 0;
        for entry in std::fs::read_dir(procfs)?.flatten().take(MAX_PROCESSES) {
            if !entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
                continue;
            }
            let process = entry.path();
            let netns = match netns_of(&process) {
                Ok(netns) if Some(netns) == self.host => continue,
                Ok(netns) => netns,
                Err(error) => {
                    // Others have ended meanwhile.
                    self.refused += usize::from(error.kind() == io::ErrorKind::PermissionDenied);
                    continue;
                }
            };
            if let Some(pod) = pod_of(&process) {
                *votes.entry(netns).or_default().entry(pod).or_default() += 1;
            }
        }
        let mut changed = Vec::new();
        for (netns, pods) in votes {
            let Some((pod, _)) =
                pods.into_iter().max_by_key(|(pod, count)| (*count, std::cmp::Reverse(*pod)))
            else {
                continue;
            };
            if self.note(netns, Known { pod, sure: true }) {
                changed.push(Subject::Netns(netns));
            }
        }
        Ok(changed)
    }
}

/// `net:[4026531840]`
fn netns_of(process: &Path) -> io::Result<u32> {
    let link = std::fs::read_link(process.join("ns/net"))?;
    let number = link.to_str().and_then(|link| link.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok());
    number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no network namespace"))
}

/// `12:memory:/kubepods/besteffort/pod<uid>/<id>`
fn pod_of(process: &Path) -> Option<Uid> {
    let groups = read_proc(&process.join("cgroup")).ok()?;
    let path = |line: &str| line.splitn(3, ':').nth(2).map(str::to_owned);
    let uid = groups.lines().filter_map(path).find_map(|path| parse(&path).pod_uid)?;
    Some(Uid::parse(&uid))
}

fn read_proc(path: &Path) -> io::Result<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_CGROUP_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
