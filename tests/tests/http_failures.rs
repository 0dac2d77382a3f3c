// SPDX-License-Identifier: Apache-2.0
//! Requests that are never answered, by how their connection ended, and how long answers take.

use flowgauge_tests::faults::{Rule, Verdict};
use flowgauge_tests::http::cases::{Case, Path, await_counts, check, scenes};
use flowgauge_tests::http::expect::{Seen, durations, expect_http};
use flowgauge_tests::http::load::{Serving, ask};
use flowgauge_tests::http::message::{request, request_sized, request_with, response, response_with};
use flowgauge_tests::http::play::{Playing, Scene};
use flowgauge_tests::http::script::{Conversation, Side, Step};
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;

fn talk() -> Conversation {
    Conversation::new()
}

fn good() -> Conversation {
    talk().client(request("GET")).server(response(200, "body"))
}

const GOOD: (&str, u16, u64) = ("GET", 200, 1);

fn endings() -> Vec<Case> {
    let lone = |name: &str, end: Step| Case::new(name, talk().client(request("GET")).step(end), &[]);
    let second = |name: &str, end: Step| Case::new(name, good().client(request("POST")).step(end), &[GOOD]);
    let mut cases = Vec::new();
    for (side, who) in [(Side::Client, "client"), (Side::Server, "server")] {
        cases.push(lone(&format!("the {who} resets"), Step::Reset(side)).failing("reset", 1));
        cases.push(lone(&format!("the {who} closes"), Step::Close(side)).failing("closed", 1));
        cases.push(second(&format!("the {who} resets a later one"), Step::Reset(side)).failing("reset", 1));
        cases.push(
            second(&format!("the {who} closes on a later one"), Step::Close(side)).failing("closed", 1),
        );
        // Nothing is under way: nothing fails.
        cases.push(Case::new(
            format!("the {who} closes an idle one"),
            good().step(Step::Close(side)),
            &[GOOD],
        ));
        cases.push(Case::new(
            format!("the {who} resets an idle one"),
            good().step(Step::Reset(side)),
            &[GOOD],
        ));
        let cut =
            talk().client(request("GET")).server(response_with(200, &["Content-Length: 500"], "cut off"));
        cases.push(Case::new(
            format!("the {who} resets in the body"),
            cut.clone().step(Step::Reset(side)),
            &[GOOD],
        ));
        cases.push(Case::new(format!("the {who} closes in the body"), cut.step(Step::Close(side)), &[GOOD]));
        // A response is one as soon as its status is known.
        let half = talk().client(request("GET")).server("HTTP/1.1 20").step(Step::Close(side));
        cases.push(Case::new(format!("the {who} closes in the status line"), half, &[]).failing("closed", 1));
        let half =
            talk().client(request("GET")).server("HTTP/1.1 200 OK\r\nContent-Le").step(Step::Close(side));
        cases.push(Case::new(format!("the {who} closes in the response's head"), half, &[GOOD]));
        let many = good()
            .client(
                [request("GET"), request("PUT"), request("DELETE"), request("GET"), request("HEAD")].concat(),
            )
            .server(response(404, "one"))
            .server(response(201, "two"));
        let answered = [GOOD, ("GET", 404, 1), ("PUT", 201, 1)];
        let reset = many.clone().step(Step::Reset(side));
        cases
            .push(Case::new(format!("the {who} resets three of five"), reset, &answered).failing("reset", 3));
        let close = many.step(Step::Close(side));
        cases.push(
            Case::new(format!("the {who} closes on three of five"), close, &answered).failing("closed", 3),
        );
        let interim = talk()
            .client(request_with("PUT", &["Expect: 100-continue", "Content-Length: 5"], ""))
            .server("HTTP/1.1 100 Continue\r\n\r\n")
            .client("12345")
            .step(Step::Close(side));
        cases.push(Case::new(format!("the {who} closes after 100"), interim, &[]).failing("closed", 1));
        let body =
            talk().client(request_with("POST", &["Content-Length: 5000"], "a part")).step(Step::Reset(side));
        cases.push(
            Case::new(format!("the {who} resets in the request's body"), body, &[]).failing("reset", 1),
        );
    }
    let early = talk()
        .client(request_with("POST", &["Content-Length: 5000"], "a part"))
        .server(response(413, "too large"))
        .step(Step::Reset(Side::Server));
    cases.push(Case::new("refused, then reset", early, &[("POST", 413, 1)]));
    let half = talk().client(request("GET")).step(Step::Finish(Side::Client)).step(Step::Close(Side::Server));
    cases.push(Case::new("half closed, then closed", half, &[]).failing("closed", 1));
    // A tunnel that ends is no failure.
    let tunnel = talk()
        .client("CONNECT x:1 HTTP/1.1\r\n\r\n")
        .server("HTTP/1.1 200 OK\r\n\r\n")
        .client(request("GET"))
        .step(Step::Reset(Side::Server));
    cases.push(Case::new("a tunnel is reset", tunnel, &[("CONNECT", 200, 1)]));
    cases
}

