// SPDX-License-Identifier: Apache-2.0
//! Many connections, many sockets, many edges: nothing is lost and nothing is counted twice.

use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use flowgauge_tests::audit::{COUNTERS, Office, Said};
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::netns::Subnet;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::Process;
use flowgauge_tests::traffic::{command, run_step};

/// One at a time: each is all that two processors can do, and one compares two exporters.
static TURN: Mutex<()> = Mutex::new(());

/// Everything the exporter itself says it missed.
fn lost(metrics: &Metrics) -> f64 {
    metrics.sum("flowgauge_lost_events_total", &[])
}

/// Waits until both ends of all connections are closed, as far as that was not lost. A single scrape may come between: a
/// socket that dies after the closed ones were taken over and before the walk comes by is told by the next pass.
fn all_closed(stage: &Stage, edges: &[Edge], connections: f64, lost_before: f64) -> Result<Metrics> {
    let of = |metrics: &Metrics, metric, side| {
        edges.iter().map(|edge| edge.sum(metrics, metric, side)).sum::<f64>()
    };
    stage.exporter.wait_until("all connections closed", &[], SOON, |metrics| {
        let lost = lost(metrics) - lost_before;
        [CLIENT, SERVER].into_iter().all(|side| {
            of(metrics, "connections", side) == 0.0
                && of(metrics, "connections_closed_total", side) + lost >= connections
        })
    })
}

/// Nothing may be counted twice, and whatever is missing must have been counted as lost.
fn ensure_complete(what: &str, seen: f64, truth: f64, lost: f64) -> Result<()> {
    ensure!(
        seen <= truth && truth <= seen + lost,
        "{what}: {seen} seen of {truth}, {lost} events counted as lost"
    );
    Ok(())
}

#[test]
fn twenty_thousand_short_connections() -> Result<()> {
    let _turn = TURN.lock();
    but_for_unseen(|| {
        const CONNECTIONS: f64 = 20_000.0;
        let stage = Stage::new(&[])?;
        let office = Office::new(&stage.world)?;
        let auditor = office.audit(&[&stage.client, &stage.server])?;
        let mut server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
        let before = stage.exporter.scrape()?;
        let mut last = before.clone();
        let shape =
            ["get", "--to", &stage.to(80), "--connections", "20000", "--receive", "100", "--spread", "900"];
        let mut client = Process::spawn("client", &mut command(&stage.client, &shape))?;
        // Scrapes go on all the while: connections live and die between, during and across passes.
        while client.is_running() {
            thread::sleep(Duration::from_millis(150));
            let metrics = stage.exporter.scrape()?;
            metrics.ensure_monotone_since(&last, false)?;
            last = metrics;
        }
        let report: ClientReport = serde_json::from_str(&client.line(SOON)?)?;
        assert!(report.errors.is_empty() && report.answered == 20_000, "{report:?}");
        let served = server.report()?;
        assert_eq!((served.accepted, served.ended), (20_000, 20_000));

        let edge = stage.edge(80);
        let metrics = all_closed(&stage, std::slice::from_ref(&edge), CONNECTIONS, lost(&before))?;
        let lost = lost(&metrics) - lost(&before);
        assert!(lost <= 0.01 * CONNECTIONS, "{lost} events lost");
        for side in [CLIENT, SERVER] {
            for metric in ["connections_opened_total", "connections_closed_total"] {
                ensure_complete(
                    &format!("{metric} of the {side}"),
                    edge.sum(&metrics, metric, side),
                    CONNECTIONS,
                    lost,
                )?;
            }
            assert_eq!(edge.sum(&metrics, "connections", side), 0.0, "connections left at the {side}");
        }
        let (sent, received) = (report.sent as f64, report.received as f64);
        for (metric, side, truth) in [
            ("sent_bytes_total", CLIENT, sent),
            ("received_bytes_total", SERVER, sent),
            ("received_bytes_total", CLIENT, received),
            ("sent_bytes_total", SERVER, received),
        ] {
            ensure_complete(
                &format!("{metric} of the {side}"),
                edge.sum(&metrics, metric, side),
                truth,
                lost * 1017.0,
            )?;
        }
        // Each event that was lost may be a connection's end, with all its segments.
        let audited = auditor.scrape()?;
        let lost_there = self::lost(&audited);
        for counter in &COUNTERS[..4] {
            let said = auditor.said(&audited, counter);
            assert!(said.agrees(20.0 * (lost_there + 1.0)), "{counter}: {said:?}, {lost_there} lost");
        }
        let opened = Said::by(&audited, "tcp_connections_opened");
        assert!(opened.ratio.is_some_and(|ratio| (ratio - 1.0).abs() < 0.01), "{opened:?}");
        Ok(())
    })
}

