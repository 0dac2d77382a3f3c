// SPDX-License-Identifier: Apache-2.0
//! Loss and delay: retransmits where they are made and nowhere else, RTTs where they are and nowhere else.

use flowgauge_tests::audit::Office;
use flowgauge_tests::delay::SlowLink;
use flowgauge_tests::faults::Rule;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::{Process, run};
use flowgauge_tests::truth::{sockets, total};

/// A stage with a second client that has a link of its own to the same server.
fn with_bystander() -> Result<(Stage, Host, flowgauge_tests::netns::Link)> {
    let stage = Stage::new(&[])?;
    stage.pin();
    let bystander = stage.world.host("bystander")?;
    bystander.pin(0);
    let link = stage.world.link(&bystander, &stage.server)?;
    stage.rename(&[Name::of(&stage.client), Name::of(&stage.server), Name::of(&bystander)])?;
    Ok((stage, bystander, link))
}

fn retransmits_follow_loss(share: f64, bytes: &str, at_least: f64) -> Result<()> {
    let (stage, bystander, other_link) = with_bystander()?;
    let office = Office::new(&stage.world)?;
    let auditor = office.audit(&[&stage.client, &stage.server, &bystander])?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80", "--listen", "0.0.0.0:81"])?;
    let other_to = other_link.b.at4(81).to_string();
    let (mut open, _) =
        Client::start(&stage.client, &["--to", &stage.to(80), "--connections", "4", "--receive", bytes])?;
    let (mut other, _) = Client::start(&bystander, &["--to", &other_to, "--receive", bytes])?;
    let (edge, other_edge) = (stage.edge(80), Edge::between(&bystander, &stage.server, 81));
    let before = stage.expect(&edge, &[("connections", SERVER, 4.0), ("connections", CLIENT, 4.0)])?;
    for side in [CLIENT, SERVER] {
        assert_eq!(edge.sum(&before, "retransmitted_segments_total", side), 0.0, "retransmits without loss");
        assert_eq!(edge.sum(&before, "out_of_order_segments_total", side), 0.0, "disorder without loss");
    }

    let loss = Rule::random_loss(&stage.client, &stage.link.a.device, share)?;
    let report = open.again()?;
    other.again()?;
    assert!(report.errors.is_empty(), "{report:?}");
    let dropped = loss.hits()? as f64;
    drop(loss);
    assert!(dropped >= at_least, "only {dropped} packets were dropped");

    std::thread::sleep(Duration::from_millis(500));
    let made = Snmp::of(&stage.server)?.get("TcpRetransSegs")? as f64;
    assert!(made >= at_least, "the kernel retransmitted {made} segments after {dropped} drops");
    let received = sockets(&stage.client, &["state", "established"])?;
    let after = stage.expect(
        &edge,
        &[
            ("retransmitted_segments_total", SERVER, made),
            ("retransmitted_segments_total", CLIENT, Snmp::of(&stage.client)?.get("TcpRetransSegs")? as f64),
            ("out_of_order_segments_total", CLIENT, total(&received, "rcv_ooopack")),
            ("out_of_order_segments_total", SERVER, 0.0),
        ],
    )?;
    assert!(
        edge.sum(&after, "retransmitted_segments_total", CLIENT) <= made / 20.0,
        "the receiver retransmits too"
    );
    assert!(edge.sum(&after, "out_of_order_segments_total", CLIENT) > 0.0, "no disorder in spite of loss");
    for side in [CLIENT, SERVER] {
        assert_eq!(
            other_edge.sum(&after, "retransmitted_segments_total", side),
            0.0,
            "the other edge lost nothing"
        );
        assert_eq!(other_edge.sum(&after, "connections", side), 1.0, "the other edge is seen");
    }
    open.finish()?;
    other.finish()?;
    stage.expect(&edge, &[("retransmitted_segments_total", SERVER, made), ("connections", SERVER, 0.0)])?;
    auditor.expect(&[]).map(drop)
}

#[test]
fn one_percent_loss() -> Result<()> {
    retransmits_follow_loss(0.01, "5000000", 40.0)
}

#[test]
fn five_percent_loss() -> Result<()> {
    retransmits_follow_loss(0.05, "2000000", 60.0)
}

#[test]
fn no_loss_no_retransmits() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let report = get(
        &stage.client,
        &["--to", &stage.to(80), "--connections", "100", "--concurrency", "3", "--receive", "300000"],
    )?;
    assert!(report.errors.is_empty());
    let zero = ("connections_closed_total", SERVER, 100.0);
    let metrics = stage.expect(&stage.edge(80), &[zero, ("connections_closed_total", CLIENT, 100.0)])?;
    for (host, side) in [(&stage.client, CLIENT), (&stage.server, SERVER)] {
        assert_eq!(Snmp::of(host)?.get("TcpRetransSegs")?, 0, "the kernel retransmitted");
        for metric in ["retransmitted_segments_total", "syn_retransmits_total", "synack_retransmits_total"] {
            assert_eq!(stage.edge(80).sum(&metrics, metric, side), 0.0, "{metric} at the {side}");
        }
    }
    Ok(())
}

