// SPDX-License-Identifier: Apache-2.0
//! Pods whose traffic goes through real Envoys as sidecar proxies: every end of a path is counted once, and under an
//! observer of its own.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use flowgauge_tests::api_server::objects::{self, Container, Part, Service, ServicePort};
use flowgauge_tests::envoy::{Envoy, GROUP, INBOUND, Passed};
use flowgauge_tests::kubernetes::{Cluster, Node, NodeExporter, Place, Pod};
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::nginx::Nginx;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::run;
use flowgauge_tests::traffic;

const CLIENT_PROXY: &str = "client_proxy";
const SERVER_PROXY: &str = "server_proxy";
const OBSERVERS: [&str; 4] = [CLIENT, CLIENT_PROXY, SERVER_PROXY, SERVER];

const PROXY: &str = "istio-proxy";
const NAMESPACE: &str = "mesh";
/// Where the application of every server listens.
const APP: u16 = 8080;
const FILES: [(&str, usize); 3] = [("small", 10), ("page", 30_000), ("large", 500_000)];
const PATIENCE: Duration = Duration::from_secs(15);

/// A pod of a Deployment with these containers besides its `main` one.
fn pod(cluster: &Cluster, node: &Node, name: &str, others: &[(&str, Part)]) -> Result<Pod> {
    let mut object = objects::Pod::of_deployment(NAMESPACE, name);
    object.containers.extend(others.iter().map(|(name, part)| Container::new(name, *part)));
    cluster.run(node, object, Place::default())
}

/// Leads a pod's traffic through an Envoy in this container.
fn sidecar<'a>(pod: &'a Pod, container: &str) -> Result<Envoy<'a>> {
    let host = pod.container(container)?;
    Envoy::start(|program| host.command(program), APP)
}

fn app(pod: &Pod) -> Result<Nginx> {
    Nginx::start(pod.main()?, &[&format!("[::]:{APP} ipv6only=off")], &FILES, 1)
}

fn service(cluster: &Cluster, name: &str, pods: &[&Pod]) -> Result<Service> {
    cluster.cluster_ip(NAMESPACE, name, ServicePort::tcp(80, APP), pods)
}

fn exporter(cluster: &Cluster, node: &Node, flags: &[&str]) -> Result<NodeExporter> {
    let exporter = cluster.exporter(node, &[&["--labels.add=client_pod,server_pod"], flags].concat())?;
    exporter.wait_for_names(PATIENCE)?;
    Ok(exporter)
}

/// What an application that opened connections has moved.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Moved {
    sent: f64,
    received: f64,
    connections: f64,
}

const NOTHING: Moved = Moved { sent: 0.0, received: 0.0, connections: 0.0 };

impl Moved {
    fn times(self, factor: f64) -> Self {
        let Moved { sent, received, connections } = self;
        Moved { sent: sent * factor, received: received * factor, connections: connections * factor }
    }
}

/// Has an HTTP client in this container make connections of many requests to these addresses in turn, and returns what
/// the server's log says of them: nobody on the way adds to it or takes from it.
fn visit(from: &Host, nginx: &Nginx, port: u16, addresses: &[String]) -> Result<Moved> {
    const CONNECTIONS: usize = 24;
    const REQUESTS: usize = 6;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/http_client.py");
    let numbers = [usize::from(port), CONNECTIONS, REQUESTS].map(|number| number.to_string());
    run(from.command("timeout").args(["40", "python3", script]).args(numbers).args(addresses))?;
    let requests = nginx.requests(CONNECTIONS * REQUESTS)?;
    ensure!(requests.len() == CONNECTIONS * REQUESTS, "{} requests", requests.len());
    Ok(Moved {
        sent: requests.iter().map(|request| request.received).sum(),
        received: requests.iter().map(|request| request.sent).sum(),
        connections: requests.iter().map(|request| &request.connection).collect::<BTreeSet<_>>().len() as f64,
    })
}

fn addresses(pod: &Pod) -> [String; 2] {
    [pod.v4.to_string(), pod.v6.to_string()]
}

fn texts(service: &Service) -> Vec<String> {
    service.cluster_addresses.iter().map(ToString::to_string).collect()
}

