// SPDX-License-Identifier: Apache-2.0
//! Pods that only EndpointSlices tell of.

use super::*;

#[test]
fn other_nodes_pods_are_named_by_their_endpoints() {
    let world = World::new(PodScope::Node);
    world.slices.applied(slice("web", &[80], &[("10.0.1.1", "web-7d4b9c6f5-x2x7p"), ("10.0.1.2", "db-0")]));
    let found = world.at("10.0.1.1", Some(80)).unwrap();
    assert_eq!(brief(&found), "pod shop/web web eu-1c");
    assert_eq!((&*found.pod, &*found.node), ("web-7d4b9c6f5-x2x7p", "node-2"));
    assert_eq!(world.name("10.0.1.2", None), "pod shop/db  eu-1c", "as a client, too");
    world.nodes.applied(node("node-2", "192.0.2.2", "eu-1b"));
    assert_eq!(world.name("10.0.1.2", None), "pod shop/db  eu-1b", "the node knows better");
    // On this node the pods themselves are known.
    world.node_pods.applied(pod(1, "shop-web", NODE, &["10.0.0.1"]));
    assert_eq!(world.name("10.0.0.1", None), "pod shop/shop-web");
    world.slices.applied(slice("own", &[80], &[("10.0.0.1", "shop-web-1")]));
    assert_eq!(world.name("10.0.0.1", Some(80)), "pod shop/shop-web own eu-1c");
}

#[test]
fn endpoints_on_the_hosts_network_are_not_all_of_the_host() {
    let world = World::with_nodes(PodScope::Node);
    world.slices.applied(slice("metrics", &[9100], &[("192.0.2.2", "exporter-x2x7p")]));
    let found = world.at("192.0.2.2", Some(9100)).unwrap();
    assert_eq!(brief(&found), "pod shop/exporter metrics eu-1b");
    assert_eq!(world.name("192.0.2.2", Some(22)), "host /node-2  eu-1b");
    assert_eq!(world.name("192.0.2.2", None), "host /node-2  eu-1b");
}

#[test]
fn recycled_addresses_are_staged() {
    let world = World::with_nodes(PodScope::Node);
    world.slices.applied(slice("a", &[80], &[("10.0.1.1", "a-0")]));
    assert_eq!(world.name("10.0.1.1", None), "pod shop/a  eu-1b");
    world.slices.applied(slice("a", &[80], &[]));
    world.slices.applied(slice("b", &[80], &[("10.0.1.1", "b-0")]));
    assert_eq!(world.name("10.0.1.1", None), "pod shop/a  eu-1b");
    world.cluster.settle();
    assert_eq!(world.name("10.0.1.1", None), "pod shop/b  eu-1b");
    // Two services of one pod: one going changes nothing.
    world.slices.applied(slice("b2", &[81], &[("10.0.1.1", "b-0")]));
    world.slices.deleted(slice("b", &[80], &[]));
    assert_eq!(world.name("10.0.1.1", Some(81)), "pod shop/b b2 eu-1b");
    assert!(!world.cluster.needs_settling());
}

#[test]
fn of_two_endpoints_with_one_address_the_newer_counts() {
    let world = World::with_nodes(PodScope::Node);
    world.slices.applied(slice("a", &[80], &[("10.0.1.1", "a-0")]));
    world.slices.applied(slice("b", &[80], &[("10.0.1.1", "b-0")]));
    world.cluster.settle();
    assert_eq!(world.name("10.0.1.1", None), "pod shop/b  eu-1b");
    world.slices.applied(slice("a", &[80], &[("10.0.1.1", "c-0")]));
    world.cluster.settle();
    assert_eq!(world.name("10.0.1.1", None), "pod shop/c  eu-1b");
}

#[test]
fn the_pod_itself_tells_more_than_endpoints() {
    let world = World::with_nodes(PodScope::Cluster);
    let of_pod = |addr| world.at(addr, None).unwrap().workload.to_string();
    world.slices.applied(slice("web", &[80], &[("10.0.0.1", "web-1"), ("10.0.0.2", "gone-1")]));
    let since = world.generation();
    world.pods.applied(pod(1, "web", "node-2", &["10.0.0.1"]));
    assert!(!world.cluster.needs_settling(), "it is the same pod");
    world.pods.applied(Pod { workload: "rollout".to_owned(), ..pod(1, "web", "node-2", &["10.0.0.1"]) });
    assert!(world.is_stale(since, "10.0.0.1"));
    assert_eq!(of_pod("10.0.0.1"), "rollout");
    // The slice is late.
    world.pods.applied(pod(2, "new", "node-2", &["10.0.0.2"]));
    world.slices.applied(slice("late", &[80], &[("10.0.0.2", "gone-1")]));
    world.cluster.settle();
    assert_eq!(of_pod("10.0.0.2"), "new");
    world.pods.deleted(pod(2, "new", "node-2", &["10.0.0.2"]));
    world.cluster.settle();
}

