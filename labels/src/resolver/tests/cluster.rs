// SPDX-License-Identifier: Apache-2.0
//! With a cluster among the sources.

use std::os::unix::fs::MetadataExt;

use super::*;
use crate::kubernetes::cluster::PodScope;
use crate::kubernetes::objects::{Endpoint, EndpointSlice, Node, Pod, Service, ServicePort};

const NAMES_OF_SITES: &str = "names:\n  - cidrs: [10.9.0.0/16]\n    workload: site\n    zone: dc-1\n";
const UID: &str = "6f1f0b6e-0c5a-4f2f-9f0e-3a4b5c6d7e8f";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pod(uid: &str, workload: &str, node: &str, addr: &str) -> Pod {
    Pod {
        uid: uid.to_owned(),
        namespace: "shop".to_owned(),
        name: format!("{workload}-1"),
        workload: workload.to_owned(),
        node: node.to_owned(),
        ips: vec![ip(addr)],
        ..Pod::default()
    }
}

fn node(name: &str, addr: &str, zone: &str) -> Node {
    Node {
        name: name.to_owned(),
        addresses: vec![ip(addr)],
        zone: zone.to_owned(),
        region: "eu-1".to_owned(),
    }
}

fn service(addr: &str) -> Service {
    Service {
        namespace: "shop".to_owned(),
        name: "front".to_owned(),
        cluster_ips: vec![ip(addr)],
        external_ips: Vec::new(),
        ports: vec![ServicePort { port: 80, node_port: Some(30080) }],
        external_name: String::new(),
    }
}

fn slice(addr: &str) -> EndpointSlice {
    let endpoint = Endpoint { addresses: vec![ip(addr)], ..Endpoint::default() };
    EndpointSlice {
        namespace: "shop".to_owned(),
        name: "front-1".to_owned(),
        service: "front".to_owned(),
        ports: vec![8080],
        all_ports: false,
        endpoints: vec![endpoint],
    }
}

/// A host in a cluster, its directory, and a control group of the pod [`UID`].
fn in_cluster(names: Option<&str>) -> (tempfile::TempDir, Arc<Cluster>, Resolver, u64) {
    let (dir, config) = host(names);
    let group = config.cgroup_root.join(format!("kubepods/pod{UID}").as_str()).join("f".repeat(64));
    fs::create_dir_all(&group).unwrap();
    let group = fs::metadata(group).unwrap().ino();
    fs::create_dir_all(dir.path().join("proc/1/ns")).unwrap();
    std::os::unix::fs::symlink("net:[1]", dir.path().join("proc/1/ns/net")).unwrap();
    let cluster = Arc::new(Cluster::new("node-a", PodScope::Cluster, Vec::new()));
    let resolver = Resolver::new(config, ProcessHierarchy::Unified, Some(cluster.clone())).unwrap();
    cluster.nodes().applied(node("node-a", "192.0.2.7", "eu-1a"));
    cluster.nodes().applied(node("node-b", "192.0.2.9", "eu-1b"));
    cluster.node_pods().applied(pod(UID, "web", "node-a", "10.0.0.1"));
    cluster.pods().applied(pod("2", "api", "node-b", "10.0.1.1"));
    (dir, cluster, resolver, group)
}

fn owner(cgroup: u64, netns: u32) -> Owner {
    Owner { netns, cgroup, process: None, ambiguous: false }
}

fn brief(found: &Identity) -> String {
    let Identity { kind, namespace, workload, service, zone, node, .. } = found;
    format!("{} {namespace}/{workload} {service} {zone} {node}", kind.as_str())
}

#[test]
fn names_file_then_cluster_then_own_addresses() {
    let names =
        format!("{NAMES_OF_SITES}  - cidrs: [10.0.1.0/24]\n    ports: [5432]\n    workload: postgres\n");
    let (_dir, _cluster, resolver, _) = in_cluster(Some(&names));
    let remote = |addr, port| brief(&resolver.remote(ip(addr), port));
    assert_eq!(remote("10.9.1.1", Some(80)), "host /site  dc-1 ");
    assert_eq!(remote("10.0.1.1", Some(5432)), "host /postgres   ");
    assert_eq!(remote("10.0.1.1", Some(80)), "pod shop/api  eu-1b node-b");
    assert_eq!(remote("10.0.0.1", None), "pod shop/web  eu-1a node-a");
    assert_eq!(remote("192.0.2.9", None), "host /node-b  eu-1b node-b");
    assert_eq!(remote("192.0.2.7", None), "host /node-a  eu-1a node-a");
    assert_eq!(remote("127.0.0.1", None), "host /node-a  eu-1a node-a", "its name in the API, not web-1");
    assert_eq!(remote("10.0.5.5", None), "unknown /unknown   ");
}

