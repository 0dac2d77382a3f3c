// SPDX-License-Identifier: Apache-2.0
//! What is not HTTP, and what pretends to be: nothing wrong is counted, nothing breaks, and true requests are counted to the
//! last one at the same time and afterwards.

use flowgauge_tests::http::cases::framing::{ANOTHER, another, exchange};
use flowgauge_tests::http::cases::{Case, Path, check};
use flowgauge_tests::http::expect::{Seen, expect_http};
use flowgauge_tests::http::load::{Asking, Serving, ask};
use flowgauge_tests::http::message::{
    LOOKALIKE, Random, chunked, request, request_sized, request_with, response, response_chunked,
    response_with,
};
use flowgauge_tests::http::play::{Scene, play};
use flowgauge_tests::http::script::{Conversation, Side, Step};
use flowgauge_tests::prelude::*;

/// First words of other protocols, of the client or of the server.
fn others() -> Vec<Case> {
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03GET / HTTP/1.1\r\n\r\n";
    let postgres = b"\x00\x00\x00\x29\x00\x03\x00\x00user\0postgres\0database\0postgres\0\0";
    let amqp = b"AMQP\x00\x00\x09\x01";
    let both =
        |request: &[u8], response: &[u8]| exchange(request, response).then(exchange(request, response));
    let first =
        |hello: &str, answer: &str| Conversation::new().server(hello).client(answer).server("250 OK\r\n");
    let conversations = [
        ("SSH", first("SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0-OpenSSH_9.3\r\n")),
        ("SMTP", first("220 mail ESMTP\r\n", "EHLO client.example\r\n")),
        ("FTP", first("220 ftp\r\n", "USER anonymous\r\n")),
        ("Redis", both(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", b"$2\r\nok\r\n")),
        ("Redis inline", both(b"GET key\r\n", b"$2\r\nok\r\n")),
        ("memcached", both(b"get key\r\n", b"VALUE key 0 2\r\nok\r\nEND\r\n")),
        ("TLS", both(hello, b"\x16\x03\x03\x00\x7aHTTP/1.1 200 OK\r\n\r\n")),
        ("PostgreSQL", both(postgres, b"R\x00\x00\x00\x08\x00\x00\x00\x00")),
        ("AMQP", both(amqp, amqp)),
        ("HTTP/0.9", both(b"GET /\r\n", b"<html>HTTP/1.1 200 OK\r\n\r\n</html>")),
        (
            "RTSP",
            both(b"OPTIONS rtsp://x RTSP/1.0\r\nCSeq: 1\r\n\r\n", b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n"),
        ),
        ("SIP", both(b"INVITE sip:a@b SIP/2.0\r\n\r\n", b"SIP/2.0 180 Ringing\r\n\r\n")),
        ("HTTP/3.7", both(b"GET / HTTP/3.7\r\n\r\n", b"HTTP/3.7 200 OK\r\n\r\n")),
        ("HTTP/11.1", both(b"GET / HTTP/11.1\r\n\r\n", b"HTTP/11.1 200 OK\r\n\r\n")),
        ("no method", both(b" / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")),
        ("a response first", both(response(200, "x").as_bytes(), response(200, "y").as_bytes())),
        ("zeroes", both(&[0; 1000], &[0; 1000])),
        (
            "one byte at a time",
            Conversation::new().chopped(Side::Client, "*1\r\n$4\r\nPING\r\n", 1).server("+PONG\r\n"),
        ),
        ("one byte", both(b"G", b"H")),
        ("nothing", Conversation::new()),
        ("a text without line end", both(&[b'A'; 5000], &[b'H'; 5000])),
        ("a line of a megabyte", exchange(vec![b'G'; 1 << 20], vec![b'H'; 1 << 20])),
        (
            "later HTTP",
            both(b"\x00\x01\x02hello", b"\x00hi").then(exchange(request("GET"), response(200, "x"))),
        ),
    ];
    conversations.into_iter().map(|(name, conversation)| Case::not_http(name, conversation)).collect()
}

/// Requests and responses that nobody may send, after a good exchange: what follows may not be counted, but the wrong may
/// never be.
fn wrongs() -> Vec<Case> {
    let get = || request("GET");
    let lengths = [
        "-1",
        "-9223372036854775808",
        "4294967296",
        "18446744073709551616",
        "99999999999999999999999999999999",
        "0x10",
        "+5",
        "5 5",
        "5, 6",
        "abc",
        "",
        "1e3",
    ];
    let mut cases = Vec::new();
    for length in lengths {
        let line = format!("Content-Length: {length}");
        let said = response_with(200, &[&line], LOOKALIKE);
        cases.push((format!("a response's length {length:?}"), exchange(get(), said), vec![("GET", 200, 1)]));
        let asked = request_with("POST", &[&line], LOOKALIKE);
        let all = exchange(asked, response(201, "x"));
        cases.push((format!("a request's length {length:?}"), all, vec![("POST", 201, 1)]));
    }
    let two = ["Content-Length: 3", "Content-Length: 5"];
    for size in ["zz", "", "-5", "fffffffff", "ffffffffffffffffffff", " 5", "5 6"] {
        let said = response_chunked(200, &format!("{size}\r\n{LOOKALIKE}\r\n0\r\n\r\n"));
        cases.push((format!("a chunk of {size:?}"), exchange(get(), said), vec![("GET", 200, 1)]));
    }
    cases.push((
        "different lengths".into(),
        exchange(get(), response_with(200, &two, LOOKALIKE)),
        vec![("GET", 200, 1)],
    ));
    cases.push((
        "different lengths asked".into(),
        exchange(request_with("PUT", &two, LOOKALIKE), response(400, "x")),
        vec![("PUT", 400, 1)],
    ));
    cases.push((
        "a space before the colon".into(),
        exchange(get(), response_with(200, &["Content-Length : 9"], "GET / HTT")),
        vec![("GET", 200, 1)],
    ));
    cases.push((
        "chunked is not the last coding".into(),
        exchange(get(), response_with(200, &["Transfer-Encoding: chunked, gzip"], LOOKALIKE)),
        vec![("GET", 200, 1)],
    ));
    cases.push((
        "a chunk longer than its data".into(),
        exchange(get(), response_chunked(200, "5\r\nabc")),
        vec![("GET", 200, 1)],
    ));
    cases.push((
        "no line end after a chunk".into(),
        exchange(get(), response_chunked(200, &format!("3\r\nabc{LOOKALIKE}"))),
        vec![("GET", 200, 1)],
    ));
    for code in ["099", "99", "000", "600", "999", "abc", "20x", "2000", "-20", "", " 200"] {
        let said = format!("HTTP/1.1 {code} Odd\r\nContent-Length: 0\r\n\r\n");
        cases.push((format!("the code {code:?}"), exchange(get(), said), vec![]));
    }
    for version in ["HTTP/1.10", "HTTP/2.0", "HTTP/0.9", "HTTX/1.1", "http/1.1", "ICY"] {
        let said = format!("{version} 200 OK\r\nContent-Length: 0\r\n\r\n");
        cases.push((format!("an answer in {version:?}"), exchange(get(), said), vec![("GET", 200, 1)]));
    }
    for asked in [
        "\0\r\n\r\n",
        "GET\r\n\r\n",
        "GET /\r\n\r\n",
        "GET  /  HTTP/1.1\r\n\r\n",
        "/ HTTP/1.1\r\n\r\n",
        "G\0T / HTTP/1.1\r\n\r\n",
    ] {
        let all = exchange(asked, response(400, "x"));
        let responses = vec![("GET", 400, 1), ("other", 400, 1), ("unknown", 400, 1)];
        cases.push((format!("a second request {asked:?}"), another().then(all), responses));
    }
    cases
        .into_iter()
        .map(|(name, conversation, mut responses)| {
            responses.extend([ANOTHER, ANOTHER]);
            Case::new(name, conversation.then(another()), &responses).at_most()
        })
        .collect()
}

#[test]
fn other_protocols_are_not_http() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    check(&stage, Path::Link4, 1000, &others())?;
    check(&stage, Path::Loopback, 2000, &others())?;
    // Cut anywhere, what they say is no more HTTP than before.
    for (size, first) in [(1, 3000), (7, 3200)] {
        let mut little = others();
        little.retain(|case| !case.name.contains("megabyte") && !case.name.contains("zeroes"));
        little.iter_mut().flat_map(|case| &mut case.conversations).for_each(|all| all.chop(size));
        check(&stage, Path::Link4, first, &little).with_context(|| format!("in pieces of {size}"))?;
    }
    Ok(())
}

#[test]
fn what_nobody_may_send() -> Result<()> {
    let mut stage = Stage::new(&[])?;
    stage.pin();
    check(&stage, Path::Link4, 1000, &wrongs())?;
    check(&stage, Path::Loopback, 2000, &wrongs())?;
    // The last port is one that has not been heard of.
    let case = Case::new("a true one", exchange(request("GET"), response(200, "x")), &[("GET", 200, 1)]);
    check(&stage, Path::Link4, 3000, &[case])?;
    assert!(stage.exporter.process().is_running());
    Ok(())
}

#[test]
fn random_bytes_on_either_side() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    let mut random = Random::new(20);
    let (mut asked, mut answered, mut bodies, mut good) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..150 {
        let size = 1 + random.below(3000);
        asked.push(exchange(random.bytes(size), random.bytes(size)));
        answered.push(exchange(request("GET"), random.bytes(size)));
        // Random bodies are what bodies often are.
        let (ask, say) = (random.bytes(size), random.bytes(size));
        let head = |text: String| text.into_bytes();
        let length = format!("Content-Length: {size}");
        let ask = [head(request_with("PUT", &[&length], "")), ask].concat();
        let say = [head(response_with(200, &[&length], "")), say].concat();
        bodies.push(exchange(&ask, &say).then(exchange(&ask, &say)));
        good += 2;
    }
    let mut random_requests = Case::not_http("random requests", Conversation::new());
    random_requests.conversations = asked;
    let failing = answered.len() as u64;
    let cases = [
        random_requests,
        Case::many("random responses", answered, &[]).at_most(),
        Case::many("random bodies", bodies, &[("PUT", 200, good)]),
    ];
    check(&stage, Path::Link4, 1000, &cases)?;
    // None of the random responses is one: each request failed, or was given up.
    let metrics = stage.exporter.scrape()?;
    for side in [CLIENT, SERVER] {
        let seen = Seen::of(&metrics, &stage.edge(1001), side);
        assert!(seen.failed.values().sum::<u64>() <= failing, "{side}: {seen:?}");
    }
    Ok(())
}

/// Valid exchanges with bytes changed, left out, repeated, while true requests go on elsewhere.
#[test]
fn mutilated_exchanges_beside_true_ones() -> Result<()> {
    let mut stage = Stage::new(&[])?;
    let mut serving = Serving::start(&stage.server, &["--listen", "[::]:80"])?;
    let (to, paths) = (stage.to(80), "/200?size=3000,/404,/500?size=9000&chunked=1,/204");
    let shape = ["--to", &to, "--paths", paths, "--methods", "GET,POST,HEAD", "--size", "4000"];
    let more = ["--connections", "8", "--requests", "1500"];
    let asking = Asking::start(&stage.client, &[&shape[..], &more].concat())?;
    let mut random = Random::new(9);
    let mut conversations = Vec::new();
    for number in 0..600 {
        let ask = request_sized("POST", LOOKALIKE)
            + &request("GET")
            + &request_with("PUT", &["Transfer-Encoding: chunked"], &chunked(&[LOOKALIKE, "x"]));
        let say = response(200, LOOKALIKE)
            + "HTTP/1.1 103 Hints\r\n\r\n"
            + &response_chunked(404, &chunked(&["GET /", LOOKALIKE]))
            + &response(500, "");
        let (ask, say) = (mutilated(ask.into_bytes(), &mut random), mutilated(say.into_bytes(), &mut random));
        let cut = 1 + random.below(700);
        let conversation =
            Conversation::new().chopped(Side::Client, ask, cut).chopped(Side::Server, say, cut);
        conversations.push(match number % 3 {
            0 => conversation,
            1 => conversation.step(Step::Close(Side::Server)),
            _ => conversation.step(Step::Reset(Side::Client)),
        });
    }
    let scene = Scene { address: stage.link.b.at4(81), conversations };
    play(&stage.client, &stage.server, &[scene])?;
    let mut asked = asking.finish()?;
    let after = ask(&stage.client, &[&shape[..], &["--requests", "100"]].concat())?;
    after
        .responses
        .iter()
        .for_each(|(what, count)| *asked.responses.entry(what.clone()).or_default() += count);
    assert_eq!(serving.report()?.responses, asked.responses);
    let metrics = expect_http(&stage.exporter, &stage.edge(80), &Seen::answered(asked.counts()?))?;
    for side in [CLIENT, SERVER] {
        let seen = Seen::of(&metrics, &stage.edge(81), side);
        // No exchange has more heads than bytes were put to it: three, one lookalike of a body that began too early, and a copy.
        assert!(seen.total() > 300 && seen.total() < 600 * 8, "{side}: {seen:?}");
        assert!(seen.durations <= seen.total(), "{side}: {seen:?}");
    }
    assert!(stage.exporter.process().is_running());
    assert!(!stage.exporter.log().contains("panic"), "{}", stage.exporter.log());
    Ok(())
}

fn mutilated(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len());
        let end = (at + 1 + random.below(40)).min(bytes.len());
        match random.below(5) {
            0 => bytes[at] = random.below(256) as u8,
            1 => bytes[at] ^= 0x20,
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => bytes.insert(at, b"\r\n :0f"[random.below(6)]),
        }
        if bytes.is_empty() {
            bytes.push(b'x');
        }
    }
    bytes
}
