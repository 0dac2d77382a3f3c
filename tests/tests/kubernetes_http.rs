// SPDX-License-Identifier: Apache-2.0
//! HTTP through a Service: each response is charged to the backend that sent it.

use std::collections::BTreeMap;

use flowgauge_tests::api_server::objects::{self, Service, ServicePort};
use flowgauge_tests::http::load::{Report, Serving, ask};
use flowgauge_tests::kubernetes::{Cluster, Node, Place, Pod};
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;

const MALL: &str = "http-mall";

fn web(cluster: &Cluster, node: &Node) -> Result<(Pod, Serving)> {
    let pod = cluster.run(node, objects::Pod::of_replica_set(MALL, "web", "7d4b9c6f5"), Place::default())?;
    let server = Serving::start(pod.main()?, &["--listen", "[::]:8080"])?;
    Ok((pod, server))
}

/// Responses by method and code on the edge from the client to the deployment's pods in a zone, through the Service.
fn seen(metrics: &Metrics, zone: &str) -> BTreeMap<String, u64> {
    let edge = [
        ("observer", CLIENT),
        ("client_namespace", MALL),
        ("client_workload", "front"),
        ("client_zone", "zone-a"),
        ("server_namespace", MALL),
        ("server_workload", "web"),
        ("server_zone", zone),
        ("server_service", "shop"),
        ("server_kind", "pod"),
        ("server_port", "8080"),
    ];
    let mut seen = BTreeMap::new();
    for sample in metrics.select("flowgauge_http_responses_total", &edge) {
        let what = format!("{} {}", sample.labels["method"], sample.labels["code"]);
        *seen.entry(what).or_default() += sample.value as u64;
    }
    seen
}

#[test]
fn responses_through_a_service_are_the_backends() -> Result<()> {
    let cluster = Cluster::new()?;
    let mut backends = [web(&cluster, &cluster.a)?, web(&cluster, &cluster.b)?];
    let front = objects::Pod::of_deployment(MALL, "front");
    let client = cluster.run(&cluster.a, front, Place::default())?;
    let addresses = cluster.service_addresses()?;
    let service = Service::new(MALL, "shop", &addresses, &[ServicePort::tcp(80, 8080)]);
    let pods = [&backends[0].0, &backends[1].0];
    cluster.serve(&service, cluster.slices(&service, &pods)?)?;
    let exporter = cluster.exporter(&cluster.a, &[])?;
    for source in ["node_pods", "services", "endpointslices", "nodes"] {
        exporter.wait_for_source(&format!("kubernetes_{source}"), true, SOON)?;
    }
    // Short connections, which end before anybody scrapes, and longer ones, in which one is scraped.
    let mut asked = 0;
    for address in &addresses {
        let to = std::net::SocketAddr::new(*address, 80).to_string();
        for shape in [["--connections", "4", "--requests", "1"], ["--connections", "4", "--requests", "40"]] {
            let rest = ["--to", &to, "--rounds", "5", "--methods", "GET,POST", "--paths", "/200,/404,/503"];
            asked += ask(client.main()?, &[&rest[..], &shape[..]].concat())?.total();
            exporter.scrape()?;
        }
    }
    let truth: Vec<Report> = backends.iter_mut().map(|(_, server)| server.report()).collect::<Result<_>>()?;
    assert_eq!(truth.iter().map(Report::total).sum::<u64>(), asked);
    assert!(truth.iter().all(|report| report.total() > 0), "one backend had nothing: {truth:?}");

    for (zone, report) in ["zone-a", "zone-b"].into_iter().zip(&truth) {
        let edge = [("observer", CLIENT), ("server_workload", "web")];
        let complete = |metrics: &Metrics| seen(metrics, zone) == report.responses;
        exporter.wait_until(&format!("{zone}: {report:?}"), &edge, SOON, complete)?;
    }
    // Both nodes are this machine: an exporter sees the servers' ends of both, as those of its own node.
    let served = [("observer", SERVER), ("server_namespace", MALL), ("server_service", "shop")];
    let complete = |metrics: &Metrics| metrics.sum("flowgauge_http_responses_total", &served) == asked as f64;
    exporter.wait_until(&format!("{asked} responses at the servers"), &served, SOON, complete)?;
    Ok(())
}
