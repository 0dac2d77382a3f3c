// SPDX-License-Identifier: Apache-2.0
//! Transfers that are stuck on a reader that does not read, until a reset ends them.

use std::thread;
use std::time::Instant;

use flowgauge_tests::prelude::*;
use flowgauge_tests::process::Process;
use flowgauge_tests::traffic::command;

/// How long each connection is stuck.
const STUCK: Duration = Duration::from_secs(2);

/// Lets time pass, with or without scrapes.
fn wait(stage: &Stage, scrapes: bool) -> Result<()> {
    let end = Instant::now() + STUCK;
    while Instant::now() < end {
        if scrapes {
            stage.exporter.scrape()?;
        }
        thread::sleep(Duration::from_millis(400).min(end.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

/// Waits until `closed` connections of the edge are closed, and compares the seconds one side was held back.
fn compare(stage: &Stage, observer: &str, closed: f64, stuck: f64, what: &str) -> Result<()> {
    let edge = stage.edge(80);
    let metrics = stage.expect(&edge, &[("connections_closed_total", observer, closed)])?;
    let limited = |limit| edge.sum_of(&metrics, "limited_seconds_total", observer, ("limit", limit));
    let window = limited("receive_window");
    assert!((window - stuck).abs() <= 0.15 * stuck, "{what}: {window} s, stuck for {stuck} s");
    assert!(limited("send_buffer") < 0.1 * stuck, "{what}: {} s by the sender", limited("send_buffer"));
    Ok(())
}

/// The server sends to a client that reads nothing, and then closes with data unread, which resets.
fn reset_by_the_reader(scrapes: &[bool]) -> Result<()> {
    let stage = Stage::new(&[])?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let (to, mut stuck) = (stage.to(80), 0.0);
    for (round, scrapes) in scrapes.iter().enumerate() {
        let shape = ["--to", &to, "--receive", "5000000", "--close", "unread", "--receive-buffer", "20000"];
        let (open, report) = Client::start(&stage.client, &shape)?;
        assert_eq!((report.connected, report.errors.len()), (1, 0), "{report:?}");
        let start = Instant::now();
        wait(&stage, *scrapes)?;
        stuck += start.elapsed().as_secs_f64();
        open.finish()?;
        compare(&stage, SERVER, (round + 1) as f64, stuck, &format!("round {round}, scrapes: {scrapes}"))?;
    }
    assert_eq!(Snmp::of(&stage.client)?.get("TcpOutRsts")?, scrapes.len() as u64, "resets by the client");
    Ok(())
}

#[test]
fn reset_by_the_reader_between_scrapes() -> Result<()> {
    reset_by_the_reader(&[false; 3])
}

#[test]
fn reset_by_the_reader_after_scrapes() -> Result<()> {
    reset_by_the_reader(&[true, false, true])
}

/// The client sends to a server that reads next to nothing, and is then killed with data unread, which resets.
#[test]
fn the_reader_is_killed() -> Result<()> {
    let stage = Stage::new(&[])?;
    let (to, mut stuck) = (stage.to(80), 0.0);
    for (round, scrapes) in [false, true, false].into_iter().enumerate() {
        let listen = ["--listen", "0.0.0.0:80", "--read-rate", "1", "--receive-buffer", "20000"];
        let mut server = Server::start(&stage.server, &listen)?;
        let step = ["get", "--to", &to, "--send", "5000000"];
        let mut client = Process::spawn("client", &mut command(&stage.client, &step))?;
        let accepted = Instant::now() + SOON;
        while server.report()?.accepted == 0 {
            ensure!(Instant::now() < accepted, "the client does not connect: {}", client.log());
            thread::sleep(Duration::from_millis(5));
        }
        let start = Instant::now();
        wait(&stage, scrapes)?;
        stuck += start.elapsed().as_secs_f64();
        server.process().kill()?;
        let report: ClientReport = serde_json::from_str(&client.line(SOON)?)?;
        assert_eq!(report.errors.get("ECONNRESET"), Some(&1), "{report:?}");
        compare(&stage, CLIENT, (round + 1) as f64, stuck, &format!("round {round}, scrapes: {scrapes}"))?;
    }
    Ok(())
}

/// The server sends to a client that reads nothing; then `ss -K` has the server's kernel reset the connection.
#[test]
fn reset_by_the_sender() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let (to, mut stuck) = (stage.to(80), 0.0);
    for (round, scrapes) in [false, true, false].into_iter().enumerate() {
        let shape = ["--to", &to, "--receive", "5000000", "--close", "unread", "--receive-buffer", "20000"];
        let (open, _) = Client::start(&stage.client, &shape)?;
        let start = Instant::now();
        wait(&stage, scrapes)?;
        let kill = ["-K", "state", "established", "sport", "=", ":80"];
        let killed = flowgauge_tests::process::run(stage.server.command("ss").arg("-tnH").args(kill))?;
        ensure!(killed.lines().count() == 1, "ss -K ended {killed:?}: has this kernel no SOCK_DESTROY?");
        stuck += start.elapsed().as_secs_f64();
        open.finish()?;
        compare(&stage, SERVER, (round + 1) as f64, stuck, &format!("round {round}, scrapes: {scrapes}"))?;
    }
    Ok(())
}
