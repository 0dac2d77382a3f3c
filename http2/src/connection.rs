// SPDX-License-Identifier: Apache-2.0
//! One connection.

use crate::direction::{Direction, Piece, Told};
use crate::streams::Streams;
use crate::{End, Event, Lost, Part, Record};

/// What is known of a connection.
pub struct Connection {
    from_client: Direction,
    from_server: Direction,
    streams: Streams,
}

impl Connection {
    /// `whole`: from its begin.
    pub fn new(whole: bool) -> Self {
        Self {
            from_client: Direction::new(whole),
            from_server: Direction::new(whole),
            streams: Streams::default(),
        }
    }

    /// Streams that wait for something.
    pub fn waiting(&self) -> usize {
        self.streams.len()
    }

    /// Bytes that wait for the rest of their header block.
    pub fn held(&self) -> usize {
        self.from_client.held() + self.from_server.held()
    }

    /// Gives up the header blocks that are not all there.
    pub fn give_up_blocks(&mut self) {
        self.from_client.lose();
        self.from_server.lose();
        self.streams.doubt();
    }

    /// Takes a record; at `most` so many streams may wait.
    pub fn take(&mut self, record: &Record<'_>, most: usize, lost: &mut Lost, out: &mut dyn FnMut(Event)) {
        let direction = if record.from_client { &mut self.from_client } else { &mut self.from_server };
        let missing = direction.missing_before(record.number);
        if missing > 0 {
            lost.records_missing += u64::from(missing);
            direction.lose();
            self.streams.doubt();
        }
        let told = match record.part {
            Part::Gap => {
                direction.lose();
                self.streams.doubt();
                None
            }
            Part::Frame { kind, flags, stream, length, offset, bytes } => {
                let before = (lost.malformed, lost.blocks_too_large);
                let piece = Piece { kind, flags, stream, length, offset, bytes };
                let told = direction.take(piece, record.time, lost);
                // What could not be read may have ended any stream.
                if before != (lost.malformed, lost.blocks_too_large) {
                    self.streams.doubt();
                }
                told
            }
            Part::End { .. } => None,
        };
        match told {
            Some(Told::Block(block)) if record.from_client || block.promise => {
                self.streams.request(&block, most, lost);
            }
            Some(Told::Block(block)) => self.streams.response(&block, lost, out),
            Some(Told::Reset(stream)) => self.streams.reset(stream, out),
            None => {}
        }
    }

    /// It is over, after so many records from the client and from the server.
    pub fn end(mut self, end: End, records: [u32; 2], lost: &mut Lost, out: &mut dyn FnMut(Event)) {
        for (direction, records) in [&mut self.from_client, &mut self.from_server].into_iter().zip(records) {
            let missing = direction.missing_before(records);
            if missing > 0 {
                lost.records_missing += u64::from(missing);
                self.streams.doubt();
            }
        }
        self.streams.end(end, lost, out);
    }
}
