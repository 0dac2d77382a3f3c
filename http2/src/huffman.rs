// SPDX-License-Identifier: Apache-2.0
//! The Huffman code of RFC 7541, appendix B. It is canonical: codes of one length follow each other in the order of their symbols, and
//! longer ones follow shorter ones, so that the lengths are all there is to know.

/// Bits of each symbol's code. The 257th, of 30 bits, all of them ones, ends a string and never occurs in one.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
];

const SHORTEST: usize = 5;
const LONGEST: usize = 30;

/// What the lengths amount to.
struct Code {
    /// Symbols in the order of their codes.
    symbols: [u8; 256],
    /// For each length: the place of its first symbol among them.
    first: [usize; LONGEST + 1],
    /// Its first code, in the upper bits of a word.
    begin: [u32; LONGEST + 1],
    /// The code after its last one, the same way; where the next length begins.
    end: [u32; LONGEST + 1],
}

const CODE: Code = Code::new();

impl Code {
    const fn new() -> Self {
        let mut code = Code { symbols: [0; 256], first: [0; 31], begin: [0; 31], end: [0; 31] };
        let (mut length, mut place, mut next) = (SHORTEST, 0, 0u32);
        while length <= LONGEST {
            code.first[length] = place;
            code.begin[length] = next;
            let mut symbol = 0;
            while symbol < 256 {
                if LENGTHS[symbol] as usize == length {
                    code.symbols[place] = symbol as u8;
                    place += 1;
                    next += 1 << (32 - length);
                }
                symbol += 1;
            }
            code.end[length] = next;
            length += 1;
        }
        code
    }
}

/// Puts the decoded string to `out`. False if it is none: it ends within a symbol's code, or holds the code that ends strings.
pub fn decode(coded: &[u8], out: &mut Vec<u8>) -> bool {
    let (mut bits, mut have, mut coded) = (0u64, 0, coded.iter());
    loop {
        while have <= 56
            && let Some(byte) = coded.next()
        {
            bits |= u64::from(*byte) << (56 - have);
            have += 8;
        }
        let word = (bits >> 32) as u32;
        let Some(length) = (SHORTEST..=LONGEST).find(|length| word < CODE.end[*length]) else {
            return is_padding(bits, have);
        };
        if length > have as usize {
            return is_padding(bits, have);
        }
        let place = CODE.first[length] + ((word - CODE.begin[length]) >> (32 - length)) as usize;
        out.push(CODE.symbols[place]);
        bits <<= length;
        have -= length as u32;
    }
}

/// Whether what is left fills the last byte: less than eight bits, all of them ones.
fn is_padding(bits: u64, have: u32) -> bool {
    have < 8 && bits == !(u64::MAX >> have)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes a string, with padding.
    pub fn encode(text: &[u8]) -> Vec<u8> {
        let mut bits = String::new();
        for symbol in text {
            let length = usize::from(LENGTHS[usize::from(*symbol)]);
            let place = CODE.symbols.iter().position(|other| other == symbol).unwrap();
            let code = (CODE.begin[length] >> (32 - length)) + (place - CODE.first[length]) as u32;
            bits.push_str(&format!("{code:0length$b}"));
        }
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        bits.as_bytes()
            .chunks(8)
            .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap())
            .collect()
    }

    fn decoded(coded: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(coded, &mut out).then_some(out)
    }

    /// What another decoder makes of it.
    fn by_loona(coded: &[u8]) -> Option<Vec<u8>> {
        assert!(coded.len() < 127);
        let block = [&[0x00, 1, b'x', 0x80 | coded.len() as u8], coded].concat();
        let fields = loona_hpack::Decoder::new().decode(&block).ok()?;
        Some(fields[0].1.clone())
    }

    #[test]
    fn examples_of_the_standard() {
        // RFC 7541, C.4.1 and C.6.1.
        let example = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&example).as_deref(), Some(&b"www.example.com"[..]));
        assert_eq!(decoded(&[0x64, 0x02]).as_deref(), Some(&b"302"[..]));
        assert_eq!(decoded(&[]).as_deref(), Some(&b""[..]));
    }

    #[test]
    fn every_symbol_in_every_place() {
        for symbol in 0..=255u8 {
            for before in [&b""[..], b"0", b"ab", b"%%%", &[symbol, 1]] {
                let text = [before, &[symbol], b"z"].concat();
                let coded = encode(&text);
                assert_eq!(decoded(&coded), Some(text.clone()), "{symbol}");
                assert_eq!(by_loona(&coded), Some(text), "{symbol}");
            }
        }
    }

    proptest::proptest! {
        /// Whatever it is fed with, it says what the other one says.
        #[test]
        fn it_agrees_with_the_other_one(coded in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)) {
            proptest::prop_assert_eq!(decoded(&coded), by_loona(&coded));
        }
    }
}
