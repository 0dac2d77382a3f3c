// SPDX-License-Identifier: Apache-2.0
//! Connections made of frames, with blocks from an encoder that uses its header table.

use loona_hpack::Encoder;
use proptest::prelude::*;

use super::*;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// One watched end, fed with frames as the kernel hands them out.
struct Watched {
    connections: Connections,
    events: Vec<Event>,
    numbers: [u32; 2],
    whole: bool,
    time: u64,
}

impl Watched {
    fn new(whole: bool) -> Self {
        let connections = Connections::new(Limits::default());
        Self { connections, events: Vec::new(), numbers: [0; 2], whole, time: 0 }
    }

    fn part(&mut self, from_client: bool, part: Part<'_>) {
        let number = self.numbers[usize::from(from_client)];
        self.numbers[usize::from(from_client)] += 1;
        let record = Record { connection: 7, time: self.time, number, from_client, whole: self.whole, part };
        self.connections.take(&record, &mut |event| self.events.push(event));
    }

    fn frame(&mut self, from_client: bool, kind: u8, flags: u8, stream: u32, bytes: &[u8]) {
        let length = bytes.len() as u32;
        self.part(from_client, Part::Frame { kind, flags, stream, length, offset: 0, bytes });
    }

    fn headers(&mut self, from_client: bool, flags: u8, stream: u32, block: &[u8]) {
        self.frame(from_client, 1, flags | END_HEADERS, stream, block);
    }

    /// A record that never comes.
    fn lose(&mut self, from_client: bool) {
        self.numbers[usize::from(from_client)] += 1;
    }

    fn end(&mut self, end: End) {
        let [from_server, from_client] = self.numbers;
        self.part(true, Part::End { end, from_client, from_server });
    }

    fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn lost(&self) -> Lost {
        self.connections.lost()
    }
}

/// An encoder that indexes every field, and says each again by its index (loona's indexes names that are not in the static table).
#[derive(Default)]
struct Indexing {
    entries: std::collections::VecDeque<(String, String)>,
    size: usize,
}

impl Indexing {
    fn encode(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        for (name, value) in fields {
            let known = self.entries.iter().position(|(a, b)| (a.as_str(), b.as_str()) == (*name, *value));
            match known {
                Some(at) => push_integer(&mut block, 0x80, 7, 62 + at),
                None => {
                    let name_index =
                        [(":method", 2), (":status", 8)].into_iter().find(|(known, _)| known == name);
                    push_integer(&mut block, 0x40, 6, name_index.map_or(0, |(_, index)| index));
                    for text in [name, value].into_iter().skip(usize::from(name_index.is_some())) {
                        push_integer(&mut block, 0, 7, text.len());
                        block.extend(text.bytes());
                    }
                    self.entries.push_front(((*name).to_owned(), (*value).to_owned()));
                    self.size += name.len() + value.len() + 32;
                    while self.size > 4096 {
                        let (name, value) = self.entries.pop_back().unwrap();
                        self.size -= name.len() + value.len() + 32;
                    }
                }
            }
        }
        block
    }
}

fn push_integer(block: &mut Vec<u8>, first: u8, prefix: u32, value: usize) {
    let most = (1 << prefix) - 1;
    if value < most {
        block.push(first | value as u8);
        return;
    }
    block.push(first | most as u8);
    let mut rest = value - most;
    while rest >= 128 {
        block.push(128 | (rest & 127) as u8);
        rest >>= 7;
    }
    block.push(rest as u8);
}

