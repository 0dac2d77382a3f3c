// SPDX-License-Identifier: Apache-2.0
//! Names as they are on the wire (RFC 1035, 4.1), and the question of a message.

use std::fmt;

/// Longest name, its final zero included.
const LONGEST: usize = 255;

/// Longest label.
const LONGEST_LABEL: u8 = 63;

/// Where the question begins.
const HEADER: usize = 12;

/// Labels, each after its length, in lower case, without the root's.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<[u8]>);

impl Name {
    /// From labels joined by dots. None if it is no name, or the root's.
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut wire = Vec::with_capacity(text.len() + 1);
        for label in text.split('.') {
            let length =
                u8::try_from(label.len()).ok().filter(|length| (1..=LONGEST_LABEL).contains(length))?;
            wire.push(length);
            wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        (wire.len() < LONGEST).then(|| Self(wire.into()))
    }

    /// Reads a name that is not compressed, as a question's is. Returns it, if it is not the root's, and what follows.
    fn read(message: &[u8]) -> Option<(Option<Self>, &[u8])> {
        let mut at = 0;
        loop {
            let length = *message.get(at)?;
            if length == 0 {
                break;
            }
            at += 1 + usize::from(length);
            if length > LONGEST_LABEL || at >= LONGEST {
                return None;
            }
        }
        let (name, rest) = (message.get(..at)?, message.get(at + 1..)?);
        // Lengths are below any letter.
        let name = (at > 0).then(|| Self(name.to_ascii_lowercase().into()));
        Some((name, rest))
    }

    /// The labels of this part of a name: whole ones, in lower case.
    pub fn from_wire(labels: &[u8]) -> Self {
        Self(labels.into())
    }

    /// As on the wire: labels after their lengths, in lower case.
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// The labels, without their lengths.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        labels(&self.0)
    }

    /// The first label.
    pub fn first(&self) -> &[u8] {
        self.labels().next().unwrap_or_default()
    }

    /// Whether this name and some labels more are the other one.
    pub fn begins(&self, other: &Name) -> bool {
        // Whole labels on both sides, so that one begins the other at the end of a label only.
        self.0.len() < other.0.len() && other.0.starts_with(&self.0)
    }
}

/// As joined by dots, for the log and for tests.
impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, label) in self.labels().enumerate() {
            write!(f, "{}{}", if at == 0 { "" } else { "." }, label.escape_ascii())?;
        }
        Ok(())
    }
}

/// The labels of a name on the wire.
pub fn labels(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = wire;
    std::iter::from_fn(move || {
        let (length, more) = rest.split_first()?;
        let (label, more) = more.split_at_checked(usize::from(*length))?;
        rest = more;
        Some(label)
    })
}

/// How many bytes of whole labels two names begin with.
pub fn common(one: &[u8], other: &[u8]) -> usize {
    let same = labels(one).zip(labels(other)).take_while(|(one, other)| one == other);
    same.map(|(label, _)| label.len() + 1).sum()
}

/// Whether `name` is `suffix` with at least one label before it.
pub fn ends_with(name: &[u8], suffix: &[u8]) -> bool {
    let Some(before) = name.len().checked_sub(suffix.len()).filter(|before| *before > 0) else {
        return false;
    };
    let mut at = 0;
    for label in labels(name) {
        if at >= before {
            break;
        }
        at += label.len() + 1;
    }
    at == before && name.ends_with(suffix)
}

/// What a message asks, and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What is asked about; None for the root.
    pub name: Option<Name>,
    /// The type of record asked for.
    pub qtype: u16,
    /// Whether the message is a response (QR).
    pub response: bool,
    /// The response code of the header; its upper bits, in EDNS, are not looked at.
    pub rcode: u8,
}

impl Question {
    /// Reads the header and the first question of a message, which may be cut behind that. None where it is anything else
    /// than a standard query or the answer to one.
    pub fn read(message: &[u8]) -> Option<Self> {
        let [_, _, upper, lower, 0, 1] = *message.first_chunk::<6>()? else { return None };
        let opcode = upper >> 3 & 0xf;
        if opcode != 0 {
            return None;
        }
        let (name, rest) = Name::read(message.get(HEADER..)?)?;
        let [high, low, _, _] = *rest.first_chunk::<4>()?;
        let qtype = u16::from_be_bytes([high, low]);
        Some(Self { name, qtype, response: upper & 0x80 != 0, rcode: lower & 0xf })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &[u8]) -> Vec<u8> {
        let mut message = vec![1, 2, 0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend(name);
        message.extend([0, 28, 0, 1]);
        message
    }

    #[test]
    fn a_question_is_read_in_lower_case() {
        let question = Question::read(&message(b"\x03wWw\x07eXample\x00")).unwrap();
        assert_eq!(question.name, Name::from_text("www.example."));
        assert_eq!((question.qtype, question.response, question.rcode), (28, true, 3));
        assert_eq!(format!("{:?}", question.name.unwrap()), "www.example");
        assert_eq!(Question::read(&message(b"\x00")).unwrap().name, None);
    }

    #[test]
    fn hostile_questions_are_refused() {
        let pointer = message(b"\xc0\x0c\x00");
        let reserved = message(b"\x40a\x00");
        let mut long = Vec::new();
        for _ in 0..4 {
            long.push(63);
            long.extend([b'a'; 63]);
        }
        long.push(0);
        let long = message(&long);
        let mut update = message(b"\x01a\x00");
        update[2] |= 5 << 3;
        let mut none = message(b"\x01a\x00");
        none[5] = 0;
        for hostile in [&pointer, &reserved, &long, &update, &none] {
            assert_eq!(Question::read(hostile), None, "{hostile:?}");
        }
        let whole = message(b"\x03www\x07example\x00");
        for cut in 0..whole.len() {
            assert_eq!(Question::read(&whole[..cut]), None, "{cut} bytes");
        }
    }

    #[test]
    fn anything_at_all_is_read_without_panic() {
        let mut seed = 1_u64;
        for _ in 0..20_000 {
            let mut bytes = message(b"");
            for _ in 0..seed % 40 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                bytes.push((seed >> 60) as u8 * if seed & 1 << 20 == 0 { 1 } else { 17 });
            }
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if let Some(Question { name: Some(name), .. }) = Question::read(&bytes) {
                assert!(name.wire().len() < 255 && name.labels().all(|label| !label.is_empty()));
            }
        }
    }

    #[test]
    fn names_compare_by_whole_labels() {
        let name = |text| Name::from_text(text).unwrap();
        assert!(name("a.b").begins(&name("a.b.c")) && !name("a.b").begins(&name("a.b")));
        assert!(!name("a.b").begins(&name("a.bc.d")));
        let ends = |one, other| ends_with(name(one).wire(), name(other).wire());
        assert!(ends("x.svc.cluster.local", "cluster.local") && !ends("cluster.local", "cluster.local"));
        assert!(!ends("xcluster.local", "cluster.local") && !ends("local", "cluster.local"));
        // A length that looks like the text of another label.
        assert!(!ends_with(b"\x04a\x01bc", b"\x01bc") && ends_with(b"\x01a\x02bc", b"\x02bc"));
        assert_eq!(common(name("x.a.b").wire(), name("x.a.c").wire()), name("x.a").wire().len());
        for bad in ["", ".", "a..b", &"a".repeat(64), &"abc.".repeat(64)] {
            assert_eq!(Name::from_text(bad), None, "{bad}");
        }
    }
}
