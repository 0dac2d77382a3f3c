// SPDX-License-Identifier: Apache-2.0
//! Time in slots: which of them a window holds, and what time their counts cover.
//!
//! Counters are read in passes, so what a slot holds grew between the last pass before it and the last one in it. What a window
//! covers is told from that, to the moment, rather than from the clock's boundaries.

use std::time::Duration;

/// Length of a slot.
pub const SLOT: Duration = Duration::from_secs(15);

/// Slots that are added up once they are older than the second longest window.
pub const SLOTS_IN_COARSE: u32 = 4;

/// Slots of the longest window.
const LONGEST: u32 = 60;

/// How far back counts are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Window {
    /// One minute.
    One,
    /// Five.
    #[default]
    Five,
    /// Fifteen.
    Fifteen,
}

impl Window {
    /// All, the shortest first.
    pub const ALL: [Window; 3] = [Window::One, Window::Five, Window::Fifteen];

    /// As it is asked for.
    pub const fn as_str(self) -> &'static str {
        match self {
            Window::One => "1m",
            Window::Five => "5m",
            Window::Fifteen => "15m",
        }
    }

    /// In seconds.
    pub const fn seconds(self) -> u32 {
        self.slots() * SLOT.as_secs() as u32
    }

    const fn slots(self) -> u32 {
        match self {
            Window::One => 4,
            Window::Five => 20,
            Window::Fifteen => LONGEST,
        }
    }

    /// Slots that make one point of a history.
    pub const fn slots_in_point(self) -> u32 {
        match self {
            Window::One | Window::Five => 1,
            Window::Fifteen => SLOTS_IN_COARSE,
        }
    }

    /// The first slot that belongs to it, while the clock is in slot `now`. The longest one begins where slots that were added up do.
    pub fn first(self, now: u32) -> u32 {
        let first = (now + 1).saturating_sub(self.slots());
        first.next_multiple_of(self.slots_in_point())
    }
}

/// When passes were.
#[derive(Debug, Clone)]
pub struct Passes {
    /// Milliseconds of the store's clock at which the counts of a slot begin, by slot.
    begins: [u64; RING],
    /// Slots in which there was a pass.
    passed: [bool; RING],
    /// The last pass: its slot and when it was.
    last: (u32, u64),
}

/// More than the longest window, of which coarse slots are looked up by their first one.
const RING: usize = 64;

impl Passes {
    /// None yet; counts begin at 0.
    pub fn new() -> Self {
        Self { begins: [0; RING], passed: [false; RING], last: (0, 0) }
    }

    /// A pass begins in this slot.
    pub fn note(&mut self, slot: u32, now: u64) {
        let (last, then) = self.last;
        let from = (last + 1).max(slot.saturating_sub(RING as u32 - 1));
        for between in from..=slot {
            self.begins[between as usize % RING] = then;
            self.passed[between as usize % RING] = false;
        }
        self.passed[slot as usize % RING] = true;
        self.last = (slot.max(last), now.max(then));
    }

    /// What time the counts cover that begin with slot `first`.
    pub fn covered(&self, first: u32) -> Duration {
        let (last, end) = self.last;
        if first > last {
            return Duration::ZERO;
        }
        let oldest = last.saturating_sub(RING as u32 - 1);
        Duration::from_millis(end.saturating_sub(self.begins[first.max(oldest) as usize % RING]))
    }

    /// Spreads what grew between two passes over the slots between them, for pictures: the sum stays what it is. `values` are those
    /// of the slots from `first` on.
    pub fn spread(&self, first: u32, values: &mut [u64]) {
        let mut begin = 0;
        for at in 0..values.len() {
            let slot = first + at as u32;
            if slot > self.last.0 || !self.passed[slot as usize % RING] {
                continue;
            }
            let stretch = &mut values[begin..=at];
            let (sum, parts) = (stretch.iter().sum::<u64>(), stretch.len() as u64);
            let mut rest = sum % parts;
            for value in stretch {
                *value = sum / parts + u64::from(rest > 0);
                rest = rest.saturating_sub(1);
            }
            begin = at + 1;
        }
    }
}

/// The slots before which nothing is asked for, and before which only whole coarse ones are, while the clock is in slot `now`.
pub fn bounds(now: u32) -> (u32, u32) {
    let fine = now.saturating_sub(Window::Five.slots() + SLOTS_IN_COARSE) / SLOTS_IN_COARSE * SLOTS_IN_COARSE;
    (Window::Fifteen.first(now), fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_hold_the_running_slot_and_those_before_it() {
        assert_eq!(Window::One.first(100), 97);
        assert_eq!(Window::Five.first(100), 81);
        assert_eq!(Window::Fifteen.first(100), 44, "41 is in the middle of a coarse slot");
        assert_eq!(Window::Fifteen.first(103), 44);
        assert_eq!(Window::ALL.map(|window| window.first(2)), [0; 3], "soon after the start");
        for now in 0..300 {
            let (oldest, fine) = bounds(now);
            assert!(oldest <= Window::Fifteen.first(now) && fine <= Window::Five.first(now));
            assert!(oldest % SLOTS_IN_COARSE == 0 && fine % SLOTS_IN_COARSE == 0);
            let points = (now + 1 - Window::Fifteen.first(now)).div_ceil(SLOTS_IN_COARSE);
            assert!(points <= 15, "{points}");
        }
    }

    #[test]
    fn what_is_covered_begins_with_the_last_pass_before_it() {
        let mut passes = Passes::new();
        assert_eq!(passes.covered(0), Duration::ZERO);
        for second in [1, 16, 31, 46, 61_u64] {
            passes.note((second / 15) as u32, second * 1000);
        }
        assert_eq!(passes.covered(0), Duration::from_secs(61), "since the start");
        assert_eq!(passes.covered(3), Duration::from_secs(61 - 31));
        assert_eq!(passes.covered(4), Duration::from_secs(15));
        // Nobody asks for a while: what the next pass finds has grown since this one.
        passes.note(20, 300_000);
        assert_eq!(passes.covered(17), Duration::from_secs(300 - 61));
        assert_eq!(passes.covered(21), Duration::ZERO);
        passes.note(20, 301_000);
        assert_eq!(passes.covered(20), Duration::from_secs(301 - 61));
        // Longer than the ring is.
        passes.note(1000, 15_000_000);
        assert_eq!(passes.covered(Window::Fifteen.first(1000)), Duration::from_millis(15_000_000 - 301_000));
    }

    #[test]
    fn spreading_keeps_the_sum() {
        let mut passes = Passes::new();
        for slot in [0, 1, 5, 6] {
            passes.note(slot, u64::from(slot) * 15_000);
        }
        let mut values = [1, 10, 0, 0, 0, 11, 3, 0];
        passes.spread(0, &mut values);
        assert_eq!(values, [1, 10, 3, 3, 3, 2, 3, 0]);
        let mut from_the_middle = [0, 0, 7];
        passes.spread(3, &mut from_the_middle);
        assert_eq!(from_the_middle, [3, 2, 2]);
    }
}
