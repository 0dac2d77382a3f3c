// SPDX-License-Identifier: Apache-2.0
//! Who is named as the owner of a connection, from the socket's cgroup, the process, or the names file.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::nginx::Nginx;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::Process;
use flowgauge_tests::stage::expect;
use flowgauge_tests::traffic::binary;
use tempfile::TempDir;

/// The traffic maker under another name: the kernel names a process after the file it was started from.
struct Disguise(TempDir);

impl Disguise {
    fn new() -> Result<Self> {
        Ok(Disguise(TempDir::new()?))
    }

    fn named(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.path().join(name);
        if !path.exists() {
            symlink(binary()?, &path)?;
        }
        Ok(path)
    }

    fn serve(&self, name: &str, host: &Host, arguments: &[&str]) -> Result<Server> {
        Server::adopt(Process::spawn(name, host.command(self.named(name)?).arg("serve").args(arguments))?)
    }

    fn get(&self, name: &str, host: &Host, arguments: &[&str]) -> Result<ClientReport> {
        let mut process = Process::spawn(name, host.command(self.named(name)?).arg("get").args(arguments))?;
        let line = process.line(Duration::from_secs(60))?;
        ensure!(process.wait(SOON)?.success(), "{name} failed: {}", process.log());
        Ok(serde_json::from_str(&line)?)
    }
}

/// Values of a label over the edges to a port, as one side sees them.
fn values(metrics: &Metrics, label: &str, observer: &str, port: &str) -> BTreeSet<String> {
    let selector = [("observer", observer), ("server_port", port)];
    let sums = metrics.sum_by("flowgauge_tcp_connections_opened_total", label, &selector);
    sums.into_iter().filter(|(_, count)| *count > 0.0).map(|(value, _)| value).collect()
}

fn one(value: &str) -> BTreeSet<String> {
    BTreeSet::from([value.to_owned()])
}

/// Two hosts whose processes are in no cgroup of their own; remote addresses have no names.
fn nameless() -> Result<(Exporter, flowgauge_tests::netns::Link, Host, Host, World)> {
    let world = World::new()?;
    let (client, server) = (world.host_without_cgroup("client")?, world.host_without_cgroup("server")?);
    let link = world.link(&client, &server)?;
    Ok((Exporter::start(&[])?, link, client, server, world))
}

#[test]
fn both_observers_use_the_same_labels() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _server = Server::start(&stage.server, &["--listen", "[::]:7001"])?;
    let shape =
        ["--to", &stage.to(7001), "--to", &stage.to6(7001), "--connections", "10", "--receive", "1000"];
    get(&stage.client, &shape)?;
    let sums = [("connections_closed_total", CLIENT, 10.0), ("connections_closed_total", SERVER, 10.0)];
    let metrics = stage.expect(&stage.edge(7001), &sums)?;
    let labels = |observer| -> Vec<_> {
        let selector = [("observer", observer), ("server_port", "7001")];
        let samples = metrics.select("flowgauge_tcp_connections_opened_total", &selector);
        let mut labels: Vec<_> = samples.map(|sample| sample.labels.clone()).collect();
        labels.iter_mut().for_each(|labels| drop(labels.remove("observer")));
        labels
    };
    assert_eq!(labels(CLIENT).len(), 1);
    assert_eq!(labels(CLIENT), labels(SERVER));
    let expected = [
        "client_namespace",
        "client_workload",
        "client_zone",
        "server_kind",
        "server_namespace",
        "server_port",
        "server_service",
        "server_workload",
        "server_zone",
    ];
    assert_eq!(labels(CLIENT)[0].keys().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_eq!(labels(CLIENT)[0]["server_kind"], "host");
    Ok(())
}

#[test]
fn processes_name_sockets_in_the_root_cgroup() -> Result<()> {
    let (exporter, link, client, server, _world) = nameless()?;
    let disguise = Disguise::new()?;
    let _server = disguise.serve("warehouse", &server, &["--listen", "0.0.0.0:7002"])?;
    let shape = ["--to", &link.b.at4(7002).to_string(), "--connections", "5", "--receive", "1000"];
    let report = disguise.get("shopfront", &client, &shape)?;
    let seen_by_client = Edge::named("shopfront", "unknown", "7002");
    expect(&exporter, &seen_by_client, &[("received_bytes_total", CLIENT, report.received as f64)])?;
    let seen_by_server = Edge::named("unknown", "warehouse", "7002");
    expect(&exporter, &seen_by_server, &[("sent_bytes_total", SERVER, report.received as f64)])?;
    Ok(())
}

