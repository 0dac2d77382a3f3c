// SPDX-License-Identifier: Apache-2.0
//! `--dns.ports`, multicast DNS, and collectors that are switched off.

use flowgauge_tests::dns::client::ask;
use flowgauge_tests::dns::scripted::Scripted;
use flowgauge_tests::prelude::*;
use flowgauge_tests::stage::expect_totals;

/// Asks on each port, from the same port where the clients of mDNS do, and checks which are DNS.
fn expect_dns_on(stage: &Stage, ports: &[(u16, bool)]) -> Result<()> {
    let addresses: Vec<_> = ports.iter().map(|(port, _)| stage.to(*port)).collect();
    let _scripted = Scripted::start(&stage.server, &addresses)?;
    for (port, is_dns) in ports {
        let own = if *port == 53 { "0".to_owned() } else { port.to_string() };
        let shape = ["--to", &stage.to(*port), "--name", "rcode3.q{}.local", "--count", "50", "--bind", &own];
        let report = ask(&stage.client, &shape)?;
        assert_eq!(report.answered(), 50, "{report:?}");
        let dns = if *is_dns { 50.0 } else { 0.0 };
        for side in [CLIENT, SERVER] {
            let sums = [
                ("udp_sent_packets_total", side, &[][..], 50.0),
                ("udp_received_packets_total", side, &[], 50.0),
                ("dns_queries_total", side, &[], dns),
                ("dns_responses_total", side, &[("rcode", "NXDOMAIN")], dns),
            ];
            expect_totals(&stage.exporter, &stage.edge(*port), &sums)
                .with_context(|| format!("port {port}"))?;
        }
    }
    Ok(())
}

#[test]
fn only_port_53_by_itself() -> Result<()> {
    expect_dns_on(&Stage::new(&[])?, &[(53, true), (5353, false), (5300, false)])
}

#[test]
fn the_ports_that_are_asked_for() -> Result<()> {
    expect_dns_on(&Stage::new(&["--dns.ports=53,5353"])?, &[(53, true), (5353, true), (5300, false)])
}

#[test]
fn multicast_queries_are_counted() -> Result<()> {
    let stage = Stage::new(&["--dns.ports=53,5353", "--dns.timeout=300ms"])?;
    stage.client.ip(&["route", "add", "224.0.0.0/24", "dev", &stage.link.a.device])?;
    let group = ["--to", "224.0.0.251:5353", "--unconnected", "--bind", "5353", "--patience", "100"];
    let shape = ["--name", "printer{}.local", "--types", "PTR", "--count", "10", "--outstanding", "10"];
    assert_eq!(ask(&stage.client, &[&group[..], &shape].concat())?.unanswered, 10);
    let client = [
        ("observer", CLIENT),
        ("client_workload", stage.client.workload.as_str()),
        ("server_port", "5353"),
        ("qtype", "PTR"),
    ];
    stage.exporter.wait_for("flowgauge_dns_queries_total", &client, 10.0, SOON)?;
    // Whoever has nothing to say says nothing (RFC 6762, 6): silence is no fault.
    std::thread::sleep(Duration::from_millis(800));
    stage.exporter.wait_for("flowgauge_dns_timeouts_total", &client[..3], 0.0, SOON)?;
    Ok(())
}

#[test]
fn each_collector_can_be_switched_off() -> Result<()> {
    for (flag, udp, dns) in [("--no-collector.udp", 0.0, 50.0), ("--no-collector.dns", 50.0, 0.0)] {
        let stage = Stage::new(&[flag])?;
        let _scripted = Scripted::start(&stage.server, &[stage.to(53)])?;
        let to = stage.to(53);
        for way in [&[][..], &["--tcp"]] {
            let shape = ["--to", &to, "--name", "q{}.example.com", "--count", "50"];
            assert_eq!(ask(&stage.client, &[&shape[..], way].concat())?.answered(), 50);
        }
        for side in [CLIENT, SERVER] {
            let sums = [
                ("udp_sent_packets_total", side, &[][..], udp),
                ("dns_queries_total", side, &[], dns * 2.0),
                ("dns_tcp_queries_total", side, &[], dns),
                ("tcp_connections_opened_total", side, &[], 1.0),
            ];
            expect_totals(&stage.exporter, &stage.edge(53), &sums).context(flag)?;
        }
    }
    Ok(())
}
