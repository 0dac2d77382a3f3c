// SPDX-License-Identifier: Apache-2.0
//! Services: where they are dialled, and whom they select.

use super::*;

fn dialled(world: &World, addr: &str, port: u16) -> Option<String> {
    world.cluster.service_at(ip(addr), port).map(|(namespace, name)| format!("{namespace}/{name}"))
}

#[test]
fn addresses_of_a_service() {
    let world = World::with_nodes(PodScope::Cluster);
    let mut web = service("web", &["10.96.0.1", "fd00:96::1"], &[(80, Some(30080)), (443, None)]);
    web.external_ips = vec![ip("203.0.113.5"), ip("192.0.2.1")];
    world.services.applied(web.clone());
    for (addr, port) in [("10.96.0.1", 80), ("10.96.0.1", 443), ("fd00:96::1", 80), ("203.0.113.5", 443)] {
        assert_eq!(world.name(addr, Some(port)), "service shop/web web", "{addr}");
        assert_eq!(dialled(&world, addr, port).as_deref(), Some("shop/web"));
    }
    assert_eq!(world.name("10.96.0.1", Some(9)), "service shop/web web", "who else");
    assert_eq!(world.name("10.96.0.1", None), "service shop/web", "nobody dialled");
    assert_eq!(world.name("203.0.113.5", Some(9)), "nobody");
    assert_eq!(world.name("192.0.2.1", Some(80)), "service shop/web web", "a load balancer on the nodes");
    assert_eq!(world.name("192.0.2.1", Some(22)), "host /node-1  eu-1a");
    for addr in ["192.0.2.1", "192.0.2.2"] {
        assert_eq!(world.name(addr, Some(30080)), "service shop/web web");
        assert_eq!(dialled(&world, addr, 30080).as_deref(), Some("shop/web"));
    }
    assert_eq!(dialled(&world, "10.0.0.1", 80), None);

    web.cluster_ips.pop();
    web.ports.pop();
    web.ports[0].node_port = Some(30081);
    world.services.applied(web.clone());
    assert_eq!(world.name("fd00:96::1", Some(80)), "nobody");
    assert_eq!(world.name("192.0.2.2", Some(30080)), "host /node-2  eu-1b");
    assert_eq!(world.name("192.0.2.2", Some(30081)), "service shop/web web");
    world.services.deleted(web);
    assert_eq!(world.name("10.96.0.1", Some(80)), "nobody");
    assert_eq!(world.name("192.0.2.2", Some(30081)), "host /node-2  eu-1b");
    assert_eq!(dialled(&world, "10.96.0.1", 80), None);
}

#[test]
fn a_service_is_who_answers_for_it_if_that_is_one_workload() {
    let world = World::with_nodes(PodScope::Cluster);
    let name = || world.name("10.96.0.10", Some(53));
    world.services.applied(service("dns", &["10.96.0.10"], &[(53, None)]));
    assert_eq!(name(), "service shop/dns dns", "nobody");
    let since = world.generation();
    world.slices.applied(slice("dns", &[53], &[("10.0.0.1", "resolver-1")]));
    assert!(world.is_stale(since, "10.96.0.10"));
    assert_eq!(name(), "pod shop/resolver dns eu-1b", "what the slice tells");
    let since = world.generation();
    world.pods.applied(pod(1, "resolver", NODE, &["10.0.0.1"]));
    world.cluster.settle();
    assert!(world.is_stale(since, "10.96.0.10"), "the pod tells more");
    assert_eq!(name(), "pod shop/resolver dns eu-1a");
    world.pods.applied(pod(2, "resolver", "node-2", &["10.0.0.2"]));
    let both = [("10.0.0.1", "resolver-1"), ("10.0.0.2", "resolver-2")];
    world.slices.applied(slice("dns", &[53], &both));
    let found = world.at("10.96.0.10", Some(53)).unwrap();
    assert_eq!(brief(&found), "pod shop/resolver dns", "in either zone");
    assert_eq!((&*found.region, &*found.pod, &*found.node), ("eu-1", "", ""));
    assert_eq!(world.name("10.96.0.10", None), "service shop/dns", "nobody dialled");
    // Another workload, or somebody who is no pod, may answer as well.
    for other in [("10.0.0.3", "cache-3"), ("10.9.0.1", "")] {
        world.slices.applied(slice("dns", &[53], &[both[0], both[1], other]));
        assert_eq!(name(), "service shop/dns dns");
    }
    let leaving = |mut slice: EndpointSlice| {
        slice.endpoints[2].terminating = true;
        slice
    };
    world.slices.applied(leaving(slice("dns", &[53], &[both[0], both[1], ("10.0.0.3", "cache-3")])));
    assert_eq!(name(), "pod shop/resolver dns");
    let since = world.generation();
    world.slices.deleted(slice("dns", &[53], &both));
    assert!(world.is_stale(since, "10.96.0.10"));
    assert_eq!(name(), "service shop/dns dns");
}