#[test]
fn both_ends_of_a_local_connection_are_named() -> Result<()> {
    let (exporter, link, client, _server, _world) = nameless()?;
    let disguise = Disguise::new()?;
    let _server = disguise.serve("warehouse", &client, &["--listen", "[::]:7010"])?;
    let mut received = 0.0;
    for to in ["127.0.0.1:7010".to_owned(), "[::1]:7010".to_owned(), link.a.at4(7010).to_string()] {
        let shape = ["--to", &to, "--connections", "5", "--receive", "1000"];
        received += disguise.get("shopfront", &client, &shape)?.received as f64;
    }
    let edge = Edge::named("shopfront", "warehouse", "7010");
    let sums = [
        ("received_bytes_total", CLIENT, received),
        ("sent_bytes_total", SERVER, received),
        ("connections_closed_total", CLIENT, 15.0),
        ("connections_closed_total", SERVER, 15.0),
    ];
    expect(&exporter, &edge, &sums)?;
    Ok(())
}

#[test]
fn a_process_that_lived_for_one_request_is_named() -> Result<()> {
    let (exporter, link, client, server, _world) = nameless()?;
    let disguise = Disguise::new()?;
    let _server = disguise.serve("warehouse", &server, &["--listen", "0.0.0.0:7003"])?;
    let to = link.b.at4(7003).to_string();
    for name in ["mayfly-1", "mayfly-2", "mayfly-3"] {
        disguise.get(name, &client, &["--to", &to])?;
    }
    for name in ["mayfly-1", "mayfly-2", "mayfly-3"] {
        let edge = Edge::named(name, "unknown", "7003");
        expect(
            &exporter,
            &edge,
            &[("connections_opened_total", CLIENT, 1.0), ("sent_bytes_total", CLIENT, 17.0)],
        )?;
    }
    Ok(())
}

#[test]
fn prefork_workers_are_their_service() -> Result<()> {
    let (exporter, link, client, server, _world) = nameless()?;
    let nginx = Nginx::start(&server, &["0.0.0.0:7004"], &[("page", 5000)], 4)?;
    let url = format!("http://{}:7004/page", link.b.v4);
    for _ in 0..20 {
        flowgauge_tests::process::run(client.command("curl").args([
            "-sS",
            "--fail",
            "-o",
            "/dev/null",
            &url,
        ]))?;
    }
    let sent: f64 = nginx.requests()?.iter().map(|request| request.sent).sum();
    let edge = Edge::named("unknown", "nginx", "7004");
    let metrics = expect(
        &exporter,
        &edge,
        &[("sent_bytes_total", SERVER, sent), ("connections_closed_total", SERVER, 20.0)],
    )?;
    assert_eq!(values(&metrics, "server_workload", SERVER, "7004"), one("nginx"));
    assert_eq!(values(&metrics, "client_workload", CLIENT, "7004"), one("curl"));
    Ok(())
}

#[test]
fn two_programs_on_one_port_are_ambiguous() -> Result<()> {
    let (exporter, link, client, server, _world) = nameless()?;
    let disguise = Disguise::new()?;
    let shared = ["--listen", "0.0.0.0:7005", "--reuse-port"];
    let mut one_server = disguise.serve("twin-a", &server, &shared)?;
    let mut other_server = disguise.serve("twin-b", &server, &shared)?;
    let to = link.b.at4(7005).to_string();
    get(&client, &["--to", &to, "--connections", "60", "--receive", "10"])?;
    let (a, b) = (one_server.report()?.accepted, other_server.report()?.accepted);
    assert!(a > 0 && b > 0 && a + b == 60, "{a} and {b} connections");
    let metrics = exporter.wait_for(
        "flowgauge_tcp_connections_opened_total",
        &[("observer", SERVER), ("server_port", "7005")],
        60.0,
        SOON,
    )?;
    let named = metrics.sum_by(
        "flowgauge_tcp_connections_opened_total",
        "server_workload",
        &[("observer", SERVER), ("server_port", "7005")],
    );
    let right = named.get("twin-a").is_none_or(|count| *count == a as f64)
        && named.get("twin-b").is_none_or(|count| *count == b as f64)
        && named.keys().all(|name| ["twin-a", "twin-b", "ambiguous"].contains(&name.as_str()));
    assert!(right, "{a} and {b} connections were named {named:?}");
    Ok(())
}