#[test]
fn fifty_thousand_open_sockets() -> Result<()> {
    let _turn = TURN.lock();
    but_for_unseen(|| {
        const CONNECTIONS: f64 = 25_000.0;
        let stage = Stage::new(&[])?;
        let before = stage.exporter.scrape()?;
        // Both ends are on this machine. No process needs more than 13,000 descriptors.
        let mut servers = Vec::new();
        let mut clients = Vec::new();
        for port in [80, 81] {
            servers.push(Server::start(&stage.server, &["--listen", &format!("0.0.0.0:{port}")])?);
            let shape =
                ["--to", &stage.to(port), "--connections", "12500", "--receive", "200", "--spread", "50"];
            let (client, report) = Client::start(&stage.client, &shape)?;
            assert!(report.errors.is_empty() && report.answered == 12_500, "{report:?}");
            clients.push(client);
        }
        let started = Instant::now();
        let metrics = stage.exporter.scrape()?;
        let took = started.elapsed();
        let sum = |metrics: &Metrics, metric: &str, side| -> f64 {
            [80, 81].into_iter().map(|port| stage.edge(port).sum(metrics, metric, side)).sum()
        };
        assert_eq!(
            (sum(&metrics, "connections", CLIENT), sum(&metrics, "connections", SERVER)),
            (CONNECTIONS, CONNECTIONS)
        );
        // 50 ms of CPU for 100,000 sockets is the budget; debug builds and busy machines are given more.
        assert!(took < Duration::from_secs(2), "the scrape took {took:?}");

        let mut reports = Vec::new();
        for client in &mut clients {
            reports.push(client.again()?);
        }
        let truth = |count: fn(&ClientReport) -> u64| reports.iter().map(count).sum::<u64>() as f64;
        let (sent, received) = (truth(|report| report.sent), truth(|report| report.received));
        let complete = |metrics: &Metrics| sum(metrics, "received_bytes_total", SERVER) == sent;
        let metrics = stage.exporter.wait_until("what was sent", &[], SOON, complete)?;
        // Live sockets are read where they are: here nothing can be lost.
        assert_eq!(
            (sum(&metrics, "sent_bytes_total", CLIENT), sum(&metrics, "received_bytes_total", SERVER)),
            (sent, sent)
        );
        let both = (sum(&metrics, "received_bytes_total", CLIENT), sum(&metrics, "sent_bytes_total", SERVER));
        assert_eq!(both, (received, received));
        let opened = (lost(&metrics) - lost(&before), sum(&metrics, "connections_opened_total", CLIENT));
        ensure_complete("opened", opened.1, CONNECTIONS, opened.0)?;

        for client in clients {
            client.finish()?;
        }
        let metrics = all_closed(&stage, &[stage.edge(80), stage.edge(81)], CONNECTIONS, lost(&before))?;
        let lost = lost(&metrics) - lost(&before);
        assert_eq!((sum(&metrics, "connections", CLIENT), sum(&metrics, "connections", SERVER)), (0.0, 0.0));
        for side in [CLIENT, SERVER] {
            ensure_complete("closed", sum(&metrics, "connections_closed_total", side), CONNECTIONS, lost)?;
        }
        assert_eq!(
            (sum(&metrics, "sent_bytes_total", CLIENT), sum(&metrics, "received_bytes_total", CLIENT)),
            (sent, received)
        );
        Ok(())
    })
}

