// SPDX-License-Identifier: Apache-2.0
//! Which pod holds an address, and who held it last.
//!
//! Addresses are recycled, and what is counted is named only when it is reported. So an address that was asked about, or
//! that the old pod had after the last report, does not change hands at once: it is *staged*, and goes on being the old
//! pod's until everything counted so far has been reported ([`Holders::settle`]). One whose pod has gone stays named after it until somebody else gets it, or
//! for ten minutes.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::record::PodRecord;
use super::touched::Touched;
use crate::Map;

/// How long an address stays named after a pod that has gone.
const DEPARTED_FOR: Duration = Duration::from_secs(600);
/// How many such addresses there may be.
const MAX_DEPARTED: usize = 8192;

/// Who says that a pod holds an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claimant {
    /// The pod itself, which is in the API.
    Pod,
    /// The EndpointSlice with this number.
    Slice(u32),
}

#[derive(Debug)]
struct Claim {
    by: Claimant,
    pod: Arc<PodRecord>,
    since: u64,
}

impl Claim {
    fn is_of(&self, by: Claimant, pod: &PodRecord) -> bool {
        self.by == by && (by != Claimant::Pod || self.pod.uid == pod.uid)
    }
}

#[derive(Default, Debug)]
struct Holder {
    /// Who is answered.
    shown: Option<Arc<PodRecord>>,
    claims: Vec<Claim>,
    /// Nobody claims the address since the departure of this number; 0 if somebody does.
    departed: u64,
    asked: AtomicBool,
}

impl Holder {
    /// Whether somebody has had the address after the last report: until now, or until a departure that came later.
    fn is_unreported(&self, reported: u64) -> bool {
        self.departed == 0 || self.departed > reported
    }
}

/// The addresses of pods with a network of their own.
#[derive(Default, Debug)]
pub(crate) struct Holders {
    by_addr: Map<IpAddr, Holder>,
    /// Who will be answered once what was counted so far has been reported; None is nobody.
    staged: Map<IpAddr, Option<Arc<PodRecord>>>,
    /// When they end, the address, and the number of the departure.
    departed: VecDeque<(Instant, IpAddr, u64)>,
    departures: u64,
    /// Of the departures, those after this number came after the last report began.
    reported: u64,
    claims: u64,
    /// What the watches of pods say is old (of own pods, of others): an EndpointSlice that says otherwise since then is
    /// believed.
    distrusted: [bool; 2],
}

impl Holders {
    /// Who has the address, as far as lookups are concerned. From now on it changes hands by [`Self::settle`] alone.
    pub fn get(&self, addr: &IpAddr) -> Option<&Arc<PodRecord>> {
        let holder = self.by_addr.get(addr)?;
        let shown = holder.shown.as_ref()?;
        // Writing to it each time would take it from the other processors' caches.
        if !holder.asked.load(Ordering::Relaxed) {
            holder.asked.store(true, Ordering::Relaxed);
        }
        Some(shown)
    }

    /// Who has the address, for the tables themselves.
    pub fn peek(&self, addr: &IpAddr) -> Option<&Arc<PodRecord>> {
        self.by_addr.get(addr)?.shown.as_ref()
    }

    /// EndpointSlices say of several pods, none of which is known itself, that they have the address. So it seems for a
    /// while where one pod has it after another, too, which [`Self::settle`] ends.
    pub fn is_contested(&self, addr: &IpAddr) -> bool {
        let Some(holder) = self.by_addr.get(addr).filter(|holder| holder.claims.len() > 1) else {
            return false;
        };
        let mut derived = holder.claims.iter().map(|claim| &claim.pod).filter(|pod| pod.derived);
        let first = derived.next();
        first.is_some_and(|first| derived.any(|other| !other.is_same_pod(first)))
            && !self.staged.contains_key(addr)
    }

    /// Pods that are or will be named by the address.
    pub fn concerned(&self, addr: &IpAddr) -> impl Iterator<Item = &Arc<PodRecord>> {
        let holder = self.by_addr.get(addr).into_iter();
        holder.flat_map(|holder| holder.shown.iter().chain(holder.claims.iter().map(|claim| &claim.pod)))
    }

    /// `pod` holds the address, says `by`.
    pub fn hold(&mut self, addr: IpAddr, by: Claimant, pod: &Arc<PodRecord>, touched: &mut Touched) {
        let holder = self.by_addr.entry(addr).or_default();
        if pod.derived {
            // The pod that is in the API tells more.
            if holder.claims.iter().any(|claim| !claim.pod.derived && claim.pod.is_same_pod(pod)) {
                holder.claims.retain(|claim| !claim.is_of(by, pod));
                return self.choose(addr, touched);
            }
        } else {
            holder.claims.retain(|claim| !(claim.pod.derived && claim.pod.is_same_pod(pod)));
        }
        match holder.claims.iter_mut().find(|claim| claim.is_of(by, pod)) {
            Some(claim) => {
                if !claim.pod.is_same_pod(pod) {
                    self.claims += 1;
                    claim.since = self.claims;
                }
                claim.pod = pod.clone();
            }
            None => {
                self.claims += 1;
                holder.claims.reserve_exact(1);
                holder.claims.push(Claim { by, pod: pod.clone(), since: self.claims });
            }
        }
        self.choose(addr, touched);
    }

    /// A pod does not hold it any more.
    pub fn release(&mut self, addr: IpAddr, pod: &PodRecord, touched: &mut Touched) {
        self.release_if(addr, |claim| claim.is_of(Claimant::Pod, pod), touched);
    }

