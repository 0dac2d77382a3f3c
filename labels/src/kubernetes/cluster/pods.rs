// SPDX-License-Identifier: Apache-2.0
//! The pods that the API tells of, by two watches: one of the own node's, one of all.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use super::holders::{Claimant, Holders};
use super::record::{PodRecord, Uid};
use super::touched::Touched;
use crate::{Map, Set};

/// Own pods that have gone and are still known by their uid.
const DEPARTED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Which of the watches tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Watch {
    OwnNode = 1,
    All = 2,
}

#[derive(Debug)]
struct Known {
    pod: Arc<PodRecord>,
    /// The watches that know it.
    seen: u8,
    /// Those that said it was deleted: the others are late.
    deleted: u8,
}

impl Known {
    fn is_alive(&self) -> bool {
        !self.pod.finished && self.deleted == 0
    }
}

/// All pods.
#[derive(Debug)]
pub(crate) struct Pods {
    known: Map<Uid, Known>,
    /// Uids by which the kubelet knows static pods.
    aliases: Map<Uid, Uid>,
    departed: LruCache<Uid, Arc<PodRecord>, foldhash::fast::RandomState>,
    /// Those on the host's network, by the node's addresses.
    on_host: Map<IpAddr, Vec<Arc<PodRecord>>>,
    /// The watch of the own node's pods works, and so knows better than the one of all.
    pub own_node_up: bool,
}

impl Default for Pods {
    fn default() -> Self {
        Pods {
            known: Map::default(),
            aliases: Map::default(),
            departed: LruCache::with_hasher(DEPARTED, foldhash::fast::RandomState::default()),
            on_host: Map::default(),
            own_node_up: false,
        }
    }
}

impl Pods {
    /// How many pods a watch knows.
    pub fn len(&self, watch: Watch) -> usize {
        self.known.values().filter(|known| known.seen & watch as u8 != 0).count()
    }

    /// How many there are in all.
    pub fn total(&self) -> usize {
        self.known.len()
    }

    /// The pod with this uid or configuration hash, also if it has gone of late.
    pub fn by_uid(&self, uid: Uid) -> Option<&Arc<PodRecord>> {
        let known = || self.known.get(&uid).or_else(|| self.known.get(self.aliases.get(&uid)?));
        known().map(|known| &known.pod).or_else(|| self.departed.peek(&uid))
    }

    /// The pod is running, as far as the API tells.
    pub fn is_alive(&self, uid: Uid) -> bool {
        let uid = self.aliases.get(&uid).copied().unwrap_or(uid);
        self.known.get(&uid).is_some_and(Known::is_alive)
    }

    /// The very pod that a watch told of last.
    pub fn known(&self, uid: Uid) -> Option<&Arc<PodRecord>> {
        self.known.get(&uid).map(|known| &known.pod)
    }

    /// Running pods on the host's network that have this address.
    pub fn on_host(&self, addr: &IpAddr) -> &[Arc<PodRecord>] {
        self.on_host.get(addr).map_or(&[], Vec::as_slice)
    }

    /// A pod was added or has changed.
    pub fn apply(&mut self, watch: Watch, pod: Arc<PodRecord>, holders: &mut Holders, touched: &mut Touched) {
        let uid = pod.uid;
        let bit = watch as u8;
        let Some(known) = self.known.get_mut(&uid) else {
            self.departed.pop(&uid);
            self.note_own(&pod, None, touched);
            let known = Known { pod: pod.clone(), seen: bit, deleted: 0 };
            // Who had finished before may have lost its addresses to anybody since.
            if known.is_alive() {
                self.settle_in(&pod, holders, touched);
            }
            self.known.insert(uid, known);
            return;
        };
        known.seen |= bit;
        let was_alive = known.is_alive();
        known.deleted &= !bit;
        let late = watch == Watch::All
            && known.seen & Watch::OwnNode as u8 != 0
            && self.own_node_up
            && known.pod.own;
        if (known.pod == pod || late) && was_alive == known.is_alive() {
            return;
        }
        let pod = if late { known.pod.clone() } else { pod };
        let earlier = std::mem::replace(&mut known.pod, pod.clone());
        let is_alive = known.is_alive();
        self.note_own(&pod, Some(&earlier), touched);
        if was_alive && !is_alive {
            self.move_out(&earlier, &[], holders, touched);
            // It may have ended as soon as it had them.
            if !pod.host_network {
                pod.ips.iter().for_each(|addr| holders.remember(*addr, &pod, touched));
            }
        } else if is_alive {
            if was_alive {
                let stays = if pod.host_network == earlier.host_network { &*pod.ips } else { &[] };
                self.move_out(&earlier, stays, holders, touched);
            }
            self.settle_in(&pod, holders, touched);
        }
    }

