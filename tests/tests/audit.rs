// SPDX-License-Identifier: Apache-2.0
//! The audit: flowgauge's totals are the kernel's, whatever the traffic; and they are not where something is missed.

use flowgauge_tests::audit::{COUNTERS, Office, Said};
use flowgauge_tests::faults::{Rule, Verdict};
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::run;
use flowgauge_tests::traffic::run_step;
use flowgauge_tests::udp;

/// A client, a server and their link.
struct Scene {
    office: Office,
    link: flowgauge_tests::netns::Link,
    client: Host,
    server: Host,
    _world: World,
}

impl Scene {
    fn new() -> Result<Self> {
        let world = World::new()?;
        let (client, server) = (world.host("client")?, world.host("server")?);
        let link = world.link(&client, &server)?;
        client.settle6()?;
        server.settle6()?;
        let office = Office::new(&world)?;
        Ok(Scene { office, link, client, server, _world: world })
    }

    fn to(&self, port: u16) -> String {
        self.link.b.at4(port).to_string()
    }

    fn to6(&self, port: u16) -> String {
        self.link.b.at6(port).to_string()
    }

    fn both(&self) -> [&Host; 2] {
        [&self.client, &self.server]
    }
}

/// The ratio, and that it is 1: at most a scrape is on one side only, 2 connections of some hundred.
fn is_one(metrics: &Metrics, counter: &str) -> Result<f64> {
    let said = Said::by(metrics, counter);
    let ratio = said.ratio.with_context(|| format!("no ratio of {counter}"))?;
    ensure!((ratio - 1.0).abs() < 0.01, "{counter}: {said:?}");
    Ok(ratio)
}

#[test]
fn connections_that_open_talk_and_end_in_order() -> Result<()> {
    but_for_unseen(|| {
        let scene = Scene::new()?;
        let _server = Server::start(&scene.server, &["--listen", "[::]:80"])?;
        // Older than the audit: what they counted before is nobody's, and what they count from now on is both sides'.
        let (to, to6) = (scene.to(80), scene.to6(80));
        let old = ["--to", &to, "--to", &to6, "--connections", "20", "--send", "3000", "--receive", "200000"];
        let (mut old, _) = Client::start(&scene.client, &old)?;
        let auditor = scene.office.audit(&scene.both())?;
        old.again()?;
        auditor.expect(&[]).context("connections that are older than the audit")?;
        for close in ["fin", "server", "half"] {
            for to in [&to, &to6] {
                let shape = ["--connections", "100", "--requests", "3", "--send", "100", "--receive", "9000"];
                let report = get(&scene.client, &[&["--to", to, "--close", close], &shape[..]].concat())?;
                assert!(report.errors.is_empty(), "{report:?}");
                auditor.expect(&[]).with_context(|| format!("closed by {close}, {to}"))?;
            }
        }
        old.finish()?;
        let metrics = auditor.expect(&[])?;
        for counter in ["tcp_sent_segments", "tcp_received_segments", "tcp_connections_opened"] {
            is_one(&metrics, counter)?;
        }
        // Too little happened to tell of these.
        for counter in ["tcp_retransmitted_segments", "udp_sent_packets", "udp_received_packets"] {
            assert_eq!(Said::by(&metrics, counter).ratio, None, "{counter}");
        }
        Ok(())
    })
}

#[test]
fn loss_resets_and_failures() -> Result<()> {
    but_for_unseen(|| {
        let scene = Scene::new()?;
        let _server = Server::start(&scene.server, &["--listen", "[::]:80"])?;
        let auditor = scene.office.audit(&scene.both())?;
        let loss = [
            Rule::random_loss(&scene.client, &scene.link.a.device, 0.03)?,
            Rule::random_loss(&scene.server, &scene.link.b.device, 0.03)?,
        ];
        let shape = ["--connections", "40", "--concurrency", "20", "--requests", "4", "--receive", "300000"];
        let report = get(&scene.client, &[&["--to", &scene.to(80)], &shape[..]].concat())?;
        assert!(report.answered > 100, "{report:?}");
        drop(loss);
        // Of SYNs and SYN-ACKs that came twice, and of segments sent again after the other end is in TIME-WAIT or gone, no
        // connection knows.
        let few = [("tcp_sent_segments", 20.0), ("tcp_received_segments", 20.0)];
        let metrics = auditor.expect(&few).context("loss")?;
        let resent = auditor.said(&metrics, "tcp_retransmitted_segments");
        assert!(resent.ratio == Some(1.0) && resent.expected > 100.0, "{resent:?}");
        for counter in ["tcp_sent_segments", "tcp_received_segments"] {
            is_one(&metrics, counter)?;
        }
        for close in ["reset", "server-reset"] {
            let shape = ["--connections", "200", "--receive", "100000", "--close", close];
            get(&scene.client, &[&["--to", &scene.to(80)], &shape[..]].concat())?;
        }
        // What was under way when the connection was reset meets no socket: a reset answers it, or nothing does.
        let many = [("tcp_sent_segments", 40.0), ("tcp_received_segments", 40.0)];
        auditor.expect(&many).context("resets")?;
        // Nobody listens; somebody refuses; nobody answers.
        let refused = run_step(&scene.client, &["connect", "--to", &scene.to(81), "--count", "100"])?;
        assert_eq!(refused.errors.get("ECONNREFUSED"), Some(&100));
        scene.client.sysctl("net.ipv4.tcp_syn_retries", "1")?;
        let silence = Rule::new(&scene.server, &["INPUT", "-p", "tcp", "--dport", "82"], Verdict::Drop)?;
        run_step(&scene.client, &["connect", "--to", &scene.to(82), "--count", "20"])?;
        drop(silence);
        auditor.expect(&many).context("failures")?;
        Ok(())
    })
}