#[test]
fn both_ends_of_an_edge_have_the_same_labels() {
    let (_dir, cluster, resolver, group) = in_cluster(None);
    cluster.services().applied(service("10.96.0.1"));
    cluster.endpoint_slices().applied(slice("10.0.0.1"));
    let server = resolver.local_server(&owner(group, 70), 8080);
    let dialled = resolver.dialled((ip("10.96.0.1"), 80), (ip("10.0.0.1"), 8080));
    assert_eq!(brief(&server), "pod shop/web front eu-1a node-a");
    assert_eq!(brief(&server), brief(&dialled));
    assert_eq!(server.region, dialled.region);
    // By a node port, too.
    let by_node = resolver.dialled((ip("192.0.2.9"), 30080), (ip("10.0.0.1"), 8080));
    assert_eq!(brief(&by_node), brief(&server));
    let client = resolver.local(&owner(group, 70));
    assert_eq!(brief(&client), brief(&resolver.remote(ip("10.0.0.1"), None)));
    assert_eq!(&*resolver.local_server(&owner(group, 70), 9).service, "");
    // A backend of which nothing is known is in the namespace of its service.
    assert_eq!(
        brief(&resolver.dialled((ip("10.96.0.1"), 80), (ip("10.0.9.9"), 1))),
        "unknown shop/unknown front  "
    );
    assert_eq!(brief(&resolver.dialled((ip("10.96.0.9"), 80), (ip("10.0.9.9"), 1))), "unknown /unknown   ");
}

#[test]
fn the_place_is_the_names_files_then_the_nodes() {
    let names = "names:\n  - cidrs: [192.0.2.7]\n    workload: x\n    zone: rack-7\n";
    let (_dir, _cluster, resolver, group) = in_cluster(Some(names));
    let found = resolver.local(&owner(group, 70));
    assert_eq!((&*found.zone, &*found.region), ("rack-7", "eu-1"));
    let (_dir, cluster, resolver, group) = in_cluster(None);
    assert_eq!(&*resolver.local(&owner(group, 70)).zone, "eu-1a");
    let since = resolver.generation();
    cluster.nodes().applied(node("node-a", "192.0.2.7", "eu-1c"));
    assert!(resolver.is_stale(since, &[Subject::Cgroup(group)]));
    assert_eq!(&*resolver.local(&owner(group, 70)).zone, "eu-1c");
}

#[test]
fn a_unit_of_the_node_that_a_service_stands_for() {
    let (dir, cluster, resolver, _) = in_cluster(None);
    cluster.endpoint_slices().applied(slice("192.0.2.7"));
    let nginx = fs::metadata(dir.path().join("cgroup/system.slice/nginx.service")).unwrap().ino();
    let found = resolver.local_server(&owner(nginx, 1), 8080);
    assert_eq!(brief(&found), "host /nginx front eu-1a node-a");
    assert_eq!(&*resolver.local_server(&owner(nginx, 70), 8080).service, "", "that is not the node");
}

#[test]
fn what_is_stale_is_asked_for_again() {
    let (_dir, cluster, resolver, group) = in_cluster(None);
    resolver.remote(ip("10.0.1.1"), None);
    let since = resolver.generation();
    cluster.pods().applied(pod("3", "late", "node-b", "10.0.1.2"));
    assert!(resolver.generation() > since);
    assert!(resolver.is_stale(since, &[Subject::Address(ip("10.0.1.2"))]));
    assert!(
        !resolver
            .is_stale(since, &[Subject::Address(ip("10.0.1.1")), Subject::Cgroup(group), Subject::Netns(70)])
    );
    cluster.pods().deleted(pod("2", "api", "node-b", "10.0.1.1"));
    cluster.pods().applied(pod("4", "new", "node-b", "10.0.1.1"));
    assert!(resolver.needs_settling());
    resolver.settle();
    assert!(!resolver.needs_settling() && resolver.is_stale(since, &[Subject::Address(ip("10.0.1.1"))]));
    assert_eq!(&*resolver.remote(ip("10.0.1.1"), None).workload, "new");
}