    /// A watch says that the pod has gone.
    pub fn remove(&mut self, watch: Watch, uid: Uid, holders: &mut Holders, touched: &mut Touched) {
        let bit = watch as u8;
        let Some(known) = self.known.get_mut(&uid).filter(|known| known.seen & bit != 0) else { return };
        let was_alive = known.is_alive();
        known.seen &= !bit;
        known.deleted |= bit;
        let (pod, forgotten) = (known.pod.clone(), known.seen == 0);
        if was_alive {
            self.move_out(&pod, &[], holders, touched);
        }
        if forgotten {
            self.known.remove(&uid);
            if let Some(alias) = pod.alias().filter(|alias| self.aliases.get(alias) == Some(&uid)) {
                self.aliases.remove(&alias);
                self.departed.put(alias, pod.clone());
            }
            if pod.own {
                self.departed.put(uid, pod);
            }
        }
    }

    /// So many more are about to come.
    pub fn reserve(&mut self, pods: usize) {
        self.known.reserve(pods);
    }

    /// Whoever a complete list does not have is gone.
    pub fn retain(&mut self, watch: Watch, listed: &Set<Uid>, holders: &mut Holders, touched: &mut Touched) {
        let missing = |(uid, known): (&Uid, &Known)| {
            (known.seen & watch as u8 != 0 && !listed.contains(uid)).then_some(*uid)
        };
        let gone: Vec<Uid> = self.known.iter().filter_map(missing).collect();
        gone.into_iter().for_each(|uid| self.remove(watch, uid, holders, touched));
    }

    /// The names of local sockets depend on own pods.
    fn note_own(&mut self, pod: &Arc<PodRecord>, earlier: Option<&Arc<PodRecord>>, touched: &mut Touched) {
        let (alias, old) = (pod.alias(), earlier.and_then(|earlier| earlier.alias()));
        if alias != old {
            // A mirror pod that is made anew has the alias of the one before, which may still be told of.
            if let Some(old) = old.filter(|old| self.aliases.get(old) == Some(&pod.uid)) {
                self.aliases.remove(&old);
            }
            if let Some(alias) = alias {
                self.departed.pop(&alias);
                self.aliases.insert(alias, pod.uid);
            }
        }
        if pod.own && earlier != Some(pod) {
            touched.pod(pod);
        }
    }

    fn settle_in(&mut self, pod: &Arc<PodRecord>, holders: &mut Holders, touched: &mut Touched) {
        for addr in &pod.ips {
            if pod.host_network {
                let here = self.on_host.entry(*addr).or_default();
                here.retain(|other| other.uid != pod.uid);
                here.push(pod.clone());
                touched.address(*addr);
                holders.give_away(*addr, touched);
            } else {
                holders.hold(*addr, Claimant::Pod, pod, touched);
            }
        }
    }

    /// The pod leaves its addresses, but those it keeps.
    fn move_out(&mut self, pod: &PodRecord, stays: &[IpAddr], holders: &mut Holders, touched: &mut Touched) {
        for addr in pod.ips.iter().filter(|addr| !stays.contains(addr)) {
            if !pod.host_network {
                holders.release(*addr, pod, touched);
            } else if let Some(here) = self.on_host.get_mut(addr) {
                here.retain(|other| other.uid != pod.uid);
                if here.is_empty() {
                    self.on_host.remove(addr);
                }
                touched.address(*addr);
            }
        }
    }
}
