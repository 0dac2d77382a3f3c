// SPDX-License-Identifier: Apache-2.0
//! Proves the HTTP part of the world without the exporter: segments are cut as written, and everyone counts the same.

use flowgauge_tests::faults::{Rule, Verdict};
use flowgauge_tests::http::Counts;
use flowgauge_tests::http::load::{Serving, ask};
use flowgauge_tests::http::message::{request, response};
use flowgauge_tests::http::play::{Playing, Scene, play, server_alone};
use flowgauge_tests::http::script::{Conversation, Side, Step};
use flowgauge_tests::http::web::Web;
use flowgauge_tests::netns::Link;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::run;

fn pair() -> Result<(World, Host, Host, Link)> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = world.link(&client, &server)?;
    client.settle6()?;
    server.settle6()?;
    Ok((world, client, server, link))
}

#[test]
fn conversations_are_played_to_the_segment() -> Result<()> {
    let (_world, client, server, link) = pair()?;
    let (ask, say) = (request("GET"), response(200, "body"));
    let bytewise = Conversation::new().chopped(Side::Client, &ask, 1).chopped(Side::Server, &say, 1);
    let endings = [
        bytewise.clone(),
        bytewise.clone().step(Step::Close(Side::Server)),
        bytewise.clone().step(Step::Reset(Side::Client)),
        bytewise.clone().step(Step::Reset(Side::Server)),
        Conversation::new()
            .client(&ask)
            .step(Step::Finish(Side::Client))
            .chopped(Side::Server, &say, 1)
            .step(Step::Close(Side::Server)),
    ];
    let scenes =
        [link.b.at4(80), link.b.at6(81)].map(|address| Scene { address, conversations: endings.to_vec() });
    let before = Snmp::of(&client)?;
    let (asked, said) = play(&client, &server, &scenes)?;
    assert_eq!(asked.connections, 10);
    assert_eq!(asked.bytes, 10 * ask.len() as u64);
    assert_eq!(asked.pieces, 2 * (4 * ask.len() as u64 + 1));
    assert_eq!((said.bytes, said.pieces), (10 * say.len() as u64, 10 * say.len() as u64));
    // Data arrived in no fewer segments than it was cut into.
    let arrived = Snmp::of(&client)?.since(&before, "TcpInSegs")?;
    assert!(arrived >= said.pieces as f64, "{arrived} segments for {} pieces", said.pieces);
    Ok(())
}

#[test]
fn what_is_lost_on_purpose_times_out() -> Result<()> {
    let (_world, client, server, link) = pair()?;
    for from in [Side::Client, Side::Server] {
        let conversation = Conversation::new()
            .client(request("GET"))
            .step(Step::Hold)
            .step(Step::Lose { from, text: "lost".to_owned() });
        let scene = Scene { address: link.b.at4(80), conversations: vec![conversation] };
        let mut playing = Playing::start(&client, &server, &[scene])?;
        playing.held()?;
        let rules = [&server, &client].map(|host| Rule::new(host, &["INPUT", "-p", "tcp"], Verdict::Drop));
        playing.go()?;
        playing.lost(from)?;
        drop(rules);
        let (asked, said) = playing.finish()?;
        assert_eq!((asked.connections, said.connections), (1, 1), "{from:?}");
    }
    Ok(())
}

#[test]
fn a_player_notices_what_was_not_written() -> Result<()> {
    let (_world, client, server, link) = pair()?;
    let scene = |text: &str| Scene {
        address: link.b.at4(80),
        conversations: vec![Conversation::new().client(text).server("answer")],
    };
    let played = play(&client, &server, &[scene("right")])?;
    assert_eq!((played.0.bytes, played.1.bytes), (5, 6));
    // A stranger who says something else.
    let to = link.b.at4(80);
    let mut server_alone = server_alone(&server, &[scene("right")])?;
    client.enter(|| {
        let mut stream = std::net::TcpStream::connect(to)?;
        std::io::Write::write_all(&mut stream, b"wrong")?;
        Ok(())
    })?;
    assert!(!server_alone.wait(SOON)?.success());
    assert!(server_alone.log().contains("other bytes than were written"), "{}", server_alone.log());
    Ok(())
}

#[test]
fn hyper_counts_the_same_at_both_ends() -> Result<()> {
    let (_world, client, server, link) = pair()?;
    for deferred in [&[][..], &["--deferred"]] {
        let mut serving = Serving::start(&server, &[&["--listen", "[::]:80"], deferred].concat())?;
        for to in [link.b.at4(80), link.b.at6(80)] {
            let before = serving.report()?;
            let to = to.to_string();
            let paths = "/200,/404?size=100000,/500?size=30000&chunked=1,/204,/200?delay=20";
            let methods = "GET,POST,PUT,DELETE,OPTIONS,PROPFIND,HEAD";
            let shape = ["--to", &to, "--paths", paths, "--methods", methods, "--size", "50000"];
            let more = ["--connections", "4", "--requests", "70", "--rounds", "2"];
            let mut asked = ask(&client, &[&shape[..], &more].concat())?;
            let chunked = ask(&client, &[&shape[..], &["--chunked", "--requests", "35"]].concat())?;
            let old = ask(&client, &["--to", &to, "--old", "--rounds", "20"])?;
            for other in [&chunked, &old] {
                for (what, count) in &other.responses {
                    *asked.responses.entry(what.clone()).or_default() += count;
                }
            }
            assert_eq!(asked.total(), 4 * 140 + 35 + 20);
            let said = serving.report()?;
            for (what, count) in &asked.responses {
                let earlier = before.responses.get(what).copied().unwrap_or(0);
                assert_eq!(said.responses[what], earlier + count, "{what}");
            }
            assert_eq!(said.total() - before.total(), asked.total());
            assert_eq!(said.connections - before.connections, 8 + 1 + 20);
            let bodies = (4 * 2 * 70 / 7 * 2 + 10) * 50_000;
            assert_eq!(said.received - before.received, bodies);
        }
    }
    Ok(())
}

#[test]
fn nginx_logs_what_wrk_asks() -> Result<()> {
    let (_world, client, server, link) = pair()?;
    let web = Web::start(&server, &["0.0.0.0:80"], &[("page", 3000)])?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/mixed.lua");
    let url = format!("http://{}", link.b.at4(80));
    let said = run(client.command("wrk").args(["-c", "40", "-t", "2", "-d", "5", "-s", script, &url]))?;
    let asked = said.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse::<u64>().ok());
    let asked = asked.with_context(|| said.clone())?;
    let counts: Counts = web.counts(80, 1000)?;
    assert_eq!(counts.values().sum::<u64>(), asked, "{counts:?}");
    for what in [
        ("GET", 200),
        ("GET", 304),
        ("HEAD", 304),
        ("DELETE", 202),
        ("POST", 201),
        ("other", 207),
        ("other", 418),
    ] {
        assert!(counts.get(&(what.0.to_owned(), what.1)).copied().unwrap_or(0) > 50, "{what:?}: {counts:?}");
    }
    eprintln!("{asked} requests, {} connections", web.connections(1000)?);
    // A request with a body that is told of wrongly would throw the next one out of step.
    assert!(!counts.keys().any(|(_, code)| *code == 405 || *code == 408), "{counts:?}");
    Ok(())
}
