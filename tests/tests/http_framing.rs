// SPDX-License-Identifier: Apache-2.0
//! Where messages begin and end (RFC 9112): heads cut anywhere, bodies of all kinds that look like heads, interim responses,
//! tunnels, pipelining. Each case is an edge, and nothing may be lost.

use flowgauge_tests::http::Counts;
use flowgauge_tests::http::cases::framing::{another, any_conversation, bodies, case, exchange, heads, talk};
use flowgauge_tests::http::cases::{Case, Path, check};
use flowgauge_tests::http::expect::{Seen, lost};
use flowgauge_tests::http::message::{Random, request, response};
use flowgauge_tests::http::script::Conversation;
use flowgauge_tests::http::script::Side::{Client as FromClient, Server as FromServer};
use flowgauge_tests::prelude::*;

#[test]
fn bodies_of_all_kinds() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    check(&stage, Path::Link4, 1000, &bodies())
}

#[test]
fn heads_of_all_kinds() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    check(&stage, Path::Link4, 1000, &heads())
}

/// The same over IPv6 and over the loopback device, where both ends see each segment, and see it whole.
#[test]
fn all_kinds_over_ipv6_and_loopback() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    stage.client.settle6()?;
    stage.server.settle6()?;
    let cases = [bodies(), heads()].concat();
    check(&stage, Path::Link6, 1000, &cases)?;
    check(&stage, Path::Loopback, 2000, &cases)
}

/// Each conversation of the other tests again, in pieces of a few bytes: no head, length or chunk is in one segment.
#[test]
fn all_kinds_in_little_pieces() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    let mut cases = [bodies(), heads()].concat();
    // 8 KB in pieces of a byte is another matter.
    cases.retain(|case| !case.name.starts_with("8 KB") && !case.name.starts_with("a hundred"));
    for size in [1, 7, 61] {
        let mut little = cases.clone();
        little.iter_mut().flat_map(|case| &mut case.conversations).for_each(|all| all.chop(size));
        let first = 1000 + 200 * size as u16;
        check(&stage, Path::Link4, first, &little).with_context(|| format!("in pieces of {size}"))?;
    }
    Ok(())
}

/// Every place that a head can be cut at: of the first request, of a later one, of the response.
#[test]
fn heads_cut_at_every_byte() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    let ask = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /";
    let say = "HTTP/1.1 201 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHTTP/\r\n0\r\n\r\n";
    let after = |conversation: Conversation| conversation.then(another());
    let first: Vec<_> =
        (1..ask.len()).map(|at| after(talk().cut(FromClient, ask, [at]).server(say))).collect();
    let later: Vec<_> = (1..ask.len())
        .map(|at| {
            exchange(request("GET"), response(200, "x")).then(talk().cut(FromClient, ask, [at]).server(say))
        })
        .map(after)
        .collect();
    let answer: Vec<_> =
        (1..say.len()).map(|at| after(talk().client(ask).cut(FromServer, say, [at]))).collect();
    // Two cuts around each place, so that a segment of one byte is between them.
    let twice: Vec<_> = (1..say.len())
        .map(|at| after(talk().cut(FromClient, ask, [at, at + 1]).cut(FromServer, say, [at, at + 1])))
        .collect();
    let all = |count: usize| [("POST", 201, count as u64), ("PATCH", 299, count as u64)];
    let counted = all(later.len());
    let cases = [
        Case::many("a first request", first.clone(), &all(first.len())),
        Case::many(
            "a later request",
            later.clone(),
            &[&counted[..], &[("GET", 200, later.len() as u64)]].concat(),
        ),
        Case::many("a response", answer.clone(), &all(answer.len())),
        Case::many("both, a byte of its own", twice.clone(), &all(twice.len())),
    ];
    check(&stage, Path::Link4, 1000, &cases)
}

