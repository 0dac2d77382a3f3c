// SPDX-License-Identifier: Apache-2.0
//! Packets lost, repeated and out of order: nothing is counted twice, nothing wrong, and what could not be followed is told as
//! lost.

use flowgauge_tests::delay::{Manners, SlowLink};
use flowgauge_tests::faults::{Rule, Verdict};
use flowgauge_tests::http::expect::{Seen, expect_http, lost};
use flowgauge_tests::http::load::{Asking, Report, Serving, ask};
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;

// Each method has a code of its own, so that a response that is taken for that to another request shows.
const METHODS: [&str; 2] = ["--methods", "GET,POST,PUT,HEAD,DELETE"];
// Bodies are plain: after a loss, a head is where a segment begins like one, and half a million segments of what looks like heads
// would have some that do.
const SHAPE: [&str; 5] = [
    "--plain",
    "--paths",
    "/200?size=100000&plain=1,/404?size=100000&chunked=1&plain=1,/500,/403?size=2000&plain=1,/201?size=9000&chunked=1&plain=1",
    "--size",
    "100000",
];
const SMALL: [&str; 2] = ["--paths", "/200,/404,/500,/403,/201"];

/// Waits until both ends have seen all of it, or so much less as is told as lost.
fn expect_all_but_lost(stage: &Stage, edge: &Edge, report: &Report) -> Result<Metrics> {
    let truth = Seen::answered(report.counts()?);
    let wanted = format!("{truth:?}, or less and lost events");
    let holds = |metrics: &Metrics| {
        let missing = |side| truth.total().saturating_sub(Seen::of(metrics, edge, side).total()) as f64;
        missing(CLIENT) + missing(SERVER) <= lost(metrics)
    };
    stage.exporter.wait_until(&wanted, &[("server_port", "80")], SOON, holds)?;
    std::thread::sleep(Duration::from_millis(300));
    let metrics = stage.exporter.scrape()?;
    for side in [CLIENT, SERVER] {
        let seen = Seen::of(&metrics, edge, side);
        assert!(seen.within(&truth), "the {side} saw {seen:?} of {truth:?}");
        eprintln!("{side}: {} of {}, {} lost", seen.total(), truth.total(), lost(&metrics));
        // Each loss costs a response at most: a connection finds its way back.
        assert!(seen.total() as f64 >= 0.9 * truth.total() as f64, "the {side} saw {seen:?} of {truth:?}");
        assert!(seen.failed.is_empty(), "the {side}: {seen:?}");
    }
    Ok(metrics)
}

fn requests_under_loss(share: f64, at_client: bool, at_server: bool) -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    let mut serving = Serving::start(&stage.server, &["--listen", "[::]:80"])?;
    let mut rules = Vec::new();
    for (lossy, host, device) in
        [(at_client, &stage.client, &stage.link.a.device), (at_server, &stage.server, &stage.link.b.device)]
    {
        if lossy {
            rules.push(Rule::random_loss(host, device, share)?);
        }
    }
    let to = stage.to(80);
    let shape = [&["--to", &to, "--connections", "16", "--requests", "30"], &SHAPE[..], &METHODS].concat();
    let plain = Asking::start(&stage.client, &shape)?;
    let chunked = Asking::start(&stage.client, &[&shape[..], &["--chunked"]].concat())?;
    let mut asked = plain.finish()?;
    let more = chunked.finish()?.responses;
    more.iter().for_each(|(what, count)| *asked.responses.entry(what.clone()).or_default() += count);
    assert_eq!(asked.total(), 2 * 16 * 30);
    assert_eq!(serving.report()?.responses, asked.responses);
    for rule in &rules {
        assert!(rule.hits()? > 50, "only {} packets were dropped", rule.hits()?);
    }
    let retransmitted = Snmp::of(&stage.server)?.get("TcpRetransSegs")?;
    assert!(retransmitted > 20, "the server retransmitted {retransmitted} segments");
    expect_all_but_lost(&stage, &stage.edge(80), &asked).map(drop)
}

#[test]
fn two_percent_loss_of_responses() -> Result<()> {
    requests_under_loss(0.02, true, false)
}

#[test]
fn five_percent_loss_both_ways() -> Result<()> {
    requests_under_loss(0.05, true, true)
}

/// Small packets are lost and repeated: each segment is a whole head, so that a repeated one looks like another request.
#[test]
fn loss_of_small_messages() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    let mut serving = Serving::start(&stage.server, &["--listen", "[::]:80"])?;
    let rules = [
        Rule::random_loss(&stage.client, &stage.link.a.device, 0.05)?,
        Rule::random_loss(&stage.server, &stage.link.b.device, 0.05)?,
    ];
    let to = stage.to(80);
    let shape = ["--to", &to, "--connections", "100", "--requests", "25"];
    let asked = ask(&stage.client, &[&shape[..], &SMALL, &METHODS].concat())?;
    assert_eq!(serving.report()?.responses, asked.responses);
    assert!(rules[0].hits()? > 50 && rules[1].hits()? > 50);
    drop(rules);
    // Of these nothing has to be lost: one message at a time is under way, and each is one segment.
    expect_http(&stage.exporter, &stage.edge(80), &Seen::answered(asked.counts()?)).map(drop)
}