/// All that this end of a pod's flows has seen, over all edges, from the side of who opened them.
fn seen_at(metrics: &Metrics, pod: &Pod, observer: &str) -> Moved {
    let opened = observer.starts_with("client");
    let own = if opened { "client_pod" } else { "server_pod" };
    let sum = |name: &str| {
        let selector = [("observer", observer), (own, pod.object.name.as_str())];
        metrics.sum(&format!("flowgauge_tcp_{name}_total"), &selector)
    };
    let (out, back) = (sum("sent_bytes"), sum("received_bytes"));
    let (sent, received) = if opened { (out, back) } else { (back, out) };
    Moved { sent, received, connections: sum("connections_closed") }
}

/// Waits until each of these ends of the pod has seen what was moved; its other ends must have seen nothing.
fn expect(exporter: &NodeExporter, pod: &Pod, observers: &[&str], moved: Moved) -> Result<Metrics> {
    let wanted = |observer: &str| if observers.contains(&observer) { moved } else { NOTHING };
    let text = format!("{moved:?} at {observers:?} of {}", pod.object.name);
    exporter.wait_until(&text, &[], PATIENCE, |metrics| {
        OBSERVERS.iter().all(|observer| seen_at(metrics, pod, observer) == wanted(observer))
    })
}

fn within_pods(metrics: &Metrics) -> f64 {
    metrics.sum("flowgauge_proxy_pod_bytes_total", &[])
}

/// The edges of one end of a pod: client's workload and zone; server's workload, zone, service, kind and port.
fn edges(metrics: &Metrics, pod: &Pod, observer: &str) -> BTreeSet<[String; 7]> {
    const LABELS: [&str; 7] = [
        "client_workload",
        "client_zone",
        "server_workload",
        "server_zone",
        "server_service",
        "server_kind",
        "server_port",
    ];
    let own = if observer.starts_with("client") { "client_pod" } else { "server_pod" };
    let selector = [("observer", observer), (own, pod.object.name.as_str())];
    let of = |label: &str, sample: &flowgauge_tests::metrics::Sample| {
        sample.labels.get(label).cloned().unwrap_or_default()
    };
    metrics
        .select("flowgauge_tcp_sent_bytes_total", &selector)
        .map(|sample| LABELS.map(|label| of(label, sample)))
        .collect()
}

/// An edge to a pod, from workload and zone to workload and zone, through a Service, to a port.
fn to_pod(from: [&str; 2], to: [&str; 2], service: &str, port: u16) -> BTreeSet<[String; 7]> {
    let [client, client_zone, server, server_zone] = [from[0], from[1], to[0], to[1]];
    let port = port.to_string();
    BTreeSet::from([[client, client_zone, server, server_zone, service, "pod", &port].map(str::to_owned)])
}

#[test]
fn every_end_of_a_path_through_two_proxies_counts_once() -> Result<()> {
    let cluster = Cluster::new()?;
    for (node, part) in [(&cluster.a, Part::Main), (&cluster.b, Part::Sidecar)] {
        let front = pod(&cluster, &cluster.a, "front", &[(PROXY, part)])?;
        let web = pod(&cluster, node, "web", &[(PROXY, part)])?;
        service(&cluster, "web", &[&web])?;
        let nginx = app(&web)?;
        let (front_proxy, web_proxy) = (sidecar(&front, PROXY)?, sidecar(&web, PROXY)?);
        let (near, far) = (exporter(&cluster, &cluster.a, &[])?, exporter(&cluster, node, &[])?);
        let before = [within_pods(&near.scrape()?), within_pods(&far.scrape()?)];
        let moved = visit(front.main()?, &nginx, APP, &addresses(&web))?;
        let at_front = expect(&near, &front, &[CLIENT, CLIENT_PROXY], moved)?;
        let at_web = expect(&far, &web, &[SERVER, SERVER_PROXY], moved)?;
        // The proxies' ends of what stays in a pod are no edges: one for each pod of the node.
        let pods_of_the_node = if node.name == "a" { 2.0 } else { 1.0 };
        for (exporter, before) in [&near, &far].into_iter().zip(before) {
            let within = before + pods_of_the_node * (moved.sent + moved.received);
            exporter.wait_for("flowgauge_proxy_pod_bytes_total", &[], within, PATIENCE)?;
        }
        let (a, b) = (["front", "zone-a"], ["web", node.zone.as_str()]);
        assert_eq!(edges(&at_front, &front, CLIENT), to_pod(a, b, "web", APP));
        assert_eq!(edges(&at_front, &front, CLIENT_PROXY), to_pod(a, b, "web", APP));
        assert_eq!(
            edges(&at_web, &web, SERVER_PROXY),
            to_pod(a, b, "", INBOUND),
            "the port of the redirection"
        );
        assert_eq!(
            edges(&at_web, &web, SERVER),
            to_pod(b, b, "web", APP),
            "the application's peer is its proxy"
        );
        let connections = moved.connections as u64;
        assert_eq!(front_proxy.passed()?, Passed { inbound: 0, outbound: connections });
        assert_eq!(web_proxy.passed()?, Passed { inbound: connections, outbound: 0 });
    }
    Ok(())
}