#[test]
fn two_cgroups_on_one_port_are_told_apart() -> Result<()> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = world.link(&client, &server)?;
    let exporter = Exporter::start(&[])?;
    let other = flowgauge_tests::cgroup::Cgroup::new(&format!("{}-twin.service", server.workload))?;
    let shared = ["--listen", "0.0.0.0:7006", "--reuse-port"];
    let mut first = Server::start(&server, &shared)?;
    // Joins the second cgroup by itself, after the host's own.
    let procs = other.path().join("cgroup.procs");
    let script = format!("echo $$ > {} && exec \"$0\" serve \"$@\"", procs.display());
    let mut command = server.command("sh");
    command.args(["-c", &script]).arg(binary()?).args(shared);
    let mut second = Server::adopt(Process::spawn("twin", &mut command)?)?;
    // Control groups are looked for at most ten times a second: this one is younger than the exporter.
    std::thread::sleep(Duration::from_millis(500));
    let to = link.b.at4(7006).to_string();
    get(&client, &["--to", &to, "--connections", "60", "--receive", "10"])?;
    let (a, b) = (first.report()?.accepted as f64, second.report()?.accepted as f64);
    assert!(a > 0.0 && b > 0.0 && a + b == 60.0, "{a} and {b} connections");
    let twin = format!("{}-twin", server.workload);
    let sums = |workload| [("observer", SERVER), ("server_workload", workload), ("server_port", "7006")];
    exporter.wait_for("flowgauge_tcp_connections_opened_total", &sums(&server.workload), a, SOON)?;
    exporter.wait_for("flowgauge_tcp_connections_opened_total", &sums(&twin), b, SOON)?;
    drop((first, second));
    Ok(())
}

#[test]
fn socket_activation() -> Result<()> {
    let (exporter, link, client, server, _world) = nameless()?;
    let disguise = Disguise::new()?;
    let mut command = server.command("systemd-socket-activate");
    command.args(["-l", "0.0.0.0:7007"]).arg(disguise.named("activated")?).args(["serve", "--activated"]);
    let mut process = Process::spawn("systemd-socket-activate", &mut command)?;
    std::thread::sleep(Duration::from_millis(500));
    assert!(process.is_running(), "{}", process.log());
    let shape = ["--to", &link.b.at4(7007).to_string(), "--connections", "20", "--receive", "100"];
    let report = get(&client, &shape)?;
    assert_eq!(report.answered, 20, "{report:?}");
    let selector = [("observer", SERVER), ("server_port", "7007")];
    let metrics = exporter.wait_for("flowgauge_tcp_connections_opened_total", &selector, 20.0, SOON)?;
    let named = values(&metrics, "server_workload", SERVER, "7007");
    assert!(named == one("activated") || named == one("ambiguous"), "{named:?}");
    Ok(())
}

