// SPDX-License-Identifier: Apache-2.0
//! Addresses that go from one workload to the next: each byte goes to who had the address then, and nothing grows.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Instant;

use flowgauge_tests::api_server::{ApiServer, objects};
use flowgauge_tests::kubernetes::{Cluster, NodeExporter, Place, Pod, own_port};
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;

/// Within this time after the API has told of a new holder, the exporter has charged the old one and let the new one
/// take over; the product says about 100 ms, and a busy machine takes longer.
const TAKEN_OVER: Duration = Duration::from_millis(1500);

fn listen(pod: &Pod) -> Result<Server> {
    Server::start(pod.main()?, &["--listen", &format!("[::]:{}", own_port())])
}

/// The sum over the edge between two workloads, as seen by one observer.
fn bytes(metrics: &Metrics, metric: &str, observer: &str, client: &str, server: &str) -> f64 {
    Edge::named(client, server, &own_port().to_string()).sum(metrics, metric, observer)
}

/// Waits until each edge (client, server) has so many bytes from the server, as seen by one observer, and the port has
/// no others.
fn expect(exporter: &NodeExporter, observer: &str, edges: &[(String, String, f64)]) -> Result<Metrics> {
    let metric = if observer == CLIENT { "received_bytes_total" } else { "sent_bytes_total" };
    let port = own_port().to_string();
    let all = [("observer", observer), ("server_port", port.as_str())];
    let sum: f64 = edges.iter().map(|(_, _, expected)| expected).sum();
    exporter.wait_until(&format!("{observer}: {edges:?}"), &all, SOON, |metrics| {
        metrics.sum(&format!("flowgauge_tcp_{metric}"), &all) == sum
            && edges.iter().all(|(client, server, expected)| {
                bytes(metrics, metric, observer, client, server) == *expected
            })
    })
}

/// Connects, asks for bytes over both families, and keeps the connections open.
fn begin(client: &Pod, server: &Pod, receive: u64) -> Result<(Client, f64)> {
    let (v4, v6) = (server.at4(own_port()), server.at6(own_port()));
    let shape = [
        "--to",
        &v4,
        "--to",
        &v6,
        "--connections",
        "6",
        "--receive",
        &receive.to_string(),
        "--spread",
        "900",
    ];
    let (client, report) = Client::start(client.main()?, &shape)?;
    ensure!(report.answered == 6 && report.errors.is_empty(), "{report:?}");
    Ok((client, report.received as f64))
}

/// Servers on another node (their names come from the API alone) follow each other at one address. Nobody scrapes in
/// between, and connections to each are still closing when the next has its address.
#[test]
fn each_byte_goes_to_the_server_that_had_the_address() -> Result<()> {
    let cluster = Cluster::new()?;
    let front = cluster.run(&cluster.a, objects::Pod::of_deployment("shop", "front"), Place::default())?;
    let workload = |round: usize| objects::Pod::of_deployment("shop", &format!("store-{round}"));
    let mut server = cluster.run(&cluster.b, workload(0), Place::default())?;
    let exporter = cluster.exporter(&cluster.a, &[])?;
    exporter.wait_for_names(SOON)?;
    let (mut edges, mut closing) = (Vec::new(), Vec::new());
    for round in 0..4 {
        let serving = listen(&server)?;
        let (client, received) = begin(&front, &server, 10_000 * (round as u64 + 1))?;
        edges.push(("front".to_owned(), format!("store-{round}"), received));
        closing.push(client);
        drop(serving);
        server = cluster.replace(&cluster.b, server, workload(round + 1), Place::default())?;
        // The old connections' last words are exchanged with whoever is there now.
        thread::sleep(TAKEN_OVER);
    }
    for client in closing {
        client.finish()?;
    }
    expect(&exporter, CLIENT, &edges)?;
    Ok(())
}

/// The same with clients: their addresses are all that the server's node knows of them.
#[test]
fn each_byte_goes_to_the_client_that_had_the_address() -> Result<()> {
    let cluster = Cluster::new()?;
    let store = cluster.run(&cluster.a, objects::Pod::of_deployment("shop", "store"), Place::default())?;
    let workload = |round: usize| objects::Pod::of_deployment("shop", &format!("front-{round}"));
    let mut client = cluster.run(&cluster.b, workload(0), Place::default())?;
    let _serving = listen(&store)?;
    let exporter = cluster.exporter(&cluster.a, &[])?;
    exporter.wait_for_names(SOON)?;
    let mut edges = Vec::new();
    for round in 0..4 {
        let (process, received) = begin(&client, &store, 10_000 * (round as u64 + 1))?;
        edges.push((format!("front-{round}"), "store".to_owned(), received));
        // Killed with its connections open: the server's ends close by and by.
        drop(process);
        client = cluster.replace(&cluster.b, client, workload(round + 1), Place::default())?;
        thread::sleep(TAKEN_OVER);
    }
    expect(&exporter, SERVER, &edges)?;
    Ok(())
}

/// On the pods' own node their control groups tell at once, before the API does.
#[test]
fn on_its_own_node_a_pod_is_known_by_its_control_group() -> Result<()> {
    let cluster = Cluster::new()?;
    let workload = |name: String| objects::Pod::of_deployment("shop", &name);
    let mut server = cluster.run(&cluster.a, workload("store-0".to_owned()), Place::default())?;
    let front = cluster.run(&cluster.b, workload("front".to_owned()), Place::default())?;
    let exporter = cluster.exporter(&cluster.a, &[])?;
    exporter.wait_for_names(SOON)?;
    let mut edges = Vec::new();
    for round in 0..5 {
        let serving = listen(&server)?;
        let (client, received) = begin(&front, &server, 10_000 * (round + 1))?;
        edges.push(("front".to_owned(), format!("store-{round}"), received));
        drop(serving);
        // Not a moment is waited for the API here.
        server = cluster.replace(
            &cluster.a,
            server,
            workload(format!("store-{}", round + 1)),
            Place::default(),
        )?;
        drop(client);
    }
    expect(&exporter, SERVER, &edges)?;
    Ok(())
}