#[test]
fn while_pods_cannot_be_watched_endpoints_are_believed() {
    let world = World::with_nodes(PodScope::Cluster);
    World::list(&world.node_pods, [pod(9, "mine", NODE, &["10.0.0.9"])]);
    World::list(&world.pods, [pod(1, "old", "node-2", &["10.0.0.1"]), pod(9, "mine", NODE, &["10.0.0.9"])]);
    World::list(&world.slices, [slice("old", &[80], &[("10.0.0.1", "old-1")])]);
    assert_eq!(world.name("10.0.0.1", None), "pod shop/old  eu-1b");
    world.pods.down("forbidden".to_owned());
    assert_eq!(world.name("10.0.0.1", None), "pod shop/old  eu-1b", "last known names stay");
    world.slices.applied(slice("old", &[80], &[]));
    world.slices.applied(slice("new", &[80], &[("10.0.0.1", "new-2"), ("10.0.0.9", "new-3")]));
    world.cluster.settle();
    assert_eq!(world.name("10.0.0.1", None), "pod shop/new  eu-1b");
    assert_eq!(world.name("10.0.0.9", None), "pod shop/mine  eu-1a", "that watch works");
    World::list(&world.pods, [pod(2, "new", "node-2", &["10.0.0.1"]), pod(9, "mine", NODE, &["10.0.0.9"])]);
    world.cluster.settle();
    assert_eq!(world.name("10.0.0.1", None), "pod shop/new  eu-1b");
}

#[test]
fn without_nodes_an_address_of_several_pods_is_a_hosts() {
    let world = World::new(PodScope::Node);
    world.slices.applied(slice("metrics", &[9100], &[("192.0.2.2", "exporter-x2x7p")]));
    world.slices.applied(slice("ingress", &[443], &[("192.0.2.2", "ingress-b4c5d")]));
    world.cluster.settle();
    assert_eq!(world.name("192.0.2.2", Some(9100)), "pod shop/exporter metrics eu-1c");
    assert_eq!(world.name("192.0.2.2", Some(443)), "pod shop/ingress ingress eu-1c");
    assert_eq!(world.name("192.0.2.2", Some(22)), "nobody");
    assert_eq!(world.name("192.0.2.2", None), "nobody", "either of them, or the host");
    let since = world.generation();
    world.slices.deleted(slice("metrics", &[9100], &[]));
    assert!(world.is_stale(since, "192.0.2.2"));
    assert_eq!(world.name("192.0.2.2", None), "pod shop/ingress  eu-1c");
}

#[test]
fn without_nodes_a_pod_is_believed_for_the_ports_of_its_endpoints() {
    let world = World::new(PodScope::Node);
    world.slices.applied(slice("metrics", &[9100], &[("192.0.2.2", "exporter-x2x7p")]));
    assert_eq!(world.name("192.0.2.2", Some(9100)), "pod shop/exporter metrics eu-1c");
    assert_eq!(world.name("192.0.2.2", Some(22)), "nobody");
    assert_eq!(world.name("192.0.2.2", None), "pod shop/exporter  eu-1c", "nothing speaks against it");
    world.slices.applied(slice("probe", &[9101], &[("192.0.2.2", "exporter-x2x7p")]));
    assert_eq!(world.name("192.0.2.2", Some(9100)), "pod shop/exporter metrics eu-1c");
    assert_eq!(world.name("192.0.2.2", Some(9101)), "pod shop/exporter probe eu-1c");
    world.slices.deleted(slice("metrics", &[9100], &[]));
    world.slices.deleted(slice("probe", &[9101], &[]));
    assert_eq!(world.name("192.0.2.2", Some(9101)), "pod shop/exporter  eu-1c", "departed");
    assert_eq!(world.name("192.0.2.2", Some(22)), "nobody");
    // Something that is no pod speaks from there.
    world.slices.applied(slice("web", &[80], &[("192.0.2.3", "web-x2x7p")]));
    world.slices.applied(slice("kubernetes", &[6443], &[("192.0.2.3", "")]));
    assert_eq!(world.name("192.0.2.3", None), "nobody");
    assert_eq!(world.name("192.0.2.3", Some(80)), "pod shop/web web eu-1c");
    assert_eq!(world.name("192.0.2.3", Some(6443)), "host shop/kubernetes kubernetes eu-1c");
}

