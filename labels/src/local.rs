// SPDX-License-Identifier: Apache-2.0
//! Who owns a socket of this node.
//!
//! The control group of the socket and that of its process are both asked, and the one that tells more is believed:
//! container, then systemd unit, then machine (LXC, nspawn, VM), then slice, then the user's slice of a login session.
//! Below that the process name counts, then a plain directory's name of the socket's own group, then `ambiguous` if several processes share the
//! socket, then `unknown`.

mod pod;
mod status;

use std::num::NonZeroUsize;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;

use crate::cgroup::path::{Group, Path, parse};
use crate::cgroup::tree::{Limits, Tree};
use crate::cgroup::{Layout, Mode};
use crate::changes::{Changes, Subject};
use crate::container_names::{ContainerName, ContainerNames};
use crate::identity::{Identity, Kind, Words, clean};
use crate::kubernetes::cluster::Uid;
use crate::process::process_name;
use crate::{Owner, ProcessHierarchy};
pub(crate) use pod::LocalPods;

const CACHED_OWNERS: usize = 16_384;

/// What is known of one control group.
#[derive(Debug)]
struct Place {
    path: Path,
    container: Option<ContainerName>,
    pod: Option<Uid>,
}

/// What an owner is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Named {
    /// Without zone and region.
    pub identity: Identity,
    /// The pod, if the Kubernetes API knows it.
    pub pod: Option<Uid>,
}

/// An answer that was given.
#[derive(Debug)]
struct Answer {
    named: Named,
    /// The generation of changes before it was given.
    since: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct CacheKey {
    cgroup: u64,
    process_cgroup: u64,
    comm: Option<Arc<str>>,
    ambiguous: bool,
    /// 0 where it tells nothing.
    netns: u32,
}

impl CacheKey {
    fn subjects(&self) -> [Subject; 3] {
        [Subject::Cgroup(self.cgroup), Subject::Cgroup(self.process_cgroup), Subject::Netns(self.netns)]
    }
}

/// Names local owners.
#[derive(Debug)]
pub(crate) struct LocalNames {
    mode: Mode,
    namespaced: bool,
    /// Whether the kernel's paths are those of `unified` and `v1`.
    whole: (bool, bool),
    unified: Option<Tree<Place>>,
    /// Version 2 ids that are not worth asking for.
    silent: Vec<u64>,
    hierarchy: ProcessHierarchy,
    /// The hierarchy of processes, if it is of version 1 and mounted.
    v1: Option<Tree<Place>>,
    containers: ContainerNames,
    node: Arc<str>,
    words: Words,
    pods: Option<LocalPods>,
    changes: Arc<Changes>,
    cache: Mutex<LruCache<CacheKey, Answer, foldhash::fast::RandomState>>,
}

impl LocalNames {
    /// `pods` are there if there is a cluster; `changes` are those of all sources.
    pub fn new(
        layout: &Layout,
        hierarchy: ProcessHierarchy,
        rootfs: &FilePath,
        node: Arc<str>,
        pods: Option<LocalPods>,
        changes: Arc<Changes>,
    ) -> Self {
        let tree = |root: PathBuf| Tree::new(root, Limits::default());
        let size = NonZeroUsize::new(CACHED_OWNERS).unwrap_or(NonZeroUsize::MIN);
        let names = LocalNames {
            mode: layout.mode,
            namespaced: layout.namespaced,
            whole: (layout.is_whole(&ProcessHierarchy::Unified), layout.is_whole(&hierarchy)),
            unified: layout.unified.clone().map(tree),
            silent: layout.silent_ids(),
            v1: match hierarchy {
                ProcessHierarchy::Unified => None,
                ProcessHierarchy::V1(_) => layout.directory(&hierarchy).map(|root| tree(root.to_owned())),
            },
            hierarchy,
            containers: ContainerNames::new(rootfs),
            node,
            words: Words::default(),
            pods,
            changes,
            cache: Mutex::new(LruCache::with_hasher(size, foldhash::fast::RandomState::default())),
        };
        names.refresh();
        names
    }

    /// The owner's name, and whether an earlier answer has become untrue on the way.
    pub fn name(&self, owner: &Owner) -> (Named, bool) {
        let process = owner.process.as_ref();
        let key = CacheKey {
            cgroup: if self.silent.contains(&owner.cgroup) { 0 } else { owner.cgroup },
            process_cgroup: process.map_or(0, |process| process.cgroup),
            comm: process.map(|process| process.name.clone()),
            ambiguous: owner.ambiguous,
            netns: if self.pods.is_some() { owner.netns } else { 0 },
        };
        let since = self.changes.generation();
        if let Some(answer) = self.cache.lock().get_mut(&key)
            && !self.changes.is_stale(answer.since, &key.subjects())
        {
            answer.since = since;
            return (answer.named.clone(), false);
        }
        let (own, own_outdated) = self.place(self.unified.as_ref(), key.cgroup);
        let process_tree = match self.hierarchy {
            ProcessHierarchy::Unified => self.unified.as_ref(),
            ProcessHierarchy::V1(_) => self.v1.as_ref(),
        };
        let (of_process, process_outdated) = self.place(process_tree, key.process_cgroup);
        let outdated = own_outdated || process_outdated;
        let complete =
            (own.is_some() || key.cgroup == 0) && (of_process.is_some() || key.process_cgroup == 0);
        let named = self.of_pod(&key, own.as_deref(), of_process.as_deref()).unwrap_or_else(|| {
            let comm = process.map(|process| &*process.name);
            Named {
                identity: self.decide(own.as_deref(), of_process.as_deref(), comm, owner.ambiguous),
                pod: None,
            }
        });
        let mut cache = self.cache.lock();
        if outdated {
            cache.clear();
        }
        if complete {
            cache.put(key, Answer { named: named.clone(), since });
        }
        (named, outdated)
    }

