// SPDX-License-Identifier: Apache-2.0
//! Cuts answers of any length into objects while they arrive, so that never more than one is held.

use std::mem;

use memchr::{memchr, memchr2};

/// No object may be longer. The API's store allows 1.5 MiB for each.
pub(super) const MAX_OBJECT_BYTES: usize = 16 << 20;
/// What a list may have beside its items.
const MAX_ENVELOPE_BYTES: usize = 64 << 10;
/// Buffers that have grown longer are given back after use.
const KEPT_BYTES: usize = 256 << 10;

/// The answer cannot be cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooLong;

/// Cuts a watch's answer into lines.
#[derive(Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Calls `line` for each line that is complete by now, without its end. Empty lines are left out.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8])) -> Result<(), TooLong> {
        while let Some(end) = memchr(b'\n', bytes) {
            let (head, tail) = bytes.split_at(end);
            bytes = &tail[1..];
            if self.rest.is_empty() {
                call(head, &mut line);
            } else {
                self.extend(head)?;
                call(&self.rest, &mut line);
                reset(&mut self.rest);
            }
        }
        self.extend(bytes)
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        append(&mut self.rest, bytes, MAX_OBJECT_BYTES)
    }
}

fn call(bytes: &[u8], line: &mut impl FnMut(&[u8])) {
    let bytes = bytes.trim_ascii();
    if !bytes.is_empty() {
        line(bytes);
    }
}

/// Cuts a list's answer into the objects of its `items` and the rest.
///
/// Looks at strings and brackets alone. What is not JSON comes out as pieces that are not.
#[derive(Default)]
pub(super) struct Items {
    /// Everything but the items.
    envelope: Vec<u8>,
    item: Vec<u8>,
    /// Brackets that are open.
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// Where the last string at depth 1 begins in the envelope: the key, when a bracket opens.
    key_start: usize,
    in_items: bool,
    in_item: bool,
}

impl Items {
    /// Calls `item` for each object that is complete by now.
    pub(super) fn push(&mut self, bytes: &[u8], mut item: impl FnMut(&[u8])) -> Result<(), TooLong> {
        // Everything before `done` has been put where it belongs.
        let (mut at, mut done) = (0, 0);
        while at < bytes.len() {
            if self.in_string {
                at = self.skip_string(bytes, at);
                continue;
            }
            let byte = bytes[at];
            match byte {
                b'"' => {
                    self.in_string = true;
                    if self.depth == 1 {
                        self.put(&bytes[done..at])?;
                        done = at;
                        self.key_start = self.envelope.len();
                    }
                }
                b'{' | b'[' => {
                    if self.depth == 2 && self.in_items && byte == b'{' {
                        self.put(&bytes[done..at])?;
                        done = at;
                        self.in_item = true;
                    } else if self.depth == 1 && byte == b'[' {
                        self.put(&bytes[done..=at])?;
                        done = at + 1;
                        self.in_items = self.is_items();
                    }
                    self.depth += 1;
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.in_item && self.depth == 2 {
                        if self.item.is_empty() {
                            item(&bytes[done..=at]);
                        } else {
                            self.put(&bytes[done..=at])?;
                            item(&self.item);
                            reset(&mut self.item);
                        }
                        done = at + 1;
                        self.in_item = false;
                    } else if self.in_items && self.depth == 1 {
                        self.put(&bytes[done..at])?;
                        done = at;
                        self.in_items = false;
                    }
                }
                _ => {}
            }
            at += 1;
        }
        self.put(&bytes[done..])
    }

    /// The answer without its items, when all of it has come.
    pub(super) fn finish(self) -> Vec<u8> {
        self.envelope
    }

    /// From within a string to after its end, or to the end of `bytes`.
    fn skip_string(&mut self, bytes: &[u8], mut at: usize) -> usize {
        if mem::take(&mut self.escaped) {
            at += 1;
        }
        match memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
            None => bytes.len(),
            Some(found) if bytes[at + found] == b'"' => {
                self.in_string = false;
                at + found + 1
            }
            Some(found) => {
                self.escaped = true;
                at + found + 1
            }
        }
    }

    /// Whether the array that opens is that of the key `items`.
    fn is_items(&self) -> bool {
        let since = self.envelope.get(self.key_start..).unwrap_or_default();
        let Some(rest) = since.strip_prefix(br#""items""#) else { return false };
        rest.iter().all(|byte| byte.is_ascii_whitespace() || matches!(byte, b':' | b'['))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.in_item {
            append(&mut self.item, bytes, MAX_OBJECT_BYTES)
        } else if self.in_items {
            Ok(()) // Commas between items, and what is no object.
        } else {
            append(&mut self.envelope, bytes, MAX_ENVELOPE_BYTES)
        }
    }
}

fn append(to: &mut Vec<u8>, bytes: &[u8], limit: usize) -> Result<(), TooLong> {
    if bytes.len() > limit - to.len().min(limit) {
        return Err(TooLong);
    }
    to.extend_from_slice(bytes);
    Ok(())
}

fn reset(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(KEPT_BYTES);
}

#[cfg(test)]
mod tests;
