// SPDX-License-Identifier: Apache-2.0
//! Which pod, workload and container a socket of this node is of: by control group, by network namespace, by address.

use std::collections::BTreeMap;

use flowgauge_tests::api_server::objects::{self, Container, Part};
use flowgauge_tests::kubernetes::{Cluster, Driver, Kubelet, NodeExporter, Place, Pod, Qos, Runtime};
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;

const NAMESPACE: &str = "pods-of-all-kinds";
/// Those that every edge is told apart by here.
const LABELS: &str = "observer \
    client_namespace client_workload client_zone client_pod client_container \
    server_namespace server_workload server_zone server_pod server_container server_kind server_port";

/// Payload bytes from and to the client, and connections opened.
type Moved = [f64; 3];
/// What moved, by the values of [`LABELS`].
type Edges = BTreeMap<String, Moved>;

/// One end of an edge: namespace, workload, zone, pod, container.
#[derive(Clone, Copy)]
struct End<'a>([&'a str; 5]);

impl<'a> End<'a> {
    /// As it is known by its control group.
    fn of(pod: &'a Pod, workload: &'a str, zone: &'a str, container: &'a str) -> Self {
        End([NAMESPACE, workload, zone, &pod.object.name, container])
    }

    /// As it is known by its address: no container.
    fn afar(self) -> Self {
        let End([namespace, workload, zone, pod, _]) = self;
        End([namespace, workload, zone, pod, ""])
    }

    fn host(workload: &'a str, zone: &'a str) -> Self {
        End(["", workload, zone, "", ""])
    }
}

/// What should be seen.
#[derive(Default)]
struct Expected(Edges);

impl Expected {
    fn view(&mut self, observer: &str, client: End, server: End, kind: &str, port: u16, moved: Moved) {
        let port = port.to_string();
        let values = [&[observer], &client.0[..], &server.0[..], &[kind, &port]].concat();
        let sum = self.0.entry(values.join("|")).or_default();
        sum.iter_mut().zip(moved).for_each(|(sum, moved)| *sum += moved);
    }

    /// Between pods, each of which knows the other by its address.
    fn between(&mut self, client: End, server: End, port: u16, moved: Moved) {
        self.view(CLIENT, client, server.afar(), "pod", port, moved);
        self.view(SERVER, client.afar(), server, "pod", port, moved);
    }

    /// Within one network namespace, where both ends are known at both ends.
    fn within(&mut self, client: End, server: End, port: u16, moved: Moved) {
        self.view(CLIENT, client, server, "pod", port, moved);
        self.view(SERVER, client, server, "pod", port, moved);
    }

    /// Waits until the exporter tells of these edges with an end in the namespace, and of no others.
    fn hold(&self, exporter: &Exporter, observers: &[&str]) -> Result<()> {
        let found = |metrics: &Metrics| edges(metrics, observers);
        let result =
            exporter.wait_until("", &[("server_port", "")], SOON, |metrics| found(metrics) == self.0);
        let metrics = exporter.scrape()?;
        let lines = |edges: &Edges, others: &Edges| -> String {
            let other = |(edge, moved): &(&String, &Moved)| others.get(*edge) != Some(*moved);
            edges.iter().filter(other).map(|(edge, moved)| format!("  {edge} {moved:?}\n")).collect()
        };
        result.map(drop).with_context(|| {
            let found = found(&metrics);
            format!("missing:\n{}too much:\n{}", lines(&self.0, &found), lines(&found, &self.0))
        })
    }
}

/// The edges with an end in the namespace on which something has moved.
fn edges(metrics: &Metrics, observers: &[&str]) -> Edges {
    let mut edges = Edges::new();
    let families = ["sent_bytes_total", "received_bytes_total", "connections_opened_total"];
    for sample in metrics.samples().filter(|sample| sample.value != 0.0) {
        let label = |name: &str| sample.labels.get(name).map_or("", String::as_str);
        let family = sample.name.strip_prefix("flowgauge_tcp_");
        let Some(family) = family.and_then(|name| families.iter().position(|family| *family == name)) else {
            continue;
        };
        let ends = ["client_namespace", "server_namespace"];
        if !ends.iter().any(|end| label(end) == NAMESPACE) || !observers.contains(&label("observer")) {
            continue;
        }
        let field = if label("observer") == SERVER && family < 2 { 1 - family } else { family };
        edges.entry(LABELS.split(' ').map(label).collect::<Vec<_>>().join("|")).or_default()[field] +=
            sample.value;
    }
    edges
}