/// Over all smoothed round trips that one end of a pod has told: how many, and their mean in seconds.
fn round_trips(metrics: &Metrics, pod: &Pod, observer: &str) -> (f64, f64) {
    let own = if observer.starts_with("client") { "client_pod" } else { "server_pod" };
    let selector = [("observer", observer), (own, pod.object.name.as_str())];
    let histogram = metrics.histogram("flowgauge_tcp_rtt_seconds", &selector);
    (histogram.count, histogram.mean())
}

#[test]
fn round_trips_before_and_after_the_proxies_are_series_of_their_own() -> Result<()> {
    const ONE_WAY: Duration = Duration::from_millis(40);
    let cluster = Cluster::new()?;
    let _link = cluster.slow_down(ONE_WAY)?;
    let front = pod(&cluster, &cluster.a, "front", &[(PROXY, Part::Main)])?;
    let web = pod(&cluster, &cluster.b, "web", &[(PROXY, Part::Main)])?;
    let _server = Server::start(web.main()?, &["--listen", &format!("[::]:{APP}")])?;
    let (_front_proxy, _web_proxy) = (sidecar(&front, PROXY)?, sidecar(&web, PROXY)?);
    let (near, far) = (exporter(&cluster, &cluster.a, &[])?, exporter(&cluster, &cluster.b, &[])?);
    let to = [web.at4(APP), web.at6(APP)];
    let shape = ["--connections", "20", "--requests", "3", "--send", "200", "--receive", "1000"];
    let report = get(front.main()?, &[&["--to", &to[0], "--to", &to[1]], &shape[..]].concat())?;
    ensure!(report.answered == 60 && report.errors.is_empty(), "{report:?}");
    let moved = Moved { sent: report.sent as f64, received: report.received as f64, connections: 20.0 };
    let at_front = expect(&near, &front, &[CLIENT, CLIENT_PROXY], moved)?;
    let at_web = expect(&far, &web, &[SERVER, SERVER_PROXY], moved)?;
    let round_trip = 2.0 * ONE_WAY.as_secs_f64();
    for (metrics, pod, observer, between_pods) in [
        (&at_front, &front, CLIENT, false),
        (&at_front, &front, CLIENT_PROXY, true),
        (&at_web, &web, SERVER_PROXY, true),
        (&at_web, &web, SERVER, false),
    ] {
        let (count, mean) = round_trips(metrics, pod, observer);
        assert!(count >= 20.0, "{observer}: {count}");
        let fits = if between_pods { mean >= round_trip } else { mean < round_trip / 2.0 };
        assert!(fits, "{observer}: {mean} s on a link of {round_trip} s");
    }
    Ok(())
}