fn encode(encoder: &mut Encoder<'_>, fields: &[(&str, &str)]) -> Vec<u8> {
    encoder.encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

fn response(method: Method, code: u16, micros: Option<u64>) -> Event {
    Event::Response { method, code, duration: micros.map(Duration::from_micros) }
}

#[test]
fn a_request_and_its_response() {
    let (mut client, mut server) = (Encoder::new(), Encoder::new());
    let mut watched = Watched::new(true);
    let block = encode(&mut client, &[(":method", "POST"), (":path", "/a"), ("content-type", "text/plain")]);
    watched.headers(true, 0, 1, &block);
    watched.time = 5_000;
    let early = encode(&mut server, &[(":status", "103"), ("link", "x")]);
    watched.headers(false, 0, 1, &early);
    assert_eq!(watched.events(), []);
    let last = encode(&mut server, &[(":status", "418"), ("date", "now")]);
    watched.headers(false, 0, 1, &last);
    assert_eq!(watched.events(), [response(Method::Post, 418, Some(5))]);
    // Trailers of a response that is no gRPC's.
    let trailers = encode(&mut server, &[("x-checksum", "1")]);
    watched.headers(false, END_STREAM, 1, &trailers);
    watched.end(End::Closed);
    assert_eq!((watched.events(), watched.lost()), (vec![], Lost::default()));
    assert!(watched.connections.is_empty());
}

#[test]
fn grpc_ends_with_a_status() {
    let (mut client, mut server) = (Encoder::new(), Encoder::new());
    let mut watched = Watched::new(true);
    let mut call = |watched: &mut Watched, stream| {
        let fields = [(":method", "POST"), (":path", "/a.B/C"), ("content-type", "application/grpc+proto")];
        let block = encode(&mut client, &fields);
        watched.headers(true, 0, stream, &block);
    };
    let ok = [(":status", "200"), ("content-type", "application/grpc")];
    let answered = response(Method::Post, 200, Some(0));
    for status in 0..=17 {
        let stream = 2 * status + 1;
        call(&mut watched, stream);
        let head = encode(&mut server, &ok);
        watched.headers(false, 0, stream, &head);
        let trailers = encode(&mut server, &[("grpc-status", &status.to_string()), ("grpc-message", "m")]);
        watched.headers(false, END_STREAM, stream, &trailers);
        let expected = if status <= 16 { GrpcStatus::Code(status as u8) } else { GrpcStatus::Other };
        assert_eq!(watched.events(), [answered, Event::Grpc(expected)]);
    }
    // Trailers only.
    call(&mut watched, 101);
    let only = encode(&mut server, &[ok[0], ok[1], ("grpc-status", "14")]);
    watched.headers(false, END_STREAM, 101, &only);
    assert_eq!(watched.events(), [answered, Event::Grpc(GrpcStatus::Code(14))]);
    // Without any, and cut off by the client or by the end of the connection.
    for stream in [103, 105, 107] {
        call(&mut watched, stream);
        let head = encode(&mut server, &ok);
        watched.headers(false, 0, stream, &head);
        assert_eq!(watched.events(), [answered]);
    }
    let trailers = encode(&mut server, &[("x", "y")]);
    watched.headers(false, END_STREAM, 103, &trailers);
    watched.frame(true, 3, 0, 105, &[0, 0, 0, 8]);
    watched.end(End::Reset);
    assert_eq!(watched.events(), [Event::Grpc(GrpcStatus::None); 3]);
    assert_eq!(watched.lost(), Lost::default());
}

#[test]
fn what_is_not_answered() {
    let mut client = Encoder::new();
    let mut watched = Watched::new(true);
    for stream in [1, 3, 5] {
        let block = encode(&mut client, &[(":method", "GET"), (":path", "/")]);
        watched.headers(true, END_STREAM, stream, &block);
    }
    watched.frame(false, 3, 0, 3, &[0, 0, 0, 7]);
    watched.frame(false, 3, 0, 99, &[0, 0, 0, 7]);
    watched.end(End::TimedOut);
    let failed = |end| Event::Failed { method: Method::Get, end };
    assert_eq!(watched.events(), [failed(End::Reset), failed(End::TimedOut), failed(End::TimedOut)]);
}

#[test]
fn blocks_in_pieces() {
    let (mut client, mut server) = (Encoder::new(), Encoder::new());
    let mut watched = Watched::new(true);
    let long = "v".repeat(9000);
    let block = encode(&mut client, &[(":method", "PUT"), ("x-long", &long), ("x-more", "1")]);
    // Padded and with a priority; then two CONTINUATION frames, one of them cut by segments.
    let (first, rest) = block.split_at(100);
    let (second, third) = rest.split_at(3000);
    let head = [&[3, 0, 0, 0, 0, 9][..], first, &[0; 3]].concat();
    watched.frame(true, 1, 0x28, 1, &head);
    watched.time = 1_000_000;
    let length = second.len() as u32;
    for (at, bytes) in second.chunks(1000).enumerate() {
        let part = Part::Frame { kind: 9, flags: 0, stream: 1, length, offset: at as u32 * 1000, bytes };
        watched.part(true, part);
    }
    watched.frame(true, 9, END_HEADERS, 1, third);
    watched.time = 2_000_000;
    let answer = encode(&mut server, &[(":status", "201")]);
    watched.headers(false, END_STREAM, 1, &answer);
    assert_eq!(watched.events(), [response(Method::Put, 201, Some(2000))]);
    assert_eq!(watched.lost(), Lost::default());
}

#[test]
fn a_push_is_a_request_of_the_server_s() {
    let mut server = Encoder::new();
    let mut watched = Watched::new(true);
    let promise = encode(&mut server, &[(":method", "GET"), (":path", "/style.css")]);
    watched.frame(false, 5, END_HEADERS, 1, &[&[0, 0, 0, 2], &promise[..]].concat());
    let answer = encode(&mut server, &[(":status", "200")]);
    watched.headers(false, 0, 2, &answer);
    assert_eq!(watched.events(), [response(Method::Get, 200, Some(0))]);
}

#[test]
fn requests_that_were_not_seen() {
    let mut server = Encoder::new();
    let mut watched = Watched::new(false);
    let answer = encode(&mut server, &[(":status", "500")]);
    watched.headers(false, 0, 9, &answer);
    assert_eq!(watched.events(), [response(Method::Unknown, 500, None)]);
    let trailers = encode(&mut server, &[("grpc-status", "2")]);
    watched.headers(false, END_STREAM, 11, &trailers);
    assert_eq!(watched.events(), [Event::Grpc(GrpcStatus::Code(2))]);
}

#[test]
fn a_loss_is_told_and_nothing_is_made_up() {
    let (mut client, mut server) = (Indexing::default(), Indexing::default());
    let mut watched = Watched::new(true);
    let fields = [(":method", "REPORT"), (":path", "/x")];
    let block = client.encode(&fields);
    watched.headers(true, END_STREAM, 1, &block);
    let answer = server.encode(&[(":status", "418")]);
    watched.headers(false, END_STREAM, 1, &answer);
    assert_eq!(watched.events(), [response(Method::Other, 418, Some(0))]);
    // Both are in the tables now; a record of each direction is lost.
    let block = client.encode(&fields);
    watched.headers(true, END_STREAM, 3, &block);
    watched.lose(false);
    watched.lose(true);
    let block = client.encode(&fields);
    watched.headers(true, END_STREAM, 5, &block);
    let answer = server.encode(&[(":status", "418")]);
    watched.headers(false, END_STREAM, 5, &answer);
    assert_eq!(watched.events(), []);
    assert_eq!(watched.lost(), Lost { records_missing: 2, headers_unknown: 1, ..Lost::default() });
    // Static entries and what is new are known as before; stream 3 may have been answered.
    let answer = server.encode(&[(":status", "404")]);
    watched.headers(false, END_STREAM, 7, &answer);
    assert_eq!(watched.events(), [response(Method::Unknown, 404, None)]);
    watched.end(End::Closed);
    assert_eq!(watched.events(), []);
    assert_eq!(watched.lost().requests_unresolved, 1);
}

#[test]
fn records_lost_before_the_end_leave_requests_undecided() {
    let mut client = Encoder::new();
    let mut watched = Watched::new(true);
    let block = encode(&mut client, &[(":method", "GET")]);
    watched.headers(true, END_STREAM, 1, &block);
    watched.lose(false);
    watched.end(End::Closed);
    assert_eq!(watched.events(), []);
    assert_eq!(watched.lost(), Lost { records_missing: 1, requests_unresolved: 1, ..Lost::default() });
}

#[test]
fn everything_has_a_bound() {
    let limits =
        Limits { connections: NonZeroUsize::new(2).unwrap(), streams: 10, all_streams: 15, held: 1000 };
    let mut connections = Connections::new(limits);
    let mut take = |connection, number, flags, stream, bytes: &[u8]| {
        let part = Part::Frame { kind: 1, flags, stream, length: bytes.len() as u32, offset: 0, bytes };
        let record = Record { connection, time: 0, number, from_client: true, whole: true, part };
        connections.take(&record, &mut |event| panic!("{event:?}"));
        (connections.len(), connections.waiting, connections.held, connections.lost())
    };
    for number in 0..20 {
        take(1, number, END_HEADERS, 2 * number + 1, &[0x82]);
        take(2, number, END_HEADERS, 2 * number + 1, &[0x82]);
    }
    let (_, waiting, _, lost) = take(2, 20, END_HEADERS, 101, &[0x82]);
    assert_eq!((waiting, lost.streams_full), (15, 26));
    let (known, waiting, ..) = take(3, 0, END_HEADERS, 1, &[0x82]);
    assert_eq!((known, waiting), (2, 8), "the one that was silent for longest is forgotten with its streams");
    // Blocks that never end.
    let (_, _, held, _) = take(3, 1, 0, 3, &[0; 900]);
    assert_eq!(held, 900);
    let (_, _, held, lost) = take(2, 21, 0, 103, &[0; 200]);
    assert_eq!((held, lost.blocks_too_large), (900, 1));
    let (_, _, held, lost) = take(3, 2, 0, 5, &[0; 80_000]);
    assert_eq!((held, lost.blocks_too_large), (0, 2));
}

#[test]
fn a_huge_table_is_never_guessed_about() {
    let mut watched = Watched::new(true);
    // A size update to 1 MB, then `:status 200`.
    watched.headers(false, END_STREAM, 1, &[0x3f, 0xe1, 0xff, 0x3f, 0x88]);
    assert_eq!((watched.events(), watched.lost().malformed), (vec![], 1));
    watched.headers(false, END_STREAM, 3, &[0x88]);
    assert_eq!(watched.events(), [response(Method::Unknown, 200, None)]);
}

#[test]
fn a_block_that_cannot_be_decoded_leaves_requests_undecided() {
    let mut watched = Watched::new(true);
    watched.headers(true, END_STREAM, 1, &[0x82]);
    // Answered with a size update to 64 KB, then `:status 200`.
    watched.headers(false, END_STREAM, 1, &[0x3f, 0xe1, 0xff, 0x03, 0x88]);
    watched.end(End::Closed);
    assert_eq!(watched.events(), []);
    assert_eq!(watched.lost(), Lost { malformed: 1, requests_unresolved: 1, ..Lost::default() });
}

#[test]
fn a_block_that_another_cuts_off_makes_the_table_unknown() {
    let mut server = Indexing::default();
    let mut watched = Watched::new(true);
    let known = server.encode(&[(":status", "418")]);
    watched.headers(false, END_STREAM, 1, &known);
    // Its end never comes, but the other end's table has it: 62 is this one now.
    let cut = server.encode(&[(":status", "419")]);
    watched.frame(false, 1, 0, 3, &cut);
    watched.events();
    let again = server.encode(&[(":status", "419")]);
    watched.headers(false, END_STREAM, 5, &again);
    assert_eq!(watched.events(), []);
}

proptest! {
    /// Whoever joins late is told the truth or nothing, and after a while everything.
    #[test]
    fn joining_late(codes in proptest::collection::vec((200u16..600, 0u8..30), 1..400), join in 0usize..200) {
        let mut server = Indexing::default();
        let mut watched = Watched::new(false);
        let mut unknown = 0;
        for (at, (code, noise)) in codes.iter().enumerate() {
            let text = code.to_string();
            let value = "n".repeat(usize::from(*noise) * 9);
            let block = server.encode(&[(":status", &text), ("x-noise", &value)]);
            if at < join {
                continue;
            }
            watched.headers(false, END_STREAM, 2 * at as u32 + 1, &block);
            match watched.events().as_slice() {
                [Event::Response { code: told, .. }] => prop_assert_eq!(told, code),
                [] => unknown += 1,
                other => prop_assert!(false, "{:?}", other),
            }
        }
        let lost = watched.lost();
        prop_assert_eq!(unknown, lost.headers_unknown + lost.malformed);
    }

    /// Nothing that is handed over makes it panic or grow.
    #[test]
    fn anything(records in proptest::collection::vec(
        (0u64..4, any::<bool>(), 0u8..11, any::<u8>(), 0u32..8, 0u32..70, 0u32..70, proptest::collection::vec(any::<u8>(), 0..70)), 0..200)
    ) {
        let mut connections = Connections::new(Limits::default());
        for (number, (connection, from_client, kind, flags, stream, length, offset, bytes)) in records.iter().enumerate() {
            let part = match kind {
                0 => Part::Gap,
                10 => Part::End { end: End::Closed, from_client: *length, from_server: *offset },
                kind => {
                    let (length, offset) = if flags & 64 == 0 { (bytes.len() as u32, 0) } else { (*length, *offset) };
                    Part::Frame { kind: *kind, flags: *flags, stream: *stream, length, offset, bytes }
                }
            };
            let record = Record { connection: *connection, time: 1, number: number as u32, from_client: *from_client, whole: flags & 128 == 0, part };
            connections.take(&record, &mut |_| ());
        }
        prop_assert!(connections.len() <= 4 && connections.waiting <= 32 && connections.held <= 4 * 1024 * 1024);
    }
}