#[test]
fn endings_of_unanswered_requests() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    check(&stage, Path::Link4, 1000, &endings())?;
    check(&stage, Path::Loopback, 2000, &endings())
}

/// Many connections end at once, in the same moment as passes are made.
#[test]
fn hundreds_of_unanswered_requests() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    let mut all = Vec::new();
    for (side, count) in [(Side::Client, 100), (Side::Server, 150)] {
        let reset = talk().client(request("GET")).step(Step::Reset(side));
        let close = good().client(request_sized("POST", "body")).step(Step::Close(side));
        all.extend(vec![reset; count]);
        all.extend(vec![close; count]);
    }
    let case = Case::many("all", all, &[("GET", 200, 250)]).failing("reset", 250).failing("closed", 250);
    let cases = [case];
    let playing = Playing::start(&stage.client, &stage.server, &scenes(&stage, Path::Link4, 1000, &cases))?;
    for _ in 0..10 {
        stage.exporter.scrape()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    playing.finish()?;
    await_counts(&stage, Path::Link4, 1000, &cases).map(drop)
}

/// TCP gives up at one end, because nothing comes through: that end's requests time out. The other is closed later.
#[test]
fn a_black_hole() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    for (from, port, text) in [
        // A second request is written into the void: two are unanswered at the client, one at the server.
        (Side::Client, 80, request("PUT")),
        (Side::Server, 81, "HTTP/1.1 2".to_owned()),
    ] {
        let conversation = good().client(request("GET")).step(Step::Hold).step(Step::Lose { from, text });
        let scene = Scene { address: stage.link.b.at4(port), conversations: vec![conversation] };
        let mut playing = Playing::start(&stage.client, &stage.server, &[scene])?;
        playing.held()?;
        let drop_all = ["INPUT", "-p", "tcp"];
        let rules = [&stage.client, &stage.server].map(|host| Rule::new(host, &drop_all, Verdict::Drop));
        playing.go()?;
        playing.lost(from)?;
        playing.finish()?;
        let failed = |reason: &str, count| {
            let mut seen = Seen::answered([(("GET".to_owned(), 200), 1)].into());
            seen.failed.insert(reason.to_owned(), count);
            seen
        };
        let edge = stage.edge(port);
        let (loser, other, gave_up) = match from {
            Side::Client => (CLIENT, SERVER, failed("timeout", 2)),
            Side::Server => (SERVER, CLIENT, failed("timeout", 1)),
        };
        let is = |metrics: &Metrics, side, seen: &Seen| Seen::of(metrics, &edge, side) == *seen;
        let port = port.to_string();
        let at_port = [("server_port", port.as_str())];
        let wanted = format!("{gave_up:?} at the {loser}");
        stage.exporter.wait_until(&wanted, &at_port, SOON, |metrics| is(metrics, loser, &gave_up))?;
        for rule in rules {
            drop(rule?);
        }
        // The way is open again: the other end, which closes now, hears that nobody is there.
        let (wanted, reset) = (format!("a reset at the {other}"), failed("reset", 1));
        let both = |metrics: &Metrics| is(metrics, loser, &gave_up) && is(metrics, other, &reset);
        stage.exporter.wait_until(&wanted, &at_port, SOON, both)?;
    }
    Ok(())
}