#[test]
fn services_that_share_an_address_are_told_apart_by_port() {
    let world = World::new(PodScope::Cluster);
    let mut a = service("a", &["10.96.0.1"], &[(80, None)]);
    let mut b = service("b", &["10.96.0.2"], &[(443, None)]);
    a.external_ips = vec![ip("203.0.113.5")];
    b.external_ips = vec![ip("203.0.113.5")];
    world.services.applied(b);
    world.services.applied(a.clone());
    assert_eq!(world.name("203.0.113.5", Some(80)), "service shop/a a");
    assert_eq!(world.name("203.0.113.5", Some(443)), "service shop/b b");
    world.services.deleted(a);
    assert_eq!(world.name("203.0.113.5", Some(443)), "service shop/b b");
    assert_eq!(world.name("203.0.113.5", Some(80)), "nobody");
}

#[test]
fn an_address_goes_from_one_service_to_another() {
    let world = World::new(PodScope::Cluster);
    world.services.applied(service("old", &["10.96.0.1"], &[(80, None)]));
    assert_eq!(world.name("10.96.0.1", Some(80)), "service shop/old old");
    // The watch tells of the new one first.
    world.services.applied(service("young", &["10.96.0.1"], &[(80, None)]));
    world.services.deleted(service("old", &["10.96.0.1"], &[(80, None)]));
    assert_eq!(world.name("10.96.0.1", Some(80)), "service shop/young young");
}

#[test]
fn of_several_services_one_with_a_cluster_address_counts_then_the_first() {
    let world = World::with_nodes(PodScope::Cluster);
    let endpoints = [("10.0.0.1", "db-0")];
    world.pods.applied(Pod { name: "db-0".to_owned(), ..pod(1, "db", "node-2", &["10.0.0.1"]) });
    world.slices.applied(slice("headless", &[5432], &endpoints));
    let service_of = |port| world.at("10.0.0.1", Some(port)).unwrap().service.to_string();
    assert_eq!(service_of(5432), "headless", "not even listed");
    world.services.applied(service("headless", &[], &[(5432, None)]));
    world.slices.applied(slice("primary", &[5432], &endpoints));
    world.slices.applied(slice("another", &[5432], &endpoints));
    assert_eq!(service_of(5432), "another");
    let since = world.generation();
    world.services.applied(service("primary", &["10.96.0.1"], &[(5432, None)]));
    assert_eq!(service_of(5432), "primary");
    assert!(world.is_stale(since, "10.0.0.1"), "the service's address was made known");
    world.services.applied(service("another", &["10.96.0.2"], &[(5432, None)]));
    assert_eq!(service_of(5432), "another");
    assert_eq!(service_of(9187), "", "no service on this port");
    assert_eq!(&*world.at("10.0.0.1", None).unwrap().service, "", "clients are not selected");
    let since = world.generation();
    world.services.deleted(service("another", &["10.96.0.2"], &[(5432, None)]));
    assert_eq!(service_of(5432), "primary");
    assert!(world.is_stale(since, "10.0.0.1"));
    world.slices.deleted(slice("primary", &[5432], &endpoints));
    assert_eq!(service_of(5432), "another", "its slice is still there");
}

#[test]
fn endpoints_without_pods() {
    let world = World::with_nodes(PodScope::Cluster);
    world.slices.applied(slice("database", &[5432], &[("10.9.0.1", ""), ("8.8.8.8", "")]));
    world.slices.applied(slice("kubernetes", &[6443], &[("192.0.2.1", "")]));
    assert_eq!(world.name("10.9.0.1", Some(5432)), "host shop/database database eu-1b");
    assert_eq!(world.name("8.8.8.8", Some(5432)), "external shop/database database eu-1b");
    assert_eq!(world.name("10.9.0.1", Some(22)), "nobody");
    assert_eq!(world.name("10.9.0.1", None), "nobody");
    assert_eq!(world.name("192.0.2.1", Some(6443)), "host shop/kubernetes kubernetes eu-1a");
    world.pods.applied(host_pod(1, "apiserver", NODE, "192.0.2.1", &[6443]));
    assert_eq!(world.name("192.0.2.1", Some(6443)), "pod shop/apiserver kubernetes eu-1a");
    world.nodes.deleted(node("node-2", "192.0.2.2", "eu-1b"));
    world.slices.applied(slice("far", &[1], &[("10.9.0.2", "")]));
    assert_eq!(world.name("10.9.0.2", Some(1)), "host shop/far far eu-1b");
}

#[test]
fn a_slice_that_moves_to_another_service_or_port() {
    let world = World::with_nodes(PodScope::Cluster);
    world.pods.applied(pod(1, "web", "node-2", &["10.0.0.1"]));
    world.slices.applied(slice("a", &[80], &[("10.0.0.1", "web-1")]));
    let moved = EndpointSlice { service: "b".to_owned(), ..slice("a", &[8080], &[("10.0.0.1", "web-1")]) };
    let since = world.generation();
    world.slices.applied(moved.clone());
    assert!(world.is_stale(since, "10.0.0.1"));
    assert_eq!(world.name("10.0.0.1", Some(80)), "pod shop/web  eu-1b");
    assert_eq!(world.name("10.0.0.1", Some(8080)), "pod shop/web b eu-1b");
    world.slices.applied(EndpointSlice { service: String::new(), ..moved });
    assert_eq!(world.name("10.0.0.1", Some(8080)), "pod shop/web  eu-1b");
}

