// SPDX-License-Identifier: Apache-2.0
//! Who is named as the owner of a connection on this host, from the socket's cgroup or the process.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use flowgauge_tests::cgroup::Cgroup;
use flowgauge_tests::disguise::Disguise;
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::nginx::Nginx;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::Process;
use flowgauge_tests::stage::expect;
use flowgauge_tests::traffic::binary;

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
    let sent: f64 = nginx.requests(20)?.iter().map(|request| request.sent).sum();
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
    let other = Cgroup::new(&format!("{}-twin.service", server.workload))?;
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

/// A short connection by a process that joins a control group as its first act. The group is gone afterwards.
fn get_from(directory: &Path, client: &Host, to: &str) -> Result<ClientReport> {
    std::fs::create_dir(directory).with_context(|| format!("making {}", directory.display()))?;
    let mut command = client.command("sh");
    let script = format!("echo $$ > {}/cgroup.procs && exec \"$0\" get \"$@\"", directory.display());
    command.args(["-c", &script]).arg(binary()?).args(["--to", to, "--receive", "1000"]);
    let mut process = Process::spawn("get", &mut command)?;
    let report = process.line(SOON);
    process.wait(SOON)?;
    // The kernel lets go of a process a moment after its parent has.
    let removed = (0..100).any(|_| {
        let removed = std::fs::remove_dir(directory).is_ok();
        if !removed {
            std::thread::sleep(Duration::from_millis(5));
        }
        removed
    });
    ensure!(removed, "{} cannot be removed; {}", directory.display(), process.log());
    Ok(serde_json::from_str(&report?)?)
}

#[test]
fn control_groups_that_live_for_a_fraction_of_a_second_are_named() -> Result<()> {
    let (exporter, link, client, server, _world) = nameless()?;
    let disguise = Disguise::new()?;
    let _server = disguise.serve("warehouse", &server, &["--listen", "0.0.0.0:7008"])?;
    let mut trees = vec![("v2", Cgroup::root()?)];
    // Beside version 1 it is the processes' own hierarchy that tells.
    let memory = Path::new("/sys/fs/cgroup/memory");
    if memory.join("cgroup.procs").exists() {
        trees.push(("v1", memory.to_owned()));
    }
    let mut expected = Vec::new();
    for (version, tree) in &trees {
        for number in 0..15 {
            let name = format!("{}-mayfly-{version}-{number}", client.workload);
            let begin = Instant::now();
            let report =
                get_from(&tree.join(format!("{name}.service")), &client, &link.b.at4(7008).to_string())?;
            // Walks of the hierarchy, 10 s apart, cannot have seen more than a few of them.
            ensure!(begin.elapsed() < Duration::from_secs(1), "{name} lived for {:?}", begin.elapsed());
            expected.push((name, report.received as f64));
        }
    }
    std::thread::sleep(Duration::from_secs(3));
    let metrics = exporter.scrape()?;
    for (name, received) in expected {
        let edge = Edge::named(&name, "unknown", "7008");
        assert_eq!(edge.sum(&metrics, "received_bytes_total", CLIENT), received, "{name}");
        assert_eq!(edge.sum(&metrics, "connections_opened_total", CLIENT), 1.0, "{name}");
    }
    let up = |metrics: &Metrics| metrics.sum("flowgauge_label_source_up", &[("source", "cgroup_events")]);
    assert_eq!(up(&metrics), 1.0);
    assert_eq!(metrics.sum("flowgauge_lost_events_total", &[("reason", "cgroup_ring_full")]), 0.0);
    let runs = metrics.sum("flowgauge_bpf_program_runs_total", &[("program", "cgroup_mkdir")]);
    assert!(runs >= 15.0 * trees.len() as f64, "{runs} runs");
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
