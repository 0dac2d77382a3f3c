// SPDX-License-Identifier: Apache-2.0
//! The collector switched off, connections older than the exporter, and whose edges HTTP is counted on.

use std::collections::{BTreeMap, BTreeSet};

use flowgauge_tests::http::expect::{Seen, expect_http, lost};
use flowgauge_tests::http::load::{Serving, ask};
use flowgauge_tests::http::message::{
    LOOKALIKE, request, request_sized, request_with, response, response_with,
};
use flowgauge_tests::http::play::{Playing, Scene};
use flowgauge_tests::http::script::{Conversation, Step};
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;

fn some_requests(stage: &Stage, port: u16) -> Result<flowgauge_tests::http::load::Report> {
    let _serving = Serving::start(&stage.server, &["--listen", &format!("[::]:{port}")])?;
    ask(&stage.client, &["--to", &stage.to(port), "--connections", "3", "--requests", "5"])
}

#[test]
fn switched_off() -> Result<()> {
    let stage = Stage::new(&["--no-collector.http"])?;
    assert_eq!(some_requests(&stage, 80)?.total(), 15);
    let metrics = stage.expect(&stage.edge(80), &[("connections_closed_total", SERVER, 3.0)])?;
    let here: Vec<_> = metrics.samples().filter(|sample| sample.name.contains("_http_")).collect();
    assert!(here.is_empty(), "{here:?}");
    let up = [("collector", "http")];
    assert_eq!(metrics.sum("flowgauge_collector_up", &up), 0.0);
    Ok(())
}

#[test]
fn the_only_collector() -> Result<()> {
    let stage = Stage::new(&["--no-collector.tcp", "--no-collector.udp", "--no-collector.dns"])?;
    let asked = some_requests(&stage, 80)?;
    let metrics = expect_http(&stage.exporter, &stage.edge(80), &Seen::answered(asked.counts()?))?;
    assert_eq!(metrics.sum("flowgauge_collector_up", &[("collector", "http")]), 1.0);
    assert!(metrics.samples().all(|sample| !sample.name.starts_with("flowgauge_tcp_")));
    Ok(())
}

/// Keep-alive connections that had requests before the exporter started, whatever was under way then.
#[test]
fn connections_older_than_the_exporter() -> Result<()> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = world.link(&client, &server)?;
    let names = NamesFile::new(&[Name::of(&client), Name::of(&server)])?;
    let before = || {
        let exchange = Conversation::new().client(request("GET")).server(response(200, LOOKALIKE));
        exchange.clone().then(exchange)
    };
    let after = || {
        let mut all = Conversation::new();
        for _ in 0..10 {
            all = all.client(request_sized("POST", LOOKALIKE)).server(response(201, LOOKALIKE));
            all = all.client(request("DELETE")).server(response(404, "x"));
        }
        all
    };
    let half = "x".repeat(500);
    // What the exporter finds when it starts, and how many responses it may have besides those to whole requests.
    let situations = [
        ("idle", before().step(Step::Hold), 0),
        (
            "a request is under way",
            before().client(request("GET")).step(Step::Hold).server(response(200, "x")),
            1,
        ),
        (
            "in a response's body",
            before()
                .client(request("GET"))
                .server(response_with(200, &["Content-Length: 1000"], &half))
                .step(Step::Hold)
                .server(&half),
            0,
        ),
        (
            "in a request's body",
            before()
                .client(request_with("PUT", &["Content-Length: 1000"], &half))
                .step(Step::Hold)
                .client(&half)
                .server(response(200, "x")),
            1,
        ),
        (
            "in a request's head",
            before()
                .client("GET / HTTP/1.1\r\nHo")
                .step(Step::Hold)
                .client("st: x\r\n\r\n")
                .server(response(200, "x")),
            1,
        ),
    ];
    for (number, (name, conversation, besides)) in situations.into_iter().enumerate() {
        let port = 8000 + number as u16;
        let scene = Scene { address: link.b.at4(port), conversations: vec![conversation.then(after())] };
        let mut playing = Playing::start(&client, &server, &[scene])?;
        playing.held()?;
        let exporter = Exporter::start(&[&names.flag()])?;
        exporter.scrape()?;
        playing.go()?;
        playing.finish()?;
        let edge = Edge::between(&client, &server, port);
        let closed = [("connections_closed_total", SERVER, 1.0), ("connections_closed_total", CLIENT, 1.0)];
        flowgauge_tests::stage::expect(&exporter, &edge, &closed).context(name)?;
        std::thread::sleep(Duration::from_millis(300));
        let metrics = exporter.scrape()?;
        for side in [CLIENT, SERVER] {
            let mut seen = Seen::of(&metrics, &edge, side);
            // The request that was under way may be known by its response alone, or by what was left of it.
            let odd = seen.responses.remove(&("unknown".to_owned(), 200)).unwrap_or(0)
                + seen.responses.remove(&("other".to_owned(), 200)).unwrap_or(0);
            assert!(odd <= besides, "{name}, {side}: {odd} besides {seen:?}");
            seen.durations = seen.durations.min(20);
            let counts = [(("POST".to_owned(), 201), 10), (("DELETE".to_owned(), 404), 10)].into();
            assert_eq!(
                seen,
                Seen::answered(counts),
                "{name}, {side}\n{}",
                metrics.describe("flowgauge_lost", &[])
            );
        }
    }
    Ok(())
}

