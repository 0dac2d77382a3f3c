// SPDX-License-Identifier: Apache-2.0
//! Both ends' views of one edge between pods, through a Service: the same labels, and the bytes that nginx counted.

use std::collections::BTreeSet;

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

/// Connections that were open before either exporter was started: what they move afterwards is named at both ends.
#[test]
fn connections_older_than_the_exporter_are_named() -> Result<()> {
    let cluster = Cluster::new()?;
    let mut backends = Vec::new();
    for node in [&cluster.a, &cluster.b] {
        let object = objects::Pod::of_replica_set(SHOP, "api", "6b7f9d5c4");
        let pod = cluster.run(node, object, Place::default())?;
        let server = Server::start(pod.main()?, &["--listen", "[::]:8080"])?;
        backends.push((pod, server, &node.zone));
    }
    let client = front(&cluster, &cluster.a)?;
    let pods = [&backends[0].0, &backends[1].0];
    let service = cluster.cluster_ip(SHOP, "api", ServicePort::tcp(80, 8080), &pods)?;
    let [v4, v6] = [0, 1].map(|family| service.cluster_addresses[family]);
    let shape = ["--to", &format!("{v4}:80"), "--to", &format!("[{v6}]:80"), "--connections", "40"];
    let shape = [&shape[..], &["--send", "100", "--receive", "3000"]].concat();
    let (mut open, _) = Client::start(client.main()?, &shape)?;
    let before = backends.iter_mut().map(|(_, server, _)| server.report()).collect::<Result<Vec<_>>>()?;
    let (at_a, at_b) = (named(&cluster, &cluster.a)?, named(&cluster, &cluster.b)?);
    // A scrape of each, as Prometheus makes them, before anything moves.
    at_a.scrape()?;
    at_b.scrape()?;
    open.again()?;
    open.finish()?;
    let mut both = Edges::new();
    for (number, (pod, server, zone)) in backends.iter_mut().enumerate() {
        let (early, late) = (&before[number], server.report()?);
        let moved = Moved { opened: 0.0, closed: early.accepted as f64, ..Moved::since(early, &late) };
        let edge = labels([SHOP, "front", "zone-a"], [SHOP, "api", zone], "api", "pod", "8080");
        let edge = Edges::from([(edge, moved)]);
        let of_pod = [("client_workload", "front"), ("server_pod", pod.object.name.as_str())];
        expect_edges([&at_a, &at_b][number], SERVER, &of_pod, &edge, SOON)?;
        both.extend(edge);
    }
    assert_eq!(both.values().map(|moved| moved.closed).sum::<f64>(), 40.0);
    expect_edges(&at_a, CLIENT, &[("client_workload", "front")], &both, SOON).map(drop)
}

/// Families of the scrape with labels of both ends that tell of these.
fn families(metrics: &flowgauge_tests::metrics::Metrics, ends: &[(&str, &str)]) -> BTreeSet<String> {
    let of_ends = |labels: &std::collections::BTreeMap<String, String>| {
        ends.iter().all(|(label, value)| labels.get(*label).map(String::as_str) == Some(value))
    };
    let told = metrics.families().filter(|(_, family)| {
        family.samples.iter().any(|sample| sample.value > 0.0 && of_ends(&sample.labels))
    });
    told.map(|(name, _)| name.strip_prefix("flowgauge_tcp_").unwrap_or(name).to_owned()).collect()
}

