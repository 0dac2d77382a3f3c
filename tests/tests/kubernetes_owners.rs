// SPDX-License-Identifier: Apache-2.0
//! Whose socket it is: workloads of every kind, control groups of every make, containers, and who enters a pod.

use std::collections::BTreeMap;

use flowgauge_tests::api_server::objects::{self, Container, EndpointSlice, Part, Service, ServicePort};
use flowgauge_tests::kubernetes::views::{Edges, Moved, expect_edges, labels};
use flowgauge_tests::kubernetes::{Cluster, Driver, Kubelet, NodeExporter, Place, Pod, Qos, Runtime};
use flowgauge_tests::prelude::*;

const FARM: &str = "owners-farm";

/// A cluster with the exporter of node `a`, and a server on either node that everybody calls.
struct Scene {
    exporter: NodeExporter,
    sink: Pod,
    far: Pod,
    _servers: [Server; 2],
    cluster: Cluster,
}

impl Scene {
    fn new() -> Result<Self> {
        let cluster = Cluster::new()?;
        let run = |node, name| {
            let pod = cluster.run(node, objects::Pod::of_deployment(FARM, name), Place::default())?;
            let server = Server::start(pod.main()?, &["--listen", "[::]:8080"])?;
            Ok::<_, anyhow::Error>((pod, server))
        };
        let (sink, server) = run(&cluster.a, "sink")?;
        let (far, far_server) = run(&cluster.b, "far")?;
        let exporter = cluster.exporter(&cluster.a, &["--labels.add=client_container,client_pod"])?;
        exporter.wait_for_names(SOON)?;
        Ok(Scene { exporter, sink, far, _servers: [server, far_server], cluster })
    }

    fn run(&self, object: objects::Pod, kubelet: Kubelet) -> Result<Pod> {
        self.cluster.run(&self.cluster.a, object, Place { kubelet, number: None })
    }

    /// Lets the API's watches catch up.
    fn told(&self) {
        std::thread::sleep(Duration::from_secs(1));
    }

    fn expect(&self, observer: &str, selector: &[(&str, &str)], expected: &Edges) -> Result<()> {
        expect_edges(&self.exporter, observer, selector, expected, SOON).map(drop)
    }
}

fn call(host: &Host, to: &str, answer: u64) -> Result<()> {
    let report = get(host, &["--to", to, "--connections", "2", "--receive", &answer.to_string()])?;
    ensure!(report.answered == 2, "{to}: {report:?}");
    Ok(())
}

/// As a client and as a server on its own node, and as a server that another pod's address leads to.
#[test]
fn workloads_of_every_kind() -> Result<()> {
    let scene = Scene::new()?;
    let (etcd, _) = objects::Pod::of_static(FARM, "etcd", "a");
    let all = [
        ("orchard", objects::Pod::of_deployment(FARM, "orchard")),
        ("barn", objects::Pod::of_stateful_set(FARM, "barn", 0)),
        ("fence", objects::Pod::of_daemon_set(FARM, "fence")),
        ("harvest", objects::Pod::of_cron_job(FARM, "harvest")),
        ("plough-once", objects::Pod::of_job(FARM, "plough-once")),
        ("etcd", etcd),
        ("scarecrow", objects::Pod::new(FARM, "scarecrow")),
    ];
    let mut running = Vec::new();
    for (workload, object) in all {
        let pod = scene.run(object, Kubelet::default())?;
        let server = Server::start(pod.main()?, &["--listen", "[::]:7070"])?;
        running.push((workload, pod, server));
    }
    scene.told();
    let (mut as_clients, mut as_servers) = (Edges::new(), Edges::new());
    for (number, (workload, pod, _)) in running.iter().enumerate() {
        let answer = 1000 + 10 * number as u64;
        call(pod.main()?, &scene.sink.at4(8080), answer)?;
        call(scene.sink.main()?, &pod.at6(7070), answer)?;
        let (own, sink) = ([FARM, workload, "zone-a"], [FARM, "sink", "zone-a"]);
        as_clients.insert(labels(own, sink, "", "pod", "8080"), Moved::by(2, answer));
        as_servers.insert(labels(sink, own, "", "pod", "7070"), Moved::by(2, answer));
    }
    let at_sink = [("server_namespace", FARM), ("server_workload", "sink")];
    let from_sink = [("client_namespace", FARM), ("client_workload", "sink")];
    for observer in [CLIENT, SERVER] {
        scene.expect(observer, &at_sink, &as_clients)?;
        scene.expect(observer, &from_sink, &as_servers)?;
    }
    Ok(())
}

#[test]
fn control_groups_of_every_make() -> Result<()> {
    let scene = Scene::new()?;
    let mut running = Vec::new();
    for (one, driver) in [("systemd", Driver::Systemd), ("cgroupfs", Driver::Cgroupfs)] {
        for qos in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
            for runtime in [Runtime::Containerd, Runtime::Crio, Runtime::Docker] {
                let name = format!("{one}-{qos:?}-{runtime:?}").to_lowercase();
                let object = objects::Pod::of_stateful_set(FARM, &name, 0);
                running.push((name, scene.run(object, Kubelet { driver, qos, runtime })?));
            }
        }
    }
    scene.told();
    let mut expected = Edges::new();
    for (number, (name, pod)) in running.iter().enumerate() {
        let answer = 500 + number as u64;
        call(pod.main()?, &scene.far.at4(8080), answer)?;
        let edge = labels([FARM, name, "zone-a"], [FARM, "far", "zone-b"], "", "pod", "8080");
        expected.insert(edge, Moved::by(2, answer));
    }
    assert_eq!(expected.len(), 18);
    scene.expect(CLIENT, &[("server_namespace", FARM), ("server_workload", "far")], &expected)
}