    fn place(&self, tree: Option<&Tree<Place>>, id: u64) -> (Option<Arc<Place>>, bool) {
        match tree {
            Some(tree) if id != 0 => tree.look_up(id, &|path| self.describe(path)),
            _ => (None, false),
        }
    }

    fn describe(&self, path: &str) -> Place {
        let path = parse(path);
        let container = path.container.as_ref().map(|container| self.containers.name(container, path.user));
        let pod = path.pod_uid.as_deref().map(Uid::parse);
        Place { path, container, pod }
    }

    fn decide(
        &self,
        own: Option<&Place>,
        of_process: Option<&Place>,
        comm: Option<&str>,
        ambiguous: bool,
    ) -> Identity {
        let best = better(own, of_process);
        let process = comm.and_then(process_name);
        let process: Option<Arc<str>> = process.map(Arc::from);
        let by_process = || process.clone().filter(|_| !ambiguous);
        let nameless = || if ambiguous { self.words.ambiguous.clone() } else { self.words.unknown.clone() };
        let text = |name: &str| clean(name).map(Arc::<str>::from);

        let mut identity = self.words.identity(Kind::Host, self.words.unknown.clone());
        identity.node = self.node.clone();
        if let Some(place) = best {
            let machine = place.path.machine.as_deref().and_then(text);
            if let Some(name) = &place.container {
                let field =
                    |value: &str| if value.is_empty() { self.words.empty.clone() } else { Arc::from(value) };
                identity.container = field(&name.container);
                identity.namespace = field(&name.namespace);
                identity.pod = field(&name.pod);
            } else if let Some(machine) = &machine {
                identity.container = machine.clone();
            }
            let by_group = match &place.path.group {
                _ if place.container.is_some() => {
                    place.container.as_ref().and_then(|name| text(&name.workload))
                }
                Group::Unit(name) => text(name),
                _ if machine.is_some() => machine,
                Group::Slice(name) | Group::User(name) => text(name),
                Group::Transient => by_process().or_else(|| Some(Arc::from("run"))),
                Group::Directory(_) | Group::Nothing => None,
            };
            if let Some(workload) = by_group {
                identity.workload = workload;
                identity.process = process.unwrap_or_else(|| self.words.empty.clone());
                return identity;
            }
        }
        let directory = || match own.map(|place| &place.path.group) {
            Some(Group::Directory(name)) => text(name),
            _ => None,
        };
        identity.workload = by_process().or_else(directory).unwrap_or_else(nameless);
        identity.process = process.unwrap_or_else(|| self.words.empty.clone());
        identity
    }

    /// Walks the hierarchies if it is time. True if an earlier answer has become untrue.
    pub fn refresh(&self) -> bool {
        let describe = |path: &str| self.describe(path);
        let mut outdated = false;
        for tree in self.unified.iter().chain(&self.v1) {
            outdated |= tree.refresh(&describe);
        }
        if outdated {
            self.cache.lock().clear();
        }
        if let Some(pods) = &self.pods {
            pods.refresh();
        }
        outdated
    }

    /// Takes over a group that the kernel told of. True if an earlier answer has become untrue.
    pub fn learn(&self, id: u64, unified: bool, path: &str) -> bool {
        let (tree, whole) = if unified { (&self.unified, self.whole.0) } else { (&self.v1, self.whole.1) };
        // Seen from a control group namespace, the kernel's paths are not the ones walked.
        let Some(tree) = tree.as_ref().filter(|_| whole) else { return false };
        // An answer without the group was not complete, and is not in the cache.
        tree.learn(id, path, &|path| self.describe(path))
    }

    /// Makes a refresh walk soon.
    pub fn hurry(&self) {
        self.unified.iter().chain(&self.v1).for_each(Tree::hurry);
    }

    /// Makes the next refresh walk.
    pub fn expire(&self) {
        self.unified.iter().chain(&self.v1).for_each(Tree::expire);
        if let Some(pods) = &self.pods {
            pods.expire();
        }
    }
}

/// The place that tells more.
fn better<'a>(own: Option<&'a Place>, of_process: Option<&'a Place>) -> Option<&'a Place> {
    let weight = |place: Option<&Place>| place.map_or(0, |place| place.path.weight());
    if weight(of_process) > weight(own) { of_process } else { own }
}

#[cfg(test)]
mod tests;