/// Requests of several methods, so that none can pass for another, all in a few segments; answered in one go.
fn pipelined(count: usize, whole: bool) -> (Conversation, Vec<(&'static str, u16, u64)>) {
    const KINDS: [(&str, u16); 4] = [("GET", 200), ("POST", 201), ("HEAD", 404), ("DELETE", 204)];
    let (mut ask, mut say) = (String::new(), String::new());
    let mut counts = KINDS.map(|(method, code)| (method, code, 0)).to_vec();
    for number in 0..count {
        let (method, code) = KINDS[number % 4];
        counts[number % 4].2 += 1;
        ask += &match method {
            "POST" => "POST / HTTP/1.1\r\nContent-Length:1\r\n\r\nx".to_owned(),
            _ => format!("{method} / HTTP/1.1\r\n\r\n"),
        };
        say += &match code {
            404 => "HTTP/1.1 404 N\r\nContent-Length:99\r\n\r\n".to_owned(),
            204 => "HTTP/1.1 204 N\r\n\r\n".to_owned(),
            _ => format!("HTTP/1.1 {code} O\r\nContent-Length:2\r\n\r\nok"),
        };
    }
    counts.retain(|(_, _, count)| *count > 0);
    let conversation = if whole {
        exchange(ask, say)
    } else {
        talk().chopped(FromClient, ask, 33).chopped(FromServer, say, 29)
    };
    (conversation, counts)
}

#[test]
fn pipelining_up_to_what_is_documented() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    let mut cases = Vec::new();
    for count in [2, 3, 16, 32] {
        for whole in [true, false] {
            let (conversation, counts) = pipelined(count, whole);
            // Twice on the same connection: room is there again.
            let twice: Vec<_> =
                counts.iter().map(|(method, code, count)| (*method, *code, 2 * count)).collect();
            let name = format!("{count} at a time, whole: {whole}");
            cases.push(case(&name, conversation.clone().then(conversation), &twice));
        }
    }
    // Requests come one by one, answers likewise, always with two under way.
    let mut lagging = talk().client(request("GET"));
    for _ in 0..40 {
        lagging = lagging.client(request("POST")).server(response(200, "GET / HTTP/1.1\r\n\r\n"));
        lagging = lagging.client(request("GET")).server(response(201, "HTTP/1.1 500 X\r\n\r\n"));
    }
    lagging = lagging.server(response(200, ""));
    cases.push(case("always two under way", lagging, &[("GET", 200, 41), ("POST", 201, 40)]));
    check(&stage, Path::Link4, 1000, &cases)?;
    check(&stage, Path::Loopback, 2000, &cases)
}

#[test]
fn pipelining_beyond_what_is_documented() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    for (count, first) in [(33, 1000), (100, 1100), (1000, 1200)] {
        for (whole, port) in [(true, first), (false, first + 1)] {
            let before = lost(&stage.exporter.scrape()?);
            let (conversation, counts) = pipelined(count, whole);
            let case = Case::new(format!("{count}, whole: {whole}"), conversation, &counts).at_most();
            check(&stage, Path::Link4, port, &[case])?;
            let metrics = stage.exporter.scrape()?;
            let missed = lost(&metrics) - before;
            let edge = stage.edge(port);
            for side in [CLIENT, SERVER] {
                let seen = Seen::of(&metrics, &edge, side);
                let known: u64 = seen
                    .responses
                    .iter()
                    .filter(|((method, _), _)| method != "unknown")
                    .map(|(_, count)| count)
                    .sum();
                assert!(known >= 32, "{count}, {side}: {seen:?}");
                assert!(
                    known == count as u64 || missed > 0.0,
                    "{count}, {side}: {seen:?}, and nothing is lost"
                );
            }
        }
    }
    Ok(())
}

/// A few thousand messages of all kinds in any order, cut anywhere.
#[test]
fn whatever_may_follow_each_other() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    let case = |seed: u64| {
        let (mut random, mut counts) = (Random::new(seed), Counts::new());
        let conversations = (0..10).map(|_| any_conversation(&mut random, &mut counts)).collect();
        Case::counted(format!("seed {seed}"), conversations, counts)
    };
    let cases: Vec<_> = (1..=30).map(case).collect();
    check(&stage, Path::Link4, 1000, &cases)?;
    check(&stage, Path::Loopback, 2000, &cases[..15])
}
