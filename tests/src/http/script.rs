// SPDX-License-Identifier: Apache-2.0
//! What two ends of a connection send each other, to the segment. Both play it in step: what one end writes, the other reads
//! to the last byte, and compares, before the next step begins.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// Who connected.
    Client,
    /// Who accepted.
    Server,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// One end waits, then writes these pieces, each in a segment of its own (as far as it fits into one).
    Send {
        /// Which end.
        from: Side,
        /// How long it waits before.
        wait: Duration,
        /// How long it waits between two pieces.
        gap: Duration,
        /// The pieces, bytes as the characters of Latin-1.
        pieces: Vec<String>,
    },
    /// One end closes its direction; the other sees that all has come.
    Finish(Side),
    /// One end closes the connection, and the other after it. The last step.
    Close(Side),
    /// One end resets the connection. The last step.
    Reset(Side),
    /// Both ends wait until told to go on.
    Hold,
    /// One end writes this, of which nothing must arrive, and waits until TCP gives up, which it does after half a second. The
    /// other waits until told, then closes. The last step.
    Lose {
        /// Which end.
        from: Side,
        /// What it writes, bytes as the characters of Latin-1.
        text: String,
    },
}

/// All that is said on one connection. At the end the client closes it, unless a step has done so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// In this order.
    pub steps: Vec<Step>,
}

impl Conversation {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The client sends this in one piece.
    pub fn client(self, bytes: impl AsRef<[u8]>) -> Self {
        self.pieces(Side::Client, [bytes])
    }

    /// The server sends this in one piece.
    pub fn server(self, bytes: impl AsRef<[u8]>) -> Self {
        self.pieces(Side::Server, [bytes])
    }

    /// One end sends these pieces.
    pub fn pieces(self, from: Side, pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        self.slowly(from, Duration::ZERO, Duration::ZERO, pieces)
    }

    /// One end waits, then sends these pieces with a gap between them.
    pub fn slowly(
        self,
        from: Side,
        wait: Duration,
        gap: Duration,
        pieces: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Self {
        let pieces = pieces.into_iter().map(|piece| latin(piece.as_ref())).collect();
        self.step(Step::Send { from, wait, gap, pieces })
    }

    /// One end sends this cut before each of these offsets, which ascend; those outside are left out.
    pub fn cut(self, from: Side, bytes: impl AsRef<[u8]>, at: impl IntoIterator<Item = usize>) -> Self {
        let bytes = bytes.as_ref();
        let mut pieces = Vec::new();
        let mut begin = 0;
        for offset in at.into_iter().filter(|offset| (1..bytes.len()).contains(offset)) {
            pieces.push(&bytes[begin..offset]);
            begin = offset;
        }
        pieces.push(&bytes[begin..]);
        self.pieces(from, pieces)
    }

    /// One end sends this in pieces of `size` bytes.
    pub fn chopped(self, from: Side, bytes: impl AsRef<[u8]>, size: usize) -> Self {
        let bytes = bytes.as_ref();
        self.cut(from, bytes, (size..bytes.len()).step_by(size))
    }

    /// Cuts all that is sent into pieces of `size` bytes.
    pub fn chop(&mut self, size: usize) {
        for step in &mut self.steps {
            if let Step::Send { pieces, .. } = step {
                let all: Vec<char> = pieces.concat().chars().collect();
                *pieces = all.chunks(size).map(|piece| piece.iter().collect()).collect();
            }
        }
    }

    /// Adds a step.
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Adds all steps of another.
    pub fn then(mut self, other: Conversation) -> Self {
        self.steps.extend(other.steps);
        self
    }
}

/// Bytes as characters.
pub fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Characters as the bytes that [`latin`] made them from.
pub fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|character| character as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_what_they_are() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(bytes(&latin(&all)), all);
    }

    #[test]
    fn cuts_lose_nothing() {
        for at in [vec![], vec![0], vec![3], vec![1, 2, 5], vec![5, 6, 9]] {
            let conversation = Conversation::new().cut(Side::Client, "abcdef", at.clone());
            let [Step::Send { pieces, .. }] = &conversation.steps[..] else { panic!("{conversation:?}") };
            assert_eq!(pieces.concat(), "abcdef", "{at:?}");
            assert_eq!(pieces.len(), 1 + at.iter().filter(|at| (1..6).contains(*at)).count(), "{at:?}");
        }
        let chopped = Conversation::new().chopped(Side::Server, "abcdefg", 3);
        let [Step::Send { pieces, .. }] = &chopped.steps[..] else { panic!("{chopped:?}") };
        assert_eq!(pieces, &["abc", "def", "g"]);
    }
}