/// The exporter of node `a`, with all names.
fn named(cluster: &Cluster) -> Result<NodeExporter> {
    let flags = ["--labels.add=client_container,server_container,client_pod,server_pod"];
    let exporter = cluster.exporter(&cluster.a, &flags)?;
    exporter.wait_for_names(SOON)?;
    Ok(exporter)
}

/// Two requests on a connection each, of a size by which they are known again.
fn fetch(client: &Host, to: &str, size: usize) -> Result<Moved> {
    let (send, receive) = (size.to_string(), (1000 + 10 * size).to_string());
    let report = get(client, &["--to", to, "--connections", "2", "--send", &send, "--receive", &receive])?;
    ensure!(report.answered == 2 && report.errors.is_empty(), "{to}: {report:?}");
    Ok([report.sent as f64, report.received as f64, report.connected as f64])
}

fn listen(host: &Host, ports: &[u16]) -> Result<Server> {
    let arguments = ports.iter().flat_map(|port| ["--listen".to_owned(), format!("[::]:{port}")]);
    let arguments: Vec<_> = arguments.collect();
    Server::start(host, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A pod of each kind of controller in turn, and the workload that it belongs to.
fn of_kind(number: usize) -> (objects::Pod, &'static str) {
    use objects::Pod;
    match number % 7 {
        0 => (Pod::of_deployment(NAMESPACE, "web-front"), "web-front"),
        1 => (Pod::of_stateful_set(NAMESPACE, "postgres", number as u32), "postgres"),
        2 => (Pod::of_daemon_set(NAMESPACE, "log-agent"), "log-agent"),
        3 => (Pod::of_cron_job(NAMESPACE, "nightly-report"), "nightly-report"),
        4 => (Pod::of_job(NAMESPACE, "migrate-2026"), "migrate-2026"),
        5 => (Pod::of_static(NAMESPACE, &format!("etcd-{number}"), "a").0, ["etcd-5", "etcd-12"][number / 7]),
        _ => (Pod::new(NAMESPACE, &format!("bare-{number}")), ["bare-6", "bare-13"][number / 7]),
    }
}

/// A ring of pods, each a client of the next: as many as there are places where kubelets and runtimes put containers.
#[test]
fn every_kind_of_pod_is_its_workload() -> Result<()> {
    const PORT: u16 = 8080;
    let cluster = Cluster::new()?;
    let mut ring = Vec::new();
    for driver in [Driver::Systemd, Driver::Cgroupfs] {
        for qos in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
            for runtime in [Runtime::Containerd, Runtime::Crio, Runtime::Docker] {
                let (object, workload) = of_kind(ring.len());
                let place = Place { kubelet: Kubelet { driver, qos, runtime }, number: None };
                let pod = cluster.run(&cluster.a, object, place)?;
                let server = listen(pod.main()?, &[PORT])?;
                ring.push((pod, workload, server));
            }
        }
    }
    let exporter = named(&cluster)?;
    let mut expected = Expected::default();
    let mut sent = Vec::new();
    for (number, (pod, workload, _)) in ring.iter().enumerate() {
        let (next, its_workload, _) = &ring[(number + 1) % ring.len()];
        let to = if number % 2 == 0 { next.at4(PORT) } else { next.at6(PORT) };
        let moved = fetch(pod.main()?, &to, number)?;
        let client = End::of(pod, workload, "zone-a", "main");
        expected.between(client, End::of(next, its_workload, "zone-a", "main"), PORT, moved);
        sent.push(moved);
    }
    assert_eq!(expected.0.len(), 2 * 18);
    for (number, (_, _, server)) in ring.iter_mut().enumerate() {
        let report = server.report()?;
        let counted = [report.received, report.sent, report.accepted].map(|count| count as f64);
        assert_eq!(counted, sent[(number + sent.len() - 1) % sent.len()]);
    }
    expected.hold(&exporter, &[CLIENT, SERVER])
}

/// A pod of the deployment `target` on node `a`, with a server on these ports.
fn target(cluster: &Cluster, ports: &[u16]) -> Result<(Pod, Server)> {
    let pod = cluster.run(&cluster.a, objects::Pod::of_deployment(NAMESPACE, "target"), Place::default())?;
    let server = listen(pod.main()?, ports)?;
    Ok((pod, server))
}

/// Each program of a pod is client and server on a port of its own.
#[test]
fn containers_of_a_pod_are_told_apart() -> Result<()> {
    let cluster = Cluster::new()?;
    let mut object = objects::Pod::of_deployment(NAMESPACE, "app");
    for (name, part) in [
        ("helper", Part::Main),
        ("setup", Part::Init),
        ("shipper", Part::Sidecar),
        ("debugger", Part::Ephemeral),
    ] {
        object.containers.push(Container::new(name, part));
    }
    let mut app = cluster.run(&cluster.a, object, Place::default())?;
    let late = Container::new("late", Part::Ephemeral);
    let late_host = app.process_group(&late.id)?;
    let pause = app.process_group(&objects::hex(64))?;
    let visitor = app.visitor()?;
    let programs = [
        (app.container("main")?, "main"),
        // A process that enters by exec is in the container's control group, with another listener.
        (app.container("main")?, "main"),
        (app.container("helper")?, "helper"),
        (app.container("setup")?, "setup"),
        (app.container("shipper")?, "shipper"),
        (app.container("debugger")?, "debugger"),
        (&pause, ""),
        (&visitor, ""),
        (&late_host, ""),
    ];
    let ports: Vec<u16> = (0..).take(programs.len()).map(|number| 7001 + number).collect();
    let (other, _other_server) = target(&cluster, &ports)?;
    let exporter = named(&cluster)?;
    let their = End::of(&other, "target", "zone-a", "main");
    let mut expected = Expected::default();
    let mut servers = Vec::new();
    for ((host, container), port) in programs.iter().zip(&ports) {
        let own = End::of(&app, "app", "zone-a", container);
        servers.push(listen(host, &[*port])?);
        let size = usize::from(port - 7000);
        expected.between(own, their, *port, fetch(host, &other.at4(*port), size)?);
        expected.between(their, own, *port, fetch(other.main()?, &app.at6(*port), 20 + size)?);
    }
    // Each to the next within the pod, over loopback and over the pod's own address.
    for (number, (host, container)) in programs.iter().enumerate() {
        let next = (number + 1) % programs.len();
        let to = if number % 2 == 0 { format!("127.0.0.1:{}", ports[next]) } else { app.at4(ports[next]) };
        let [from, to_end] = [container, programs[next].1].map(|name| End::of(&app, "app", "zone-a", name));
        expected.within(from, to_end, ports[next], fetch(host, &to, 40 + number)?);
    }
    expected.hold(&exporter, &[CLIENT, SERVER])?;
    // As soon as the API tells of the last one, it has its name as well; on the way nothing is lost or counted twice.
    let (to, mut total) = (other.at4(ports[8]), 2.0 * (17.0 + 9.0));
    app.object.containers.push(late);
    cluster.api.put(&app.object);
    let name = "flowgauge_tcp_sent_bytes_total";
    let sent = |metrics: &Metrics, container| {
        let app = [("observer", CLIENT), ("client_workload", "app"), ("client_container", container)];
        metrics.sum(name, &[&app[..], &[("server_workload", "target"), ("server_port", "7009")]].concat())
    };
    for _ in 0..50 {
        total += fetch(&late_host, &to, 1)?[0];
        let all = |metrics: &Metrics| sent(metrics, "") + sent(metrics, "late") == total;
        if sent(&exporter.wait_until("all bytes", &[("server_port", "7009")], SOON, all)?, "late") > 0.0 {
            return Ok(());
        }
    }
    anyhow::bail!(
        "the container has no name:\n{}",
        exporter.scrape()?.describe(name, &[("observer", CLIENT)])
    )
}

/// A pod on the host's network that declares a port.
fn on_host(name: &str, port: u16) -> objects::Pod {
    let mut object = objects::Pod::of_daemon_set(NAMESPACE, name);
    object.host_network = true;
    object.containers[0].ports = vec![port];
    object
}

/// On their own node by control group, also on ports that they do not declare; elsewhere by address and declared port.
#[test]
fn pods_on_the_hosts_network_are_told_apart() -> Result<()> {
    let cluster = Cluster::new()?;
    let (a, b) = (&cluster.a, &cluster.b);
    let agent = cluster.run(a, on_host("agent", 9100), Place::default())?;
    let mesh = cluster.run(a, on_host("mesh", 9101), Place::default())?;
    let remote = cluster.run(b, on_host("agent", 9100), Place::default())?;
    let (pod, _server) = target(&cluster, &[8080])?;
    let _servers = [
        listen(agent.main()?, &[9100, 9200])?,
        listen(mesh.main()?, &[9101, 9201])?,
        listen(remote.main()?, &[9100, 9200])?,
        listen(&a.host, &[9300])?,
    ];
    let exporter = named(&cluster)?;
    let [agents, meshs] =
        [(&agent, "agent"), (&mesh, "mesh")].map(|(pod, name)| End::of(pod, name, "zone-a", "main"));
    let far = End::of(&remote, "agent", "zone-b", "");
    let client = End::of(&pod, "target", "zone-a", "main");
    let from = pod.main()?;
    let mut expected = Expected::default();
    // A pod with an address of its own, to everybody on the node's.
    for (server, port, size) in [(agents, 9100, 1), (agents, 9200, 2), (meshs, 9101, 3), (meshs, 9201, 4)] {
        let moved = fetch(from, &format!("{}:{port}", a.v4()), size)?;
        expected.view(CLIENT, client, server, "pod", port, moved);
        expected.view(SERVER, client.afar(), server, "pod", port, moved);
    }
    let moved = fetch(from, &format!("[{}]:9300", a.v6()), 5)?;
    let process = End::host(&a.host.workload, "zone-a");
    expected.view(CLIENT, client, process, "host", 9300, moved);
    expected.view(SERVER, client.afar(), process, "host", 9300, moved);
    // Within the host's network both ends are known at both.
    expected.within(agents, meshs, 9101, fetch(agent.main()?, &mesh.at4(9101), 6)?);
    expected.within(meshs, agents, 9200, fetch(mesh.main()?, "127.0.0.1:9200", 7)?);
    // From the node's address: told apart where they are, the node to the other end.
    for (host, own, size) in [(agent.main()?, agents, 8), (mesh.main()?, meshs, 9), (&a.host, process, 10)] {
        let moved = fetch(host, &pod.at4(8080), size)?;
        expected.view(CLIENT, own, client.afar(), "pod", 8080, moved);
        expected.view(SERVER, End::host("a", "zone-a"), client, "pod", 8080, moved);
    }
    expected.hold(&exporter, &[CLIENT, SERVER])?;
    // On the other node: this exporter sees its sockets too, but only what clients of node `a` say is its business.
    let moved = fetch(from, &remote.at4(9100), 11)?;
    expected.view(CLIENT, client, far, "pod", 9100, moved);
    let moved = fetch(mesh.main()?, &remote.at6(9100), 12)?;
    expected.view(CLIENT, meshs, far, "pod", 9100, moved);
    let moved = fetch(from, &remote.at4(9200), 13)?;
    expected.view(CLIENT, client, End::host("b", "zone-b"), "host", 9200, moved);
    expected.0.retain(|edge, _| edge.starts_with("client|"));
    expected.hold(&exporter, &[CLIENT])
}
