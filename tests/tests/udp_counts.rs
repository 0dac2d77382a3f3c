// SPDX-License-Identifier: Apache-2.0
//! Datagrams to the last one and bytes to the byte, against iperf3's result, the kernel's SNMP counters and the programs'
//! own counts.

use flowgauge_tests::audit::Office;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::{Process, run};
use flowgauge_tests::stage::{Wanted, expect_totals};
use flowgauge_tests::udp;

/// What both observers must see when nothing is lost: (packets, bytes) from the client to the server, and back.
fn expect(exporter: &Exporter, edge: &Edge, there: (u64, u64), back: (u64, u64)) -> Result<()> {
    expect_ways(exporter, edge, [there, back], [there, back])
}

/// The same with what was sent, and what arrived, by the client and by the server as first senders.
fn expect_ways(
    exporter: &Exporter,
    edge: &Edge,
    sent: [(u64, u64); 2],
    arrived: [(u64, u64); 2],
) -> Result<()> {
    let ways = [
        ("sent", CLIENT, sent[0]),
        ("received", SERVER, arrived[0]),
        ("sent", SERVER, sent[1]),
        ("received", CLIENT, arrived[1]),
    ];
    let mut names = Vec::new();
    for (way, side, (packets, bytes)) in ways {
        names.push((format!("udp_{way}_packets_total"), side, packets as f64));
        names.push((format!("udp_{way}_bytes_total"), side, bytes as f64));
    }
    let sums: Vec<Wanted> =
        names.iter().map(|(name, side, sum)| (name.as_str(), *side, &[][..], *sum)).collect();
    expect_totals(exporter, edge, &sums).map(drop)
}

/// iperf3's own datagrams besides the payload it reports: each stream begins with 4 bytes there and 4 bytes back.
const HELLO: u64 = 4;

#[test]
fn iperf3_both_ways() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _server = Process::spawn("iperf3 -s", stage.server.command("iperf3").args(["-s", "-p", "5201"]))?;
    std::thread::sleep(Duration::from_millis(500));
    let to = stage.link.b.v4.to_string();
    let hosts = [&stage.client, &stage.server];
    // By sender: the client, the server.
    let (mut sent, mut arrived) = ([(0, 0); 2], [(0, 0); 2]);
    for sender in [0, 1] {
        let receiver = 1 - sender;
        let before = [Snmp::of(&stage.client)?, Snmp::of(&stage.server)?];
        let arguments =
            ["-c", &to, "-p", "5201", "-u", "-b", "100M", "-l", "1400", "-n", "20M", "-P", "2", "--json"];
        let way = if sender == 1 { &["-R"][..] } else { &[] };
        let said = run(stage.client.command("iperf3").args(arguments).args(way))?;
        let said: serde_json::Value = serde_json::from_str(&said)?;
        let sum =
            |field: &str| said["end"]["sum"][field].as_u64().with_context(|| format!("no {field}: {said}"));
        let packets = sum("packets")?;
        assert!(packets > 14_000 && sum("lost_packets")? == 0, "{said}");
        let grown = |host: usize, name| Snmp::of(hosts[host])?.since(&before[host], name);
        assert_eq!(grown(sender, "UdpOutDatagrams")?, (packets + 2) as f64);
        assert_eq!(grown(sender, "UdpInDatagrams")?, 2.0);
        assert_eq!(grown(receiver, "UdpOutDatagrams")?, 2.0);
        // The receiver closes its sockets when the sender says, over TCP, that it is done: what is still under way meets no
        // socket, and what is in the buffer is never read.
        let late = grown(receiver, "UdpNoPorts")? as u64;
        let in_time = packets - late;
        let read = grown(receiver, "UdpInDatagrams")? as u64;
        assert!(read <= in_time + 2 && read + 100 > in_time, "{read} read of {in_time}");
        assert_eq!(grown(receiver, "UdpRcvbufErrors")?, 0.0, "no room at the receiver");
        let add = |way: &mut (u64, u64), packets: u64| {
            *way = (way.0 + packets + 2, way.1 + packets * 1400 + 2 * HELLO);
        };
        add(&mut sent[sender], packets);
        add(&mut arrived[sender], in_time);
        add(&mut sent[receiver], 0);
        add(&mut arrived[receiver], 0);
        expect_ways(&stage.exporter, &stage.edge(5201), sent, arrived)
            .with_context(|| format!("sent by the {}", [CLIENT, SERVER][sender]))?;
    }
    Ok(())
}