/// What goes from one zone to another can be told in every family, at both ends.
#[test]
fn every_family_tells_zones() -> Result<()> {
    let cluster = Cluster::new()?;
    let far = cluster.run(&cluster.b, objects::Pod::of_deployment(SHOP, "depot"), Place::default())?;
    let _server = Server::start(far.main()?, &["--listen", "[::]:8080", "--listen", "[::]:8083"])?;
    let client = front(&cluster, &cluster.a)?;
    let (at_a, at_b) = (named(&cluster, &cluster.a)?, named(&cluster, &cluster.b)?);
    let drop_at = |pod: &Pod, words: &[&str]| {
        let mut rule = pod.main()?.command("iptables");
        run(rule.args(["-w", "-A", "INPUT", "-p", "tcp"]).args(words).args(["-j", "DROP"])).map(drop)
    };
    // SYNs to 8082 are lost, SYN-ACKs from 8083, and the window of one connection closes.
    drop_at(&far, &["--dport", "8082"])?;
    drop_at(&client, &["--sport", "8083"])?;
    let slow = ["--to", &far.at4(8080), "--receive", "3000000", "--read-rate", "1500000"];
    let (open, report) = Client::start(client.main()?, &slow)?;
    assert_eq!(report.answered, 1, "{report:?}");
    for port in [8082, 8083] {
        let shape = ["connect", "--to", &far.at4(port), "--give-up", "2500"];
        flowgauge_tests::traffic::run_step(client.main()?, &shape)?;
    }
    get(client.main()?, &["--to", &far.at4(8080), "--connections", "5"])?;
    get(client.main()?, &["--to", &far.at4(8081)])?;
    let ends = |observer| {
        [
            ("observer", observer),
            ("client_namespace", SHOP),
            ("client_workload", "front"),
            ("client_zone", "zone-a"),
            ("server_namespace", SHOP),
            ("server_workload", "depot"),
            ("server_zone", "zone-b"),
        ]
    };
    let both = [
        "sent_bytes_total",
        "received_bytes_total",
        "sent_segments_total",
        "received_segments_total",
        "rtt_seconds",
        "connections",
        "connections_opened_total",
        "connections_closed_total",
    ];
    let at_client = [
        "retransmitted_segments_total",
        "connect_attempts_total",
        "connect_failures_total",
        "connect_duration_seconds",
        "syn_retransmits_total",
    ];
    let at_server = ["synack_retransmits_total", "limited_seconds_total"];
    for (exporter, observer, own) in [(&at_a, CLIENT, &at_client[..]), (&at_b, SERVER, &at_server[..])] {
        let wanted: BTreeSet<String> = both.iter().chain(own).map(|name| (*name).to_owned()).collect();
        let metrics = exporter.scrape()?;
        let told = families(&metrics, &ends(observer));
        let missing: Vec<_> = wanted.difference(&told).collect();
        assert!(missing.is_empty(), "the {observer} says nothing of zones in {missing:?}");
        // No series of this edge is without.
        let whole = ends(observer);
        let of_edge = [whole[0], whole[1], whole[2], whole[4], whole[5]];
        for sample in metrics.samples().filter(|sample| sample.name.starts_with("flowgauge_tcp_")) {
            let has = |(label, value): &(&str, &str)| sample.labels.get(*label).is_some_and(|v| v == value);
            assert!(!of_edge.iter().all(has) || whole.iter().all(has), "{sample:?}");
        }
    }
    open.finish().map(drop)
}

/// A host outside of the cluster whose zone the names file tells, as server and as client.
#[test]
fn the_zone_of_who_is_outside_comes_from_the_names_file() -> Result<()> {
    let cluster = Cluster::new()?;
    let client = front(&cluster, &cluster.a)?;
    let (outside, link) = cluster.outside("partner")?;
    let names = NamesFile::new(&[])?;
    names.write_text(&format!(
        "names:\n  - cidrs: [\"{}\", \"{}\"]\n    workload: partner\n    zone: dc-1\n    kind: external\n",
        link.b.v4, link.b.v6
    ))?;
    let exporter = cluster.exporter(&cluster.a, &[&names.flag()])?;
    exporter.wait_for_names(SOON)?;
    let _out = Server::start(&outside, &["--listen", "[::]:9443"])?;
    let _in = Server::start(client.main()?, &["--listen", "[::]:8080"])?;
    let shape = ["--connections", "6", "--receive", "700"];
    for to in [link.b.at4(9443).to_string(), link.b.at6(9443).to_string()] {
        get(client.main()?, &[&["--to", &to], &shape[..]].concat())?;
    }
    for to in [client.at4(8080), client.at6(8080)] {
        get(&outside, &[&["--to", &to], &shape[..]].concat())?;
    }
    let out = labels([SHOP, "front", "zone-a"], ["", "partner", "dc-1"], "", "external", "9443");
    let of_client = [("client_namespace", SHOP), ("client_workload", "front")];
    expect_edges(&exporter, CLIENT, &of_client, &Edges::from([(out, Moved::by(12, 700))]), SOON)?;
    let inward = labels(["", "partner", "dc-1"], [SHOP, "front", "zone-a"], "", "pod", "8080");
    let of_server = [("server_namespace", SHOP), ("server_workload", "front")];
    expect_edges(&exporter, SERVER, &of_server, &Edges::from([(inward, Moved::by(12, 700))]), SOON).map(drop)
}