#[test]
fn a_client_without_proxy_comes_to_one() -> Result<()> {
    let cluster = Cluster::new()?;
    let plain = pod(&cluster, &cluster.a, "plain", &[])?;
    let web = pod(&cluster, &cluster.b, "web", &[(PROXY, Part::Main)])?;
    let service = service(&cluster, "web", &[&web])?;
    let nginx = app(&web)?;
    let _proxy = sidecar(&web, PROXY)?;
    let (near, far) = (exporter(&cluster, &cluster.a, &[])?, exporter(&cluster, &cluster.b, &[])?);
    let moved = visit(plain.main()?, &nginx, 80, &texts(&service))?;
    let at_plain = expect(&near, &plain, &[CLIENT], moved)?;
    let at_web = expect(&far, &web, &[SERVER, SERVER_PROXY], moved)?;
    let (a, b) = (["plain", "zone-a"], ["web", "zone-b"]);
    assert_eq!(edges(&at_plain, &plain, CLIENT), to_pod(a, b, "web", APP));
    assert_eq!(edges(&at_web, &web, SERVER_PROXY), to_pod(a, b, "", INBOUND));
    assert_eq!(edges(&at_web, &web, SERVER), to_pod(b, b, "web", APP));
    Ok(())
}

#[test]
fn a_proxy_goes_out_to_a_service_without_one() -> Result<()> {
    let cluster = Cluster::new()?;
    let front = pod(&cluster, &cluster.a, "front", &[(PROXY, Part::Main)])?;
    let plain = pod(&cluster, &cluster.b, "plain", &[])?;
    let service = service(&cluster, "plain", &[&plain])?;
    let nginx = app(&plain)?;
    let _proxy = sidecar(&front, PROXY)?;
    let (near, far) = (exporter(&cluster, &cluster.a, &[])?, exporter(&cluster, &cluster.b, &[])?);
    let moved = visit(front.main()?, &nginx, 80, &texts(&service))?;
    let at_front = expect(&near, &front, &[CLIENT, CLIENT_PROXY], moved)?;
    let at_plain = expect(&far, &plain, &[SERVER], moved)?;
    // The application's connection ends at the proxy, which alone knows to which backend it goes on.
    let dialled = ["front", "zone-a", "plain", "", "plain", "service", "80"].map(str::to_owned);
    assert_eq!(edges(&at_front, &front, CLIENT), BTreeSet::from([dialled]));
    let through = to_pod(["front", "zone-a"], ["plain", "zone-b"], "plain", APP);
    assert_eq!(edges(&at_front, &front, CLIENT_PROXY), through);
    assert_eq!(edges(&at_plain, &plain, SERVER), through);
    Ok(())
}

#[test]
fn a_gateway_is_an_application() -> Result<()> {
    let cluster = Cluster::new()?;
    let mut object = objects::Pod::of_deployment(NAMESPACE, "gateway");
    object.containers = vec![Container::new("setup", Part::Init), Container::new(PROXY, Part::Main)];
    let gateway = cluster.run(&cluster.a, object, Place::default())?;
    let web = pod(&cluster, &cluster.b, "web", &[(PROXY, Part::Main)])?;
    let service = service(&cluster, "web", &[&web])?;
    let nginx = app(&web)?;
    let _web_proxy = sidecar(&web, PROXY)?;
    let host = gateway.container(PROXY)?;
    let target = SocketAddr::new(service.cluster_addresses[0], 80);
    let _gateway_proxy = Envoy::gateway(|program| host.command(program), 8443, target)?;
    let (outside, _link) = cluster.outside("outside")?;
    let (near, far) = (exporter(&cluster, &cluster.a, &[])?, exporter(&cluster, &cluster.b, &[])?);
    let before = within_pods(&near.scrape()?);
    let moved = visit(&outside, &nginx, 8443, &addresses(&gateway))?;
    let at_gateway = expect(&near, &gateway, &[SERVER, CLIENT], moved)?;
    let at_web = expect(&far, &web, &[SERVER, SERVER_PROXY], moved)?;
    assert_eq!(within_pods(&at_gateway), before);
    let (a, b) = (["gateway", "zone-a"], ["web", "zone-b"]);
    assert_eq!(edges(&at_gateway, &gateway, SERVER), to_pod(["unknown", ""], a, "", 8443));
    assert_eq!(edges(&at_gateway, &gateway, CLIENT), to_pod(a, b, "web", APP));
    assert_eq!(edges(&at_web, &web, SERVER_PROXY), to_pod(a, b, "", INBOUND));
    Ok(())
}

