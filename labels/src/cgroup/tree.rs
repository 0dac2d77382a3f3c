// SPDX-License-Identifier: Apache-2.0
//! From a control group id to what its path says.
//!
//! The id of a group is the inode of its directory, so a walk of the mounted hierarchy knows them all. A directory
//! without children has two links, and is not opened: a walk costs a `stat` for each group and a `readdir` for
//! each inner node. Ids are not handed out twice (kernfs counts them up in 64 bits), hence a name once learned stays
//! right after its directory has gone, and an id that a walk did not find need not be looked for again. Groups that the
//! kernel tells of as they are made ([`Tree::learn`]) are known without a walk, and even if they were never seen by one.

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;

use crate::Map;

/// A walk that takes its turn, so that groups which live shortly are learned even if nobody asks in time.
const PERIOD: Duration = Duration::from_secs(10);
/// Walks for the sake of unknown ids come no closer than this. What a new group counts before it is found is charged to
/// another name for good, so the gap is short; an id that a walk did not find causes no other one.
const MIN_GAP: Duration = Duration::from_millis(2);
/// A long walk is repeated more rarely: when due by the clock, and when asked for (5 % of the time at worst).
const PERIOD_COST: u32 = 2000;
const GAP_COST: u32 = 20;

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Directories of one walk.
    pub live: usize,
    /// Groups that have gone.
    pub departed: NonZeroUsize,
    /// Ids that were not found.
    pub missing: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        let many = |count| NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
        // 50 pods a second make 200 groups: what they counted is named by them for 80 s after their end.
        Limits { live: 65_536, departed: many(16_384), missing: many(8192) }
    }
}

const MAX_DEPTH: usize = 64;

#[derive(Debug)]
struct Live<V> {
    path: Box<str>,
    value: Arc<V>,
    walk: u64,
}

/// One mounted hierarchy.
#[derive(Debug)]
pub(crate) struct Tree<V> {
    root: PathBuf,
    limits: Limits,
    inner: Mutex<Inner<V>>,
}

#[derive(Debug)]
struct Inner<V> {
    live: Map<u64, Live<V>>,
    departed: LruCache<u64, Arc<V>>,
    /// Ids that were asked for and not found; true once a walk has looked for them.
    missing: LruCache<u64, bool>,
    next_asked: Instant,
    next_periodic: Instant,
    walks: u64,
    failed: u64,
    misses: u64,
    error: Option<String>,
    truncated: bool,
}

/// What there is to say about a tree.
pub(crate) struct TreeStatus {
    pub live: usize,
    pub departed: usize,
    pub walks: u64,
    pub failed: u64,
    pub misses: u64,
    pub error: Option<String>,
    pub truncated: bool,
}

impl<V> Tree<V> {
    pub fn new(root: PathBuf, limits: Limits) -> Self {
        let now = Instant::now();
        Tree {
            root,
            limits,
            inner: Mutex::new(Inner {
                live: Map::default(),
                departed: LruCache::new(limits.departed),
                missing: LruCache::new(limits.missing),
                next_asked: now,
                next_periodic: now,
                walks: 0,
                failed: 0,
                misses: 0,
                error: None,
                truncated: false,
            }),
        }
    }

    /// What the group is; None if it is unknown. Walks if the id is new and the last walk was a while ago; `describe`
    /// makes a value of each path seen for the first time. The flag says whether the walk made an earlier answer untrue.
    pub fn look_up(&self, id: u64, describe: &dyn Fn(&str) -> V) -> (Option<Arc<V>>, bool) {
        let mut inner = self.inner.lock();
        if let Some(value) = inner.known(id) {
            return (Some(value), false);
        }
        let mut outdated = false;
        let looked_for = inner.missing.get(&id).copied();
        if looked_for != Some(true) {
            let walk = Instant::now() >= inner.next_asked;
            if walk {
                outdated = inner.walk(&self.root, self.limits, describe);
                if let Some(value) = inner.known(id) {
                    // An earlier "unknown" for this very id has been outdated by now, too.
                    return (Some(value), outdated);
                }
            }
            let complete = walk && inner.error.is_none() && !inner.truncated;
            inner.missing.put(id, complete);
        }
        inner.misses += 1;
        (None, outdated)
    }

    /// Walks if it is time. True if an earlier answer is not true any more.
    pub fn refresh(&self, describe: &dyn Fn(&str) -> V) -> bool {
        let mut inner = self.inner.lock();
        Instant::now() >= inner.next_periodic && inner.walk(&self.root, self.limits, describe)
    }

