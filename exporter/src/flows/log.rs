// SPDX-License-Identifier: Apache-2.0
//! What was counted of one address over the last quarter of an hour, in as few bytes as that takes.
//!
//! Most numbers of most slots are zero, and those that are not are small: a slot is written as its number, how many numbers
//! follow, and each as its place and value, in LEB128. A busy connection's slot takes some 25 bytes where the row of numbers takes 600.

use super::counts::{Counts, at};
use super::window::SLOTS_IN_COARSE;

/// Slots, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Log {
    bytes: Vec<u8>,
    /// Where the last slot begins.
    tail: usize,
}

/// A slot, read.
struct Record<'a> {
    slot: u32,
    /// Places and values.
    numbers: &'a [u8],
    count: u8,
}

impl Log {
    /// Adds to the counts of a slot, which is the last one or a later one.
    pub fn add(&mut self, slot: u32, counts: &Counts) {
        if counts.is_zero() {
            return;
        }
        let mut tail = &self.bytes[self.tail.min(self.bytes.len())..];
        match read(&mut tail) {
            Some(record) if record.slot == slot => {
                let mut sum = record.counts();
                sum.merge(counts);
                self.bytes.truncate(self.tail);
                self.push(slot, &sum);
            }
            _ => {
                self.tail = self.bytes.len();
                self.push(slot, counts);
            }
        }
    }

    fn push(&mut self, slot: u32, counts: &Counts) {
        // Exactly, in small steps: what doubling leaves unused would be half of all the memory.
        if self.bytes.capacity() - self.bytes.len() < 64 {
            self.bytes.reserve_exact(96);
        }
        write(&mut self.bytes, u64::from(slot));
        let count = counts.nonzero().count();
        self.bytes.push(count as u8);
        for (place, value) in counts.nonzero() {
            self.bytes.push(place as u8);
            write(&mut self.bytes, value);
        }
    }

    /// Hands out what was counted from slot `from` on: slot, place, value.
    pub fn each(&self, from: u32, mut out: impl FnMut(u32, usize, u64)) {
        let mut rest = self.bytes.as_slice();
        while let Some(record) = read(&mut rest) {
            if record.slot >= from {
                record.each(|place, value| out(record.slot, place, value));
            }
        }
    }

    /// Forgets slots before `oldest`, and adds up those before `fine` by [`SLOTS_IN_COARSE`].
    pub fn trim(&mut self, oldest: u32, fine: u32) {
        let mut rest = self.bytes.as_slice();
        match read(&mut rest) {
            Some(record) if record.slot < fine => {}
            _ => return,
        }
        let mut kept = Log::default();
        let mut rest = self.bytes.as_slice();
        while let Some(record) = read(&mut rest) {
            if record.slot >= oldest {
                let coarse = record.slot / SLOTS_IN_COARSE * SLOTS_IN_COARSE;
                let slot = if record.slot < fine { coarse } else { record.slot };
                kept.add(slot, &record.counts());
            }
        }
        *self = kept;
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub fn heap(&self) -> usize {
        self.bytes.capacity()
    }
}

impl Record<'_> {
    fn each(&self, mut out: impl FnMut(usize, u64)) {
        let mut rest = self.numbers;
        for _ in 0..self.count {
            let Some((place, after)) = rest.split_first() else { return };
            rest = after;
            let Some(value) = read_number(&mut rest) else { return };
            out(usize::from(*place), value);
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.each(|place, value| counts.add(place, value));
        counts
    }
}

/// Takes a slot from the front.
fn read<'a>(bytes: &mut &'a [u8]) -> Option<Record<'a>> {
    let slot = u32::try_from(read_number(bytes)?).ok()?;
    let (count, numbers) = bytes.split_first()?;
    let mut rest = numbers;
    for _ in 0..*count {
        let (place, after) = rest.split_first()?;
        debug_assert!(usize::from(*place) < at::COUNT);
        rest = after;
        read_number(&mut rest)?;
    }
    *bytes = rest;
    Some(Record { slot, numbers: &numbers[..numbers.len() - rest.len()], count: *count })
}

/// LEB128.
fn write(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(numbers: &[(usize, u64)]) -> Counts {
        let mut counts = Counts::default();
        numbers.iter().for_each(|(place, value)| counts.add(*place, *value));
        counts
    }

    fn all(log: &Log, from: u32) -> Vec<(u32, usize, u64)> {
        let mut all = Vec::new();
        log.each(from, |slot, place, value| all.push((slot, place, value)));
        all
    }

    #[test]
    fn what_is_written_is_read() {
        let mut log = Log::default();
        let largest = [(0, u64::MAX), (at::COUNT - 1, 127), (3, 128)];
        log.add(0, &counts(&largest));
        log.add(7, &counts(&[(1, 1)]));
        log.add(7, &counts(&[(1, 1 << 40), (2, 5)]));
        log.add(u32::MAX, &counts(&[(9, 300)]));
        log.add(u32::MAX, &Counts::default());
        let written = [
            (0, 0, u64::MAX),
            (0, 3, 128),
            (0, at::COUNT - 1, 127),
            (7, 1, (1 << 40) + 1),
            (7, 2, 5),
            (u32::MAX, 9, 300),
        ];
        assert_eq!(all(&log, 0), written);
        assert_eq!(all(&log, 7), written[3..]);
        assert_eq!(all(&log, 8), written[5..]);
    }

    #[test]
    fn old_slots_are_added_up_and_older_ones_forgotten() {
        let mut log = Log::default();
        for slot in 0..40 {
            log.add(slot, &counts(&[(0, u64::from(slot)), (at::RTT_MAX, u64::from(slot))]));
        }
        let before = all(&log, 30);
        log.trim(12, 24);
        assert_eq!(all(&log, 30), before);
        let sums: Vec<_> = all(&log, 0).into_iter().filter(|(_, place, _)| *place == 0).collect();
        assert_eq!(sums[..3], [(12, 0, 12 + 13 + 14 + 15), (16, 0, 16 + 17 + 18 + 19), (20, 0, 86)]);
        assert_eq!(sums.len(), 3 + 16);
        let largest = all(&log, 0).into_iter().find(|(_, place, _)| *place == at::RTT_MAX);
        assert_eq!(largest, Some((12, at::RTT_MAX, 15)));
        log.trim(100, 100);
        assert_eq!(log.heap(), 0);
        log.add(100, &counts(&[(0, 1)]));
        assert_eq!(all(&log, 0), [(100, 0, 1)]);
    }
}
