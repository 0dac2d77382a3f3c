// SPDX-License-Identifier: Apache-2.0
//! Datagrams that are no well-formed DNS messages, and some that are but that nobody would send.

use super::message::{Answer, Data, Query};

/// How many kinds there are.
pub const KINDS: usize = 14;

/// A small generator (xorshift64*), so that a run can be made again.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Random(seed | 1)
    }

    /// The next number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }

    /// That many random bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }
}

/// A message of one of the [`KINDS`], as from a client, or as from a server (QR set).
pub fn message(kind: usize, random: &mut Random, response: bool) -> Vec<u8> {
    let name = format!("hostile{}.example.com", random.below(1000));
    let query = Query { id: random.below(65_536) as u16, name, qtype: 1, edns: kind % 2 == 1 };
    let record = (query.name.clone(), 300, Data::Address([11, 66, 6, 6].into()));
    let whole = if response {
        query.answer(&Answer { records: vec![record; 2], ..Answer::default() })
    } else {
        query.encode()
    };
    let mut bytes = whole.clone();
    match kind % KINDS {
        // Cut at any place, within the header too; the empty datagram is one of them.
        0 => bytes.truncate(random.below(whole.len())),
        1 => bytes.truncate(random.below(12)),
        // Names that point at themselves, at each other, forward, and outside.
        2 => bytes.splice(12.., [0xc0, 12, 0, 1, 0, 1]).for_each(drop),
        3 => bytes.splice(12.., [0xc0, 14, 0xc0, 12, 0, 1, 0, 1]).for_each(drop),
        4 => bytes.splice(12.., [0xc3, 0xff, 0, 1, 0, 1]).for_each(drop),
        // Label types that nobody defined, labels longer than the message, a name longer than names may be.
        5 => bytes[12] = 0x80 | random.below(64) as u8,
        6 => bytes[12] = 63,
        7 => {
            let name = [[31_u8; 32]; 10].concat();
            bytes.splice(12.., name.into_iter().chain([0, 0, 1, 0, 1])).for_each(drop);
        }
        // Counts that promise what is not there, and no question at all.
        8 => bytes[4..12].fill(0xff),
        9 => bytes[4..6].fill(0),
        // As large as a datagram can be within the path's MTU times some, random, and random behind a header.
        10 => bytes.extend(random.bytes(4_000)),
        11 => {
            let length = 1 + random.below(600);
            bytes = random.bytes(length);
        }
        12 => {
            bytes.truncate(12);
            let length = random.below(500);
            bytes.extend(random.bytes(length));
        }
        // A few bits flipped.
        _ => {
            for _ in 0..4 {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_can_be_made_again_and_most_are_not_whole() {
        for response in [false, true] {
            for kind in 0..KINDS {
                let make = || message(kind, &mut Random::new(99), response);
                assert_eq!(make(), make(), "kind {kind}");
            }
        }
        let mut random = Random::new(5);
        let refused = (0..1400).filter(|kind| Query::decode(&message(*kind, &mut random, false)).is_none());
        assert!(refused.count() > 700);
    }
}
