// SPDX-License-Identifier: Apache-2.0
//! Proves the harder scenes without the exporter: limits, queues, shared listeners, socket activation, MPTCP.

use flowgauge_tests::delay::SlowLink;
use flowgauge_tests::netns::Link;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::Process;
use flowgauge_tests::traffic::{binary, run_step};
use flowgauge_tests::truth::sockets;

fn scene() -> Result<(Link, Host, Host, World)> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    Ok((world.link(&client, &server)?, client, server, world))
}

#[test]
fn ss_tells_who_holds_a_transfer_back() -> Result<()> {
    let (link, client, server, world) = scene()?;
    let slow = SlowLink::new(&world, &client, &server, Duration::from_millis(20))?;
    let _window = Server::start(&server, &["--listen", "0.0.0.0:80"])?;
    let _buffer = Server::start(&server, &["--listen", "0.0.0.0:81", "--send-buffer", "16384"])?;
    for (to, shape, limited, other) in [
        (
            link.b.at4(80),
            ["1000000", "--read-rate=1000000", "--receive-buffer=20000"],
            "rwnd_limited",
            "sndbuf_limited",
        ),
        (slow.b.at4(81), ["1000000", "--requests=1", "--gap=0"], "sndbuf_limited", "rwnd_limited"),
    ] {
        let to = to.to_string();
        let shape = [&["--to", &to, "--receive"], &shape[..]].concat();
        let (open, report) = Client::start(&client, &shape)?;
        let seen = sockets(&server, &["state", "established"])?;
        let said = seen[0].milliseconds(limited).with_context(|| format!("no {limited} in {seen:?}"))?;
        assert!(said > 300.0 * report.seconds, "{limited} {said} ms of {} s", report.seconds);
        assert!(seen[0].milliseconds(other).unwrap_or(0.0) < 100.0 * report.seconds, "{seen:?}");
        open.finish()?;
    }
    Ok(())
}

#[test]
fn a_deaf_server_overflows_its_queue() -> Result<()> {
    let (link, client, server, _world) = scene()?;
    client.sysctl("net.ipv4.tcp_syn_retries", "1")?;
    let _deaf = Server::start(&server, &["--listen", "0.0.0.0:80", "--backlog", "5", "--deaf"])?;
    let step = ["connect", "--to", &link.b.at4(80).to_string(), "--count", "30", "--keep"];
    let report = run_step(&client, &step)?;
    assert!(report.errors.get("ETIMEDOUT").is_some_and(|count| *count >= 10), "{report:?}");
    assert!(Snmp::of(&server)?.get("TcpExtListenOverflows")? > 10);
    Ok(())
}

#[test]
fn local_ports_run_out() -> Result<()> {
    let (link, client, server, _world) = scene()?;
    client.sysctl("net.ipv4.ip_local_port_range", "50000 50007")?;
    let _server = Server::start(&server, &["--listen", "0.0.0.0:80"])?;
    let step = ["connect", "--to", &link.b.at4(80).to_string(), "--count", "12", "--keep"];
    let report = run_step(&client, &step)?;
    assert_eq!((report.connected, report.errors.get("EADDRNOTAVAIL")), (8, Some(&4)), "{report:?}");
    Ok(())
}

#[test]
fn listeners_are_shared_and_handed_over() -> Result<()> {
    let (link, client, server, _world) = scene()?;
    let shared = ["--listen", "0.0.0.0:80", "--reuse-port"];
    let (mut one, mut other) = (Server::start(&server, &shared)?, Server::start(&server, &shared)?);
    let to = link.b.at4(80).to_string();
    get(&client, &["--to", &to, "--connections", "60", "--receive", "10"])?;
    let (a, b) = (one.report()?.accepted, other.report()?.accepted);
    assert!(a > 0 && b > 0 && a + b == 60, "{a} and {b}");

    let mut activate = server.command("systemd-socket-activate");
    activate.args(["-l", "0.0.0.0:81"]).arg(binary()?).args(["serve", "--activated"]);
    let _activated = Process::spawn("systemd-socket-activate", &mut activate)?;
    std::thread::sleep(Duration::from_millis(500));
    let report = get(&client, &["--to", &link.b.at4(81).to_string(), "--connections", "20"])?;
    assert_eq!(report.answered, 20, "{report:?}");
    Ok(())
}

#[test]
fn lost_handshake_acks_make_syn_ack_retransmits() -> Result<()> {
    let (link, client, server, _world) = scene()?;
    let _server = Server::start(&server, &["--listen", "0.0.0.0:80"])?;
    let ack = ["INPUT", "-p", "tcp", "--tcp-flags", "ALL", "ACK", "-m", "length", "--length", "52"];
    let rule = flowgauge_tests::faults::Rule::new(&server, &ack, flowgauge_tests::faults::Verdict::Drop)?;
    let shape = ["--to", &link.b.at4(80).to_string(), "--connections", "3", "--requests", "0"];
    let (open, _) = Client::start(&client, &shape)?;
    std::thread::sleep(Duration::from_millis(1500));
    assert!(rule.hits()? >= 3);
    let made = Snmp::of(&server)?.get("TcpRetransSegs")?;
    assert!(made >= 3, "{made} retransmits");
    open.finish()?;
    Ok(())
}

#[test]
fn mptcp_joins_a_second_subflow() -> Result<()> {
    let (link, client, server, world) = scene()?;
    let other = world.link(&client, &server)?;
    for host in [&client, &server] {
        host.sysctl("net.mptcp.enabled", "1")?;
        host.ip(&["mptcp", "limits", "set", "subflow", "2", "add_addr_accepted", "2"])?;
    }
    server.ip(&["mptcp", "endpoint", "add", &other.b.v4.to_string(), "dev", &other.b.device, "signal"])?;
    let _server = Server::start(&server, &["--listen", "0.0.0.0:80", "--mptcp"])?;
    let to = link.b.at4(80).to_string();
    let shape = ["--to", &to, "--mptcp", "--requests", "20", "--send", "300000", "--receive", "900000"];
    let report = get(&client, &shape)?;
    assert!(report.errors.is_empty() && report.answered == 20, "{report:?}");
    let truth = Snmp::of(&client)?;
    assert_eq!(truth.get("MPTcpExtMPCapableSYNACKRX")?, 1);
    assert_eq!(truth.get("MPTcpExtMPJoinSynAckRx")?, 1);
    Ok(())
}