#[test]
fn handshakes_that_lose_their_segments() -> Result<()> {
    but_for_unseen(|| {
        let scene = Scene::new()?;
        let _server = Server::start(&scene.server, &["--listen", "0.0.0.0:80"])?;
        let auditor = scene.office.audit(&scene.both())?;
        // Of SYNs, SYN-ACKs and final acknowledgements, every second is lost.
        let half = ["-m", "statistic", "--mode", "nth", "--every", "2", "--packet", "0"];
        let small = ["-m", "length", "--length", ":60"];
        let rules: Vec<Rule> = [(&scene.client, "INPUT"), (&scene.server, "INPUT")]
            .into_iter()
            .map(|(host, chain)| {
                Rule::new(host, &[&[chain, "-p", "tcp"], &small[..], &half[..]].concat(), Verdict::Drop)
            })
            .collect::<Result<_>>()?;
        let report = run_step(&scene.client, &["connect", "--to", &scene.to(80), "--count", "60", "--keep"])?;
        assert!(report.connected >= 50, "{report:?}");
        drop(rules);
        // A handshake that is made twice has segments for no socket yet. How many of them come twice depends on which are lost.
        let lost = [("tcp_sent_segments", 20.0), ("tcp_received_segments", 60.0)];
        let metrics = auditor.expect(&lost)?;
        let resent = auditor.said(&metrics, "tcp_retransmitted_segments");
        let made = Snmp::of(&scene.server)?.get("TcpRetransSegs")?;
        assert!(made > 10 && resent.counted == resent.expected, "{resent:?}, the server {made}");
        Ok(())
    })
}

#[test]
fn segments_that_stay_together_on_the_way() -> Result<()> {
    but_for_unseen(|| {
        let scene = Scene::new()?;
        for (host, device) in [(&scene.client, &scene.link.a.device), (&scene.server, &scene.link.b.device)] {
            let offloads = ["tso", "on", "gso", "on", "gro", "on"];
            run(host.command("ethtool").args(["-K", device]).args(offloads))?;
        }
        let _server = Server::start(&scene.server, &["--listen", "[::]:80"])?;
        let auditor = scene.office.audit(&scene.both())?;
        for to in [scene.to(80), scene.to6(80)] {
            let shape =
                ["--connections", "20", "--requests", "3", "--send", "100000", "--receive", "1000000"];
            get(&scene.client, &[&["--to", &to], &shape[..]].concat())?;
        }
        // And within a host.
        let shape = ["--connections", "20", "--requests", "3", "--send", "100000", "--receive", "1000000"];
        get(&scene.server, &[&["--to", "127.0.0.1:80"], &shape[..]].concat())?;
        let metrics = auditor.expect(&[])?;
        let snmp = Snmp::of(&scene.client)?;
        let received = auditor.said(&metrics, "tcp_received_segments");
        assert!(received.expected > 2.0 * snmp.get("TcpInSegs")? as f64, "nothing was merged: {received:?}");
        is_one(&metrics, "tcp_received_segments")?;
        Ok(())
    })
}

