// SPDX-License-Identifier: Apache-2.0
//! The tries of a client's lookups of names with one first label, and which of those that failed were followed by another.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

use super::Findings;
use crate::dns::name::{Name, common, ends_with};
use crate::dns::resolv_conf::SearchList;

/// How soon a resolver goes on after an NXDOMAIN. It does so at once; the rest is for answers over TCP, sleeping virtual
/// machines and the like.
const WINDOW: u64 = 1_000_000_000;

/// How long a try is remembered after it was asked for or answered last: as long as the next answer may take.
const REMEMBERED: u64 = 5_000_000_000;

/// Answers of a flow within this time of each other are kept as one.
const TOGETHER: u64 = WINDOW / 20;

/// Names remembered of one first label.
const MOST_TRIES: usize = 16;

/// Undecided answers to one name that are kept, those together counted as one.
const MOST_PENDING: usize = 64;

/// Names that others are known to have been made of, remembered of one first label.
const MOST_BARE: usize = 4;

type Found<K> = HashMap<K, Findings, RandomState>;

/// NXDOMAIN answers that may be noise.
#[derive(Debug)]
struct Pending<K> {
    key: K,
    time: u64,
    count: u64,
}

#[derive(Debug)]
struct Try<K> {
    name: Name,
    /// Its place among those that were asked for first.
    order: u64,
    asked: u64,
    /// Since when it waits for an answer that is no NXDOMAIN, which need not be told.
    waits: Option<u64>,
    /// The last NXDOMAIN.
    failed: Option<u64>,
    /// Until when answers are noise: another try has followed.
    followed: Option<u64>,
    pending: Vec<Pending<K>>,
}

impl<K> Try<K> {
    fn active(&self) -> u64 {
        self.asked.max(self.failed.unwrap_or(0))
    }
}

/// What follows from one name being asked for after another.
#[derive(Debug, PartialEq, Eq)]
enum Link {
    /// The earlier one was made of the name of so many bytes.
    MadeUp(usize),
    /// The earlier one was asked for as it is, and the later one is made of it.
    AsIs,
}

/// Names with one first label that a client asked for lately.
#[derive(Debug)]
pub struct Lookup<K> {
    tries: Vec<Try<K>>,
    /// Names that others are known to be made of.
    bare: Vec<Name>,
    orders: u64,
}

impl<K> Default for Lookup<K> {
    fn default() -> Self {
        Self { tries: Vec::new(), bare: Vec::new(), orders: 0 }
    }
}

impl<K: Copy + Eq + Hash> Lookup<K> {
    /// A name is asked for.
    pub fn asked(&mut self, name: &Name, time: u64, list: &SearchList, found: &mut Found<K>) {
        self.decide(time, found);
        let order = match self.tries.iter_mut().find(|tried| tried.name == *name) {
            Some(tried) => {
                tried.asked = tried.asked.max(time);
                tried.waits.get_or_insert(time);
                // What followed was another round, or another thread's.
                tried.followed = None;
                tried.order
            }
            None => self.enter(name, time),
        };
        // Only what was asked for first before it: in the next round of the same lookup the order is the same, and what another
        // thread, which is a step behind, asks for once more follows nothing. A bare name may have been asked for before on its own.
        for at in 0..self.tries.len() {
            let tried = &self.tries[at];
            let in_order = tried.order < order || name.begins(&tried.name);
            if !in_order || time.saturating_sub(tried.active()) > WINDOW {
                continue;
            }
            match self.link(&tried.name, name, list) {
                Some(Link::MadeUp(length)) => {
                    if tried.failed.is_some() {
                        self.learn(&name.wire()[..length]);
                    }
                    let tried = &mut self.tries[at];
                    tried.followed = Some(time + WINDOW);
                    for Pending { key, count, .. } in tried.pending.drain(..) {
                        found.entry(key).or_default().made_up += count;
                    }
                }
                Some(Link::AsIs) => {
                    let bare = tried.name.clone();
                    self.learn(bare.wire());
                }
                None => {}
            }
        }
    }

    /// A name was answered not to exist.
    pub fn nxdomain(&mut self, key: K, name: &Name, time: u64, list: &SearchList, found: &mut Found<K>) {
        // The first query is never told, others may be lost.
        if !self.tries.iter().any(|tried| tried.name == *name) {
            self.asked(name, time, list, found);
        } else {
            self.decide(time, found);
        }
        // It is there unless it was forgotten this moment.
        let Some(at) = self.tries.iter().position(|tried| tried.name == *name) else { return };
        let order = self.tries[at].order;
        let of_pending =
            |tried: &Try<K>| tried.order < order && !tried.pending.is_empty() && tried.name.begins(name);
        let of_failed = self.tries.iter().any(of_pending);
        let tried = &mut self.tries[at];
        tried.waits = None;
        tried.failed = Some(time);
        if of_failed || tried.followed.is_some_and(|until| time <= until) {
            found.entry(key).or_default().made_up += 1;
            return;
        }
        let place = tried
            .pending
            .iter()
            .rposition(|pending| pending.key == key && time.saturating_sub(pending.time) < TOGETHER);
        match place {
            Some(place) => tried.pending[place].count += 1,
            // What there is no room for counts as an error.
            None if tried.pending.len() >= MOST_PENDING => {}
            None => tried.pending.push(Pending { key, time, count: 1 }),
        }
    }