#[test]
fn requests_and_replies_of_both_families() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.client.settle6()?;
    stage.server.settle6()?;
    let office = Office::new(&stage.world)?;
    let auditor = office.audit(&[&stage.client, &stage.server])?;
    for (port, listen, to) in [
        (9000, "0.0.0.0:9000", stage.to(9000)),
        (9001, "[::]:9001", stage.to(9001)),
        (9002, "[::]:9002", stage.to6(9002)),
    ] {
        let mut serving = udp::Server::start(&stage.server, &["--listen", listen, "--reply", "333"])?;
        for way in [&["--connect"][..], &[]] {
            let shape = ["--to", &to, "--count", "500", "--size", "77", "--sockets", "9", "--replies"];
            let report = udp::send(&stage.client, &[&shape[..], way].concat())?;
            assert_eq!((report.sent_packets, report.received_packets), (500, 500), "{to}: {report:?}");
        }
        // A datagram may be empty, and it may be larger than a packet: fragments are one datagram.
        for size in ["0", "1", "1472", "9000"] {
            udp::send(&stage.client, &["--to", &to, "--size", size, "--replies"])?;
        }
        let served = serving.report_of(1004)?;
        assert_eq!((served.received_packets, served.received_bytes), (1004, 77_000 + 1 + 1472 + 9000));
        let there = (served.received_packets, served.received_bytes);
        expect(&stage.exporter, &stage.edge(port), there, (1004, 1004 * 333))
            .with_context(|| listen.to_owned())?;
    }
    auditor.expect(&[]).map(drop)
}

#[test]
fn datagrams_of_a_batch_are_counted_one_by_one() -> Result<()> {
    let stage = Stage::new(&[])?;
    // The sender's kernel cuts them before the link.
    let mut serving = udp::Server::start(&stage.server, &["--listen", "0.0.0.0:9000"])?;
    let to = stage.to(9000);
    let shape = ["--count", "100", "--size", "20500", "--gso", "1000", "--pause", "2000"];
    let batch = (2_100, 2_050_000);
    let report = udp::send(&stage.client, &[&["--to", &to], &shape[..]].concat())?;
    assert_eq!((report.sent_packets, report.sent_bytes), batch, "{report:?}");
    assert_eq!(serving.report_of(batch.0)?.received_packets, batch.0);
    expect(&stage.exporter, &stage.edge(9000), batch, (0, 0)).context("cut before the link")?;
    // They stay together on the way, and are cut for a receiver that cannot take them together.
    for (host, device) in [(&stage.client, &stage.link.a.device), (&stage.server, &stage.link.b.device)] {
        let offloads = ["gso", "on", "tx-udp-segmentation", "on", "gro", "on", "rx-udp-gro-forwarding", "on"];
        run(host.command("ethtool").args(["-K", device]).args(offloads))?;
    }
    let mut serving = udp::Server::start(&stage.server, &["--listen", "0.0.0.0:9001"])?;
    let to = stage.to(9001);
    udp::send(&stage.client, &[&["--to", &to], &shape[..]].concat())?;
    assert_eq!(serving.report_of(batch.0)?.received_packets, batch.0);
    expect(&stage.exporter, &stage.edge(9001), batch, (0, 0)).context("cut by the receiver's kernel")?;
    // Together all the way.
    let mut serving = udp::Server::start(&stage.server, &["--listen", "0.0.0.0:9002", "--gro", "1000"])?;
    let to = stage.to(9002);
    udp::send(&stage.client, &[&["--to", &to], &shape[..]].concat())?;
    let served = serving.report_of(batch.0)?;
    assert_eq!((served.received_packets, served.received_bytes), batch);
    assert!(served.batches >= 100, "{served:?}");
    expect(&stage.exporter, &stage.edge(9002), batch, (0, 0)).context("put together at the receiver")
}

#[test]
fn loopback() -> Result<()> {
    let stage = Stage::new(&[])?;
    let mut serving = udp::Server::start(
        &stage.server,
        &["--listen", "127.0.0.1:9000", "--listen", "[::1]:9000", "--reply", "10"],
    )?;
    for to in ["127.0.0.1:9000", "[::1]:9000"] {
        let shape = ["--to", to, "--count", "300", "--size", "40", "--replies"];
        assert_eq!(udp::send(&stage.server, &shape)?.received_packets, 300);
    }
    assert_eq!(serving.report()?.received_packets, 600);
    let edge = Edge::between(&stage.server, &stage.server, 9000);
    expect(&stage.exporter, &edge, (600, 24_000), (600, 6_000))
}