/// From the first byte of the request to the first byte of the response: neither a slow body, nor a slow head of the response,
/// nor what went on before the request counts; a slow request does.
#[test]
fn durations_are_those_of_the_answers() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    let ms = Duration::from_millis;
    let none = Duration::ZERO;
    let long = response_with(200, &["Content-Length: 40"], "");
    let slow_body = talk().client(request("GET")).slowly(
        Side::Server,
        ms(50),
        ms(200),
        [&long, "0123456789", "0123456789", "0123456789", "0123456789"],
    );
    let slow_head = talk().client(request("GET")).slowly(
        Side::Server,
        ms(50),
        ms(200),
        ["HTTP/1.1 200 OK\r\nContent-", "Length: 0\r\n", "\r\n"],
    );
    let slow_request = talk()
        .slowly(Side::Client, none, ms(150), ["GET / HTTP/1.1\r\nHo", "st: x\r\n\r\n"])
        .slowly(Side::Server, ms(50), none, [response(200, "x")]);
    let idle = good().slowly(Side::Client, ms(300), none, [request("GET")]).slowly(
        Side::Server,
        ms(50),
        none,
        [response(200, "x")],
    );
    let interim = talk()
        .client(request("GET"))
        .slowly(Side::Server, ms(20), none, ["HTTP/1.1 103 Early\r\n\r\n"])
        .slowly(Side::Server, ms(80), none, [response(200, "x")]);
    let pipelined = talk().client([request("GET"), request("GET")].concat()).slowly(
        Side::Server,
        ms(50),
        ms(100),
        [response(200, "x"), response(200, "y")],
    );
    // Count of responses, and the least sum of their times; it can be more, by what a busy machine takes.
    let wanted = [
        ("a slow body", slow_body, 1, 0.05),
        ("a slow head", slow_head, 1, 0.05),
        ("a slow request", slow_request, 1, 0.2),
        ("idle before", idle, 2, 0.05),
        ("an interim response", interim, 1, 0.1),
        ("two at a time", pipelined, 2, 0.2),
    ];
    let cases: Vec<_> = wanted
        .iter()
        .map(|(name, conversation, count, _)| Case::new(*name, conversation.clone(), &[("GET", 200, *count)]))
        .collect();
    check(&stage, Path::Link4, 1000, &cases)?;
    let metrics = stage.exporter.scrape()?;
    for ((name, _, _, least), port) in wanted.iter().zip(1000..) {
        for side in [CLIENT, SERVER] {
            let times = durations(&metrics, &stage.edge(port), side);
            // The server's program writes that much later; over the link it takes no time.
            assert!((*least - 0.001..*least + 0.045).contains(&times.sum), "{name}, {side}: {}", times.sum);
        }
    }
    let bounds: Vec<_> =
        durations(&metrics, &stage.edge(1000), CLIENT).buckets.iter().map(|(bound, _)| *bound).collect();
    assert_eq!((bounds[0], bounds[bounds.len() - 2], bounds.len()), (256e-6, 16.777216, 18), "{bounds:?}");
    Ok(())
}

#[test]
fn durations_lie_in_their_buckets() -> Result<()> {
    let stage = Stage::new(&[])?;
    let mut serving = Serving::start(&stage.server, &["--listen", "[::]:80"])?;
    let to = stage.to(80);
    let shape = ["--to", &to, "--connections", "10", "--requests", "12"];
    let asked = ask(&stage.client, &[&shape[..], &["--paths", "/200?delay=50"]].concat())?;
    let report = serving.report()?;
    assert_eq!((asked.total(), report.total()), (120, 120));
    let metrics = expect_http(&stage.exporter, &stage.edge(80), &Seen::answered(asked.counts()?))?;
    for side in [CLIENT, SERVER] {
        let times = durations(&metrics, &stage.edge(80), side);
        assert!(
            times.sum >= 120.0 * 0.05 && times.sum <= asked.seconds,
            "{side}: {} of {}",
            times.sum,
            asked.seconds
        );
        // 2^15 and 2^16 microseconds.
        let bucket = times.quantile_bucket(0.5).context("no durations")?;
        assert_eq!(bucket, (0.032768, 0.065536), "{side}: {times:?}");
        assert_eq!(
            times.buckets.iter().find(|(bound, _)| *bound == 0.032768),
            Some(&(0.032768, 0.0)),
            "{side}"
        );
    }
    Ok(())
}