#[test]
fn datagrams_alone_and_in_batches() -> Result<()> {
    let scene = Scene::new()?;
    for (host, device) in [(&scene.client, &scene.link.a.device), (&scene.server, &scene.link.b.device)] {
        let offloads = ["gso", "on", "tx-udp-segmentation", "on", "gro", "on", "rx-udp-gro-forwarding", "on"];
        run(host.command("ethtool").args(["-K", device]).args(offloads))?;
    }
    let auditor = scene.office.audit(&scene.both())?;
    let mut plain = udp::Server::start(&scene.server, &["--listen", "[::]:9000", "--reply", "50"])?;
    for to in [scene.to(9000), scene.to6(9000)] {
        for way in [&["--connect"][..], &[]] {
            let shape = ["--to", &to, "--count", "600", "--sockets", "7", "--replies"];
            udp::send(&scene.client, &[&shape[..], way].concat())?;
        }
        // Cut on the way, and put together again.
        for size in ["0", "1472", "9000"] {
            udp::send(&scene.client, &["--to", &to, "--size", size, "--replies"])?;
        }
    }
    auditor.expect(&[]).context("one by one")?;
    assert_eq!(plain.report()?.received_packets, 2406);
    let mut cut = udp::Server::start(&scene.server, &["--listen", "0.0.0.0:9004"])?;
    let shape = ["--count", "100", "--size", "20500", "--gso", "1000", "--pause", "2000"];
    udp::send(&scene.client, &[&["--to", &scene.to(9004)], &shape[..]].concat())?;
    assert_eq!(cut.report_of(2100)?.received_packets, 2100);
    // They arrive together and are cut for a socket that cannot take them so: IP's counters do not say whose they were.
    let cut = ("tcp_received_segments", 2000.0);
    auditor.expect(&[cut]).context("sent as batches")?;
    let mut together = udp::Server::start(&scene.server, &["--listen", "0.0.0.0:9001", "--gro", "1000"])?;
    udp::send(&scene.client, &[&["--to", &scene.to(9001)], &shape[..]].concat())?;
    assert!(together.report_of(2100)?.batches >= 100);
    auditor.expect(&[cut]).context("received as batches")?;
    // Nobody there; no room.
    udp::send(&scene.client, &["--to", &scene.to(9002), "--count", "300"])?;
    auditor.expect(&[cut]).context("to nobody")?;
    let small = ["--listen", "0.0.0.0:9003", "--receive-buffer", "20000"];
    let mut slow = udp::Server::start(&scene.server, &[&small[..], &["--deaf"]].concat())?;
    udp::send(&scene.client, &["--to", &scene.to(9003), "--count", "2000", "--size", "1000"])?;
    assert!(Snmp::of(&scene.server)?.get("UdpRcvbufErrors")? > 1000);
    // What waits in the buffer has arrived, and is not read: the kernel counts it when it is.
    let metrics = auditor.expect(&[cut, ("udp_received_packets", 40.0)]).context("without room")?;
    let received = auditor.said(&metrics, "udp_received_packets");
    assert!(received.counted > received.expected, "{received:?}");
    is_one(&metrics, "udp_sent_packets")?;
    drop(slow.process().kill());
    Ok(())
}

/// The audit exists for this: a table that is full, so that datagrams are missed.
#[test]
fn what_is_missed_shows() -> Result<()> {
    let scene = Scene::new()?;
    scene.client.ip(&["route", "add", "10.64.0.0/14", "via", &scene.link.b.v4.to_string()])?;
    let auditor = scene.office.audit(&scene.both())?;
    let shape = ["--to", "10.64.0.1:9000", "--spread", "130000", "--count", "130000", "--pause", "500"];
    let report = udp::send(&scene.client, &shape)?;
    assert_eq!(report.sent_packets, 130_000, "{report:?}");
    let metrics = auditor.scrape()?;
    let lost = metrics.sum("flowgauge_lost_events_total", &[("reason", "udp_flows_full")]);
    assert!(lost > 10_000.0, "{lost} lost");
    let said = auditor.said(&metrics, "udp_sent_packets");
    assert_eq!(said.expected, 130_000.0, "{said:?}");
    // What others lose on this machine meanwhile is in `lost` as well.
    let missing = said.expected - said.counted;
    assert!(missing <= lost && missing > 0.95 * lost, "what is missing is what was lost, {lost}: {said:?}");
    let ratio = said.ratio.context("no ratio")?;
    assert!(ratio < 0.95 && (ratio - (1.0 - missing / 130_000.0)).abs() < 1e-9, "{ratio}");
    Ok(())
}

#[test]
fn without_one_side_there_is_no_audit() -> Result<()> {
    let world = World::new()?;
    let server = world.host("server")?;
    let exporter = Exporter::start(&["--no-collector.node"])?;
    let metrics = exporter.scrape()?;
    assert!(metrics.families().all(|(name, _)| !name.starts_with("flowgauge_audit")));
    let exporter = Exporter::start(&["--no-collector.tcp", "--no-collector.dns", "--no-collector.http"])?;
    exporter.scrape()?;
    let metrics = exporter.scrape()?;
    for counter in COUNTERS {
        let there = metrics.select("flowgauge_audit_counted", &[("counter", counter)]).count();
        assert_eq!(there, usize::from(counter.starts_with("udp")), "{counter}");
    }
    drop(server);
    Ok(())
}