#[test]
fn where_services_are_dialled_on_this_node() {
    let world = World::with_nodes(PodScope::Cluster);
    let versions = [world.cluster.service_version()];
    let mut web = service("web", &["10.96.0.1"], &[(80, Some(30080))]);
    web.external_ips = vec![ip("203.0.113.5")];
    world.services.applied(web);
    world.services.applied(service("headless", &[], &[(5432, None)]));
    assert!(!versions.contains(&world.cluster.service_version()));
    let all = world.cluster.service_addresses(&[ip("10.244.0.1")]);
    let expected = [
        ("10.96.0.1", 80),
        ("10.244.0.1", 30080),
        ("127.0.0.1", 30080),
        ("192.0.2.1", 30080),
        ("203.0.113.5", 80),
    ];
    assert_eq!(all, expected.map(|(addr, port)| (ip(addr), port)));
    let version = world.cluster.service_version();
    world.nodes.applied(node("node-2", "192.0.2.7", "eu-1b"));
    world.slices.applied(slice("web", &[80], &[("10.0.0.1", "web-1")]));
    assert_eq!(world.cluster.service_version(), version, "not of this node");
    world.nodes.applied(node(NODE, "192.0.2.8", "eu-1a"));
    assert!(world.cluster.service_version() > version);
    assert!(world.cluster.service_addresses(&[]).contains(&(ip("192.0.2.8"), 30080)));
}

#[test]
fn a_service_that_names_no_port_selects_all_after_those_that_do() {
    let world = World::with_nodes(PodScope::Cluster);
    let on_all = |service: &str, addr: &str, pod: &str| {
        world.slices.applied(EndpointSlice { all_ports: true, ..slice(service, &[], &[(addr, pod)]) });
    };
    world.pods.applied(pod(1, "web", "node-2", &["10.0.0.1"]));
    world.slices.applied(slice("any", &[], &[("10.0.0.1", "web-1")]));
    assert_eq!(world.name("10.0.0.1", Some(80)), "pod shop/web  eu-1b");
    let since = world.generation();
    on_all("any", "10.0.0.1", "web-1");
    assert!(world.is_stale(since, "10.0.0.1"));
    world.services.applied(service("any", &["10.96.0.1"], &[]));
    world.slices.applied(slice("web", &[80], &[("10.0.0.1", "web-1")]));
    assert_eq!(
        world.name("10.0.0.1", Some(80)),
        "pod shop/web web eu-1b",
        "though it has no cluster address"
    );
    assert_eq!(world.name("10.0.0.1", Some(81)), "pod shop/web any eu-1b");
    on_all("manual", "10.9.0.1", "");
    assert_eq!(world.name("10.9.0.1", Some(81)), "host shop/manual manual eu-1b");
    // What else runs on a host is not that service's.
    world.node_pods.applied(host_pod(2, "agent", NODE, "192.0.2.1", &[9100]));
    on_all("agents", "192.0.2.1", "agent-2");
    assert_eq!(world.name("192.0.2.1", Some(22)), "host /node-1  eu-1a");
    assert_eq!(world.name("192.0.2.1", Some(9100)), "pod shop/agent  eu-1a");
    assert_eq!(world.cluster.service_of_node(1, 22), None);
}

#[test]
fn an_endpoint_may_refer_to_another_namespaces_pod() {
    let world = World::with_nodes(PodScope::Cluster);
    let mut foreign = slice("shared", &[80], &[("10.0.1.1", "web-0"), ("192.0.2.2", "agent-1")]);
    foreign.endpoints.iter_mut().for_each(|endpoint| endpoint.pod_namespace = "other".to_owned());
    world.slices.applied(foreign);
    assert_eq!(world.name("10.0.1.1", Some(80)), "pod other/web shared eu-1b");
    assert_eq!(world.name("192.0.2.2", Some(80)), "pod other/agent shared eu-1b");
    let agent = Pod { namespace: "other".to_owned(), ..host_pod(1, "agent", "node-2", "192.0.2.2", &[]) };
    world.pods.applied(Pod { workload: "agents".to_owned(), ..agent });
    assert_eq!(world.name("192.0.2.2", Some(80)), "pod other/agents shared eu-1b");
    let web = Pod {
        namespace: "other".to_owned(),
        name: "web-0".to_owned(),
        ..pod(2, "set", "node-2", &["10.0.1.1"])
    };
    world.pods.applied(web);
    assert!(!world.cluster.needs_settling(), "it is the same pod");
    assert_eq!(world.name("10.0.1.1", Some(80)), "pod other/set shared eu-1b");
}