/// 2,000 edges against a budget of 200 series. A second exporter with room for all of them tells what else happened on
/// this machine, the scrapes themselves included.
#[test]
fn a_series_budget_keeps_totals_exact() -> Result<()> {
    let _turn = TURN.lock();
    but_for_unseen(|| {
        // Listeners take series as well, up to a quarter of them.
        const PORTS: u16 = 8;
        const ADDRESSES: u8 = 250;
        const EACH: f64 = 400_017.0;
        let stage = Stage::new(&["--series.limit=200"])?;
        let range = Subnet::next();
        stage.server.own_range(&range)?;
        stage.client.ip(&[
            "route",
            "add",
            &format!("{}/24", range.v4(0)),
            "via",
            &stage.link.b.v4.to_string(),
        ])?;
        let mut names = vec![Name::of(&stage.client), Name::of(&stage.server)];
        names
            .extend((1..=ADDRESSES).map(|host| Name::new(&format!("shard-{host}"), [range.v4(host).into()])));
        stage.rename(&names)?;
        let roomy = Exporter::start(&[&stage.names.flag(), "--series.limit=1000000"])?;
        let mut listen = Vec::new();
        let mut to = Vec::new();
        for port in 1000..1000 + PORTS {
            listen.extend(["--listen".to_owned(), format!("0.0.0.0:{port}")]);
            for host in 1..=ADDRESSES {
                to.extend(["--to".to_owned(), format!("{}:{port}", range.v4(host))]);
            }
        }
        let listen: Vec<&str> = listen.iter().map(String::as_str).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let server = Server::start(&stage.server, &listen)?;
        let client = stage.client.workload.as_str();
        let total = |metrics: &Metrics, metric: &str| {
            metrics.sum(&format!("flowgauge_tcp_{metric}"), &[("observer", CLIENT)])
        };
        let mine = |metrics: &Metrics, metric: &str| {
            let selector = [("observer", CLIENT), ("client_workload", client)];
            metrics.sum(&format!("flowgauge_tcp_{metric}"), &selector)
        };

        let all_before = roomy.scrape()?;
        let before = stage.exporter.scrape()?;
        let mut last = before.clone();
        for round in 0..2 {
            let shape = [&["--connections", "2000", "--send", "400000"], &to[..]].concat();
            let report = get(&stage.client, &shape)?;
            assert!(report.errors.is_empty() && report.answered == 2000, "round {round}: {report:?}");
            let metrics = stage.exporter.scrape()?;
            metrics.ensure_monotone_since(&last, true)?;
            last = metrics;
        }
        drop(server);
        let refused = run_step(&stage.client, &["connect", "--to", to[1], "--count", "10"])?;
        assert_eq!(refused.errors.get("ECONNREFUSED"), Some(&10));
        thread::sleep(Duration::from_secs(1));
        let after = stage.exporter.scrape()?;
        let all_after = roomy.scrape()?;

        let grown = |metric: &str| total(&after, metric) - total(&before, metric);
        let foreign = |metric: &str| {
            total(&all_after, metric) - total(&all_before, metric) - mine(&all_after, metric)
                + mine(&all_before, metric)
        };
        assert_eq!(mine(&all_after, "connections_opened_total"), 4000.0);
        assert_eq!(mine(&all_after, "sent_bytes_total"), 4000.0 * EACH);
        assert_eq!(grown("connect_failures_total") - foreign("connect_failures_total"), 10.0);
        // The scrapes themselves make a connection each and some kilobytes; one edge forgotten would be 800 of them.
        let opened = grown("connections_opened_total") - foreign("connections_opened_total");
        assert!((opened - 4000.0).abs() <= 4.0, "{opened} connections of 4000");
        let sent = grown("sent_bytes_total") - foreign("sent_bytes_total");
        assert!((sent - 4000.0 * EACH).abs() <= 200_000.0, "{sent} bytes of {}", 4000.0 * EACH);
        let series = after.samples().filter(|sample| sample.labels.contains_key("observer")).count();
        assert!(
            series <= 200,
            "{series} series of edges:\n{}",
            after.describe("flowgauge_tcp_connections_opened", &[])
        );
        assert!(after.sum("flowgauge_series", &[]) <= 200.0, "{}", after.sum("flowgauge_series", &[]));
        assert_eq!(after.sum("flowgauge_series_limit", &[]), 200.0);
        assert!(
            after.sum("flowgauge_folded_edges_total", &[]) >= 1900.0,
            "{}",
            after.describe("flowgauge_folded", &[])
        );
        Ok(())
    })
}

#[test]
fn idle_edges_leave_and_come_back_with_their_past() -> Result<()> {
    let _turn = TURN.lock();
    let stage = Stage::new(&["--series.idle-timeout=2s"])?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let shape = ["--to", &stage.to(80), "--connections", "10", "--receive", "5000"];
    let first = get(&stage.client, &shape)?;
    let edge = stage.edge(80);
    let received = "flowgauge_tcp_received_bytes_total";
    let before = stage.expect(&edge, &[("received_bytes_total", CLIENT, first.received as f64)])?;
    let selector = edge.selector(CLIENT);
    let gone = |metrics: &Metrics| metrics.select(received, &selector).count() == 0;
    let without = stage.exporter.wait_until("no idle edge", &selector, SOON, gone)?;
    without.ensure_monotone_since(&before, true)?;
    let second = get(&stage.client, &shape)?;
    let both = (first.received + second.received) as f64;
    let after = stage.expect(&edge, &[("received_bytes_total", CLIENT, both)])?;
    after.ensure_monotone_since(&before, true)
}