/// An exporter that starts while hundreds of requests a second are made on old connections counts those from then on.
#[test]
fn started_in_the_midst_of_traffic() -> Result<()> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = world.link(&client, &server)?;
    let names = NamesFile::new(&[Name::of(&client), Name::of(&server)])?;
    let mut serving = Serving::start(&server, &["--listen", "[::]:80"])?;
    let to = link.b.at4(80).to_string();
    let shape = ["--to", &to, "--connections", "10", "--requests", "800", "--size", "2000"];
    let mix = ["--methods", "GET,POST,HEAD", "--paths", "/200?size=3000&delay=5,/404?chunked=1&size=5000"];
    let asking = flowgauge_tests::http::load::Asking::start(&client, &[&shape[..], &mix].concat())?;
    std::thread::sleep(Duration::from_millis(700));
    let before = serving.report()?.total();
    let exporter = Exporter::start(&[&names.flag()])?;
    exporter.scrape()?;
    let at_start = serving.report()?;
    let asked = asking.finish()?;
    assert_eq!(asked.total(), 8000);
    let after = asked.total() - at_start.total();
    assert!(at_start.total() > 50 && after > 2000, "{} before, {after} after", at_start.total());
    let edge = Edge::between(&client, &server, 80);
    let closed = [("connections_closed_total", SERVER, 10.0), ("connections_closed_total", CLIENT, 10.0)];
    flowgauge_tests::stage::expect(&exporter, &edge, &closed)?;
    std::thread::sleep(Duration::from_millis(300));
    let metrics = exporter.scrape()?;
    for side in [CLIENT, SERVER] {
        let seen = Seen::of(&metrics, &edge, side);
        assert!(seen.within(&Seen::answered(asked.counts()?)), "{side}: {seen:?} of {asked:?}");
        eprintln!("{side}: {} seen, {after} answered since, {} lost", seen.total(), lost(&metrics));
        assert!(
            seen.total() <= asked.total() - before,
            "{side}: {seen:?}, {before} of {asked:?} were before"
        );
        // The programs are attached a little before the first scrape.
        assert!(
            seen.total() + 20 >= after,
            "{side}: {seen:?}, {after} answered since the exporter was there"
        );
    }
    Ok(())
}

/// Labels of the series of a family on all edges to a port of a server, without those that the family has of its own.
fn labels(metrics: &Metrics, name: &str, server: &str, port: &str) -> BTreeSet<BTreeMap<String, String>> {
    let selector = [("server_workload", server), ("server_port", port)];
    let series = metrics.select(name, &selector);
    let own = ["method", "code", "reason", "le"];
    series
        .map(|sample| {
            let labels = sample.labels.iter().filter(|(name, _)| !own.contains(&name.as_str()));
            labels.map(|(name, value)| (name.clone(), value.clone())).collect()
        })
        .collect()
}

#[test]
fn edges_are_those_of_tcp() -> Result<()> {
    let add = "--labels.add=client_process,server_process,client_container,server_container,client_region";
    for flags in [&[][..], &[add]] {
        let stage = Stage::new(flags)?;
        // A second client in the root cgroup, whose workload is the process's name.
        let visitor = stage.client.visitor()?;
        let mut serving = Serving::start(&stage.server, &["--listen", "[::]:80"])?;
        let _other = Serving::start(&stage.server, &["--listen", "127.0.0.1:81"])?;
        for host in [&stage.client, &visitor] {
            ask(host, &["--to", &stage.to(80), "--connections", "2", "--requests", "3"])?;
        }
        ask(&stage.server, &["--to", "127.0.0.1:81", "--requests", "7"])?;
        assert_eq!(serving.report()?.total(), 12);
        let server = stage.server.workload.as_str();
        let by_tcp =
            |metrics: &Metrics, port| labels(metrics, "flowgauge_tcp_connections_opened_total", server, port);
        let same = |metrics: &Metrics| {
            ["80", "81"].into_iter().all(|port| {
                let http = labels(metrics, "flowgauge_http_responses_total", server, port);
                !http.is_empty() && http == by_tcp(metrics, port)
            })
        };
        let total = |metrics: &Metrics, port, side| {
            let selector = [("server_workload", server), ("server_port", port), ("observer", side)];
            metrics.sum("flowgauge_http_responses_total", &selector)
        };
        let all = |metrics: &Metrics| {
            let at = |port, side| total(metrics, port, side);
            [at("80", CLIENT), at("80", SERVER), at("81", CLIENT), at("81", SERVER)] == [12.0, 12.0, 7.0, 7.0]
        };
        let found =
            stage.exporter.wait_until("the same edges", &[], SOON, |metrics| all(metrics) && same(metrics));
        let metrics = found.or_else(|_| stage.exporter.scrape())?;
        assert!(all(&metrics), "{}", metrics.describe("flowgauge_http", &[]));
        for port in ["80", "81"] {
            for name in [
                "flowgauge_http_responses_total",
                "flowgauge_http_response_duration_seconds_count",
                "flowgauge_http_requests_failed_total",
            ] {
                assert_eq!(
                    labels(&metrics, name, server, port),
                    by_tcp(&metrics, port),
                    "{name}, port {port}"
                );
            }
        }
        // Every edge with HTTP has all reasons.
        for labels in labels(&metrics, "flowgauge_http_responses_total", server, "80") {
            let selector: Vec<_> =
                labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let reasons = metrics.sum_by("flowgauge_http_requests_failed_total", "reason", &selector);
            let reasons: Vec<_> = reasons.keys().map(String::as_str).collect();
            assert_eq!(reasons, ["closed", "reset", "timeout"], "{labels:?}");
        }
    }
    Ok(())
}