#[test]
fn names_files_name_and_rename() -> Result<()> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = world.link(&client, &server)?;
    let name = |workload: &str| Name {
        zone: Some("dc-7".to_owned()),
        namespace: Some("billing".to_owned()),
        ..Name::new(workload, [link.b.v4.into(), link.b.v6.into()])
    };
    let names = NamesFile::new(&[name("ledger-db")])?;
    let mut exporter = Exporter::start(&[&names.flag()])?;
    let _server = Server::start(&server, &["--listen", "[::]:7008"])?;
    let to = [link.b.at4(7008).to_string(), link.b.at6(7008).to_string()];
    let shape = ["--to", &to[0], "--to", &to[1], "--connections", "10", "--receive", "1000"];
    let opened = "flowgauge_tcp_connections_opened_total";
    let edge = |workload| {
        [
            ("observer", CLIENT),
            ("client_workload", client.workload.as_str()),
            ("server_workload", workload),
            ("server_zone", "dc-7"),
            ("server_namespace", "billing"),
            ("server_port", "7008"),
            ("server_kind", "host"),
        ]
    };
    get(&client, &shape)?;
    exporter.wait_for(opened, &edge("ledger-db"), 10.0, SOON)?;

    // A changed file is found without being told.
    names.write(&[name("ledger-db-2")])?;
    std::thread::sleep(Duration::from_secs(3));
    get(&client, &shape)?;
    let metrics = exporter.wait_for(opened, &edge("ledger-db-2"), 10.0, SOON)?;
    assert_eq!(metrics.sum(opened, &edge("ledger-db")), 10.0, "what was counted before keeps its name");

    names.write_text("names:\n  - cidrs: [not-an-address]\n    workload: x\n")?;
    exporter.process().signal(libc::SIGHUP)?;
    let down = |metrics: &Metrics| {
        metrics.select("flowgauge_label_source_up", &[("source", "names_file")]).any(|s| s.value == 0.0)
    };
    exporter.wait_until("names_file down", &[("source", "names_file")], SOON, down)?;
    assert!(exporter.log().contains("not-an-address"), "{}", exporter.log());
    get(&client, &shape)?;
    exporter.wait_for(opened, &edge("ledger-db-2"), 20.0, SOON)?;

    names.write(&[name("ledger-db-3")])?;
    exporter.process().signal(libc::SIGHUP)?;
    let up = |metrics: &Metrics| metrics.sum("flowgauge_label_source_up", &[("source", "names_file")]) == 1.0;
    exporter.wait_until("names_file up", &[("source", "names_file")], SOON, up)?;
    get(&client, &shape)?;
    exporter.wait_for(opened, &edge("ledger-db-3"), 10.0, SOON)?;
    exporter.stop()?;
    Ok(())
}

#[test]
fn labels_are_dropped_and_added() -> Result<()> {
    let stage =
        Stage::new(&["--labels.drop=server_port,client_zone,server_zone", "--labels.add=client_process"])?;
    let listen = ["--listen", "0.0.0.0:80", "--listen", "0.0.0.0:81"];
    let _server = Server::start(&stage.server, &listen)?;
    let shape = ["--to", &stage.to(80), "--to", &stage.to(81), "--connections", "30", "--receive", "500"];
    let report = get(&stage.client, &shape)?;
    let edge = Edge::named(&stage.client.workload, &stage.server.workload, "");
    let sums = [
        ("received_bytes_total", CLIENT, report.received as f64),
        ("connections_closed_total", SERVER, 30.0),
    ];
    let metrics = stage.expect(&edge, &sums)?;
    let selector = edge.selector(CLIENT);
    let samples: Vec<_> = metrics.select("flowgauge_tcp_connections_opened_total", &selector).collect();
    assert_eq!(samples.len(), 1, "two ports are one edge now: {samples:?}");
    for gone in ["server_port", "client_zone", "server_zone"] {
        assert!(!samples[0].labels.contains_key(gone), "{gone} is still there");
    }
    assert_eq!(samples[0].labels.get("client_process").map(String::as_str), Some("fg-traffic"));
    Ok(())
}

#[test]
fn dynamic_ports_are_one_label_value() -> Result<()> {
    let stage = Stage::new(&["--labels.service-ports=50051,41000"])?;
    let ports = [40001, 40002, 41000, 50051];
    for port in ports {
        let _server = Server::start(&stage.server, &["--listen", &format!("0.0.0.0:{port}")])?;
        get(&stage.client, &["--to", &stage.to(port), "--connections", "3"])?;
    }
    for (port, count) in [("ephemeral", 6.0), ("41000", 3.0), ("50051", 3.0)] {
        let edge = Edge::named(&stage.client.workload, &stage.server.workload, port);
        stage.expect(
            &edge,
            &[("connections_closed_total", CLIENT, count), ("connections_closed_total", SERVER, count)],
        )?;
    }
    Ok(())
}
