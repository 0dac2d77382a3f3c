// SPDX-License-Identifier: Apache-2.0
//! What is known of connections to Services of every kind, against what their backends counted.

use std::net::IpAddr;

use flowgauge_tests::api_server::objects::{self, Endpoint, EndpointSlice, Pairs, Service, ServicePort};
use flowgauge_tests::kubernetes::views::{Edges, Labels, Moved, edges, expect_edges, labels};
use flowgauge_tests::kubernetes::{Cluster, Node, NodeExporter, Place, Pod};
use flowgauge_tests::prelude::*;

const MALL: &str = "services-mall";
const OF_CLIENT: [(&str, &str); 2] = [("client_namespace", MALL), ("client_workload", "front")];

struct Scene {
    exporter: NodeExporter,
    client: Pod,
    near: (Pod, Server),
    far: (Pod, Server),
    cluster: Cluster,
}

fn web(cluster: &Cluster, node: &Node) -> Result<(Pod, Server)> {
    let pod = cluster.run(node, objects::Pod::of_replica_set(MALL, "web", "7d4b9c6f5"), Place::default())?;
    let server = Server::start(pod.main()?, &["--listen", "[::]:8080"])?;
    Ok((pod, server))
}

/// A client and a backend on node `a`, another on `b`, and the exporter of `a`.
impl Scene {
    fn new(prepare: impl FnOnce(&Cluster, [&Pod; 2]) -> Result<()>, flags: &[&str]) -> Result<Self> {
        let cluster = Cluster::new()?;
        let (near, far) = (web(&cluster, &cluster.a)?, web(&cluster, &cluster.b)?);
        let front = objects::Pod::of_deployment(MALL, "front");
        let client = cluster.run(&cluster.a, front, Place::default())?;
        prepare(&cluster, [&near.0, &far.0])?;
        let exporter = cluster.exporter(&cluster.a, flags)?;
        for source in ["node_pods", "services", "endpointslices", "nodes"] {
            exporter.wait_for_source(&format!("kubernetes_{source}"), true, SOON)?;
        }
        Ok(Scene { exporter, client, near, far, cluster })
    }

    /// Connects from the client pod, once each, and returns what either backend has had of it.
    fn fetch(&mut self, to: &str, connections: u64, answer: u64) -> Result<[Moved; 2]> {
        let before = [self.near.1.report()?, self.far.1.report()?];
        let shape = ["--to", to, "--connections", &connections.to_string(), "--receive", &answer.to_string()];
        let report = get(self.client.main()?, &shape)?;
        ensure!(report.answered == connections, "{to}: {report:?}");
        let after = [self.near.1.report()?, self.far.1.report()?];
        Ok([0, 1].map(|side| Moved::since(&before[side], &after[side])))
    }

    /// What the client's node tells of all that the client did.
    fn expect(&self, expected: Edges) -> Result<()> {
        expect_edges(&self.exporter, CLIENT, &OF_CLIENT, &expected, SOON).map(drop)
    }
}

/// From the client to the deployment `web`, through a service.
fn to_web(zone: &str, service: &str) -> Labels {
    labels([MALL, "front", "zone-a"], [MALL, "web", zone], service, "pod", "8080")
}

/// To both backends through a service.
fn split(service: &str, [near, far]: [Moved; 2]) -> Edges {
    Edges::from([(to_web("zone-a", service), near), (to_web("zone-b", service), far)])
}

/// Puts a service in front of both pods, after it was changed.
fn served(
    cluster: &Cluster,
    pods: [&Pod; 2],
    name: &str,
    change: impl FnOnce(&mut Service),
) -> Result<Service> {
    let mut service = Service::new(MALL, name, &cluster.service_addresses()?, &[ServicePort::tcp(80, 8080)]);
    change(&mut service);
    cluster.serve(&service, cluster.slices(&service, &pods)?)?;
    Ok(service)
}

#[test]
fn headless_services_select_the_pods_that_are_dialled() -> Result<()> {
    let headless = |cluster: &Cluster, pods: [&Pod; 2]| {
        served(cluster, pods, "direct", |service| service.cluster_addresses.clear()).map(drop)
    };
    let mut scene = Scene::new(headless, &[])?;
    let [near, far] = [&scene.near.0, &scene.far.0].map(|pod| [pod.at4(8080), pod.at6(8080)]);
    for to in near.iter().chain(&far) {
        scene.fetch(to, 6, 700)?;
    }
    let each = Moved::by(12, 700);
    scene.expect(split("direct", [each, each]))?;
    let near = Edges::from([(to_web("zone-a", "direct"), each)]);
    let of_near = [OF_CLIENT[0], OF_CLIENT[1], ("server_zone", "zone-a")];
    let metrics = scene.exporter.scrape()?;
    assert_eq!(edges(&metrics, CLIENT, &of_near), near);
    Ok(())
}

