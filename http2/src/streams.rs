// SPDX-License-Identifier: Apache-2.0
//! Requests that wait for their responses, or gRPC responses that wait for their status.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::direction::Block;
use crate::{End, Event, GrpcStatus, Lost, Method};

/// A request that was seen.
#[derive(Debug, Clone, Copy)]
struct Stream {
    method: Method,
    /// When its header block began; None if that was not seen.
    begun: Option<u64>,
    grpc: bool,
    /// Its response's headers have passed.
    answered: bool,
    /// Something was lost since: its end may have been missed.
    doubtful: bool,
}

/// The streams of a connection, by number.
#[derive(Debug, Default)]
pub struct Streams(HashMap<u32, Stream, RandomState>);

impl Streams {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The end of any of them may have been missed.
    pub fn doubt(&mut self) {
        self.0.values_mut().for_each(|stream| stream.doubtful = true);
    }

    /// A header block of the client, or a promise of the server's.
    pub fn request(&mut self, block: &Block, most: usize, lost: &mut Lost) {
        // Trailers of the request, or no stream at all.
        if block.stream == 0 || self.0.contains_key(&block.stream) {
            return;
        }
        if self.0.len() >= most {
            lost.streams_full += 1;
            return;
        }
        let method = match block.fields.method {
            Some(method) => method,
            None if block.fields.unseen => Method::Unknown,
            // Trailers of a request whose response has ended.
            None => return,
        };
        let stream = Stream {
            method,
            begun: Some(block.time),
            grpc: block.fields.grpc,
            answered: false,
            doubtful: false,
        };
        self.0.insert(block.stream, stream);
    }

    /// A header block of the server.
    pub fn response(&mut self, block: &Block, lost: &mut Lost, out: &mut dyn FnMut(Event)) {
        if block.stream == 0 {
            lost.malformed += 1;
            return;
        }
        let fields = &block.fields;
        let known = self.0.get(&block.stream).copied();
        let mut stream = known.unwrap_or(Stream {
            method: Method::Unknown,
            begun: None,
            grpc: false,
            answered: false,
            doubtful: false,
        });
        if !stream.answered {
            match fields.status {
                Some(code) if (100..200).contains(&code) && code != 101 => return,
                Some(code) if (100..600).contains(&code) => {
                    let since = |begun| Duration::from_nanos(block.time.saturating_sub(begun));
                    let (method, duration) = (stream.method, stream.begun.map(since));
                    out(Event::Response { method, code, duration });
                }
                // Trailers of a response that is over, or that was not seen.
                None if known.is_none() => {
                    if let Some(status) = fields.grpc_status {
                        out(Event::Grpc(status));
                    } else if fields.unseen {
                        lost.headers_unknown += 1;
                    }
                    return;
                }
                None if fields.unseen => lost.headers_unknown += 1,
                _ => lost.malformed += 1,
            }
            stream.answered = true;
            stream.grpc |= fields.grpc || fields.grpc_status.is_some();
            if stream.grpc && !block.ends {
                self.0.insert(block.stream, stream);
                return;
            }
        }
        if stream.grpc {
            match fields.grpc_status {
                Some(status) => out(Event::Grpc(status)),
                None if fields.unseen => lost.headers_unknown += 1,
                None => out(Event::Grpc(GrpcStatus::None)),
            }
        }
        self.0.remove(&block.stream);
    }

    /// A stream was reset by either end.
    pub fn reset(&mut self, stream: u32, out: &mut dyn FnMut(Event)) {
        if let Some(stream) = self.0.remove(&stream) {
            unanswered(stream, End::Reset, out);
        }
    }

    /// The connection is over.
    pub fn end(self, end: End, lost: &mut Lost, out: &mut dyn FnMut(Event)) {
        for stream in self.0.into_values() {
            if stream.doubtful {
                lost.requests_unresolved += 1;
            } else {
                unanswered(stream, end, out);
            }
        }
    }
}

fn unanswered(stream: Stream, end: End, out: &mut dyn FnMut(Event)) {
    if stream.answered {
        out(Event::Grpc(GrpcStatus::None));
    } else {
        out(Event::Failed { method: stream.method, end });
    }
}