    /// Takes over a group that the kernel told of; what is known of it already counts more. True if an earlier answer is
    /// not true any more.
    pub fn learn(&self, id: u64, path: &str, describe: &dyn Fn(&str) -> V) -> bool {
        let mut inner = self.inner.lock();
        if inner.live.contains_key(&id) || inner.departed.contains(&id) {
            return false;
        }
        let value = Arc::new(describe(path));
        if inner.live.len() < self.limits.live {
            let walk = inner.walks;
            inner.live.insert(id, Live { path: path.into(), value, walk });
        } else {
            inner.departed.put(id, value);
        }
        inner.missing.pop(&id).is_some()
    }

    /// Makes the next [`Self::refresh`] walk as soon as what the last walk cost allows.
    pub fn hurry(&self) {
        let mut inner = self.inner.lock();
        inner.next_periodic = inner.next_periodic.min(inner.next_asked);
    }

    /// Makes the next look-up of an unknown id and the next [`Self::refresh`] walk.
    pub fn expire(&self) {
        let mut inner = self.inner.lock();
        inner.next_asked = Instant::now();
        inner.next_periodic = inner.next_asked;
    }

    pub fn status(&self) -> TreeStatus {
        let inner = self.inner.lock();
        TreeStatus {
            live: inner.live.len(),
            departed: inner.departed.len(),
            walks: inner.walks,
            failed: inner.failed,
            misses: inner.misses,
            error: inner.error.clone(),
            truncated: inner.truncated,
        }
    }
}

impl<V> Inner<V> {
    fn known(&mut self, id: u64) -> Option<Arc<V>> {
        match self.live.get(&id) {
            Some(live) => Some(live.value.clone()),
            None => self.departed.get(&id).cloned(),
        }
    }

    fn walk(&mut self, root: &Path, limits: Limits, describe: &dyn Fn(&str) -> V) -> bool {
        let start = Instant::now();
        self.walks += 1;
        self.truncated = false;
        let outcome = self.visit_all(root, limits, describe);
        let cost = start.elapsed();
        self.next_asked = start + cost + MIN_GAP.max(cost * GAP_COST);
        self.next_periodic = start + cost + PERIOD.max(cost * PERIOD_COST);
        match outcome {
            Ok(outdated) => {
                if self.error.take().is_some() {
                    tracing::info!(root = %root.display(), "control groups can be read again");
                }
                // A walk cut short has not proved that the rest is gone; it goes nevertheless when room is wanted.
                if !self.truncated || self.live.len() > limits.live {
                    let walks = self.walks;
                    for (id, gone) in self.live.extract_if(|_, live| live.walk != walks) {
                        self.departed.put(id, gone.value);
                    }
                }
                outdated
            }
            Err(error) => {
                self.failed += 1;
                let error = format!("{}: {error}", root.display());
                if self.error.as_ref() != Some(&error) {
                    tracing::warn!(%error, "control groups cannot be read; keeping those known");
                }
                self.error = Some(error);
                false
            }
        }
    }

    fn visit_all(&mut self, root: &Path, limits: Limits, describe: &dyn Fn(&str) -> V) -> io::Result<bool> {
        let mut outdated = self.note(fs::metadata(root)?.ino(), "/", describe);
        let mut seen = 1;
        let mut pending = vec![(root.to_owned(), String::new(), 0)];
        while let Some((dir, path, depth)) = pending.pop() {
            let entries = match fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(error) if depth == 0 => return Err(error),
                Err(_) => continue, // removed meanwhile
            };
            for entry in entries.flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                let dir = entry.path();
                let Ok(metadata) = fs::symlink_metadata(&dir) else { continue };
                if seen == limits.live || depth == MAX_DEPTH {
                    self.truncated = true;
                    return Ok(outdated);
                }
                seen += 1;
                let path = format!("{path}/{}", entry.file_name().to_string_lossy());
                outdated |= self.note(metadata.ino(), &path, describe);
                // Directories count their children's `..` as links; some file systems count none at all.
                if metadata.nlink() != 2 {
                    pending.push((dir, path, depth + 1));
                }
            }
        }
        Ok(outdated)
    }

    /// True if an earlier answer about this id was another.
    fn note(&mut self, id: u64, path: &str, describe: &dyn Fn(&str) -> V) -> bool {
        let walk = self.walks;
        match self.live.get_mut(&id) {
            Some(live) if *live.path == *path => {
                live.walk = walk;
                false
            }
            _ => {
                let value = Arc::new(describe(path));
                let renamed = self.live.insert(id, Live { path: path.into(), value, walk }).is_some();
                let reused = self.departed.pop(&id).is_some();
                renamed | reused | self.missing.pop(&id).is_some()
            }
        }
    }
}

#[cfg(test)]
mod tests;
