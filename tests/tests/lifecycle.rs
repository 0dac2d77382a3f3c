// SPDX-License-Identifier: Apache-2.0
//! Exporters that start late, die, come back, run twice, or are scraped twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use flowgauge_tests::exporter;
use flowgauge_tests::metrics::{Format, Kind, Metrics};
use flowgauge_tests::prelude::*;
use flowgauge_tests::stage::expect;

/// Two hosts and their names, without an exporter.
fn scene() -> Result<(NamesFile, flowgauge_tests::netns::Link, Host, Host, World)> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = world.link(&client, &server)?;
    let names = NamesFile::new(&[Name::of(&client), Name::of(&server)])?;
    Ok((names, link, client, server, world))
}

#[test]
fn bytes_before_the_start_are_not_counted() -> Result<()> {
    let (names, link, client, server, _world) = scene()?;
    let _server = Server::start(&server, &["--listen", "0.0.0.0:80"])?;
    let to = link.b.at4(80).to_string();
    get(&client, &["--to", &to, "--connections", "20", "--receive", "1000"])?;
    let shape = ["--to", &to, "--connections", "10", "--send", "3000", "--receive", "70000"];
    let (mut open, early) = Client::start(&client, &shape)?;
    let edge = Edge::between(&client, &server, 80);
    let exporter = Exporter::start(&[&names.flag()])?;
    let nothing = [
        ("connections", CLIENT, 10.0),
        ("connections", SERVER, 10.0),
        ("sent_bytes_total", CLIENT, 0.0),
        ("received_bytes_total", CLIENT, 0.0),
        ("sent_segments_total", SERVER, 0.0),
        ("connections_opened_total", CLIENT, 0.0),
        ("connections_opened_total", SERVER, 0.0),
        ("connections_closed_total", CLIENT, 0.0),
    ];
    expect(&exporter, &edge, &nothing)?;
    let late = open.again()?;
    let (sent, received) = ((late.sent - early.sent) as f64, (late.received - early.received) as f64);
    let new = [
        ("sent_bytes_total", CLIENT, sent),
        ("received_bytes_total", CLIENT, received),
        ("sent_bytes_total", SERVER, received),
        ("received_bytes_total", SERVER, sent),
    ];
    expect(&exporter, &edge, &new)?;
    open.finish()?;
    expect(
        &exporter,
        &edge,
        &[&new[..], &[("connections_closed_total", CLIENT, 10.0), ("connections", CLIENT, 0.0)]].concat(),
    )?;
    exporter.stop()?;
    Ok(())
}

#[test]
fn killed_and_restarted() -> Result<()> {
    let (names, link, client, server, _world) = scene()?;
    let _server = Server::start(&server, &["--listen", "0.0.0.0:80"])?;
    let shape =
        ["--to", &link.b.at4(80).to_string(), "--connections", "10", "--send", "3000", "--receive", "70000"];
    let edge = Edge::between(&client, &server, 80);
    let mut exporter = Exporter::start(&[&names.flag()])?;
    let (mut open, first) = Client::start(&client, &shape)?;
    expect(&exporter, &edge, &[("sent_bytes_total", CLIENT, first.sent as f64)])?;
    exporter.process().kill()?;
    let unseen = open.again()?;
    let exporter = Exporter::start(&[&names.flag()])?;
    let seen = open.again()?;
    let sent = (seen.sent - unseen.sent) as f64;
    let received = (seen.received - unseen.received) as f64;
    let sums = [
        ("sent_bytes_total", CLIENT, sent),
        ("received_bytes_total", SERVER, sent),
        ("sent_bytes_total", SERVER, received),
        ("received_bytes_total", CLIENT, received),
        ("connections", CLIENT, 10.0),
    ];
    expect(&exporter, &edge, &sums)?;
    open.finish()?;
    expect(
        &exporter,
        &edge,
        &[("sent_bytes_total", CLIENT, sent), ("connections_closed_total", SERVER, 10.0)],
    )?;
    Ok(())
}

#[test]
fn restarted_under_load() -> Result<()> {
    let (names, link, client, server, _world) = scene()?;
    let _server = Server::start(&server, &["--listen", "0.0.0.0:80"])?;
    let to = link.b.at4(80).to_string();
    let edge = Edge::between(&client, &server, 80);
    let busy =
        ["get", "--to", &to, "--connections", "20", "--requests", "60", "--gap", "50", "--receive", "20000"];
    let mut load = flowgauge_tests::process::Process::spawn(
        "load",
        &mut flowgauge_tests::traffic::command(&client, &busy),
    )?;
    let mut last: Option<Metrics> = None;
    while load.is_running() {
        let mut exporter = Exporter::start(&[&names.flag()])?;
        let first = exporter.scrape()?;
        thread::sleep(Duration::from_millis(200));
        let second = exporter.scrape()?;
        second.ensure_monotone_since(&first, false)?;
        exporter.process().kill()?;
        last = Some(second);
    }
    let report: ClientReport = serde_json::from_str(&load.line(SOON)?)?;
    assert!(report.errors.is_empty() && report.answered == 1200, "the load was disturbed: {report:?}");
    let seen = edge.sum(&last.context("the load ended too early")?, "received_bytes_total", CLIENT);
    assert!(seen < report.received as f64 / 2.0, "{seen} bytes in 200 ms of {}", report.received);
    Ok(())
}