#[test]
fn service_addresses_are_told_when_they_change() {
    let (dir, cluster, resolver, _) = in_cluster(None);
    let (version, all) = resolver.service_addresses(0).unwrap();
    assert!(all.is_empty() && resolver.service_addresses(version).is_none());
    cluster.services().applied(service("10.96.0.1"));
    let (version, all) = resolver.service_addresses(version).unwrap();
    let expected = [("10.96.0.1", 80), ("127.0.0.1", 30080), ("192.0.2.7", 30080)];
    assert_eq!(all, expected.map(|(addr, port)| (ip(addr), port)));
    assert!(resolver.service_addresses(version).is_none());
    let trie = "Local:\n |-- 192.0.2.7\n  /32 host LOCAL\n |-- 10.244.0.1\n  /32 host LOCAL\n";
    fs::write(dir.path().join("proc/1/net/fib_trie"), trie).unwrap();
    resolver.reload();
    let (_, all) = resolver.service_addresses(version).unwrap();
    assert!(all.contains(&(ip("10.244.0.1"), 30080)), "a bridge of the node's");
    let (_dir, config) = host(None);
    let alone = Resolver::new(config, ProcessHierarchy::Unified, None).unwrap();
    assert!(alone.service_addresses(0).is_none() && alone.complete() && !alone.needs_settling());
}

#[test]
fn sources_of_the_cluster_are_listed() {
    let (_dir, _cluster, resolver, _) = in_cluster(None);
    let sources: Vec<&str> = resolver.sources().iter().map(|source| source.source).collect();
    let expected = [
        "cgroup",
        "host_addresses",
        "dns_names",
        "network_namespaces",
        "kubernetes_node_pods",
        "kubernetes_pods",
        "kubernetes_services",
        "kubernetes_endpointslices",
        "kubernetes_nodes",
    ];
    assert_eq!(sources, expected);
    assert!(!resolver.complete());
}

#[test]
fn a_service_that_comes_after_the_first_naming_is_told() {
    let (dir, cluster, resolver, group) = in_cluster(None);
    cluster.services().applied(service("10.96.0.1"));
    // As the exporter asks of a server: the client's address, and what the server runs in.
    let server = [Subject::Address(ip("10.0.1.1")), Subject::Netns(70), Subject::Cgroup(group)];
    let served = || resolver.local_server(&owner(group, 70), 8080).service.to_string();
    for (endpoints, expected) in [("10.0.0.1", "front"), ("10.0.9.9", ""), ("10.0.0.1", "front")] {
        assert_ne!(served(), expected);
        let since = resolver.generation();
        cluster.endpoint_slices().applied(slice(endpoints));
        assert!(resolver.is_stale(since, &server), "{expected}");
        assert_eq!(served(), expected);
    }
    let since = resolver.generation();
    cluster.endpoint_slices().applied(EndpointSlice { name: "back-1".to_owned(), ..slice("10.0.1.1") });
    assert!(!resolver.is_stale(since, &server[1..]), "that is another pod");
    // Of two services, the one with a cluster address counts.
    let other = EndpointSlice { service: "aaa".to_owned(), name: "aaa-1".to_owned(), ..slice("10.0.0.1") };
    cluster.endpoint_slices().applied(other);
    assert_eq!(served(), "front");
    let since = resolver.generation();
    cluster.services().deleted(service("10.96.0.1"));
    assert!(resolver.is_stale(since, &server));
    assert_eq!(served(), "aaa");

    let nginx = fs::metadata(dir.path().join("cgroup/system.slice/nginx.service")).unwrap().ino();
    let on_node = || resolver.local_server(&owner(nginx, 1), 8080).service.to_string();
    assert_eq!(on_node(), "");
    let since = resolver.generation();
    cluster.endpoint_slices().applied(EndpointSlice { name: "node-1".to_owned(), ..slice("192.0.2.7") });
    assert!(resolver.is_stale(since, &[Subject::Netns(1), Subject::Cgroup(nginx)]), "a unit of the node");
    assert!(!resolver.is_stale(since, &server));
    assert_eq!(on_node(), "front");
}

#[test]
fn a_service_of_a_pod_on_the_hosts_network_is_told_late() {
    let (_dir, cluster, resolver, group) = in_cluster(None);
    let on_host = Pod { host_network: true, ..pod(UID, "web", "node-a", "192.0.2.7") };
    cluster.node_pods().applied(on_host);
    assert_eq!(&*resolver.local_server(&owner(group, 1), 8080).service, "");
    let since = resolver.generation();
    cluster.endpoint_slices().applied(slice("192.0.2.7"));
    assert!(resolver.is_stale(since, &[Subject::Cgroup(group)]));
    assert_eq!(&*resolver.local_server(&owner(group, 1), 8080).service, "front");
}