#[test]
fn iperf3_agrees_on_retransmits() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    let _server = Process::spawn("iperf3 -s", stage.server.command("iperf3").args(["-s", "-p", "5201"]))?;
    std::thread::sleep(Duration::from_millis(500));
    // Only full-sized packets are dropped: iperf3's own control connection, which it does not report, stays whole.
    let large =
        ["INPUT", "-p", "tcp", "-m", "length", "--length", "1400:", "-m", "statistic", "--mode", "random"];
    let rule = [&large[..], &["--probability", "0.02"]].concat();
    let loss = Rule::new(&stage.server, &rule, flowgauge_tests::faults::Verdict::Drop)?;
    let to = stage.link.b.v4.to_string();
    let result = run(stage.client.command("iperf3").args(["-c", &to, "-p", "5201", "-n", "20M", "--json"]))?;
    let result: serde_json::Value = serde_json::from_str(&result)?;
    let said =
        result["end"]["sum_sent"]["retransmits"].as_f64().context("no retransmits in iperf3's result")?;
    assert!(said > 50.0 && loss.hits()? > 50, "{said} retransmits");
    let made = Snmp::of(&stage.client)?.get("TcpRetransSegs")? as f64;
    assert!(made >= said && made <= said + 20.0, "kernel {made}, iperf3 {said}");
    stage.expect(
        &stage.edge(5201),
        &[("retransmitted_segments_total", CLIENT, made), ("connections", CLIENT, 0.0)],
    )?;
    Ok(())
}

#[test]
fn rtt_moves_where_the_delay_is() -> Result<()> {
    let (stage, bystander, other_link) = with_bystander()?;
    let far = stage.world.host("far")?;
    let slow = SlowLink::new(&stage.world, &far, &stage.server, Duration::from_millis(25))?;
    let all = [&stage.client, &stage.server, &bystander, &far].map(Name::of);
    stage.rename(&all)?;
    let _server = Server::start(&stage.server, &["--listen", "[::]:80"])?;
    let (slow_to, fast_to) = (slow.b.at4(80).to_string(), other_link.b.at4(80).to_string());
    let (slow_edge, fast_edge) =
        (Edge::between(&far, &stage.server, 80), Edge::between(&bystander, &stage.server, 80));

    let shape = ["--connections", "10", "--requests", "10", "--send", "100", "--receive", "100"];
    // Short connections, sampled when they close, and long ones, sampled at each pass in which they moved data.
    let short = ["--to", &slow_to, "--connections", "10", "--requests", "3"];
    let (mut slow_open, _) = Client::start(&far, &[&["--to", slow_to.as_str()], &shape[..]].concat())?;
    let (mut fast_open, _) = Client::start(&bystander, &[&["--to", fast_to.as_str()], &shape[..]].concat())?;
    get(&far, &short)?;
    let before = stage
        .expect(&slow_edge, &[("connections", SERVER, 10.0), ("connections_closed_total", SERVER, 10.0)])?;
    slow_open.again()?;
    fast_open.again()?;
    let after = stage.exporter.scrape()?;
    after.ensure_monotone_since(&before, false)?;
    for side in [CLIENT, SERVER] {
        let slow_rtt = slow_edge.histogram(&after, "rtt_seconds", side);
        assert!(slow_rtt.count >= 30.0, "10 at close, 10 at each of two passes: {slow_rtt:?}");
        // Not every accepted socket has measured more than its handshake, but that took as long.
        let bucket = slow_rtt.quantile_bucket(0.5).context("no RTT")?;
        assert!(bucket.0 < 0.05 && 0.05 <= bucket.1 && bucket.1 <= 0.07, "{side}: median RTT in {bucket:?}");
        assert!((0.045..0.070).contains(&slow_rtt.mean()), "{side}: mean RTT {}", slow_rtt.mean());
        let fast_rtt = fast_edge.histogram(&after, "rtt_seconds", side);
        assert!(fast_rtt.count >= 20.0, "{fast_rtt:?}");
        let bucket = fast_rtt.quantile_bucket(0.5).context("no RTT")?;
        assert!(bucket.1 <= 0.017, "{side}: the other edge's median RTT lies in {bucket:?}");
    }
    let connect = slow_edge.histogram(&after, "connect_duration_seconds", CLIENT);
    assert_eq!(connect.count, 20.0);
    assert!((0.049..0.090).contains(&connect.mean()), "handshakes took {} on average", connect.mean());
    let connect = fast_edge.histogram(&after, "connect_duration_seconds", CLIENT);
    assert_eq!(connect.count, 10.0);
    assert!(connect.mean() < 0.02, "handshakes of the other edge took {}", connect.mean());
    // Nothing moves now: no new samples.
    let quiet = stage.exporter.scrape()?;
    let again = stage.exporter.scrape()?;
    let count = |metrics| slow_edge.histogram(metrics, "rtt_seconds", CLIENT).count;
    assert_eq!(count(&quiet), count(&again), "idle connections are sampled");
    slow_open.finish()?;
    fast_open.finish()?;
    Ok(())
}