#[test]
fn node_ports_and_external_addresses_lead_to_backends() -> Result<()> {
    let outer: IpAddr = "192.0.2.77".parse()?;
    let balanced: IpAddr = "192.0.2.78".parse()?;
    let prepare = |cluster: &Cluster, pods: [&Pod; 2]| {
        let change = |service: &mut Service| {
            service.kind = "LoadBalancer";
            service.external_addresses = vec![outer];
            service.ingress = vec![balanced];
            service.ports[0].node_port = Some(30980);
        };
        served(cluster, pods, "gate", change).map(drop)
    };
    let mut scene = Scene::new(prepare, &[])?;
    let mut both = [Moved::default(); 2];
    let own = [format!("{}:30980", scene.cluster.a.v4()), format!("[{}]:30980", scene.cluster.a.v6())];
    for to in [format!("{outer}:80"), format!("{balanced}:80"), own[0].clone(), own[1].clone()] {
        for (sum, more) in both.iter_mut().zip(scene.fetch(&to, 20, 900)?) {
            sum.from_client += more.from_client;
            sum.to_client += more.to_client;
            sum.opened += more.opened;
            sum.closed += more.closed;
        }
    }
    assert_eq!(both[0].opened + both[1].opened, 80.0);
    assert!(both.iter().all(|moved| moved.opened > 10.0), "{both:?}");
    let mut expected = split("gate", both);
    scene.expect(expected.clone())?;
    // The other node translates what is dialled there: this one knows the service and no more.
    let there = format!("{}:30980", scene.cluster.b.v4());
    scene.fetch(&there, 5, 300)?;
    let service = labels([MALL, "front", "zone-a"], [MALL, "gate", ""], "gate", "service", "30980");
    expected.insert(service, Moved::by(5, 300));
    scene.expect(expected)
}

#[test]
fn a_service_without_endpoints_is_itself() -> Result<()> {
    let mut addresses = Vec::new();
    let prepare = |cluster: &Cluster, _: [&Pod; 2]| {
        let service =
            Service::new(MALL, "empty", &cluster.service_addresses()?, &[ServicePort::tcp(81, 8080)]);
        addresses.clone_from(&service.cluster_addresses);
        cluster.serve(&service, cluster.slices(&service, &[])?)
    };
    let scene = Scene::new(prepare, &[])?;
    for address in addresses {
        let to = std::net::SocketAddr::new(address, 81).to_string();
        let report = get(scene.client.main()?, &["--to", &to, "--connections", "4"])?;
        assert_eq!(report.errors.get("ECONNREFUSED"), Some(&4), "{report:?}");
    }
    let edge = [
        &OF_CLIENT[..],
        &[
            ("observer", CLIENT),
            ("server_namespace", MALL),
            ("server_workload", "empty"),
            ("server_zone", ""),
            ("server_service", "empty"),
            ("server_kind", "service"),
            ("server_port", "81"),
        ],
    ]
    .concat();
    let metrics = scene.exporter.wait_for("flowgauge_tcp_connect_attempts_total", &edge, 8.0, SOON)?;
    let failures = "flowgauge_tcp_connect_failures_total";
    assert_eq!(metrics.sum(failures, &edge), 8.0);
    assert_eq!(metrics.sum(failures, &OF_CLIENT), 8.0, "all of them there");
    // Over IPv6 what netfilter refused has been seen as `abandoned`, after a second SYN; why is not known. Only the four of
    // IPv4 are sure to be `refused`.
    let refused = metrics.sum(failures, &[&edge[..], &[("reason", "refused")]].concat());
    assert!(refused >= 4.0, "{refused} refused; {}", metrics.describe("flowgauge_tcp", &edge));
    scene.expect(Edges::new())
}

#[test]
fn a_service_without_selector_is_whom_it_leads_to() -> Result<()> {
    let scene = Scene::new(|_, _| Ok(()), &[])?;
    let (outside, link) = scene.cluster.outside("warehouse")?;
    let _server = Server::start(&outside, &["--listen", "[::]:5432"])?;
    let addresses = scene.cluster.service_addresses()?;
    let mut service = Service::new(MALL, "warehouse", &addresses, &[ServicePort::tcp(80, 5432)]);
    service.selector = Pairs::new();
    let slice = |family, address| {
        let endpoint = Endpoint { zone: Some("zone-x".to_owned()), ..Endpoint::outside(address) };
        EndpointSlice::new(MALL, "warehouse", family, &[5432]).with([endpoint])
    };
    let slices = vec![slice("IPv4", link.b.v4.into()), slice("IPv6", link.b.v6.into())];
    scene.cluster.serve(&service, slices)?;
    std::thread::sleep(Duration::from_millis(2500));
    for to in [format!("{}:80", addresses[0]), format!("[{}]:80", addresses[1]), link.b.at4(5432).to_string()]
    {
        let report = get(scene.client.main()?, &["--to", &to, "--connections", "7", "--receive", "500"])?;
        ensure!(report.answered == 7, "{to}: {report:?}");
    }
    let edge = labels([MALL, "front", "zone-a"], [MALL, "warehouse", "zone-x"], "warehouse", "host", "5432");
    scene.expect(Edges::from([(edge, Moved::by(21, 500))]))
}

