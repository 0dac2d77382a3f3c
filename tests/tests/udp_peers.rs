// SPDX-License-Identifier: Apache-2.0
//! Who is client and who is server, for sockets of every shape.

use flowgauge_tests::prelude::*;
use flowgauge_tests::stage::expect_totals;
use flowgauge_tests::udp::{self, Sender};

/// Both observers must have seen so many datagrams from client to server and back, of 100 bytes there and 50 back.
fn expect(stage: &Stage, edge: &Edge, there: u32, back: u32) -> Result<()> {
    let (there, back) = (f64::from(there), f64::from(back));
    let sums = [
        ("udp_sent_packets_total", CLIENT, &[][..], there),
        ("udp_received_packets_total", SERVER, &[], there),
        ("udp_sent_packets_total", SERVER, &[], back),
        ("udp_received_packets_total", CLIENT, &[], back),
        ("udp_sent_bytes_total", CLIENT, &[], there * 100.0),
        ("udp_received_bytes_total", CLIENT, &[], back * 50.0),
    ];
    expect_totals(&stage.exporter, edge, &sums).map(drop)
}

#[test]
fn one_socket_with_several_peers() -> Result<()> {
    let stage = Stage::new(&[])?;
    let third = stage.world.host("third")?;
    let link = stage.world.link(&stage.client, &third)?;
    stage.rename(&[Name::of(&stage.client), Name::of(&stage.server), Name::of(&third)])?;
    let _one = udp::Server::start(&stage.server, &["--listen", "0.0.0.0:9000", "--reply", "50"])?;
    let _two = udp::Server::start(&stage.server, &["--listen", "0.0.0.0:9001", "--reply", "50"])?;
    let _three = udp::Server::start(&third, &["--listen", "0.0.0.0:9000", "--reply", "50"])?;
    let (one, two, three) = (stage.to(9000), stage.to(9001), link.b.at4(9000).to_string());
    let shape = ["--to", &one, "--to", &two, "--to", &three, "--count", "900", "--replies"];
    assert_eq!(udp::send(&stage.client, &shape)?.received_packets, 900);
    expect(&stage, &stage.edge(9000), 300, 300)?;
    expect(&stage, &stage.edge(9001), 300, 300)?;
    expect(&stage, &Edge::between(&stage.client, &third, 9000), 300, 300)
}

#[test]
fn a_client_bound_to_a_port_of_its_own() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _server = udp::Server::start(&stage.server, &["--listen", "0.0.0.0:9000", "--reply", "50"])?;
    let to = stage.to(9000);
    for own in ["0.0.0.0:7000", "0.0.0.0:40000"] {
        for way in [&["--connect"][..], &[]] {
            let shape = ["--to", &to, "--bind", own, "--count", "100", "--replies"];
            assert_eq!(udp::send(&stage.client, &[&shape[..], way].concat())?.received_packets, 100);
        }
    }
    expect(&stage, &stage.edge(9000), 400, 400)
}

#[test]
fn both_ends_on_the_same_well_known_port() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _server = udp::Server::start(&stage.server, &["--listen", "0.0.0.0:123", "--reply", "50"])?;
    // Who sends first is the client, as with NTP.
    let shape = ["--to", &stage.to(123), "--bind", "0.0.0.0:123", "--count", "100", "--replies"];
    assert_eq!(udp::send(&stage.client, &shape)?.received_packets, 100);
    expect(&stage, &stage.edge(123), 100, 100)
}

#[test]
fn a_server_with_a_socket_for_each_client() -> Result<()> {
    let stage = Stage::new(&[])?;
    let mut server =
        udp::Server::start(&stage.server, &["--listen", "0.0.0.0:443", "--per-client", "--reply", "50"])?;
    let to = stage.to(443);
    let shape = ["--to", &to, "--connect", "--sockets", "40", "--count", "2000", "--replies"];
    let (_open, report) = Sender::start(&stage.client, &shape)?;
    assert_eq!(report.received_packets, 2000, "{report:?}");
    assert_eq!(server.report()?.connected, 40);
    expect(&stage, &stage.edge(443), 2000, 2000)
}

#[test]
fn a_server_on_a_dynamic_port_is_known_by_its_socket() -> Result<()> {
    let stage = Stage::new(&["--labels.service-ports=50053"])?;
    let _server = udp::Server::start(&stage.server, &["--listen", "0.0.0.0:50053", "--reply", "50"])?;
    let shape = ["--to", &stage.to(50053), "--count", "100", "--sockets", "10", "--replies"];
    assert_eq!(udp::send(&stage.client, &shape)?.received_packets, 100);
    expect(&stage, &stage.edge(50053), 100, 100)
}

#[test]
fn a_sender_without_a_receiver_and_one_without_answers() -> Result<()> {
    let stage = Stage::new(&[])?;
    udp::send(&stage.client, &["--to", &stage.to(8125), "--count", "200"])?;
    let sums = [
        ("udp_sent_packets_total", CLIENT, &[][..], 200.0),
        ("udp_sent_bytes_total", CLIENT, &[], 20_000.0),
        ("udp_received_packets_total", CLIENT, &[], 0.0),
        ("udp_received_packets_total", SERVER, &[], 0.0),
    ];
    expect_totals(&stage.exporter, &stage.edge(8125), &sums)?;
    let _server = udp::Server::start(&stage.server, &["--listen", "0.0.0.0:8126"])?;
    udp::send(&stage.client, &["--to", &stage.to(8126), "--count", "200"])?;
    expect(&stage, &stage.edge(8126), 200, 0)
}

#[test]
fn traffic_from_before_the_start_has_the_right_server() -> Result<()> {
    let mut stage = Stage::new(&[])?;
    let _server = udp::Server::start(&stage.server, &["--listen", "0.0.0.0:9000", "--reply", "50"])?;
    let to = stage.to(9000);
    let shape =
        ["--to", &to, "--connect", "--sockets", "5", "--count", "100000", "--pause", "20000", "--replies"];
    let mut sender = flowgauge_tests::process::Process::spawn(
        "sender",
        stage.client.command(flowgauge_tests::exporter::beside_test("fg-udp")?).arg("send").args(shape),
    )?;
    std::thread::sleep(Duration::from_millis(300));
    let fresh = Exporter::start(&[&stage.names.flag()])?;
    std::mem::replace(&mut stage.exporter, fresh).stop()?;
    std::thread::sleep(Duration::from_millis(700));
    assert!(sender.is_running());
    sender.kill()?;
    let edge = stage.edge(9000);
    let metrics = stage.exporter.scrape()?;
    let sum = |metric, side| edge.total(&metrics, metric, side, &[]);
    assert!(sum("udp_sent_packets_total", CLIENT) > 100.0, "{}", metrics.describe("flowgauge_udp", &[]));
    let (sent, arrived) = (sum("udp_sent_packets_total", CLIENT), sum("udp_received_packets_total", SERVER));
    assert!((sent - arrived).abs() < 20.0, "{sent} sent, {arrived} arrived");
    // Nothing is charged the other way round.
    let (client, server) = (stage.client.workload.as_str(), stage.server.workload.as_str());
    let reverse = metrics
        .sum("flowgauge_udp_sent_packets_total", &[("client_workload", server), ("server_workload", client)]);
    assert_eq!(reverse, 0.0, "{}", metrics.describe("flowgauge_udp", &[]));
    Ok(())
}