    /// Decides what `now` tells, and forgets what has been quiet for long.
    pub fn decide(&mut self, now: u64, found: &mut Found<K>) {
        for at in 0..self.tries.len() {
            let mut pending = std::mem::take(&mut self.tries[at].pending);
            pending.retain(|answer| match self.verdict(&self.tries[at], answer.time, now) {
                Verdict::Open => true,
                Verdict::Error => false,
                Verdict::Noise => {
                    found.entry(answer.key).or_default().made_up += answer.count;
                    false
                }
            });
            self.tries[at].pending = pending;
        }
        self.tries
            .retain(|tried| !tried.pending.is_empty() || now.saturating_sub(tried.active()) <= REMEMBERED);
    }

    /// What an NXDOMAIN at `time` was, of a name that no other was made of, or that others are made of.
    fn verdict(&self, tried: &Try<K>, time: u64, now: u64) -> Verdict {
        if now.saturating_sub(time) <= WINDOW {
            return Verdict::Open;
        }
        let made_of_it = |other: &&Try<K>| {
            other.order > tried.order && other.asked + WINDOW >= time && tried.name.begins(&other.name)
        };
        let mut verdict = Verdict::Error;
        for other in self.tries.iter().filter(made_of_it) {
            // It failed as well: that one is noise, this one the error.
            if other.waits.is_none() || other.failed.is_some_and(|failed| failed >= time) {
                continue;
            }
            let waited = other.waits.map_or(0, |since| now.saturating_sub(since));
            if waited > WINDOW || now.saturating_sub(time) > REMEMBERED {
                // It did not fail: the application has what it wanted. Should it fail yet, that is the error.
                return Verdict::Noise;
            }
            verdict = Verdict::Open;
        }
        verdict
    }

    fn link(&self, earlier: &Name, later: &Name, list: &SearchList) -> Option<Link> {
        let (earlier, later) = (earlier.wire(), later.wire());
        let same = common(earlier, later);
        let (of_earlier, of_later) = (&earlier[same..], &later[same..]);
        match (of_earlier.is_empty(), of_later.is_empty()) {
            _ if same == 0 => None,
            (true, true) => None,
            (false, true) => Some(Link::MadeUp(same)),
            (true, false) => Some(Link::AsIs),
            // As `svc.cluster.local` comes after `default.svc.cluster.local`. Names such as `_dmarc` are looked up further and
            // further up the tree, by programs and not by a list.
            (false, false) if ends_with(of_earlier, of_later) && earlier.get(1) != Some(&b'_') => {
                Some(Link::MadeUp(same))
            }
            (false, false) => {
                let known = self.bare.iter().map(Name::wire);
                let mut known = known.filter(|bare| bare.len() <= same && earlier.starts_with(bare));
                list.expanded(earlier, later).or_else(|| known.next().map(<[u8]>::len)).map(Link::MadeUp)
            }
        }
    }

    fn learn(&mut self, bare: &[u8]) {
        if self.bare.iter().all(|known| known.wire() != bare) {
            if self.bare.len() >= MOST_BARE {
                self.bare.remove(0);
            }
            self.bare.push(Name::from_wire(bare));
        }
    }

    fn enter(&mut self, name: &Name, time: u64) -> u64 {
        if self.tries.len() >= MOST_TRIES
            && let Some(oldest) = (0..self.tries.len()).min_by_key(|at| self.tries[*at].active())
        {
            self.tries.swap_remove(oldest);
        }
        self.orders += 1;
        self.tries.push(Try {
            name: name.clone(),
            order: self.orders,
            asked: time,
            waits: Some(time),
            failed: None,
            followed: None,
            pending: Vec::new(),
        });
        self.orders
    }

    /// NXDOMAIN answers that are not decided, by flow.
    pub fn undecided(&self) -> impl Iterator<Item = (K, u64)> {
        self.tries.iter().flat_map(|tried| &tried.pending).map(|pending| (pending.key, pending.count))
    }

    /// Whether nothing is left of it.
    pub fn is_over(&self) -> bool {
        self.tries.is_empty()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Not known yet.
    Open,
    /// The application got to see it.
    Error,
    /// The lookup went on and succeeded.
    Noise,
}