/// Connections that live while the API begins to tell of the address that they dialled: what they did before has no
/// name, what they do after goes to their backends, and nothing is lost or counted twice.
#[test]
fn a_service_that_comes_while_connections_live() -> Result<()> {
    let mut service = None;
    let prepare = |cluster: &Cluster, pods: [&Pod; 2]| {
        let late = served(cluster, pods, "late", |_| {})?;
        cluster.api.delete(&late)?;
        service = Some(late);
        Ok(())
    };
    let mut scene = Scene::new(prepare, &[])?;
    let service = service.context("the service was made")?;
    let to = format!("{}:80", service.cluster_addresses[0]);
    let shape = ["--to", &to, "--connections", "30", "--send", "100", "--receive", "4000"];
    let (mut open, first) = Client::start(scene.client.main()?, &shape)?;
    let nameless = labels([MALL, "front", "zone-a"], ["", "unknown", ""], "", "unknown", "80");
    let before = [scene.near.1.report()?, scene.far.1.report()?];
    let early =
        Moved { from_client: first.sent as f64, to_client: first.received as f64, opened: 30.0, closed: 0.0 };
    let found =
        expect_edges(&scene.exporter, CLIENT, &OF_CLIENT, &Edges::from([(nameless.clone(), early)]), SOON);
    found.context("before the API tells of the service")?;
    scene.cluster.api.put(&service);
    // The first scrape that knows the service moves the connections over.
    std::thread::sleep(Duration::from_secs(2));
    scene.exporter.scrape()?;
    let whole = open.again()?;
    open.finish()?;
    let after = [scene.near.1.report()?, scene.far.1.report()?];
    let late = [0, 1].map(|side| Moved {
        opened: 0.0,
        closed: before[side].accepted as f64,
        ..Moved::since(&before[side], &after[side])
    });
    assert_eq!(late[0].to_client + late[1].to_client + early.to_client, whole.received as f64);
    let mut expected = split("late", late);
    expected.insert(nameless, early);
    scene.expect(expected)
}

/// The client knows which of two it dialled; the server can only take the first by name.
#[test]
fn two_services_on_one_endpoint() -> Result<()> {
    let mut both = Vec::new();
    let prepare = |cluster: &Cluster, pods: [&Pod; 2]| {
        both = ["alpha", "beta"]
            .map(|name| served(cluster, pods, name, |_| {}))
            .into_iter()
            .collect::<Result<_>>()?;
        Ok(())
    };
    let mut scene = Scene::new(prepare, &["--labels.add=server_pod"])?;
    let mut expected = Edges::new();
    let mut at_near = Moved::default();
    for (service, answer) in both.iter().zip([600, 800]) {
        let moved = scene.fetch(&format!("{}:80", service.cluster_addresses[0]), 25, answer)?;
        expected.extend(split(&service.name, moved));
        at_near.from_client += moved[0].from_client;
        at_near.to_client += moved[0].to_client;
        at_near.opened += moved[0].opened;
        at_near.closed += moved[0].closed;
    }
    scene.expect(expected)?;
    let of_near = [OF_CLIENT[0], OF_CLIENT[1], ("server_pod", scene.near.0.object.name.as_str())];
    let first = Edges::from([(to_web("zone-a", "alpha"), at_near)]);
    expect_edges(&scene.exporter, SERVER, &of_near, &first, SOON).map(drop)
}

/// They end at the workload that is all that answers for it, in whatever zone.
#[test]
fn without_conntrack_connections_end_at_the_service() -> Result<()> {
    let mut address = None;
    let prepare = |cluster: &Cluster, pods: [&Pod; 2]| {
        address = Some(served(cluster, pods, "web", |_| {})?.cluster_addresses[0]);
        Ok(())
    };
    let mut scene = Scene::new(prepare, &["--labels.conntrack=off"])?;
    scene.fetch(&format!("{}:80", address.context("the service was made")?), 20, 400)?;
    let edge = labels([MALL, "front", "zone-a"], [MALL, "web", ""], "web", "pod", "80");
    scene.expect(Edges::from([(edge, Moved::by(20, 400))]))
}

/// `--labels.kubernetes.pods=node`: remote pods are known as far as a Service selects them.
#[test]
fn with_the_own_nodes_pods_only() -> Result<()> {
    let mut address = None;
    let prepare = |cluster: &Cluster, pods: [&Pod; 2]| {
        address = Some(served(cluster, pods, "web", |_| {})?.cluster_addresses[0]);
        Ok(())
    };
    let mut scene = Scene::new(prepare, &["--labels.kubernetes.pods=node"])?;
    let lone = scene.cluster.run(&scene.cluster.b, objects::Pod::new(MALL, "lone"), Place::default())?;
    let _lone_server = Server::start(lone.main()?, &["--listen", "[::]:8080"])?;
    let moved = scene.fetch(&format!("{}:80", address.context("the service was made")?), 20, 400)?;
    get(scene.client.main()?, &["--to", &lone.at4(8080), "--connections", "3", "--receive", "100"])?;
    let mut expected = split("web", moved);
    let unknown = labels([MALL, "front", "zone-a"], ["", "unknown", ""], "", "unknown", "8080");
    expected.insert(unknown, Moved::by(3, 100));
    scene.expect(expected)
}
