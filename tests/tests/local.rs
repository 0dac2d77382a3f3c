// SPDX-License-Identifier: Apache-2.0
//! Connections whose two ends are on the same host: counted once at each end, under the same names.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use flowgauge_tests::disguise::Disguise;
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::Process;
use flowgauge_tests::stage::expect;

/// The labels of all edges to a port as one observer has them, the observer apart.
fn labels(metrics: &Metrics, observer: &str, port: &str) -> BTreeSet<BTreeMap<String, String>> {
    let selector = [("observer", observer), ("server_port", port)];
    let samples = metrics.select("flowgauge_tcp_connections_opened_total", &selector);
    let labels = samples.map(|sample| sample.labels.clone());
    labels
        .map(|mut labels| {
            labels.remove("observer");
            labels
        })
        .collect()
}

/// One long-lived connection and many short ones of one program to another: 20,000 with scrapes in between, and then
/// 40,000 without, so that whatever is remembered of connections may long have forgotten the first.
fn a_long_connection_beside_short_ones(host: &Host, [shop, store]: [&str; 2]) -> Result<()> {
    const SHORT: f64 = 60_000.0;
    host.sysctl("net.ipv4.ip_local_port_range", "10000 65535")?;
    let exporter = Exporter::start(&[])?;
    let disguise = Disguise::new()?;
    let mut server = disguise.serve("warehouse", host, &["--listen", "127.0.0.1:7020"])?;
    let program = disguise.named("shopfront")?;
    let to = ["get", "--to", "127.0.0.1:7020", "--receive", "700"];
    let mut long = host.command(&program);
    let (mut long, _) =
        Client::adopt(Process::spawn("long", long.args(to).args(["--pause", "--send", "5000"]))?)?;
    let edge = Edge::named(shop, store, "7020");
    let mut last = expect(&exporter, &edge, &[("connections", CLIENT, 1.0), ("connections", SERVER, 1.0)])?;
    let lost = |metrics: &Metrics| metrics.sum("flowgauge_lost_events_total", &[]);
    let lost_before = lost(&last);

    let mut short = host.command(&program);
    let mut short = Process::spawn(
        "short",
        short.args(to).args(["--connections", "20000", "--spread", "300", "--send", "40"]),
    )?;
    let mut scrapes = 0;
    while short.is_running() {
        long.again()?;
        thread::sleep(Duration::from_millis(150));
        let metrics = exporter.scrape()?;
        metrics.ensure_monotone_since(&last, false)?;
        assert_eq!(labels(&metrics, SERVER, "7020"), labels(&metrics, CLIENT, "7020"), "while running");
        let opened = edge.sum(&metrics, "connections_opened_total", SERVER);
        assert!(opened <= SHORT + 1.0, "{opened} opened");
        last = metrics;
        scrapes += 1;
    }
    assert!(scrapes >= 5, "only {scrapes} scrapes while connections came and went");
    let report: ClientReport = serde_json::from_str(&short.line(SOON)?)?;
    assert!(report.errors.is_empty() && report.answered == 20_000, "{report:?}");
    let report = disguise.get("shopfront", host, &[&to[1..], &["--connections", "40000"]].concat())?;
    assert!(report.errors.is_empty() && report.answered == 40_000, "{report:?}");
    thread::sleep(Duration::from_secs(1));
    let served = server.report()?;
    assert_eq!((served.accepted, served.ended), (60_001, 60_000), "{served:?}");
    let metrics = exporter.scrape()?;
    let missed = lost(&metrics) - lost_before;
    assert!(missed <= 0.01 * SHORT, "{missed} events lost");
    // Nothing twice, and what is missing was counted as lost: usually nothing.
    let exact = |metrics: &Metrics, live: f64| -> Result<()> {
        for (metric, truth, each) in [
            ("connections_opened_total", SHORT + 1.0, 1.0),
            ("connections_closed_total", SHORT + 1.0 - live, 1.0),
            ("sent_bytes_total", served.sent as f64, 1000.0),
            ("received_bytes_total", served.received as f64, 357.0),
        ] {
            let seen = edge.sum(metrics, metric, SERVER);
            ensure!(
                seen <= truth && truth <= seen + missed * each,
                "{metric}: {seen} seen of {truth}, {missed} events lost\n{}",
                metrics.describe("flowgauge_tcp", &[("server_port", "7020")])
            );
        }
        assert_eq!(edge.sum(metrics, "connections", SERVER), live);
        assert_eq!(edge.sum(metrics, "connections", CLIENT), live);
        Ok(())
    };
    exact(&metrics, 1.0)?;
    assert_eq!(labels(&metrics, SERVER, "7020"), labels(&metrics, CLIENT, "7020"));
    assert_eq!(labels(&metrics, SERVER, "7020").len(), 1, "one edge: {:?}", labels(&metrics, SERVER, "7020"));
    long.finish()?;
    thread::sleep(Duration::from_millis(500));
    exact(&exporter.scrape()?, 0.0)
}

#[test]
fn named_by_cgroup() -> Result<()> {
    let world = World::new()?;
    let host = world.host("both")?;
    a_long_connection_beside_short_ones(&host, [&host.workload, &host.workload])
}

#[test]
fn named_by_process() -> Result<()> {
    let world = World::new()?;
    let host = world.host_without_cgroup("both")?;
    a_long_connection_beside_short_ones(&host, ["shopfront", "warehouse"])
}
