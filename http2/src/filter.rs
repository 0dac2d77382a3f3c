// SPDX-License-Identifier: Apache-2.0
//! Leaving out of a header block (RFC 7541, section 6) what neither tells anything nor changes the header table: literals that are
//! not indexed, under names that do not matter. What is kept is no longer Huffman-coded: loona-hpack takes about 15 µs for each such string,
//! and servers send a date, a length and a tag with every response.

use crate::huffman;

/// Static names (RFC 7541, appendix A) that matter: `:method`, `:status`, `content-type`.
const fn matters(name: usize) -> bool {
    matches!(name, 2 | 3 | 8..=14 | 31)
}

/// Entries of the static table.
const STATIC: usize = 61;

/// What is left of the block, with strings that were Huffman-coded as they are. None if it is not well-formed.
pub fn filter(block: &[u8]) -> Option<Vec<u8>> {
    let mut left = Vec::with_capacity(block.len() * 2);
    let mut rest = block;
    while let Some(first) = rest.first() {
        rest = representation(*first, rest, &mut left)?;
    }
    Some(left)
}

/// Takes the field representation at the begin of `rest`, and puts it to `left` if it is to be kept. Returns what follows.
fn representation<'a>(first: u8, rest: &'a [u8], left: &mut Vec<u8>) -> Option<&'a [u8]> {
    // Indexed; size update.
    if first & 0x80 != 0 || first & 0xe0 == 0x20 {
        let prefix = if first & 0x80 != 0 { 7 } else { 5 };
        let (this, next) = rest.split_at_checked(integer(rest, prefix)?.1)?;
        left.extend_from_slice(this);
        return Some(next);
    }
    let indexes = first & 0x40 != 0;
    let (name, bytes) = integer(rest, if indexes { 6 } else { 4 })?;
    let (head, mut rest) = rest.split_at_checked(bytes)?;
    let keep = indexes || name == 0 || name > STATIC || matters(name);
    if keep {
        left.extend_from_slice(head);
    }
    for _ in 0..if name == 0 { 2 } else { 1 } {
        let (length, prefix) = integer(rest, 7)?;
        let coded = rest.first()? & 0x80 != 0;
        let (text, next) = rest.get(prefix..)?.split_at_checked(length)?;
        if keep {
            put(text, coded, left)?;
        }
        rest = next;
    }
    Some(rest)
}

/// Puts a string literal (section 5.2) to a block, not coded.
fn put(text: &[u8], coded: bool, block: &mut Vec<u8>) -> Option<()> {
    let mut plain = Vec::new();
    let text = if coded {
        plain.reserve(text.len() * 2);
        huffman::decode(text, &mut plain).then_some(&plain[..])?
    } else {
        text
    };
    match text.len() {
        length @ 0..127 => block.push(length as u8),
        length => {
            block.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                block.push(128 | (rest & 127) as u8);
                rest >>= 7;
            }
            block.push(rest as u8);
        }
    }
    block.extend_from_slice(text);
    Some(())
}

/// An integer (section 5.1), and how many bytes it takes.
fn integer(bytes: &[u8], prefix: u32) -> Option<(usize, usize)> {
    let mask = (1usize << prefix) - 1;
    let mut value = usize::from(*bytes.first()?) & mask;
    if value < mask {
        return Some((value, 1));
    }
    for (at, byte) in bytes.iter().enumerate().skip(1).take(4) {
        value += usize::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_or_is_indexed_stays() {
        let kept: &[&[u8]] = &[
            &[0x88],                      // :status 200
            &[0x3f, 0xe1, 0x1f],          // table size 4096
            &[0x08, 3, b'4', b'1', b'8'], // :status 418, not indexed
            &[0x40, 1, b'a', 1, b'b'],    // a: b, indexed
            &[0x00, 11, b'g', b'r', b'p', b'c', b'-', b's', b't', b'a', b't', b'u', b's', 1, b'0'],
            &[0x0f, 47, 1, b'x'], // value under dynamic name 62
            &[0x0f, 16, 1, b'y'], // content-type, not indexed
        ];
        let dropped: &[&[u8]] = &[
            &[0x0f, 18, 3, b'n', b'o', b'w'], // date
            &[0x1f, 8, 1, b'z'],              // authorization, never indexed
        ];
        let block = [kept, dropped].concat().concat();
        assert_eq!(filter(&block), Some(kept.concat()));
        for cut in 1..block.len() {
            // What is cut is told, or is a shorter block.
            let _ = filter(&block[..cut]);
        }
        assert_eq!(filter(&[0x0f]), None);
        assert_eq!(filter(&[0x0f, 18, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(filter(&[0x00, 5, b'a']), None);
        assert_eq!(filter(&[]), Some(vec![]));
        // A literal that is coded: 302, and 200 bytes of it that take two bytes of length.
        assert_eq!(filter(&[0x48, 0x82, 0x64, 0x02]), Some(vec![0x48, 3, b'3', b'0', b'2']));
        let long = filter(&[&[0x40, 1, b'x', 0x80 | 125][..], &[0; 125]].concat()).unwrap();
        assert_eq!((&long[..5], long.len()), (&[0x40, 1, b'x', 127, 73][..], 5 + 200));
        assert!(long[5..].iter().all(|byte| *byte == b'0'));
    }
}
