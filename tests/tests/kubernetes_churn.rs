// SPDX-License-Identifier: Apache-2.0
//! Addresses that go from one workload to the next: each byte goes to who had the address then, and nothing grows.

use std::collections::VecDeque;
use std::time::Instant;

use flowgauge_tests::api_server::{Resource, objects};
use flowgauge_tests::kubernetes::{Cluster, Node, NodeExporter, Place, Pod, Told, own_port};
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
        std::thread::sleep(TAKEN_OVER);
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
        std::thread::sleep(TAKEN_OVER);
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
