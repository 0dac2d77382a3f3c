// SPDX-License-Identifier: Apache-2.0
//! The order in which an address is looked for.

use super::*;

#[test]
fn pods_by_every_address_of_theirs() {
    let world = World::with_nodes(PodScope::Cluster);
    world.pods.applied(pod(1, "web", "node-2", &["10.0.0.1", "fd00::1"]));
    for addr in ["10.0.0.1", "fd00::1", "::ffff:10.0.0.1"] {
        assert_eq!(world.name(addr, Some(80)), "pod shop/web  eu-1b");
        assert_eq!(world.name(addr, None), "pod shop/web  eu-1b");
    }
    let found = world.at("fd00::1", None).unwrap();
    let rest = [&found.pod, &found.node, &found.region, &found.container, &found.process].map(|text| &**text);
    assert_eq!(rest, ["web-1", "node-2", "eu-1", "", ""]);
    assert!(!found.sidecar);
    assert_eq!(world.name("10.0.0.2", Some(80)), "nobody");
}

#[test]
fn a_pod_whose_node_is_not_known_has_the_zone_of_its_endpoint() {
    let world = World::new(PodScope::Cluster);
    world.pods.applied(pod(1, "web", "node-2", &["10.0.0.1"]));
    assert_eq!(world.name("10.0.0.1", None), "pod shop/web");
    world.slices.applied(slice("web", &[80], &[("10.0.0.1", "web-1")]));
    assert_eq!(world.name("10.0.0.1", None), "pod shop/web  eu-1c");
    world.nodes.applied(node("node-2", "192.0.2.2", "eu-1b"));
    assert_eq!(world.name("10.0.0.1", Some(80)), "pod shop/web web eu-1b");
    world.nodes.deleted(node("node-2", "192.0.2.2", "eu-1b"));
    assert_eq!(world.name("10.0.0.1", Some(80)), "pod shop/web web eu-1b", "what ran there is still counted");
}

#[test]
fn pods_on_the_hosts_network_by_port() {
    let world = World::with_nodes(PodScope::Cluster);
    world.pods.applied(host_pod(1, "exporter", "node-2", "192.0.2.2", &[9100]));
    world.pods.applied(host_pod(2, "proxy", "node-2", "192.0.2.2", &[10256]));
    world.pods.applied(host_pod(3, "other", "node-2", "192.0.2.2", &[10256]));
    world.pods.applied(host_pod(4, "ingress", "node-2", "192.0.2.2", &[]));
    world.slices.applied(slice("ingress", &[443], &[("192.0.2.2", "ingress-4")]));
    assert_eq!(world.name("192.0.2.2", Some(9100)), "pod shop/exporter  eu-1b");
    assert_eq!(world.name("192.0.2.2", Some(443)), "pod shop/ingress ingress eu-1b");
    assert_eq!(world.name("192.0.2.2", Some(10256)), "host /node-2  eu-1b", "two declare it");
    assert_eq!(world.name("192.0.2.2", Some(22)), "host /node-2  eu-1b");
    assert_eq!(world.name("192.0.2.2", None), "host /node-2  eu-1b", "a client's port tells nothing");
    assert_eq!(&*world.at("192.0.2.2", None).unwrap().node, "node-2");
    world.pods.deleted(host_pod(1, "exporter", "node-2", "192.0.2.2", &[9100]));
    assert_eq!(world.name("192.0.2.2", Some(9100)), "host /node-2  eu-1b");
}

#[test]
fn pods_on_the_hosts_network_by_any_address_of_their_node() {
    let world = World::new(PodScope::Cluster);
    let addresses = vec![ip("192.0.2.2"), ip("198.51.100.2"), ip("2001:db8::2")];
    world.nodes.applied(Node { addresses, ..node("node-2", "192.0.2.2", "eu-1b") });
    world.pods.applied(host_pod(1, "exporter", "node-2", "192.0.2.2", &[9100]));
    for addr in ["192.0.2.2", "198.51.100.2", "2001:db8::2"] {
        assert_eq!(world.name(addr, Some(9100)), "pod shop/exporter  eu-1b");
    }
}

#[test]
fn without_nodes_the_pods_tell_the_hosts_addresses() {
    let world = World::new(PodScope::Cluster);
    world.pods.applied(host_pod(1, "exporter", "node-2", "192.0.2.2", &[9100]));
    world.slices.applied(slice("metrics", &[9100], &[("192.0.2.2", "exporter-1")]));
    assert_eq!(world.name("192.0.2.2", Some(9100)), "pod shop/exporter metrics eu-1c");
    assert_eq!(world.name("192.0.2.2", Some(22)), "nobody", "not all of the host is that pod");
}

