// SPDX-License-Identifier: Apache-2.0
//! Interfaces against `ip -s link`, with packets that are dropped and a link that goes.

use flowgauge_tests::inside::Inside;
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::run;
use flowgauge_tests::udp;
use serde_json::Value;

fn number(metrics: &Metrics, metric: &str, device: &str) -> f64 {
    metrics.sum(&format!("flowgauge_node_interface_{metric}"), &[("device", device)])
}

/// `ip -s -s link` of a device.
fn statistics(host: &Host, device: &str) -> Result<Value> {
    let text = host.ip(&["-s", "-s", "-j", "link", "show", "dev", device])?;
    let devices: Vec<Value> = serde_json::from_str(&text)?;
    Ok(devices.into_iter().next().context("no such device")?["stats64"].take())
}

fn compare(host: &Host, metrics: &Metrics, device: &str) -> Result<()> {
    let truth = statistics(host, device)?;
    let [rx, tx] = ["rx", "tx"].map(|direction| truth[direction].clone());
    let count = |of: &Value, name: &str| of[name].as_f64().unwrap_or(f64::NAN);
    for (metric, expected) in [
        ("received_bytes_total", count(&rx, "bytes")),
        ("received_packets_total", count(&rx, "packets")),
        ("received_errors_total", count(&rx, "errors")),
        ("received_drops_total", count(&rx, "dropped") + count(&rx, "missed_errors")),
        ("sent_bytes_total", count(&tx, "bytes")),
        ("sent_packets_total", count(&tx, "packets")),
        ("sent_errors_total", count(&tx, "errors")),
        ("sent_drops_total", count(&tx, "dropped")),
    ] {
        assert_eq!(number(metrics, metric, device), expected, "{metric} of {device}: {truth}");
    }
    Ok(())
}

#[test]
fn bytes_packets_and_drops_are_those_of_ip() -> Result<()> {
    let world = World::new()?;
    let (host, peer) = (world.host("host")?, world.host("peer")?);
    let link = world.link(&host, &peer)?;
    let (device, other) = (&*link.a.device, &*link.b.device);
    // Nothing but what the test sends.
    for (host, device) in [(&host, device), (&peer, other)] {
        host.ip(&["addr", "flush", "dev", device, "scope", "link"])?;
        host.ip(&["link", "set", device, "arp", "off"])?;
    }
    let [at_host, at_peer] = [Inside::start(&host, &[])?, Inside::start(&peer, &[])?];
    let to = link.b.at4(9).to_string();
    // Refused packets are answered, which the comparison allows for: both directions are compared.
    udp::send(&host, &["--to", &to, "--count", "100", "--size", "1000"])?;
    // Packets longer than the other end takes.
    peer.ip(&["link", "set", other, "mtu", "600"])?;
    udp::send(&host, &["--to", &to, "--count", "70", "--size", "1000"])?;
    std::thread::sleep(Duration::from_millis(300));
    let (a, b) = (at_host.scrape()?, at_peer.scrape()?);
    compare(&host, &a, device)?;
    compare(&peer, &b, other)?;
    assert!(number(&a, "sent_bytes_total", device) >= 100_000.0);
    assert!(number(&b, "received_packets_total", other) >= 100.0);
    assert_eq!(number(&a, "sent_drops_total", device), 70.0);
    assert_eq!(number(&b, "received_drops_total", other), 70.0);
    Ok(())
}

#[test]
fn a_link_that_goes_and_interfaces_that_are_left_out() -> Result<()> {
    let world = World::new()?;
    let (host, peer) = (world.host("host")?, world.host("peer")?);
    let link = world.link(&host, &peer)?;
    let pods = world.link(&host, &peer)?;
    let device = &*link.a.device;
    host.ip(&["link", "set", &pods.a.device, "down"])?;
    host.ip(&["link", "set", &pods.a.device, "name", "cali12ab"])?;
    let exporter = Inside::start(&host, &[])?;
    let metrics = exporter.scrape()?;
    assert_eq!(number(&metrics, "carrier", device), 1.0);
    // What the driver says of a pair of virtual interfaces: 10 Gbit/s.
    assert_eq!(number(&metrics, "speed_bytes", device), 1.25e9);
    let changes = number(&metrics, "carrier_changes_total", device);
    let bytes = metrics.sum_by("flowgauge_node_interface_sent_bytes_total", "device", &[]);
    assert_eq!(bytes.keys().map(String::as_str).collect::<Vec<_>>(), ["lo", device]);
    peer.ip(&["link", "set", &link.b.device, "down"])?;
    std::thread::sleep(Duration::from_millis(200));
    let metrics = exporter.scrape()?;
    assert_eq!(number(&metrics, "carrier", device), 0.0);
    assert_eq!(number(&metrics, "carrier_changes_total", device), changes + 1.0);
    assert_eq!(metrics.select("flowgauge_node_interface_speed_bytes", &[("device", device)]).count(), 0);
    // All of them, and none but that one.
    let all = Inside::start(&host, &["--node.interfaces-exclude="])?.scrape()?;
    assert_eq!(all.select("flowgauge_node_interface_sent_bytes_total", &[("device", "cali12ab")]).count(), 1);
    let one = Inside::start(&host, &["--node.interfaces-exclude=l*o,c*"])?.scrape()?;
    let bytes = one.sum_by("flowgauge_node_interface_sent_bytes_total", "device", &[]);
    assert_eq!(bytes.keys().map(String::as_str).collect::<Vec<_>>(), [device]);
    Ok(())
}

#[test]
fn a_queue_that_is_full() -> Result<()> {
    let world = World::new()?;
    let (host, peer) = (world.host("host")?, world.host("peer")?);
    let link = world.link(&host, &peer)?;
    let device = &*link.a.device;
    let exporter = Inside::start(&host, &[])?;
    let tc = |arguments: &[&str]| run(host.command("tc").args(arguments));
    tc(&["qdisc", "add", "dev", device, "root", "tbf", "rate", "1mbit", "burst", "2000", "limit", "20000"])?;
    let to = link.b.at4(9).to_string();
    udp::send(&host, &["--to", &to, "--count", "500", "--size", "1000"])?;
    let waiting = exporter.scrape()?;
    assert!(
        number(&waiting, "queue_backlog_bytes", device) > 5_000.0,
        "{}",
        waiting.describe("flowgauge_node_interface", &[])
    );
    std::thread::sleep(Duration::from_millis(500));
    let metrics = exporter.scrape()?;
    let queues: Vec<Value> = serde_json::from_str(&tc(&["-s", "-j", "qdisc", "show", "dev", device])?)?;
    let truth = queues.iter().find(|queue| queue["root"] == true).context("no root queue")?["drops"].as_f64();
    let drops = number(&metrics, "queue_drops_total", device);
    assert_eq!(Some(drops), truth);
    assert!(drops > 300.0, "{drops}");
    assert_eq!(number(&metrics, "sent_drops_total", device), 0.0, "not the driver's");
    // Another in its place begins at nothing; the counter does not.
    tc(&["qdisc", "replace", "dev", device, "root", "pfifo", "limit", "10"])?;
    assert_eq!(number(&exporter.scrape()?, "queue_drops_total", device), drops);
    Ok(())
}