#[test]
fn with_the_node_known_an_address_that_is_not_its_own_is_the_pods() {
    let world = World::new(PodScope::Node);
    world.slices.applied(slice("web", &[80], &[("10.0.1.1", "web-x2x7p")]));
    assert_eq!(world.name("10.0.1.1", Some(9100)), "nobody");
    let since = world.generation();
    world.nodes.applied(node("node-2", "192.0.2.2", ""));
    assert!(world.is_stale(since, "10.0.1.1"));
    assert_eq!(world.name("10.0.1.1", Some(9100)), "pod shop/web  eu-1c");
}

#[test]
fn without_nodes_recycled_addresses_are_staged_too() {
    let world = World::new(PodScope::Node);
    world.slices.applied(slice("a", &[80], &[("10.0.1.1", "a-0")]));
    assert_eq!(world.name("10.0.1.1", Some(80)), "pod shop/a a eu-1c");
    world.slices.applied(slice("b", &[81], &[("10.0.1.1", "b-0")]));
    assert_eq!(world.name("10.0.1.1", None), "pod shop/a  eu-1c", "what it had counts until it is reported");
    assert!(world.cluster.needs_settling());
    world.slices.deleted(slice("a", &[80], &[]));
    world.cluster.settle();
    assert_eq!(world.name("10.0.1.1", None), "pod shop/b  eu-1c");
}

#[test]
fn the_own_nodes_zone_is_the_one_of_its_endpoints_while_nodes_are_unknown() {
    let world = World::new(PodScope::Node);
    let place = || {
        let (zone, region) = world.cluster.own_place();
        format!("{zone} {region}")
    };
    let on = |node: &str, zone: &str| {
        let mut slice = slice("web", &[80], &[("10.0.0.1", "web-1")]);
        slice.endpoints[0].node = node.to_owned();
        slice.endpoints[0].zone = zone.to_owned();
        world.slices.applied(slice);
    };
    on("node-2", "eu-1c");
    assert_eq!(place(), " ", "another's");
    let since = world.generation();
    on(NODE, "eu-1a");
    assert_eq!(place(), "eu-1a ");
    assert!(world.is_stale(since, "198.51.100.1"), "whatever is on this node has another zone now");
    world.slices.deleted(slice("web", &[80], &[]));
    on(NODE, "");
    assert_eq!(place(), "eu-1a ", "it stays");
    world.nodes.applied(node(NODE, "192.0.2.1", "eu-1b"));
    let since = world.generation();
    on(NODE, "eu-1d");
    assert_eq!(place(), "eu-1b eu-1", "the node knows better");
    assert!(!world.is_stale(since, "198.51.100.1"));
}

#[test]
fn of_endpoints_with_one_address_those_that_go_come_last() {
    let at = |addr: &str, terminating: &[bool], unready: &[bool]| {
        let world = World::with_nodes(PodScope::Node);
        let mut slice = slice("web", &[80], &[(addr, "old-0"), (addr, "new-0")]);
        for (number, endpoint) in slice.endpoints.iter_mut().enumerate() {
            (endpoint.terminating, endpoint.unready) = (terminating[number], unready[number]);
        }
        world.slices.applied(slice);
        world.name(addr, Some(80))
    };
    for addr in ["10.0.1.1", "192.0.2.2"] {
        assert_eq!(at(addr, &[false, false], &[false, false]), "pod shop/old web eu-1b");
        assert_eq!(at(addr, &[true, false], &[false, true]), "pod shop/new web eu-1b");
        assert_eq!(at(addr, &[false, false], &[true, false]), "pod shop/new web eu-1b");
    }
}

#[test]
fn an_endpoint_that_goes_loses_the_address_to_another_services() {
    let world = World::with_nodes(PodScope::Node);
    let leaving = |service: &str, addr: &str, pod: &str| {
        let mut slice = slice(service, &[80], &[(addr, pod)]);
        slice.endpoints[0].terminating = true;
        slice
    };
    for addr in ["10.0.1.1", "192.0.2.2"] {
        world.slices.applied(slice("b", &[80], &[(addr, "b-0")]));
        world.slices.applied(leaving("a", addr, "a-0"));
        world.cluster.settle();
        assert_eq!(world.name(addr, Some(80)), "pod shop/b b eu-1b", "though the other one was told of last");
        world.slices.applied(leaving("b", addr, "b-0"));
        world.slices.applied(slice("a", &[80], &[(addr, "a-0")]));
        world.cluster.settle();
        assert_eq!(world.name(addr, Some(80)), "pod shop/a a eu-1b");
    }
}
