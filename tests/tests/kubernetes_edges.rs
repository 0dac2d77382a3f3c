// SPDX-License-Identifier: Apache-2.0
//! Both ends' views of one edge between pods, through a Service: the same labels, and the bytes that nginx counted.

use flowgauge_tests::api_server::objects::{self, ServicePort};
use flowgauge_tests::kubernetes::views::{Edges, Moved, edges, expect_edges, labels};
use flowgauge_tests::kubernetes::{Cluster, Node, NodeExporter, Place, Pod};
use flowgauge_tests::nginx::Nginx;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::run;

const SHOP: &str = "edges-shop";

/// A pod of the deployment `web` with its nginx.
fn web(cluster: &Cluster, node: &Node) -> Result<(Pod, Nginx)> {
    let pod = cluster.run(node, objects::Pod::of_replica_set(SHOP, "web", "7d4b9c6f5"), Place::default())?;
    let nginx = Nginx::start(pod.main()?, &["[::]:8080 ipv6only=off"], &[("page", 20_000)], 2)?;
    Ok((pod, nginx))
}

fn front(cluster: &Cluster, node: &Node) -> Result<Pod> {
    cluster.run(node, objects::Pod::of_deployment(SHOP, "front"), Place::default())
}

/// Fetches the page so many times from one address, with a connection for each.
fn fetch(host: &Host, to: &str, connections: usize) -> Result<()> {
    // curl's own brackets are for counting.
    let to = to.replace('[', "\\[").replace(']', "\\]");
    let mut command = host.command("curl");
    let quiet = ["-sS", "--fail", "--max-time", "20", "-o", "/dev/null", "-H", "Connection: close"];
    command.args(quiet).arg(format!("http://{to}/page?[1-{connections}]"));
    run(&mut command).map(drop)
}

/// What nginx has counted, when all requests are in both logs.
fn counted(backends: &[&Nginx], total: usize) -> Result<Vec<Moved>> {
    let deadline = std::time::Instant::now() + SOON;
    loop {
        let logs: Vec<_> = backends.iter().map(|nginx| nginx.requests(0)).collect::<Result<_>>()?;
        if logs.iter().map(Vec::len).sum::<usize>() == total {
            let moved = logs.iter().map(|log| Moved {
                from_client: log.iter().map(|request| request.received).sum(),
                to_client: log.iter().map(|request| request.sent).sum(),
                opened: log.len() as f64,
                closed: log.len() as f64,
            });
            return Ok(moved.collect());
        }
        ensure!(std::time::Instant::now() < deadline, "{total} requests are not in {logs:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The exporter of a node, with all names. It sees the sockets of both nodes, for they share a kernel, and takes all for
/// its own; the pods' names tell them apart.
fn named(cluster: &Cluster, node: &Node) -> Result<NodeExporter> {
    let exporter = cluster.exporter(node, &["--labels.add=client_pod,server_pod"])?;
    exporter.wait_for_names(SOON)?;
    Ok(exporter)
}

/// The heart of it: pod → ClusterIP → pod, on the same node and on another in another zone, IPv4 and IPv6.
#[test]
fn both_views_of_a_service_are_the_same() -> Result<()> {
    let cluster = Cluster::new()?;
    let (near, near_nginx) = web(&cluster, &cluster.a)?;
    let (far, far_nginx) = web(&cluster, &cluster.b)?;
    let client = front(&cluster, &cluster.a)?;
    let service = cluster.cluster_ip(SHOP, "web", ServicePort::tcp(80, 8080), &[&near, &far])?;
    let (at_a, at_b) = (named(&cluster, &cluster.a)?, named(&cluster, &cluster.b)?);
    let [v4, v6] = [0, 1].map(|family| service.cluster_addresses[family]);
    fetch(client.main()?, &format!("{v4}:80"), 40)?;
    fetch(client.main()?, &format!("[{v6}]:80"), 40)?;
    let moved = counted(&[&near_nginx, &far_nginx], 80)?;
    assert!(moved.iter().all(|moved| moved.opened > 10.0), "{moved:?}");
    let edge = |zone| labels([SHOP, "front", "zone-a"], [SHOP, "web", zone], "web", "pod", "8080");
    let near_edge = Edges::from([(edge("zone-a"), moved[0])]);
    let far_edge = Edges::from([(edge("zone-b"), moved[1])]);
    let both: Edges =
        near_edge.iter().chain(&far_edge).map(|(labels, moved)| (labels.clone(), *moved)).collect();
    // Everything that the client did, whomever it was charged to, and everything that anybody did with the servers.
    let of_client = [("client_namespace", SHOP), ("client_workload", "front")];
    let of_server = [("server_namespace", SHOP), ("server_workload", "web")];
    for selector in [of_client, of_server] {
        expect_edges(&at_a, CLIENT, &selector, &both, SOON)?;
        for (exporter, pod, edge) in [(&at_a, &near, &near_edge), (&at_b, &far, &far_edge)] {
            let of_pod = [&selector[..], &[("server_pod", &pod.object.name)]].concat();
            expect_edges(exporter, SERVER, &of_pod, edge, SOON)?;
            expect_edges(&at_a, CLIENT, &of_pod, edge, SOON)?;
        }
    }
    let metrics = at_a.scrape()?;
    assert_eq!(edges(&metrics, CLIENT, &[("server_port", "80"), of_client[0], of_client[1]]), Edges::new());
    Ok(())
}
