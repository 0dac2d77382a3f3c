// SPDX-License-Identifier: Apache-2.0
//! What a cluster of 10,000 pods and 2,000 services costs: `cargo bench -p flowgauge-labels --bench cluster`. Memory is
//! what the process has grown by; times are the best of twenty rounds.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowgauge_labels::objects::{Endpoint, EndpointSlice, Node, Pod, Service, ServicePort, Watched};
use flowgauge_labels::{Cluster, PodScope};

const PODS: u32 = 10_000;
const SERVICES: u32 = 2_000;
const NODES: u32 = 200;
/// Of each service.
const ENDPOINTS: u32 = 10;

fn addr(base: u32, number: u32) -> IpAddr {
    Ipv4Addr::from(base + number).into()
}

fn pod_addr(number: u32) -> IpAddr {
    addr(0x0a00_0001, number)
}

/// `age` makes another pod with the same address.
fn pod(number: u32, age: u32) -> Pod {
    let deployment = number / 5;
    Pod {
        uid: format!("{age:08x}-0c5a-4f2f-9f0e-{number:012x}"),
        namespace: format!("team-{}", deployment % 50),
        name: format!("deployment-{deployment}-7d4b9c6f5-{:05x}", number + age),
        workload: format!("deployment-{deployment}"),
        node: format!("node-{}", number % NODES),
        ips: vec![pod_addr(number)],
        ..Pod::default()
    }
}

fn service(number: u32) -> Service {
    Service {
        namespace: format!("team-{}", number % 50),
        name: format!("service-{number}"),
        cluster_ips: vec![addr(0x0a60_0001, number)],
        external_ips: Vec::new(),
        ports: vec![ServicePort { port: 80, node_port: None }, ServicePort { port: 443, node_port: None }],
        external_name: String::new(),
    }
}

fn slice(number: u32, shift: u32) -> EndpointSlice {
    let endpoint = |at| {
        let pod = pod((number * 5 + at + shift) % PODS, 0);
        Endpoint {
            addresses: vec![pod.ips[0]],
            pod: Some(pod.name),
            pod_namespace: String::new(),
            terminating: false,
            unready: false,
            node: pod.node,
            zone: "eu-1a".to_owned(),
        }
    };
    EndpointSlice {
        namespace: format!("team-{}", number % 50),
        name: format!("service-{number}-x2x7p"),
        service: format!("service-{number}"),
        ports: vec![8080, 8443],
        all_ports: false,
        endpoints: (0..ENDPOINTS).map(endpoint).collect(),
    }
}

fn node(number: u32) -> Node {
    Node {
        name: format!("node-{number}"),
        addresses: vec![addr(0xac10_0001, number)],
        zone: format!("eu-1{}", ['a', 'b', 'c'][number as usize % 3]),
        region: "eu-1".to_owned(),
    }
}

fn list<T>(watch: &Arc<dyn Watched<T>>, objects: impl Iterator<Item = T>) {
    watch.begin_list();
    objects.for_each(|object| watch.listed(object));
    watch.end_list();
}

fn fill(cluster: &Arc<Cluster>) {
    list(&cluster.nodes(), (0..NODES).map(node));
    list(&cluster.services(), (0..SERVICES).map(service));
    list(&cluster.endpoint_slices(), (0..SERVICES).map(|number| slice(number, 0)));
    list(&cluster.pods(), (0..PODS).map(|number| pod(number, 0)));
    list(&cluster.node_pods(), (0..PODS).step_by(NODES as usize).map(|number| pod(number, 0)));
}

fn resident() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn best<T>(name: &str, count: u32, prepare: impl Fn(u32) -> T, mut run: impl FnMut(T)) {
    let mut rounds = Vec::new();
    for _ in 0..20 {
        let inputs: Vec<T> = (0..count).map(&prepare).collect();
        let start = Instant::now();
        inputs.into_iter().for_each(&mut run);
        rounds.push(start.elapsed() / count);
    }
    println!("{name:<58} {:>10.1?}", rounds.into_iter().min().unwrap_or(Duration::ZERO));
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let before = resident()?;
    let cluster = Arc::new(Cluster::new("node-0", PodScope::Cluster, Vec::new()));
    let start = Instant::now();
    fill(&cluster);
    println!(
        "{:<58} {:>10.1?}",
        "first lists: 10,000 pods, 2,000 services, 20,000 endpoints",
        start.elapsed()
    );
    println!("{:<58} {:>8} KiB", "memory they take", resident()?.saturating_sub(before));
    let start = Instant::now();
    fill(&cluster);
    println!("{:<58} {:>10.1?}", "the same lists again, nothing changed", start.elapsed());
    println!("{:<58} {:>8} KiB", "memory after that", resident()?.saturating_sub(before));

    let spread = |at: u32| at.wrapping_mul(7919);
    best(
        "pod by address, server's port",
        100_000,
        |at| pod_addr(spread(at) % PODS),
        |addr| {
            black_box(cluster.at(addr, Some(8080)));
        },
    );
    best(
        "pod by address, client",
        100_000,
        |at| pod_addr(spread(at) % PODS),
        |addr| {
            black_box(cluster.at(addr, None));
        },
    );
    best(
        "service by its address",
        100_000,
        |at| addr(0x0a60_0001, spread(at) % SERVICES),
        |addr| {
            black_box(cluster.at(addr, Some(80)));
        },
    );
    best(
        "node by its address, some port",
        100_000,
        |at| addr(0xac10_0001, spread(at) % NODES),
        |addr| {
            black_box(cluster.at(addr, Some(22)));
        },
    );
    best(
        "address of nobody",
        100_000,
        |at| addr(0x0b00_0000, at),
        |addr| {
            black_box(cluster.at(addr, Some(443)));
        },
    );

    let pods = cluster.pods();
    best("pod told again, nothing changed", 10_000, |at| pod(spread(at) % PODS, 0), |pod| pods.applied(pod));
    let recycled = |at: u32| (pod(spread(at) % PODS, 0), pod(spread(at) % PODS, 1));
    best("address from one pod to another and back (4 updates)", 2_000, recycled, |(old, young)| {
        pods.deleted(old.clone());
        pods.applied(young.clone());
        pods.deleted(young);
        pods.applied(old);
    });
    let slices = cluster.endpoint_slices();
    let moved = |at: u32| (slice(spread(at) % SERVICES, 1), slice(spread(at) % SERVICES, 0));
    best("EndpointSlice with one endpoint replaced (2 updates)", 2_000, moved, |(there, back)| {
        slices.applied(there);
        slices.applied(back);
    });
    let services = cluster.services();
    best("service told again, nothing changed", 2_000, service, |service| services.applied(service));
    println!("{:<58} {:>8} KiB", "memory in the end", resident()?.saturating_sub(before));
    Ok(())
}