#[test]
fn two_scrapers_see_the_same() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let to = stage.to(80);
    let done = AtomicBool::new(false);
    let address = stage.exporter.address();
    let scrape = || Metrics::parse(&exporter::get(address, "/metrics", "text/plain")?.body, Format::Classic);
    let scraper = |interval: u64| {
        let (done, scrape) = (&done, &scrape);
        move || -> Result<(usize, Metrics)> {
            let mut last = scrape()?;
            let mut count = 1;
            while !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(interval));
                let metrics = scrape()?;
                metrics.ensure_monotone_since(&last, false)?;
                last = metrics;
                count += 1;
            }
            Ok((count, last))
        }
    };
    let (fast, slow, report) = thread::scope(|scope| -> Result<_> {
        let (fast, slow) = (scope.spawn(scraper(20)), scope.spawn(scraper(330)));
        let shape =
            ["--to", &to, "--connections", "300", "--concurrency", "10", "--requests", "10", "--gap", "5"];
        let report = get(&stage.client, &[&shape[..], &["--receive", "5000"]].concat());
        done.store(true, Ordering::Relaxed);
        let join = |thread: thread::ScopedJoinHandle<Result<(usize, Metrics)>>| {
            thread.join().map_err(|_| anyhow::anyhow!("a scraper panicked"))?
        };
        Ok((join(fast)?, join(slow)?, report?))
    })?;
    assert!(fast.0 > 2 * slow.0 && slow.0 >= 3, "{} and {} scrapes", fast.0, slow.0);
    let received = report.received as f64;
    let metrics = stage.expect(&stage.edge(80), &[("received_bytes_total", CLIENT, received)])?;
    let count = |metrics: &Metrics| stage.edge(80).histogram(metrics, "rtt_seconds", CLIENT).count;
    metrics.ensure_monotone_since(&fast.1, false)?;
    metrics.ensure_monotone_since(&slow.1, false)?;
    assert!(count(&metrics) >= 300.0, "every connection gives an RTT at its close");
    assert_eq!(stage.edge(80).sum(&scrape()?, "received_bytes_total", CLIENT), received);
    Ok(())
}

#[test]
fn two_exporters_on_one_host() -> Result<()> {
    let stage = Stage::new(&[])?;
    let second = Exporter::start(&[&stage.names.flag()])?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let shape = ["--to", &stage.to(80), "--connections", "200", "--receive", "3000", "--spread", "100"];
    let report = get(&stage.client, &shape)?;
    let sums = [
        ("received_bytes_total", CLIENT, report.received as f64),
        ("connections_closed_total", SERVER, 200.0),
    ];
    stage.expect(&stage.edge(80), &sums)?;
    expect(&second, &stage.edge(80), &sums)?;
    second.stop()?;
    let more = get(&stage.client, &shape)?;
    let received = (report.received + more.received) as f64;
    stage.expect(
        &stage.edge(80),
        &[("received_bytes_total", CLIENT, received), ("connections_closed_total", SERVER, 400.0)],
    )?;
    Ok(())
}

#[test]
fn both_formats_say_the_same() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let report = get(&stage.client, &["--to", &stage.to(80), "--connections", "5", "--receive", "3000"])?;
    stage.expect(&stage.edge(80), &[("received_bytes_total", CLIENT, report.received as f64)])?;
    let classic = stage.exporter.scrape_as(Format::Classic)?;
    let open = stage.exporter.scrape_as(Format::OpenMetrics)?;
    for metrics in [&classic, &open] {
        assert_eq!(stage.edge(80).sum(metrics, "received_bytes_total", CLIENT), report.received as f64);
        assert_eq!(stage.edge(80).histogram(metrics, "rtt_seconds", CLIENT).count, 5.0);
    }
    let names = |metrics: &Metrics| -> Vec<String> {
        let name = |(name, family): (&str, &flowgauge_tests::metrics::Family)| match family.kind {
            Kind::Counter => name.strip_suffix("_total").unwrap_or(name).to_owned(),
            Kind::Info => format!("{name}_info"),
            _ => name.to_owned(),
        };
        metrics.families().map(name).collect()
    };
    let (mut a, mut b) = (names(&classic), names(&open));
    a.sort();
    b.sort();
    assert_eq!(a, b, "families of both formats");
    Ok(())
}
