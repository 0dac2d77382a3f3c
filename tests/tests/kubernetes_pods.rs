// SPDX-License-Identifier: Apache-2.0
//! Which pod, workload and container a socket of this node is of: by control group, by network namespace, by address.

use std::collections::BTreeMap;

use flowgauge_tests::api_server::objects::{self, Container, Part};
use flowgauge_tests::kubernetes::{Cluster, Driver, Kubelet, NodeExporter, Place, Pod, Qos, Runtime};
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;

const NAMESPACE: &str = "pods-of-all-kinds";
const LABELS: [&str; 13] = [
    "observer",
    "client_namespace",
    "client_workload",
    "client_zone",
    "client_pod",
    "client_container",
    "server_namespace",
    "server_workload",
    "server_zone",
    "server_pod",
    "server_container",
    "server_kind",
    "server_port",
];

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
    fn hold(&self, exporter: &Exporter, wanted: fn(&str) -> bool) -> Result<()> {
        let found = |metrics: &Metrics| edges(metrics, wanted);
        let result = exporter.wait_until("", &[("server_port", "")], SOON, |metrics| found(metrics) == self.0);
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
fn edges(metrics: &Metrics, wanted: fn(&str) -> bool) -> Edges {
    let mut edges = Edges::new();
    let families = ["sent_bytes_total", "received_bytes_total", "connections_opened_total"];
    for sample in metrics.samples().filter(|sample| sample.value != 0.0) {
        let label = |name: &str| sample.labels.get(name).map_or("", String::as_str);
        let family = sample.name.strip_prefix("flowgauge_tcp_");
        let Some(family) = family.and_then(|name| families.iter().position(|family| *family == name)) else {
            continue;
        };
        let ends = ["client_namespace", "server_namespace"];
        if !ends.iter().any(|end| label(end) == NAMESPACE) || !wanted(label("observer")) {
            continue;
        }
        let field = if label("observer") == SERVER && family < 2 { 1 - family } else { family };
        edges.entry(LABELS.map(label).join("|")).or_default()[field] += sample.value;
    }
    edges
}

fn any(_observer: &str) -> bool {
    true
}

fn of_clients(observer: &str) -> bool {
    observer == CLIENT
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
    expected.hold(&exporter, any)
}