/// A link on which packets overtake each other, and some come twice.
#[test]
fn packets_out_of_order_and_doubled() -> Result<()> {
    let stage = Stage::new(&[])?;
    let far = stage.world.host("far")?;
    let manners = Manners { one_way: Duration::from_micros(500), overtaking: 11, doubled: 7 };
    let link = SlowLink::with_manners(&stage.world, &far, &stage.server, manners)?;
    stage.rename(&[&stage.client, &stage.server, &far].map(Name::of))?;
    let mut serving = Serving::start(&stage.server, &["--listen", "[::]:80"])?;
    let to = link.b.at4(80).to_string();
    let shape = [&["--to", &to, "--connections", "8", "--requests", "25"], &SHAPE[..], &METHODS].concat();
    let asked = ask(&far, &[&shape[..], &["--chunked"]].concat())?;
    assert_eq!(serving.report()?.responses, asked.responses);
    let disorder = Snmp::of(&far)?.get("TcpExtTCPOFOQueue")?;
    assert!(disorder > 50, "{disorder} segments out of order");
    expect_all_but_lost(&stage, &Edge::between(&far, &stage.server, 80), &asked)?;
    // Messages of one segment each cannot overtake each other: nothing is lost of them.
    let mut small = Serving::start(&stage.server, &["--listen", "[::]:81"])?;
    let to = link.b.at4(81).to_string();
    let shape = ["--to", &to, "--connections", "20", "--requests", "50"];
    let asked = ask(&far, &[&shape[..], &SMALL, &METHODS].concat())?;
    assert_eq!(small.report()?.responses, asked.responses);
    let edge = Edge::between(&far, &stage.server, 81);
    expect_http(&stage.exporter, &edge, &Seen::answered(asked.counts()?)).map(drop)
}

/// The exporter comes to connections whose packets overtake each other: what it cannot know it does not guess, and no answered
/// request fails.
#[test]
fn older_connections_out_of_order() -> Result<()> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let manners = Manners { one_way: Duration::from_micros(200), overtaking: 2, doubled: 0 };
    let link = SlowLink::with_manners(&world, &client, &server, manners)?;
    let names = NamesFile::new(&[Name::of(&client), Name::of(&server)])?;
    let mut serving = Serving::start(&server, &["--listen", "[::]:80"])?;
    let to = link.b.at4(80).to_string();
    let shape = ["--to", &to, "--connections", "20", "--requests", "500", "--size", "2000"];
    let mix = [
        "--plain",
        "--methods",
        "GET,POST",
        "--paths",
        "/200?size=3000&delay=4&plain=1,/404?chunked=1&size=5000&plain=1",
    ];
    let asking = Asking::start(&client, &[&shape[..], &mix].concat())?;
    std::thread::sleep(Duration::from_millis(400));
    let exporter = Exporter::start(&[&names.flag()])?;
    exporter.scrape()?;
    let before = serving.report()?.total();
    let asked = asking.finish()?;
    assert_eq!(asked.responses, [("GET 200".to_owned(), 5000), ("POST 404".to_owned(), 5000)].into());
    let after = asked.total() - before;
    assert!(before > 100 && after > 2000, "{before} before, {after} after");
    let edge = Edge::between(&client, &server, 80);
    let closed = [("connections_closed_total", SERVER, 20.0), ("connections_closed_total", CLIENT, 20.0)];
    flowgauge_tests::stage::expect(&exporter, &edge, &closed)?;
    std::thread::sleep(Duration::from_millis(300));
    let (metrics, truth) = (exporter.scrape()?, Seen::answered(asked.counts()?));
    for side in [CLIENT, SERVER] {
        let seen = Seen::of(&metrics, &edge, side);
        let told = metrics.describe("flowgauge_lost", &[]);
        eprintln!("{side}: {} seen, {after} answered since; {told}", seen.total());
        assert!(seen.within(&truth) && seen.failed.is_empty(), "the {side} saw {seen:?}");
        assert!(seen.total() as f64 >= 0.9 * after as f64, "the {side} saw {seen:?} of {after}");
    }
    Ok(())
}

/// A listener that hands connections over when the first request is there.
#[test]
fn deferred_accept() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    let mut serving = Serving::start(&stage.server, &["--listen", "[::]:80", "--deferred"])?;
    let to = stage.to(80);
    let shape =
        [&["--to", &to, "--connections", "5", "--requests", "4", "--rounds", "10"], &METHODS[..]].concat();
    let mut asked = ask(&stage.client, &shape)?;
    // The first request's segment is lost at times: its retransmission opens the connection.
    let first = ["INPUT", "-p", "tcp", "-m", "length", "--length", "60:", "-m", "statistic", "--mode", "nth"];
    let rule =
        Rule::new(&stage.server, &[&first[..], &["--every", "7", "--packet", "0"]].concat(), Verdict::Drop)?;
    let more = ask(&stage.client, &shape)?;
    assert!(rule.hits()? > 10);
    more.responses
        .iter()
        .for_each(|(what, count)| *asked.responses.entry(what.clone()).or_default() += count);
    assert_eq!(serving.report()?.responses, asked.responses);
    assert_eq!(asked.total(), 400);
    let metrics = expect_http(&stage.exporter, &stage.edge(80), &Seen::answered(asked.counts()?))?;
    assert_eq!(lost(&metrics), 0.0, "{}", metrics.describe("flowgauge_lost", &[]));
    Ok(())
}
