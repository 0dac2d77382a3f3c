// SPDX-License-Identifier: Apache-2.0
//! DNS through the cluster's own Service: datagrams to it are named by who answers for it.

use flowgauge_tests::api_server::objects::{self, Service, ServicePort};
use flowgauge_tests::dns::client::ask;
use flowgauge_tests::dns::dnsmasq::Dnsmasq;
use flowgauge_tests::kubernetes::{Cluster, Node, NodeExporter, Place, Pod};
use flowgauge_tests::prelude::*;

const SYSTEM: &str = "dns-system";
const SHOP: &str = "dns-shop";
const QUERIES: f64 = 300.0;

fn resolver(cluster: &Cluster, node: &Node) -> Result<(Pod, Dnsmasq)> {
    let object = objects::Pod::of_replica_set(SYSTEM, "resolver", "7d4b9c6f5");
    let pod = cluster.run(node, object, Place::default())?;
    let server = Dnsmasq::start(pod.main()?, &["address=/example.com/11.1.1.1"])?;
    Ok((pod, server))
}

/// An exporter on a node, once it knows names.
fn named(cluster: &Cluster, node: &Node) -> Result<NodeExporter> {
    let exporter = cluster.exporter(node, &[])?;
    for source in ["node_pods", "services", "endpointslices", "nodes"] {
        exporter.wait_for_source(&format!("kubernetes_{source}"), true, SOON)?;
    }
    Ok(exporter)
}

fn edge<'a>(observer: &'a str, zone: &'a str) -> [(&'a str, &'a str); 9] {
    [
        ("observer", observer),
        ("client_namespace", SHOP),
        ("client_workload", "front"),
        ("client_zone", "zone-a"),
        ("server_namespace", SYSTEM),
        ("server_workload", "resolver"),
        ("server_zone", zone),
        ("server_service", "cluster-dns"),
        ("server_port", "53"),
    ]
}

/// One resolver in another zone: both views of its clients have the same labels, zones included, in the families of UDP and of
/// DNS. With a second one in the client's own zone, the client cannot know which of them answered.
#[test]
fn both_views_of_the_clusters_dns_are_the_same() -> Result<()> {
    let cluster = Cluster::new()?;
    let (far, far_log) = resolver(&cluster, &cluster.b)?;
    let client = cluster.run(&cluster.a, objects::Pod::of_deployment(SHOP, "front"), Place::default())?;
    let addresses = cluster.service_addresses()?;
    let ports = [ServicePort::udp(53, 53), ServicePort::tcp(53, 53)];
    let service = Service::new(SYSTEM, "cluster-dns", &addresses, &ports);
    cluster.serve(&service, cluster.slices(&service, &[&far])?)?;
    let (at_a, at_b) = (named(&cluster, &cluster.a)?, named(&cluster, &cluster.b)?);
    let to = std::net::SocketAddr::new(addresses[0], 53).to_string();
    let count = QUERIES.to_string();
    let query = || {
        let shape = ["--to", &to, "--sockets", "20", "--outstanding", "2", "--count", &count];
        ask(client.main()?, &[&shape[..], &["--name", "q{}.example.com", "--types", "A"]].concat())
    };
    let report = query()?;
    assert_eq!(report.answered() as f64, QUERIES, "{report:?}");
    assert_eq!(far_log.log()?.asked() as f64, QUERIES, "by dnsmasq's own log");
    for (exporter, observer) in [(&at_a, CLIENT), (&at_b, SERVER)] {
        let whole = [&edge(observer, "zone-b")[..], &[("server_kind", "pod")]].concat();
        let metrics = exporter.wait_for("flowgauge_dns_responses_total", &whole, QUERIES, SOON)?;
        for (family, count) in [
            ("flowgauge_dns_queries_total", QUERIES),
            ("flowgauge_dns_response_duration_seconds_count", QUERIES),
            ("flowgauge_udp_sent_packets_total", QUERIES),
            ("flowgauge_udp_received_packets_total", QUERIES),
        ] {
            assert_eq!(metrics.sum(family, &whole), count, "{observer}: {family}");
        }
        let of_client = [("observer", observer), ("client_namespace", SHOP), ("server_namespace", SYSTEM)];
        let all = metrics.sum("flowgauge_dns_queries_total", &of_client);
        assert_eq!(
            all,
            QUERIES,
            "{observer}: {}",
            metrics.describe("flowgauge_dns_queries_total", &of_client)
        );
    }

    let (near, near_log) = resolver(&cluster, &cluster.a)?;
    cluster.serve(&service, cluster.slices(&service, &[&far, &near])?)?;
    at_a.wait_until("an endpoint more", &[], SOON, |metrics| {
        metrics.sum("flowgauge_label_source_entries", &[("source", "kubernetes_endpointslices")]) > 1.0
    })?;
    assert_eq!(query()?.answered() as f64, QUERIES);
    let asked = [far_log.log()?.asked() as f64 - QUERIES, near_log.log()?.asked() as f64];
    assert!(asked.iter().all(|asked| *asked > 0.0) && asked.iter().sum::<f64>() == QUERIES, "{asked:?}");
    let either = [&edge(CLIENT, "")[..], &[("server_kind", "pod")]].concat();
    at_a.wait_for("flowgauge_dns_responses_total", &either, QUERIES, SOON)?;
    // Both nodes are this machine, and each exporter takes all servers for its own node's.
    let all_here = QUERIES + QUERIES;
    at_a.wait_for("flowgauge_dns_responses_total", &edge(SERVER, "zone-a"), all_here, SOON).map(drop)
}