    /// The EndpointSlice of this number does not say any more that anybody holds it.
    pub fn release_slice(&mut self, addr: IpAddr, number: u32, touched: &mut Touched) {
        self.release_if(addr, |claim| claim.by == Claimant::Slice(number), touched);
    }

    fn release_if(&mut self, addr: IpAddr, gone: impl Fn(&Claim) -> bool, touched: &mut Touched) {
        let Some(holder) = self.by_addr.get_mut(&addr) else { return };
        let before = holder.claims.len();
        holder.claims.retain(|claim| !gone(claim));
        if holder.claims.len() != before {
            self.choose(addr, touched);
        }
    }

    /// `pod` held the address and has gone: it names it if nobody else does.
    pub fn remember(&mut self, addr: IpAddr, pod: &Arc<PodRecord>, touched: &mut Touched) {
        let holder = self.by_addr.entry(addr).or_default();
        if holder.shown.is_none() && holder.claims.is_empty() {
            holder.shown = Some(pod.clone());
            touched.address(addr);
            self.choose(addr, touched);
        }
    }

    /// The address is something else's than a pod's now.
    pub fn give_away(&mut self, addr: IpAddr, touched: &mut Touched) {
        if let Some(holder) = self.by_addr.get_mut(&addr)
            && holder.claims.is_empty()
        {
            let unreported = holder.is_unreported(self.reported);
            holder.departed = 0;
            self.change(addr, None, unreported, touched);
        }
    }

    /// Says whether own pods and others are as their watches told, and chooses again wherever there is a choice.
    pub fn distrust(&mut self, own: bool, others: bool, touched: &mut Touched) {
        if std::mem::replace(&mut self.distrusted, [own, others]) == [own, others] {
            return;
        }
        let contested = self.by_addr.iter().filter(|(_, holder)| holder.claims.len() > 1);
        let contested: Vec<IpAddr> = contested.map(|(addr, _)| *addr).collect();
        contested.into_iter().for_each(|addr| self.choose(addr, touched));
    }

    fn choose(&mut self, addr: IpAddr, touched: &mut Touched) {
        let Some(holder) = self.by_addr.get_mut(&addr) else { return };
        let trusted = |claim: &Claim| !claim.pod.derived && !self.distrusted[usize::from(!claim.pod.own)];
        // Of endpoints, those that stay come before those that go; what the API tells of pods comes in order.
        let told = |derived| holder.claims.iter().filter(move |claim| claim.pod.derived == derived);
        let endpoint = told(true).max_by_key(|claim| (!claim.pod.deleting, claim.since));
        let best = told(false).chain(endpoint).max_by_key(|claim| (trusted(claim), claim.since));
        match best.map(|claim| claim.pod.clone()) {
            Some(pod) => {
                let unreported = holder.is_unreported(self.reported);
                holder.departed = 0;
                self.change(addr, Some(pod), unreported, touched);
            }
            None if holder.departed == 0 => {
                self.departures += 1;
                holder.departed = self.departures;
                self.departed.push_back((Instant::now() + DEPARTED_FOR, addr, self.departures));
            }
            None => {}
        }
    }

    /// From now on, or from [`Self::settle`] on, the address is `pod`'s. `unreported`: who had it until now may have been
    /// counted since the last report.
    fn change(&mut self, addr: IpAddr, pod: Option<Arc<PodRecord>>, unreported: bool, touched: &mut Touched) {
        let Some(holder) = self.by_addr.get_mut(&addr) else { return };
        let asked = *holder.asked.get_mut();
        match (&holder.shown, &pod) {
            (Some(old), Some(new)) if old.is_same_pod(new) => {
                if !old.is_named_alike(new) {
                    touched.address(addr);
                }
            }
            (None, None) => {}
            (Some(_), _) if unreported || asked || self.staged.contains_key(&addr) => {
                self.staged.insert(addr, pod);
                return;
            }
            _ => touched.address(addr),
        }
        holder.shown = pod;
        self.staged.remove(&addr);
        self.drop_if_empty(addr);
    }

    fn drop_if_empty(&mut self, addr: IpAddr) {
        if self.by_addr.get(&addr).is_some_and(|h| h.shown.is_none() && h.claims.is_empty()) {
            self.by_addr.remove(&addr);
        }
    }

    /// True if an address waits for its new holder.
    pub fn needs_settling(&self) -> bool {
        !self.staged.is_empty()
    }

    /// The number of the last departure.
    pub fn departures(&self) -> u64 {
        self.departures
    }

    /// What was counted until the departure of this number has been reported.
    pub fn set_reported(&mut self, departures: u64) {
        self.reported = departures;
    }

    /// Lets the new holders take over.
    pub fn settle(&mut self, touched: &mut Touched) {
        for (addr, pod) in std::mem::take(&mut self.staged) {
            let Some(holder) = self.by_addr.get_mut(&addr) else { continue };
            holder.shown = pod;
            holder.asked = AtomicBool::new(false);
            touched.address(addr);
            self.drop_if_empty(addr);
        }
    }

    /// So many more are about to come.
    pub fn reserve(&mut self, addresses: usize) {
        self.by_addr.reserve(addresses);
    }

    /// Forgets those who have gone long ago, and the first to go of too many.
    pub fn forget_departed(&mut self, now: Instant, touched: &mut Touched) {
        while let Some((due, addr, number)) = self.departed.front().copied() {
            if now < due && self.departed.len() <= MAX_DEPARTED {
                break;
            }
            self.departed.pop_front();
            if self.by_addr.get(&addr).is_some_and(|holder| holder.departed == number) {
                self.change(addr, None, false, touched);
            }
        }
    }

    /// Addresses that have a name.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_addr.len()
    }
}
