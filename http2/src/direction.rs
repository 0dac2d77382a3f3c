// SPDX-License-Identifier: Apache-2.0
//! One direction of a connection: from pieces of frames to header blocks.

use crate::Lost;
use crate::fields::{Fields, Table};

/// Types of frame (RFC 9113, section 6).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;

/// Flags.
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The largest header block that is put together, and the largest frame.
const LARGEST: usize = 64 * 1024;

/// What a direction tells.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// A header block is complete.
    Block(Block),
    /// A stream was reset.
    Reset(u32),
}

/// A header block.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Its stream; the promised one of a PUSH_PROMISE.
    pub stream: u32,
    /// When it began.
    pub time: u64,
    /// Its sender sends nothing more in the stream.
    pub ends: bool,
    /// It is of a request that the server makes itself.
    pub promise: bool,
    /// What it says.
    pub fields: Fields,
}

/// A piece of a frame.
#[derive(Clone, Copy)]
pub struct Piece<'a> {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub length: u32,
    pub offset: u32,
    pub bytes: &'a [u8],
}

/// What is known of a direction.
pub struct Direction {
    table: Table,
    /// Nothing was decoded with the table since it was made for a direction of which nothing is known.
    blank: bool,
    /// The number of the next record; None before the first.
    next: Option<u32>,
    /// Payload of a frame that is not all there, and when it began.
    frame: Option<(Vec<u8>, u64)>,
    /// A header block that is not all there.
    block: Option<(Block, Vec<u8>)>,
}

impl Direction {
    /// `whole`: from its begin.
    pub fn new(whole: bool) -> Self {
        let table = if whole { Table::new() } else { Table::unseen() };
        Self { table, blank: !whole, next: whole.then_some(0), frame: None, block: None }
    }

    /// Forgets what a loss makes doubtful.
    pub fn lose(&mut self) {
        if !self.blank {
            self.table = Table::unseen();
            self.blank = true;
        }
        self.frame = None;
        self.block = None;
    }

    /// Bytes that wait for the rest of their frame or block.
    pub fn held(&self) -> usize {
        let frame = self.frame.as_ref().map_or(0, |(payload, _)| payload.len());
        frame + self.block.as_ref().map_or(0, |(_, fragment)| fragment.len())
    }

    /// How many records of this direction are missing before the one with this number.
    pub fn missing_before(&mut self, number: u32) -> u32 {
        let missing = self.next.map_or(0, |next| number.wrapping_sub(next));
        self.next = Some(number.wrapping_add(1));
        // One that came before counts as a gap: what else it may mean is not known.
        if missing > u32::MAX / 2 { 1 } else { missing }
    }

    /// Takes a piece of a frame.
    pub fn take(&mut self, piece: Piece<'_>, time: u64, lost: &mut Lost) -> Option<Told> {
        if piece.offset == 0 && piece.bytes.len() == piece.length as usize {
            self.frame = None;
            return self.frame(piece, time, lost);
        }
        if piece.length as usize > LARGEST {
            // Told once, and with it everything that the table would have learned.
            if piece.offset == 0 {
                lost.blocks_too_large += 1;
                self.lose();
            }
            return None;
        }
        if piece.offset == 0 {
            self.frame = Some((piece.bytes.to_vec(), time));
            return None;
        }
        let (mut payload, begun) = self.frame.take()?;
        if payload.len() != piece.offset as usize || payload.len() + piece.bytes.len() > piece.length as usize
        {
            lost.malformed += 1;
            self.lose();
            return None;
        }
        payload.extend_from_slice(piece.bytes);
        if payload.len() < piece.length as usize {
            self.frame = Some((payload, begun));
            return None;
        }
        self.frame(Piece { bytes: &payload, ..piece }, begun, lost)
    }

    /// Takes a whole frame.
    fn frame(&mut self, frame: Piece<'_>, time: u64, lost: &mut Lost) -> Option<Told> {
        // Nothing may stand between the frames of a block (RFC 9113, section 4.3): what it indexed is not known.
        if self.block.is_some() && frame.kind != CONTINUATION {
            lost.malformed += 1;
            self.lose();
        }
        let begun = match frame.kind {
            RST_STREAM => return Some(Told::Reset(frame.stream)),
            HEADERS => headers(frame, time),
            PUSH_PROMISE => promise(frame, time),
            CONTINUATION => match self.block.take() {
                Some((block, mut fragment)) if block.stream == frame.stream || block.promise => {
                    fragment.extend_from_slice(frame.bytes);
                    Some((block, fragment))
                }
                // Of a block whose begin was not seen, or was too large.
                Some(_) => None,
                None => return None,
            },
            _ => return None,
        };
        let Some((block, fragment)) = begun else {
            lost.malformed += 1;
            self.lose();
            return None;
        };
        if fragment.len() > LARGEST {
            lost.blocks_too_large += 1;
            self.lose();
            return None;
        }
        if frame.flags & END_HEADERS == 0 {
            self.block = Some((block, fragment));
            return None;
        }
        self.block = None;
        self.blank = false;
        match self.table.decode(&fragment) {
            Some(fields) => Some(Told::Block(Block { fields, ..block })),
            None => {
                lost.malformed += 1;
                self.lose();
                None
            }
        }
    }
}

/// The payload without its padding (section 6.1).
fn unpadded<'a>(frame: &Piece<'a>) -> Option<&'a [u8]> {
    if frame.flags & PADDED == 0 {
        return Some(frame.bytes);
    }
    let (padding, rest) = frame.bytes.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}

fn headers(frame: Piece<'_>, time: u64) -> Option<(Block, Vec<u8>)> {
    let mut fragment = unpadded(&frame)?;
    if frame.flags & PRIORITY != 0 {
        fragment = fragment.get(5..)?;
    }
    let ends = frame.flags & END_STREAM != 0;
    let block = Block { stream: frame.stream, time, ends, ..Block::default() };
    Some((block, fragment.to_vec()))
}

fn promise(frame: Piece<'_>, time: u64) -> Option<(Block, Vec<u8>)> {
    let (promised, fragment) = unpadded(&frame)?.split_first_chunk::<4>()?;
    let stream = u32::from_be_bytes(*promised) & 0x7fff_ffff;
    Some((Block { stream, time, promise: true, ..Block::default() }, fragment.to_vec()))
}