#[test]
fn two_nodes_that_have_had_one_address() {
    let world = World::with_nodes(PodScope::Cluster);
    world.nodes.applied(node("node-3", "192.0.2.2", "eu-1c"));
    assert_eq!(world.name("192.0.2.2", None), "host /node-3  eu-1c");
    world.nodes.deleted(node("node-2", "192.0.2.2", "eu-1b"));
    assert_eq!(world.name("192.0.2.2", None), "host /node-3  eu-1c");
    world.nodes.applied(node("node-4", "192.0.2.2", "eu-1c"));
    world.nodes.deleted(node("node-4", "192.0.2.2", "eu-1c"));
    assert_eq!(world.name("192.0.2.2", None), "host /node-3  eu-1c");
    world.nodes.applied(node("node-3", "192.0.2.9", "eu-1c"));
    assert_eq!(
        (world.name("192.0.2.2", None), world.name("192.0.2.9", None)),
        ("nobody".into(), "host /node-3  eu-1c".into())
    );
}

#[test]
fn a_node_takes_the_address_that_a_pod_had() {
    let world = World::with_nodes(PodScope::Cluster);
    world.pods.applied(pod(1, "web", "node-2", &["192.0.2.3"]));
    world.pods.deleted(pod(1, "web", "node-2", &["192.0.2.3"]));
    assert_eq!(world.name("192.0.2.3", None), "pod shop/web  eu-1b");
    world.nodes.applied(node("node-3", "192.0.2.3", "eu-1a"));
    assert_eq!(world.name("192.0.2.3", None), "pod shop/web  eu-1b", "it was asked about");
    world.cluster.settle();
    assert_eq!(world.name("192.0.2.3", None), "host /node-3  eu-1a");
}

#[test]
fn what_changes_nothing_is_no_change() {
    let world = World::with_nodes(PodScope::Cluster);
    let tell = || {
        world.nodes.applied(node("node-2", "192.0.2.2", "eu-1b"));
        world.pods.applied(pod(1, "web", "node-2", &["10.0.0.1"]));
        world.services.applied(service("web", &["10.96.0.1"], &[(80, Some(30080))]));
        world.slices.applied(slice("web", &[80], &[("10.0.0.1", "web-1")]));
    };
    tell();
    let (since, version) = (world.generation(), world.cluster.service_version());
    tell();
    World::list(&world.pods, [pod(1, "web", "node-2", &["10.0.0.1"])]);
    World::list(&world.services, [service("web", &["10.96.0.1"], &[(80, Some(30080))])]);
    World::list(&world.slices, [slice("web", &[80], &[("10.0.0.1", "web-1")])]);
    assert_eq!((world.generation(), world.cluster.service_version()), (since, version));
}

#[test]
fn what_is_stale_is_what_changed() {
    let world = World::with_nodes(PodScope::Cluster);
    let after = |change: &dyn Fn()| {
        let since = world.generation();
        change();
        let all = ["10.0.0.1", "10.0.0.2", "10.96.0.1", "192.0.2.1", "192.0.2.2"];
        all.into_iter().filter(|addr| world.is_stale(since, addr)).collect::<Vec<_>>()
    };
    let web = || slice("web", &[80], &[("10.0.0.1", "web-1")]);
    assert_eq!(after(&|| world.pods.applied(pod(1, "web", "node-2", &["10.0.0.1"]))), ["10.0.0.1"]);
    assert_eq!(after(&|| world.slices.applied(web())), ["10.0.0.1"]);
    let both = slice("web", &[80], &[("10.0.0.1", "web-1"), ("10.0.0.2", "web-2")]);
    assert_eq!(after(&|| world.slices.applied(both.clone())), ["10.0.0.2"], "the other is as it was");
    assert_eq!(after(&|| world.slices.deleted(both.clone())), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(
        after(&|| world.services.applied(service("web", &["10.96.0.1"], &[(80, None)]))),
        ["10.96.0.1"]
    );
    let with_node_port = service("web", &["10.96.0.1"], &[(80, Some(30080))]);
    assert_eq!(
        after(&|| world.services.applied(with_node_port.clone())),
        ["10.96.0.1", "192.0.2.1", "192.0.2.2"]
    );
    assert_eq!(after(&|| world.pods.applied(host_pod(9, "x", "node-2", "192.0.2.2", &[1]))), ["192.0.2.2"]);
    assert_eq!(
        after(&|| world.nodes.applied(node("node-2", "192.0.2.2", "eu-1c"))).len(),
        5,
        "zones are everybody's"
    );
    assert_eq!(after(&|| world.nodes.deleted(node("node-2", "192.0.2.2", "eu-1c"))), ["192.0.2.2"]);
}
