// SPDX-License-Identifier: Apache-2.0
//! Namespaces with a table of established connections of their own (`net.ipv4.tcp_child_ehash_entries`). Listeners
//! are in one table for all of them.

use std::thread;

use flowgauge_tests::prelude::*;
use flowgauge_tests::process::Process;
use flowgauge_tests::stage::expect;
use flowgauge_tests::traffic::command;

/// How many buckets a namespace's table has; 0 or fewer when it is not its own.
fn buckets(host: &Host) -> Result<i64> {
    let path = "/proc/sys/net/ipv4/tcp_ehash_entries";
    let text = host.enter(|| std::fs::read_to_string(path).with_context(|| format!("reading {path}")))?;
    text.trim().parse().with_context(|| format!("{path}: {text:?}"))
}

/// A host from inside which others get tables of their own.
fn maker(world: &World) -> Result<Host> {
    let maker = world.host("maker")?;
    maker.sysctl("net.ipv4.tcp_child_ehash_entries", "1024").context("this kernel has one table for all")?;
    Ok(maker)
}

/// Live and then closed connections of an edge, both compared to the byte.
fn count_connections(exporter: &Exporter, client: &Host, server: &Host, to: &str) -> Result<()> {
    let edge = Edge::between(client, server, 80);
    let shape = ["--to", to, "--connections", "60", "--send", "3000", "--receive", "9000", "--spread", "70"];
    let (mut open, _) = Client::start(client, &shape)?;
    let report = open.again()?;
    let sums = |report: &ClientReport, live: f64| {
        let (sent, received) = (report.sent as f64, report.received as f64);
        [
            ("sent_bytes_total", CLIENT, sent),
            ("received_bytes_total", SERVER, sent),
            ("sent_bytes_total", SERVER, received),
            ("received_bytes_total", CLIENT, received),
            ("connections_opened_total", CLIENT, 60.0),
            ("connections_opened_total", SERVER, 60.0),
            ("connections", CLIENT, live),
            ("connections", SERVER, live),
            ("connections_closed_total", CLIENT, 60.0 - live),
            ("connections_closed_total", SERVER, 60.0 - live),
        ]
    };
    let before = expect(exporter, &edge, &sums(&report, 60.0))?;
    let report = open.finish()?;
    let after = expect(exporter, &edge, &sums(&report, 0.0))?;
    after.ensure_monotone_since(&before, false)
}

#[test]
fn connections_in_tables_of_their_own() -> Result<()> {
    let world = World::new()?;
    let maker = maker(&world)?;
    let [client, server] = [world.host_within("client", &maker)?, world.host_within("server", &maker)?];
    let other = world.host("other")?;
    assert_eq!((buckets(&client)?, buckets(&server)?), (1024, 1024), "tables of their own");
    assert!(buckets(&other)? <= 0, "one table is shared");
    let (link, other_link) = (world.link(&client, &server)?, world.link(&other, &server)?);
    let names = NamesFile::new(&[&client, &server, &other].map(Name::of))?;
    let _server = Server::start(&server, &["--listen", "[::]:80"])?;
    // One connection is older than the exporter: where it is can be known by a look at all sockets only.
    let (mut old, _) = Client::start(&client, &["--to", &link.b.at6(80).to_string(), "--send", "500"])?;
    let exporter = Exporter::start(&[&names.flag()])?;
    let edge = Edge::between(&client, &server, 80);
    expect(&exporter, &edge, &[("connections", CLIENT, 1.0), ("connections", SERVER, 1.0)])?;
    old.again()?;
    expect(
        &exporter,
        &edge,
        &[("sent_bytes_total", CLIENT, 517.0), ("received_bytes_total", SERVER, 517.0)],
    )?;
    old.finish()?;
    expect(&exporter, &edge, &[("connections", CLIENT, 0.0), ("connections", SERVER, 0.0)])?;
    // One end in a table of its own, the other in the shared one.
    count_connections(&exporter, &other, &server, &other_link.b.at4(80).to_string())
}

#[test]
fn a_table_made_and_gone_while_running() -> Result<()> {
    let world = World::new()?;
    let maker = maker(&world)?;
    let names = NamesFile::new(&[Name::new("nobody", ["192.0.2.1".parse()?])])?;
    let exporter = Exporter::start(&[&names.flag()])?;
    let mut past = Vec::new();
    for _ in 0..3 {
        let [client, server] = [world.host_within("client", &maker)?, world.host_within("server", &maker)?];
        let link = world.link(&client, &server)?;
        names.write(&[Name::of(&client), Name::of(&server)])?;
        exporter.reload()?;
        let _server = Server::start(&server, &["--listen", "[::]:80"])?;
        count_connections(&exporter, &client, &server, &link.b.at4(80).to_string())?;
        past.push(Edge::between(&client, &server, 80));
    }
    // Their namespaces are gone, and the sums are not.
    thread::sleep(Duration::from_millis(500));
    let metrics = exporter.scrape()?;
    for edge in &past {
        assert_eq!(edge.sum(&metrics, "connections_closed_total", CLIENT), 60.0, "{edge:?}");
        assert_eq!(edge.sum(&metrics, "connections_closed_total", SERVER), 60.0, "{edge:?}");
    }
    Ok(())
}

#[test]
fn listeners_are_counted_once() -> Result<()> {
    let world = World::new()?;
    let maker = maker(&world)?;
    let [client, server] = [world.host_within("client", &maker)?, world.host_within("server", &maker)?];
    let idle = world.host_within("idle", &maker)?;
    let other = world.host("other")?;
    let link = world.link(&client, &server)?;
    client.sysctl("net.ipv4.tcp_syn_retries", "1")?;
    let exporter = Exporter::start(&[])?;
    let deaf = ["--listen", "0.0.0.0:80", "--backlog", "5", "--deaf"];
    let _servers = [&server, &idle, &other].map(|host| Server::start(host, &deaf));
    // A connection in each table, so that there is one to be walked.
    let _talks = [&server, &idle, &other].map(|host| -> Result<_> {
        let server = Server::start(host, &["--listen", "127.0.0.1:81"])?;
        Ok((Client::start(host, &["--to", "127.0.0.1:81"])?, server))
    });
    let step = ["connect", "--to", &link.b.at4(80).to_string(), "--count", "30", "--keep"];
    let mut process = Process::spawn("connect", &mut command(&client, &step))?;
    let report: ClientReport = serde_json::from_str(&process.line(Duration::from_secs(60))?)?;
    assert!(report.errors.get("ETIMEDOUT").is_some_and(|count| *count >= 10), "{report:?}");
    let drops = Snmp::of(&server)?.get("TcpExtListenDrops")? as f64;
    assert!(drops > 10.0, "the kernel dropped {drops}");
    let queue = |host: &Host| [("workload", host.workload.clone()), ("port", "80".to_owned())];
    for (host, drops) in [(&server, drops), (&idle, 0.0), (&other, 0.0)] {
        let selector = queue(host);
        let selector: Vec<_> = selector.iter().map(|(label, value)| (*label, value.as_str())).collect();
        let metrics = exporter.wait_for("flowgauge_tcp_accept_queue_drops_total", &selector, drops, SOON)?;
        assert_eq!(metrics.sum("flowgauge_tcp_accept_queue_limit", &selector), 5.0, "{}", host.workload);
    }
    Ok(())
}
