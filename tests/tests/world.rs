// SPDX-License-Identifier: Apache-2.0
//! Proves the world itself, without the exporter: links, delays, losses, failures and other people's counters are what
//! the other tests take them for.

use std::process::Command;

use flowgauge_tests::cgroup::Cgroup;
use flowgauge_tests::delay::SlowLink;
use flowgauge_tests::faults::{Rule, Verdict};
use flowgauge_tests::nginx::Nginx;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::{output, run};
use flowgauge_tests::traffic::run_step;
use flowgauge_tests::truth::{sockets, total};

fn is_there(name: &str) -> Result<bool> {
    let namespaces = run(Command::new("ip").args(["netns", "list"]))?;
    Ok(namespaces.contains(name) || Cgroup::root()?.join(format!("{name}.service")).exists())
}

#[test]
fn a_world_is_removed_even_after_a_panic() -> Result<()> {
    let name = std::sync::Mutex::new(String::new());
    let panicked = std::panic::catch_unwind(|| {
        let world = World::new().expect("a world");
        let host = world.host("gone").expect("a host");
        let _server = Server::start(&host, &["--listen", "0.0.0.0:80"]).expect("a server");
        *name.lock().expect("no panic yet") = host.workload.clone();
        assert!(is_there(&host.workload).expect("a list of namespaces"));
        panic!("on purpose");
    });
    assert!(panicked.is_err());
    let name = name.into_inner()?;
    assert!(name.ends_with("-gone"), "the test panicked too early");
    assert!(!is_there(&name)?, "{name} is still there");
    Ok(())
}

#[test]
fn leftovers_of_dead_processes_are_removed() -> Result<()> {
    // No process can have this id: it is above the kernel's own maximum.
    let name = "fgt-4999999-1-leftover";
    run(Command::new("ip").args(["netns", "add", name]))?;
    let path = Cgroup::root()?.join(format!("{name}.service"));
    std::fs::create_dir(&path)?;
    // The sweep runs at a process's first world only: ask a fresh process for one.
    let again = ["a_world_is_removed_even_after_a_panic", "--exact"];
    run(Command::new(std::env::current_exe()?).args(again))?;
    assert!(!is_there(name)?, "{name} is still there");
    Ok(())
}

#[test]
fn both_sides_count_the_same_bytes_over_both_families() -> Result<()> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = world.link(&client, &server)?;
    let mut serving = Server::start(&server, &["--listen", "[::]:80"])?;
    let to = [link.b.at4(80).to_string(), link.b.at6(80).to_string()];
    let shape =
        ["--connections", "40", "--requests", "5", "--send", "3000", "--receive", "7000", "--spread", "13"];
    let (mut sent, mut received) = (0, 0);
    for close in ["fin", "server", "half"] {
        let report =
            get(&client, &[&["--to", &to[0], "--to", &to[1], "--close", close], &shape[..]].concat())?;
        assert_eq!((report.connected, report.answered), (40, 200));
        assert!(report.errors.is_empty(), "{report:?}");
        sent += report.sent;
        received += report.received;
    }
    let report = serving.report()?;
    assert!(report.errors.is_empty(), "{report:?}");
    assert_eq!((report.accepted, report.ended), (120, 120));
    assert_eq!((report.received, report.sent), (sent, received));
    Ok(())
}

#[test]
fn ss_sees_what_the_client_counts() -> Result<()> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = world.link(&client, &server)?;
    let _serving = Server::start(&server, &["--listen", "[::]:80"])?;
    let to = link.b.at4(80).to_string();
    let shape = ["--to", &to, "--connections", "20", "--send", "5000", "--receive", "90000"];
    let (open, report) = Client::start(&client, &shape)?;
    std::thread::sleep(Duration::from_millis(300));
    let seen = sockets(&client, &["state", "established"])?;
    assert_eq!(seen.len(), 20, "{seen:?}");
    // ss counts the SYN as a byte sent, and nothing else besides the payload.
    assert_eq!(total(&seen, "bytes_acked"), report.sent as f64 + 20.0);
    assert_eq!(total(&seen, "bytes_received"), report.received as f64);
    assert!(seen.iter().all(|socket| socket.rtt().is_some_and(|rtt| rtt < 0.02)), "{seen:?}");
    open.finish()?;
    Ok(())
}

#[test]
fn a_slow_link_delays_by_as_much_as_asked() -> Result<()> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = SlowLink::new(&world, &client, &server, Duration::from_millis(25))?;
    let _serving = Server::start(&server, &["--listen", "[::]:80"])?;
    for to in [link.b.at4(80), link.b.at6(80)] {
        let to = to.to_string();
        let (open, _) = Client::start(&client, &["--to", &to, "--requests", "20", "--receive", "100"])?;
        let seen = sockets(&client, &["state", "established"])?;
        assert_eq!(seen.len(), 1);
        let rtt = seen[0].rtt().context("no RTT")?;
        assert!((0.049..0.065).contains(&rtt), "{to}: RTT {rtt}");
        open.finish()?;
    }
    Ok(())
}

#[test]
fn loss_makes_retransmits_on_the_senders_side_only() -> Result<()> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = world.link(&client, &server)?;
    let _serving = Server::start(&server, &["--listen", "0.0.0.0:80"])?;
    let to = link.b.at4(80).to_string();
    let (mut open, _) = Client::start(&client, &["--to", &to, "--receive", "5000000"])?;
    let (client_before, server_before) = (Snmp::of(&client)?, Snmp::of(&server)?);
    assert_eq!(server_before.get("TcpRetransSegs")?, 0, "retransmits without loss");
    let loss = Rule::random_loss(&client, &link.a.device, 0.05)?;
    let report = open.again()?;
    assert!(report.errors.is_empty(), "{report:?}");
    assert!(loss.hits()? > 50, "{} packets were dropped", loss.hits()?);
    assert!(Snmp::of(&server)?.since(&server_before, "TcpRetransSegs")? > 50.0);
    assert_eq!(Snmp::of(&client)?.since(&client_before, "TcpRetransSegs")?, 0.0);
    open.finish()?;
    Ok(())
}