#[test]
fn the_flag_says_which_containers_are_proxies() -> Result<()> {
    let cluster = Cluster::new()?;
    let front = pod(&cluster, &cluster.a, "front", &[(PROXY, Part::Main)])?;
    let web = pod(&cluster, &cluster.a, "web", &[("our-mesh", Part::Main)])?;
    let nginx = app(&web)?;
    let (_front_proxy, _web_proxy) = (sidecar(&front, PROXY)?, sidecar(&web, "our-mesh")?);
    let usual = exporter(&cluster, &cluster.a, &[])?;
    let changed = exporter(&cluster, &cluster.a, &["--labels.proxy-containers=our-mesh"])?;
    let before = [within_pods(&usual.scrape()?), within_pods(&changed.scrape()?)];
    let moved = visit(front.main()?, &nginx, APP, &addresses(&web))?;
    expect(&usual, &front, &[CLIENT, CLIENT_PROXY], moved)?;
    expect(&changed, &web, &[SERVER, SERVER_PROXY], moved)?;
    // A container that is no proxy, for all that is known, counts as client and as server of what it passes on.
    for (exporter, before, pod, both, once) in
        [(&usual, before[0], &web, SERVER, CLIENT), (&changed, before[1], &front, CLIENT, SERVER)]
    {
        let observers =
            [(both, moved.times(2.0)), (once, moved), (CLIENT_PROXY, NOTHING), (SERVER_PROXY, NOTHING)];
        exporter.wait_until(&format!("{observers:?} of {}", pod.object.name), &[], PATIENCE, |metrics| {
            observers.iter().all(|(observer, moved)| seen_at(metrics, pod, observer) == *moved)
        })?;
        let within = before + moved.sent + moved.received;
        exporter.wait_for("flowgauge_proxy_pod_bytes_total", &[], within, PATIENCE)?;
    }
    Ok(())
}

#[test]
fn a_port_that_the_proxy_had_before_is_no_way_to_its_backend() -> Result<()> {
    let cluster = Cluster::new()?;
    let front = pod(&cluster, &cluster.a, "front", &[(PROXY, Part::Main)])?;
    let plain = pod(&cluster, &cluster.b, "plain", &[])?;
    let service = service(&cluster, "plain", &[&plain])?;
    let _server = Server::start(plain.main()?, &["--listen", &format!("[::]:{APP}")])?;
    let _proxy = sidecar(&front, PROXY)?;
    let near = exporter(&cluster, &cluster.a, &[])?;
    let to = SocketAddr::new(service.cluster_addresses[0], 80).to_string();
    let from = format!("{}:40000", front.v4);
    let shape = ["--to", &to, "--from", &from, "--send", "100", "--receive", "2000", "--close", "server"];
    // What the proxy itself dials is not redirected: it may have had any port that the application has later.
    let mut command = front.container(PROXY)?.command("setpriv");
    command.args(["--regid", GROUP, "--clear-groups"]).arg(traffic::binary()?).arg("get").args(shape);
    run(&mut command)?;
    let zone = ["front", "zone-a"];
    let backend = to_pod(zone, ["plain", "zone-b"], "plain", APP);
    near.wait_until("the proxy's edge", &[], PATIENCE, |metrics| {
        edges(metrics, &front, CLIENT_PROXY) == backend
    })?;
    let report = get(front.main()?, &shape)?;
    ensure!(report.answered == 1, "{report:?}");
    let dialled = ["front", "zone-a", "plain", "", "plain", "service", "80"].map(str::to_owned);
    let moved = Moved { sent: report.sent as f64, received: report.received as f64, connections: 1.0 };
    let metrics = near.wait_until("the application's connection", &[], PATIENCE, |metrics| {
        seen_at(metrics, &front, CLIENT) == moved
            && seen_at(metrics, &front, CLIENT_PROXY) == moved.times(2.0)
    })?;
    assert_eq!(edges(&metrics, &front, CLIENT), BTreeSet::from([dialled]));
    assert_eq!(edges(&metrics, &front, CLIENT_PROXY), backend);
    Ok(())
}
