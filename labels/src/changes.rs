// SPDX-License-Identifier: Apache-2.0
//! Which answers given earlier may be another now.
//!
//! A cluster changes many times a second, and nearly all of it concerns nobody who was asked about. Hence a change
//! is noted with what it is about, and an answer is asked for again only if it was about that.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::Map;
use crate::ranges::canonical;

/// What an answer was about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Subject {
    /// A remote address, on any port.
    Address(IpAddr),
    /// A control group, by the id in [`crate::Owner::cgroup`] or [`crate::Process::cgroup`].
    Cgroup(u64),
    /// A network namespace, as in [`crate::Owner::netns`].
    Netns(u32),
}

impl Subject {
    fn canonical(self) -> Subject {
        match self {
            Subject::Address(addr) => Subject::Address(canonical(addr)),
            other => other,
        }
    }
}

/// Subjects that are told apart. Beyond, the older half of the changes counts as a change of everything: whoever asks
/// at every pass has long heard of them.
const MAX_SUBJECTS: usize = 65_536;

#[derive(Default, Debug)]
struct Marks {
    /// Everything changed then.
    floor: u64,
    changed: Map<Subject, u64>,
}

/// The changes of all sources of names. A change is noted after it was made, so that an answer that was given at a
/// generation knows of every change up to it.
#[derive(Default, Debug)]
pub(crate) struct Changes {
    generation: AtomicU64,
    marks: RwLock<Marks>,
}

impl Changes {
    /// Grows with each change.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// True if an answer about these subjects, given at generation `since`, may be another now.
    pub fn is_stale(&self, since: u64, subjects: &[Subject]) -> bool {
        if since >= self.generation() {
            return false;
        }
        let marks = self.marks.read();
        let changed =
            |subject: &Subject| marks.changed.get(&subject.canonical()).is_some_and(|at| *at > since);
        marks.floor > since || subjects.iter().any(changed)
    }

    /// These have changed.
    pub fn mark(&self, subjects: impl IntoIterator<Item = Subject>) {
        let mut subjects = subjects.into_iter().peekable();
        if subjects.peek().is_none() {
            return;
        }
        let mut marks = self.marks.write();
        let now = self.generation() + 1;
        for subject in subjects {
            marks.changed.insert(subject.canonical(), now);
            if marks.changed.len() > MAX_SUBJECTS {
                marks.forget_older_half();
            }
        }
        self.generation.store(now, Ordering::Release);
    }

    /// Anything may have changed.
    pub fn mark_all(&self) {
        let mut marks = self.marks.write();
        let now = self.generation() + 1;
        marks.floor = now;
        marks.changed.clear();
        self.generation.store(now, Ordering::Release);
    }
}

impl Marks {
    fn forget_older_half(&mut self) {
        let mut times: Vec<u64> = self.changed.values().copied().collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        self.floor = self.floor.max(*median);
        let floor = self.floor;
        self.changed.retain(|_, at| *at > floor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(number: u32) -> Subject {
        Subject::Address(IpAddr::from(number.to_be_bytes()))
    }

    #[test]
    fn only_what_changed_is_stale() {
        let changes = Changes::default();
        let start = changes.generation();
        changes.mark([]);
        assert_eq!(changes.generation(), start, "nothing is no change");
        changes.mark([addr(1), Subject::Cgroup(7)]);
        assert_eq!(changes.generation(), start + 1);
        assert!(changes.is_stale(start, &[addr(1)]));
        assert!(changes.is_stale(start, &[addr(2), Subject::Cgroup(7)]));
        assert!(!changes.is_stale(start, &[addr(2), Subject::Cgroup(1), Subject::Netns(7)]));
        assert!(!changes.is_stale(start, &[]));
        assert!(!changes.is_stale(changes.generation(), &[addr(1)]));
        let mapped = Subject::Address("::ffff:0.0.0.1".parse().unwrap());
        assert!(changes.is_stale(start, &[mapped]));
    }

    #[test]
    fn everything_may_change() {
        let changes = Changes::default();
        changes.mark([addr(1)]);
        let since = changes.generation();
        changes.mark_all();
        assert!(changes.is_stale(since, &[addr(2)]) && changes.is_stale(since, &[]));
        assert!(!changes.is_stale(since + 1, &[addr(2)]));
    }

    #[test]
    fn what_is_forgotten_is_stale_and_memory_is_bounded() {
        let changes = Changes::default();
        let start = changes.generation();
        let count = MAX_SUBJECTS as u32 * 3;
        for number in 0..count {
            changes.mark([addr(number)]);
            assert!(changes.marks.read().changed.len() <= MAX_SUBJECTS);
        }
        for number in (0..count).step_by(997) {
            assert!(changes.is_stale(start, &[addr(number)]), "{number}");
        }
        let recent = changes.generation() - 1000;
        assert!(
            !changes.is_stale(recent, &[addr(1), addr(count - 1001)]),
            "no alarm for those who asked of late"
        );
        assert!(changes.is_stale(recent, &[addr(count - 1)]));
        // One batch larger than all there is room for.
        changes.mark((0..count).map(addr));
        assert!(changes.is_stale(changes.generation() - 1, &[addr(5)]));
    }
}