#[test]
fn filters_make_connections_fail_as_named() -> Result<()> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = world.link(&client, &server)?;
    let _serving = Server::start(&server, &["--listen", "0.0.0.0:80"])?;
    client.sysctl("net.ipv4.tcp_syn_retries", "1")?;
    let to = link.b.at4(80).to_string();
    let connect = ["connect", "--to", &to];
    assert_eq!(run_step(&client, &connect)?.connected, 1);
    let closed = link.b.at4(81).to_string();
    assert_eq!(run_step(&client, &["connect", "--to", &closed])?.errors["ECONNREFUSED"], 1);
    for (verdict, error) in [
        (Verdict::Drop, "ETIMEDOUT"),
        (Verdict::TcpReset, "ECONNREFUSED"),
        (Verdict::PortUnreachable, "ECONNREFUSED"),
        (Verdict::HostUnreachable, "EHOSTUNREACH"),
        (Verdict::NetUnreachable, "ENETUNREACH"),
        (Verdict::Prohibited, "EHOSTUNREACH"),
    ] {
        let rule = Rule::new(&server, &["INPUT", "-p", "tcp", "--dport", "80"], verdict)?;
        let report = run_step(&client, &connect)?;
        assert_eq!(report.errors.get(error), Some(&1), "{verdict:?}: {report:?}");
        assert!(rule.hits()? >= 1);
    }
    assert_eq!(run_step(&client, &connect)?.connected, 1, "the rules are gone");
    let _rule = Rule::new(&server, &["INPUT", "-p", "tcp", "--dport", "80"], Verdict::Drop)?;
    let report = run_step(&client, &[&connect[..], &["--give-up", "100"]].concat())?;
    assert_eq!(report.errors["gave up"], 1);
    Ok(())
}

#[test]
fn connections_end_as_asked() -> Result<()> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = world.link(&client, &server)?;
    let mut serving = Server::start(&server, &["--listen", "0.0.0.0:80"])?;
    let to = link.b.at4(80).to_string();
    for (close, sent_by_client, sent_by_server) in [
        ("fin", 0.0, 0.0),
        ("server", 0.0, 0.0),
        ("reset", 10.0, 0.0),
        ("server-reset", 0.0, 10.0),
        ("unread", 10.0, 0.0),
    ] {
        let (client_before, server_before) = (Snmp::of(&client)?, Snmp::of(&server)?);
        let shape = ["--to", &to, "--connections", "10", "--receive", "10", "--close", close];
        let report = get(&client, &shape)?;
        assert_eq!(report.connected, 10, "{close}: {report:?}");
        std::thread::sleep(Duration::from_millis(100));
        let resets = |host, before| Snmp::of(host).and_then(|now| now.since(before, "TcpOutRsts"));
        assert_eq!(resets(&client, &client_before)?, sent_by_client, "{close}: resets by the client");
        assert_eq!(resets(&server, &server_before)?, sent_by_server, "{close}: resets by the server");
    }
    assert_eq!(serving.report()?.ended, 50);
    let report = run_step(&client, &["reuse", "--to", &to, "--rounds", "7", "--bytes", "100"])?;
    assert_eq!(report.received, 7 * 100 + 21);
    Ok(())
}

#[test]
fn an_open_connection_times_out() -> Result<()> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = world.link(&client, &server)?;
    let _serving = Server::start(&server, &["--listen", "0.0.0.0:80"])?;
    let to = link.b.at4(80).to_string();
    let mut step =
        flowgauge_tests::traffic::command(&client, &["user-timeout", "--to", &to, "--milliseconds", "500"]);
    let (open, _) = Client::adopt(flowgauge_tests::process::Process::spawn("user timeout", &mut step)?)?;
    let _rule = Rule::new(&client, &["INPUT", "-p", "tcp"], Verdict::Drop)?;
    let report = open.finish()?;
    assert_eq!(report.errors["ETIMEDOUT"], 1, "{report:?}");
    Ok(())
}

#[test]
fn nginx_logs_every_byte() -> Result<()> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = world.link(&client, &server)?;
    let nginx = Nginx::start(&server, &["[::]:80 ipv6only=off"], &[("page", 100_000)], 3)?;
    assert_eq!(nginx.workers()?.len(), 3);
    let body = tempfile::NamedTempFile::new()?;
    std::fs::write(body.path(), vec![b'y'; 70_000])?;
    let script = format!(
        "curl -sS --fail -o /dev/null http://{}/page && curl -sS --fail -T {} http://{}/put/a",
        link.b.v4,
        body.path().display(),
        link.b.v4
    );
    run(client.command("sh").args(["-c", &script]))?;
    let requests = nginx.requests(2)?;
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert!(requests[0].sent > 100_000.0 && requests[0].sent < 101_000.0, "{requests:?}");
    assert!(requests[1].received > 70_000.0 && requests[1].received < 71_000.0, "{requests:?}");
    assert_eq!(std::fs::metadata(nginx.upload("a"))?.len(), 70_000);
    Ok(())
}

#[test]
fn a_missing_program_names_its_package() {
    let error = output(&mut Command::new("/nonexistent/nginx")).expect_err("it cannot start");
    assert!(format!("{error:#}").contains("apt-get install nginx-light"), "{error:#}");
}