/// Pods that come in a second, and as many that go.
const PODS_A_SECOND: usize = 50;
/// How long the churn lasts.
const CHURN: Duration = Duration::from_secs(32);
/// How many pods on paper there are at a time.
const ALIVE: usize = 150;
/// Pods that have gone are remembered for a while, a bounded number of them, and other programs' sockets on this machine
/// take memory too. What grew with each pod that came and went would soon be more.
const SPARE_BYTES: f64 = 16e6;

/// Pods on paper come, get an address that another had some seconds before, and go. Returns how many.
fn churn(api: &ApiServer) -> Result<usize> {
    let (begin, mut alive, mut count) = (Instant::now(), VecDeque::new(), 0);
    while begin.elapsed() < CHURN || !alive.is_empty() {
        if begin.elapsed() < CHURN {
            let number = count;
            count += 1;
            let mut pod = objects::Pod::of_deployment("paper", &format!("job-{}", number % 97));
            pod.node = if number % 10 == 0 { "a" } else { "b" }.to_owned();
            pod.phase = "Pending";
            api.put(&pod);
            pod.phase = "Running";
            // RFC 2544 gives these addresses to benchmarks.
            pod.addresses =
                vec![Ipv4Addr::new(198, 18, (number / 200 % 2) as u8, (number % 200 + 1) as u8).into()];
            api.put(&pod);
            alive.push_back(pod);
        }
        if alive.len() > ALIVE || begin.elapsed() >= CHURN {
            alive.pop_front().map_or(Ok(0), |pod| api.delete(pod))?;
        }
        let due = Duration::from_secs(1) * count as u32 / PODS_A_SECOND as u32;
        thread::sleep(due.saturating_sub(begin.elapsed()));
    }
    Ok(count)
}

/// Real clients follow each other at one address all the while, and the server's node charges each with its own bytes.
#[test]
fn names_are_right_and_nothing_grows_while_pods_come_and_go() -> Result<()> {
    let cluster = Cluster::new()?;
    let store = cluster.run(&cluster.a, objects::Pod::of_deployment("shop", "store"), Place::default())?;
    let workload = |round: usize| objects::Pod::of_deployment("shop", &format!("front-{round}"));
    let mut client = cluster.run(&cluster.b, workload(0), Place::default())?;
    let _serving = listen(&store)?;
    let exporter = cluster.exporter(&cluster.a, &[])?;
    exporter.wait_for_names(SOON)?;
    let (mut edges, mut early) = (Vec::new(), exporter.scrape()?);
    let cpu = |metrics: &Metrics| metrics.sum("process_cpu_seconds_total", &[]);
    let before = cpu(&early);
    let begin = Instant::now();
    let count = thread::scope(|scope| {
        let churning = scope.spawn(|| churn(&cluster.api));
        for round in 0.. {
            if begin.elapsed() >= CHURN {
                break;
            }
            let (process, received) = begin_and_note(&client, &store, round)?;
            edges.push((format!("front-{round}"), "store".to_owned(), received));
            drop(process);
            client = cluster.replace(&cluster.b, client, workload(round + 1), Place::default())?;
            thread::sleep(TAKEN_OVER);
            let metrics = exporter.scrape()?;
            if begin.elapsed() < CHURN / 3 {
                early = metrics;
            }
        }
        churning.join().map_err(|_| anyhow::anyhow!("the churn panicked"))?
    })?;
    let elapsed = begin.elapsed();
    ensure!(count >= PODS_A_SECOND * CHURN.as_secs() as usize * 8 / 10, "too slow a machine: {count} pods");
    let late = expect(&exporter, SERVER, &edges)?;
    let memory = [&early, &late].map(|metrics| metrics.sum("process_resident_memory_bytes", &[]));
    let used = (cpu(&late) - before) / elapsed.as_secs_f64();
    eprintln!(
        "{count} pods in {elapsed:?}: {used:.3} CPUs, {memory:?} bytes resident, {} clients",
        edges.len()
    );
    assert!(memory[1] - memory[0] < SPARE_BYTES, "grew from {} to {} bytes", memory[0], memory[1]);
    assert!(used < 1.0, "{used} CPUs");
    // Others on this machine have sockets too; the pods that came and went are more than this.
    for name in ["flowgauge_map_entries", "flowgauge_flow_keys"] {
        let [early, late] = [&early, &late].map(|metrics| metrics.sum(name, &[]));
        assert!(late - early < 1000.0, "{name} grew from {early} to {late}");
    }
    for (source, entries) in [("kubernetes_pods", 2.0), ("kubernetes_node_pods", 1.0)] {
        // The last deletions are on their way.
        exporter.wait_for("flowgauge_label_source_entries", &[("source", source)], entries, SOON)?;
    }
    let asked = cluster.api.asked();
    assert!(asked.len() == 5 && asked.iter().all(|asked| asked.open), "five watches and no more: {asked:#?}");
    Ok(())
}

fn begin_and_note(client: &Pod, store: &Pod, round: usize) -> Result<(Client, f64)> {
    begin(client, store, 1000 + 100 * round as u64).with_context(|| format!("client {round}"))
}
