// SPDX-License-Identifier: Apache-2.0
//! Conversations made at random of all that may follow each other, of which the counts are known.

use super::talk;
use crate::http::Counts;
use crate::http::message::{Random, lookalike, request_with, response_with};
use crate::http::method_label;
use crate::http::script::{Conversation, Side};

const METHODS: [&str; 9] = ["GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "REPORT"];
// With the methods, fewer pairs than an edge tells apart.
const CODES: [u16; 8] = [200, 200, 201, 204, 304, 404, 500, 503];

/// Some requests at a time, then their responses, and again, each cut into segments anywhere. What was counted of it is added
/// to `counts`.
pub fn any_conversation(random: &mut Random, counts: &mut Counts) -> Conversation {
    let mut conversation = talk();
    for _ in 0..1 + random.below(8) {
        let at_a_time = if random.below(3) == 0 { 1 + random.below(32) } else { 1 };
        let (mut asked, mut said) = (String::new(), String::new());
        for _ in 0..at_a_time {
            let method = METHODS[random.below(METHODS.len())];
            let code = CODES[random.below(CODES.len())];
            // An empty line before a request, but not before the first: that would not be taken for HTTP.
            asked += if !conversation.steps.is_empty() && random.below(20) == 0 { "\r\n" } else { "" };
            asked += &any_request(method, random);
            said += &any_response(method, code, random);
            *counts.entry((method_label(method).to_owned(), code)).or_default() += 1;
        }
        conversation = any_pieces(conversation, Side::Client, &asked, random);
        conversation = any_pieces(conversation, Side::Server, &said, random);
    }
    conversation
}

fn any_request(method: &str, random: &mut Random) -> String {
    let with_body = matches!(method, "POST" | "PUT" | "PATCH" | "REPORT");
    let (framing, body) = if with_body { any_body(random) } else { (String::new(), String::new()) };
    any_head(random, &framing, |lines| request_with(method, lines, "")) + &body
}

fn any_response(method: &str, code: u16, random: &mut Random) -> String {
    let mut text = String::new();
    while random.below(6) == 0 {
        let interim = [100, 102, 103][random.below(3)];
        text += &response_with(interim, &["Link: </style.css>; rel=preload"], "");
    }
    let (framing, body) = any_body(random);
    let bodiless = method == "HEAD" || code == 204 || code == 304;
    text += &any_head(random, &framing, |lines| response_with(code, lines, ""));
    if bodiless { text } else { text + &body }
}

/// The line that frames a body, and the body.
fn any_body(random: &mut Random) -> (String, String) {
    let size = [0, 1, 40, 300, 3000][random.below(5)];
    let size = if size > 1 { random.below(size) } else { size };
    if random.below(2) == 0 {
        let name = ["Content-Length", "content-length", "CONTENT-LENGTH"][random.below(3)];
        let blank = ["", " ", "  ", "\t"][random.below(4)];
        return (format!("{name}:{blank}{size}"), lookalike(size));
    }
    let (mut text, mut left) = (String::new(), size);
    while left > 0 {
        let chunk = 1 + random.below(left);
        let extension = ["", "", ";a=b", " ;c=\"d\""][random.below(4)];
        let length = match random.below(3) {
            0 => format!("{chunk:x}"),
            1 => format!("{chunk:X}"),
            _ => format!("{chunk:05x}"),
        };
        text += &format!("{length}{extension}\r\n{}\r\n", lookalike(chunk));
        left -= chunk;
    }
    let trailer = ["", "", "X-Checksum: GET / HTTP/1.1\r\n"][random.below(3)];
    let coding = ["chunked", "chunked", "gzip, chunked", "Chunked"][random.below(4)];
    (format!("Transfer-Encoding: {coding}"), format!("{text}0\r\n{trailer}\r\n"))
}

fn any_head(random: &mut Random, framing: &str, make: impl Fn(&[&str]) -> String) -> String {
    let padding = format!("X-Padding: {}", "p".repeat(random.below(120)));
    let cookie = format!("Cookie: {}", "name=value; ".repeat(random.below(60)));
    let others = [
        "Content-Type: text/html",
        "Transfer-Encodings: chunked",
        "Content-Lengths: 7",
        "Content-Length-Was: 99",
        "X:",
        "Accept: */*",
        &padding,
        &cookie,
    ];
    let mut lines: Vec<&str> = (0..random.below(7)).map(|_| others[random.below(others.len())]).collect();
    if !framing.is_empty() {
        lines.insert(random.below(lines.len() + 1), framing);
    }
    make(&lines)
}

/// Whole, in equal pieces, or cut at a few places.
fn any_pieces(conversation: Conversation, from: Side, text: &str, random: &mut Random) -> Conversation {
    match random.below(4) {
        0 => conversation.pieces(from, [text]),
        1 if text.len() < 2000 => conversation.chopped(from, text, 1 + random.below(60)),
        _ => {
            let mut at: Vec<_> = (0..1 + random.below(12)).map(|_| random.below(text.len())).collect();
            at.sort_unstable();
            at.dedup();
            conversation.cut(from, text, at)
        }
    }
}
