// SPDX-License-Identifier: Apache-2.0
//! gRPC by status, against what a real server (tonic) counts.

use std::collections::BTreeMap;

use flowgauge_tests::exporter::beside_test;
use flowgauge_tests::http::expect::lost;
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::Process;

const PATIENCE: Duration = Duration::from_secs(60);

const STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// By number of the status.
type Counts = BTreeMap<usize, u64>;

fn serve(host: &Host, port: u16) -> Result<Process> {
    let mut command = host.command(beside_test("fg-grpc")?);
    let listen = format!("0.0.0.0:{port}");
    let mut server = Process::spawn("fg-grpc serve", command.args(["serve", "--listen", &listen]))?;
    ensure!(server.line(PATIENCE)? == "ready", "the server's log:\n{}", server.log());
    Ok(server)
}

fn report(server: &mut Process) -> Result<Counts> {
    server.send("report")?;
    Ok(serde_json::from_str(&server.line(PATIENCE)?)?)
}

fn ask(host: &Host, to: &str, arguments: &[&str]) -> Result<Process> {
    let mut command = host.command(beside_test("fg-grpc")?);
    Process::spawn("fg-grpc ask", command.args(["ask", "--to", to]).args(arguments))
}

fn asked(mut client: Process) -> Result<Counts> {
    let line = client.line(PATIENCE)?;
    serde_json::from_str(&line).with_context(|| format!("{line:?}; its log:\n{}", client.log()))
}

/// gRPC responses of one view of the edge; what is 0 is left out.
fn statuses(metrics: &Metrics, edge: &Edge, observer: &str) -> BTreeMap<String, u64> {
    let mut seen = BTreeMap::new();
    for sample in metrics.select("flowgauge_grpc_responses_total", &edge.selector(observer)) {
        *seen.entry(sample.labels["grpc_status"].clone()).or_default() += sample.value as u64;
    }
    seen.retain(|_, count| *count > 0);
    seen
}

fn named(counts: &Counts) -> BTreeMap<String, u64> {
    counts.iter().map(|(status, count)| (STATUSES[*status].to_owned(), *count)).collect()
}

#[test]
fn every_status_of_unary_and_streaming_calls() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    let mut server = serve(&stage.server, 50051)?;
    let seen = asked(ask(&stage.client, &stage.to(50051), &["--rounds", "20"])?)?;
    let truth = report(&mut server)?;
    assert_eq!(truth, seen);
    assert_eq!((truth.len(), truth.values().sum::<u64>()), (17, 20 * 17 * 2));
    let (edge, all) = (stage.edge(50051), 20.0 * 17.0 * 2.0);
    let complete = |metrics: &Metrics| {
        [CLIENT, SERVER].iter().all(|side| statuses(metrics, &edge, side) == named(&truth))
    };
    let metrics = stage.exporter.wait_until(&format!("{truth:?}"), &edge.selector(CLIENT), SOON, complete)?;
    for side in [CLIENT, SERVER] {
        let ok = [("method", "POST"), ("code", "200")];
        assert_eq!(edge.total(&metrics, "http_responses_total", side, &ok), all, "{side}");
        assert_eq!(edge.total(&metrics, "http_responses_total", side, &[]), all, "{side}");
        assert_eq!(edge.total(&metrics, "http_response_duration_seconds_count", side, &[]), all, "{side}");
        assert_eq!(edge.total(&metrics, "http_requests_failed_total", side, &[]), 0.0, "{side}");
    }
    assert_eq!(lost(&metrics), 0.0, "{}", metrics.describe("flowgauge_lost", &[]));
    Ok(())
}

#[test]
fn calls_that_are_given_up() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    let mut server = serve(&stage.server, 50051)?;
    let seen = asked(ask(&stage.client, &stage.to(50051), &["--hanging", "7"])?)?;
    assert_eq!(report(&mut server)?, seen);
    let edge = stage.edge(50051);
    let failed = |metrics: &Metrics, side, reason| {
        edge.total(metrics, "http_requests_failed_total", side, &[("reason", reason)])
    };
    let complete =
        |metrics: &Metrics| [CLIENT, SERVER].iter().all(|side| failed(metrics, side, "reset") == 7.0);
    let metrics = stage.exporter.wait_until("7 resets", &edge.selector(CLIENT), SOON, complete)?;
    for side in [CLIENT, SERVER] {
        assert_eq!(edge.total(&metrics, "http_requests_failed_total", side, &[]), 7.0, "{side}");
        assert_eq!(statuses(&metrics, &edge, side), named(&seen), "{side}");
    }
    assert_eq!(lost(&metrics), 0.0, "{}", metrics.describe("flowgauge_lost", &[]));
    Ok(())
}

/// What is counted of a connection that is older than the exporter is right, what cannot be is told, and a new connection is exact.
#[test]
fn a_connection_older_than_the_exporter() -> Result<()> {
    let world = Stage::new(&["--no-collector.http"])?;
    world.pin();
    let mut server = serve(&world.server, 50051)?;
    let client = ask(&world.client, &world.to(50051), &["--rounds", "60", "--pause", "50"])?;
    std::thread::sleep(Duration::from_millis(700));
    let late = Exporter::start(&[&world.names.flag()])?;
    let seen = asked(client)?;
    let total = seen.values().sum::<u64>();
    let edge = world.edge(50051);
    // HTTP's code has an index that never changes; gRPC's statuses have those that the connection's first calls gave them.
    let responses = |metrics: &Metrics, side| {
        edge.total(metrics, "http_responses_total", side, &[("method", "POST"), ("code", "200")])
    };
    let complete =
        |metrics: &Metrics| [CLIENT, SERVER].iter().all(|side| responses(metrics, side) > total as f64 / 4.0);
    let metrics = late.wait_until("a part of the calls", &edge.selector(CLIENT), SOON, complete)?;
    assert!(metrics.sum("flowgauge_lost_events_total", &[("reason", "http2_headers_unknown")]) > 0.0);
    for side in [CLIENT, SERVER] {
        assert!(responses(&metrics, side) <= total as f64, "{side}");
        for (status, count) in statuses(&metrics, &edge, side) {
            assert!(count <= named(&seen)[&status], "{side}: {count} of {status}, {seen:?}");
        }
        let failed = edge.total(&metrics, "http_requests_failed_total", side, &[]);
        assert_eq!(failed, 0.0, "{side}: {}", metrics.describe("flowgauge_http", &edge.selector(side)));
    }
    let before = metrics;
    let more = asked(ask(&world.client, &world.to(50051), &[])?)?;
    let complete = |metrics: &Metrics| {
        [CLIENT, SERVER].iter().all(|side| {
            let (was, is) = (statuses(&before, &edge, side), statuses(metrics, &edge, side));
            let count = |of: &BTreeMap<String, u64>, status| of.get(status).copied().unwrap_or_default();
            named(&more).iter().all(|(status, more)| count(&is, status) == count(&was, status) + more)
        })
    };
    late.wait_until(&format!("{more:?} more"), &edge.selector(CLIENT), SOON, complete)?;
    drop(report(&mut server)?);
    Ok(())
}