/// Containers of all parts; whoever enters one by exec is in its control group, as every process of this test is; whoever
/// enters the network namespace alone is still the pod.
#[test]
fn containers_and_visitors_of_a_pod() -> Result<()> {
    let scene = Scene::new()?;
    let mut object = objects::Pod::of_deployment(FARM, "stable");
    for (name, part) in [
        ("prepare", Part::Init),
        ("logger", Part::Main),
        ("helper", Part::Sidecar),
        ("debug", Part::Ephemeral),
    ] {
        object.containers.push(Container::new(name, part));
    }
    let pod = scene.run(object, Kubelet::default())?;
    let _server = Server::start(pod.main()?, &["--listen", "[::]:7070"])?;
    scene.told();
    call(scene.sink.main()?, &pod.at4(7070), 10)?;
    let mut expected = BTreeMap::new();
    for (number, name) in ["prepare", "main", "logger", "helper", "debug"].into_iter().enumerate() {
        let answer = 900 + number as u64;
        call(pod.container(name)?, &scene.far.at4(8080), answer)?;
        expected.insert(name.to_owned(), 2.0 * answer as f64);
    }
    call(&pod.visitor()?, &scene.far.at4(8080), 800)?;
    expected.insert(String::new(), 1600.0);
    let total = expected.values().sum();
    let moved = Moved { from_client: 17.0 * 12.0, to_client: total, opened: 12.0, closed: 12.0 };
    let edge = labels([FARM, "stable", "zone-a"], [FARM, "far", "zone-b"], "", "pod", "8080");
    let from = [
        ("observer", CLIENT),
        ("client_namespace", FARM),
        ("client_pod", &pod.object.name),
        ("server_workload", "far"),
    ];
    scene.expect(CLIENT, &from[1..], &Edges::from([(edge, moved)]))?;
    let metrics = scene.exporter.scrape()?;
    assert_eq!(metrics.sum_by("flowgauge_tcp_received_bytes_total", "client_container", &from), expected);
    Ok(())
}

/// On the own node the control group tells; on another the node's address and the port.
#[test]
fn pods_on_the_hosts_network() -> Result<()> {
    let scene = Scene::new()?;
    let agent = |name: &str, port: u16| {
        let mut object = objects::Pod::of_daemon_set(FARM, name);
        object.host_network = true;
        object.containers[0].ports = vec![port];
        object
    };
    let (here, there) = (agent("agent", 9100), agent("relay", 9200));
    let here = scene.run(here, Kubelet::default())?;
    let there = scene.cluster.run(&scene.cluster.b, there, Place::default())?;
    // A port that is not declared, but that an endpoint refers to.
    let selected = scene.cluster.run(&scene.cluster.b, agent("picked", 1), Place::default())?;
    let service = Service::new(FARM, "picked", &[], &[ServicePort::tcp(9300, 9300)]);
    let slices: Vec<EndpointSlice> = scene.cluster.slices(&service, &[&selected])?;
    scene.cluster.serve(&service, slices)?;
    let _servers = [
        Server::start(here.main()?, &["--listen", "[::]:9100"])?,
        Server::start(there.main()?, &["--listen", "[::]:9200"])?,
        Server::start(selected.main()?, &["--listen", "[::]:9300"])?,
        Server::start(&scene.cluster.b.host, &["--listen", "[::]:9400"])?,
    ];
    scene.told();
    let client = scene.run(objects::Pod::of_deployment(FARM, "rider"), Kubelet::default())?;
    scene.told();
    for to in
        [here.at4(9100), here.at6(9100), there.at4(9200), there.at6(9200), there.at4(9300), there.at4(9400)]
    {
        call(client.main()?, &to, 600)?;
    }
    call(here.main()?, &scene.far.at4(8080), 700)?;
    let rider = [FARM, "rider", "zone-a"];
    let to = |server, service, kind, port| labels(rider, server, service, kind, port);
    let at_home = to([FARM, "agent", "zone-a"], "", "pod", "9100");
    let expected = Edges::from([
        (at_home.clone(), Moved::by(4, 600)),
        (to([FARM, "relay", "zone-b"], "", "pod", "9200"), Moved::by(4, 600)),
        (to([FARM, "picked", "zone-b"], "picked", "pod", "9300"), Moved::by(2, 600)),
        (to(["", "b", "zone-b"], "", "host", "9400"), Moved::by(2, 600)),
    ]);
    let of_rider = [("client_namespace", FARM), ("client_workload", "rider")];
    scene.expect(CLIENT, &of_rider, &expected)?;
    let of_agent = [of_rider[0], of_rider[1], ("server_port", "9100")];
    scene.expect(SERVER, &of_agent, &Edges::from([(at_home, Moved::by(4, 600))]))?;
    let outward = labels([FARM, "agent", "zone-a"], [FARM, "far", "zone-b"], "", "pod", "8080");
    let outward = Edges::from([(outward, Moved::by(2, 700))]);
    scene.expect(CLIENT, &[("client_namespace", FARM), ("client_workload", "agent")], &outward)
}
