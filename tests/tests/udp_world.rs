// SPDX-License-Identifier: Apache-2.0
//! Proves the UDP part of the world without the exporter.

use flowgauge_tests::netns::Link;
use flowgauge_tests::prelude::*;
use flowgauge_tests::truth::udp_drops;
use flowgauge_tests::udp::{self, Sender};

fn pair() -> Result<(World, Host, Host, Link)> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = world.link(&client, &server)?;
    client.settle6()?;
    server.settle6()?;
    Ok((world, client, server, link))
}

#[test]
fn both_ends_and_the_kernel_count_the_same_datagrams() -> Result<()> {
    let (_world, client, server, link) = pair()?;
    let mut serving = udp::Server::start(&server, &["--listen", "[::]:9000", "--reply", "300"])?;
    for (to, sent, received) in [
        (link.b.at4(9000), "UdpOutDatagrams", "UdpInDatagrams"),
        (link.b.at6(9000), "Udp6OutDatagrams", "Udp6InDatagrams"),
    ] {
        let (before, served) = (Snmp::of(&client)?, serving.report()?);
        let shape =
            ["--to", &to.to_string(), "--count", "500", "--size", "1200", "--sockets", "7", "--replies"];
        let report = udp::send(&client, &shape)?;
        assert!(report.errors.is_empty(), "{to}: {report:?} {:?}", serving.report()?);
        assert_eq!((report.sent_packets, report.sent_bytes), (500, 600_000));
        assert_eq!((report.received_packets, report.received_bytes), (500, 150_000));
        let now = serving.report()?;
        assert_eq!(now.received_packets - served.received_packets, 500);
        let after = Snmp::of(&client)?;
        assert_eq!((after.since(&before, sent)?, after.since(&before, received)?), (500.0, 500.0));
    }
    Ok(())
}

#[test]
fn batches_stay_batches_on_loopback() -> Result<()> {
    let (_world, client, ..) = pair()?;
    let mut serving = udp::Server::start(&client, &["--listen", "127.0.0.1:9000", "--gro", "1000"])?;
    let shape =
        ["--to", "127.0.0.1:9000", "--count", "50", "--size", "20500", "--gso", "1000", "--pause", "1"];
    let report = udp::send(&client, &shape)?;
    assert_eq!((report.sent_packets, report.sent_bytes), (50 * 21, 50 * 20_500), "{report:?}");
    let served = serving.report_of(50 * 21)?;
    assert_eq!((served.received_packets, served.received_bytes, served.batches), (50 * 21, 50 * 20_500, 50));
    Ok(())
}

#[test]
fn a_server_can_have_a_socket_for_each_client() -> Result<()> {
    let (_world, client, server, link) = pair()?;
    let mut serving =
        udp::Server::start(&server, &["--listen", "0.0.0.0:443", "--per-client", "--reply", "50"])?;
    let to = link.b.at4(443).to_string();
    let shape = ["--to", &to, "--connect", "--sockets", "5", "--count", "50", "--replies"];
    let (_open, report) = Sender::start(&client, &shape)?;
    assert_eq!(report.received_packets, 50, "{report:?}");
    let served = serving.report()?;
    assert_eq!((served.connected, served.received_packets, served.sent_packets), (5, 50, 50), "{served:?}");
    Ok(())
}

#[test]
fn a_full_receive_buffer_drops() -> Result<()> {
    let (_world, client, server, link) = pair()?;
    let before = Snmp::of(&server)?;
    let shape = ["--listen", "0.0.0.0:9000", "--deaf", "--receive-buffer", "20000"];
    let _serving = udp::Server::start(&server, &shape)?;
    let to = link.b.at4(9000).to_string();
    let report = udp::send(&client, &["--to", &to, "--count", "900", "--size", "1000", "--pause", "1000"])?;
    assert_eq!(report.sent_packets, 900);
    std::thread::sleep(Duration::from_millis(100));
    let dropped = udp_drops(&server, 9000)?;
    assert!((500..900).contains(&dropped), "{dropped} dropped");
    assert_eq!(Snmp::of(&server)?.since(&before, "UdpRcvbufErrors")?, dropped as f64);
    Ok(())
}
