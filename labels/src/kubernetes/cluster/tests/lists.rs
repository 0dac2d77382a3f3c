// SPDX-License-Identifier: Apache-2.0
//! Lists, and what is told of the watches.

use super::*;

fn statuses(world: &World) -> Vec<(&'static str, bool, u64)> {
    world.cluster.statuses().iter().map(|status| (status.source, status.up, status.entries)).collect()
}

#[test]
fn a_list_replaces_what_was_known() {
    let world = World::with_nodes(PodScope::Cluster);
    let pods = |numbers: &[u32]| -> Vec<Pod> {
        numbers.iter().map(|n| pod(*n, &format!("w{n}"), "node-2", &[&format!("10.0.0.{n}")])).collect()
    };
    World::list(&world.pods, pods(&[1, 2]));
    World::list(&world.services, [service("a", &["10.96.0.1"], &[]), service("b", &["10.96.0.2"], &[])]);
    World::list(
        &world.slices,
        [slice("a", &[80], &[("10.0.0.1", "w1-1")]), slice("b", &[80], &[("10.9.0.2", "")])],
    );
    let since = world.generation();
    World::list(&world.pods, pods(&[2, 3]));
    World::list(&world.services, [service("b", &["10.96.0.2"], &[])]);
    World::list(&world.slices, [slice("a", &[80], &[("10.0.0.1", "w1-1")])]);
    World::list(&world.nodes, [node(NODE, "192.0.2.1", "eu-1a")]);
    assert_eq!(world.cluster.state.read().pods.len(Watch::All), 2);
    assert_eq!(world.name("10.0.0.1", None), "pod shop/w1  eu-1b", "departed");
    assert_eq!(world.name("10.0.0.3", None), "pod shop/w3  eu-1b");
    assert_eq!(world.name("10.96.0.1", Some(1)), "nobody");
    assert_eq!(world.name("10.9.0.2", Some(80)), "nobody");
    assert_eq!(world.name("192.0.2.2", None), "nobody");
    assert!(!world.is_stale(since, "10.0.0.2"));
    assert!(world.is_stale(since, "10.96.0.2"), "its endpoint has gone");
    assert!(world.is_stale(since, "10.96.0.1") && world.is_stale(since, "192.0.2.2"));
}

#[test]
fn an_address_that_changed_hands_between_two_lists() {
    let world = World::with_nodes(PodScope::Cluster);
    World::list(&world.pods, [pod(9, "old", "node-2", &["10.0.0.1"])]);
    world.name("10.0.0.1", None);
    World::list(&world.pods, [pod(1, "new", "node-2", &["10.0.0.1"])]);
    assert_eq!(world.name("10.0.0.1", None), "pod shop/old  eu-1b");
    world.cluster.settle();
    assert_eq!(world.name("10.0.0.1", None), "pod shop/new  eu-1b");
}

#[test]
fn a_list_that_does_not_end_counts_for_nothing() {
    let world = World::with_nodes(PodScope::Cluster);
    World::list(&world.pods, [pod(1, "a", "node-2", &["10.0.0.1"])]);
    world.pods.begin_list();
    world.pods.listed(pod(2, "b", "node-2", &["10.0.0.2"]));
    assert_eq!(world.name("10.0.0.2", None), "nobody");
    world.pods.down("connection reset".to_owned());
    World::list(&world.pods, [pod(1, "a", "node-2", &["10.0.0.1"])]);
    assert_eq!(world.name("10.0.0.2", None), "nobody");
    assert_eq!(world.cluster.state.read().pods.len(Watch::All), 1);
}

#[test]
fn sources_tell_how_they_are() {
    let world = World::new(PodScope::Cluster);
    let names =
        ["node_pods", "pods", "services", "endpointslices", "nodes"].map(|name| format!("kubernetes_{name}"));
    assert!(statuses(&world).iter().zip(&names).all(|(status, name)| status.0 == name && !status.1));
    assert!(!world.cluster.complete());
    world.services.down("listing services is forbidden for this token".to_owned());
    World::list(&world.node_pods, [pod(1, "a", NODE, &["10.0.0.1"])]);
    World::list(&world.pods, [pod(1, "a", NODE, &["10.0.0.1"]), pod(2, "b", "node-2", &["10.0.0.2"])]);
    World::list(&world.slices, []);
    World::list(&world.nodes, [node(NODE, "192.0.2.1", "eu-1a")]);
    let up: Vec<_> = statuses(&world).into_iter().map(|(_, up, entries)| (up, entries)).collect();
    assert_eq!(up, [(true, 1), (true, 2), (false, 0), (true, 0), (true, 1)]);
    assert!(!world.cluster.complete());
    assert_eq!(world.cluster.statuses()[2].detail, "listing services is forbidden for this token");
    World::list(&world.services, []);
    assert!(world.cluster.complete());
    world.pods.down("connection refused".to_owned());
    let pods = &world.cluster.statuses()[1];
    assert_eq!((pods.up, pods.reloads, pods.reloads_failed), (false, 1, 1));
    assert_eq!(pods.detail, "connection refused; the last known 2 pods stay");
    assert!(world.cluster.complete(), "it was");
    world.pods.up();
    assert!(world.cluster.statuses()[1].up);
}

#[test]
fn all_pods_are_no_source_where_they_are_not_watched() {
    let world = World::new(PodScope::Node);
    assert!(
        statuses(&world).iter().all(|status| status.0 != "kubernetes_pods") && statuses(&world).len() == 4
    );
    World::list(&world.node_pods, []);
    World::list(&world.services, []);
    World::list(&world.slices, []);
    World::list(&world.nodes, []);
    assert!(world.cluster.complete());
}

#[test]
fn the_two_watches_of_pods_agree_in_the_end() {
    let world = World::with_nodes(PodScope::Cluster);
    let own = pod(1, "web", NODE, &["10.0.0.1"]);
    World::list(&world.node_pods, [own.clone()]);
    World::list(&world.pods, [own.clone()]);
    // The watch of all is late: it tells of a state before the one that is known.
    world.node_pods.applied(Pod { ips: vec![ip("10.0.0.2")], ..own.clone() });
    world.pods.applied(own.clone());
    assert_eq!(world.cluster.state.read().pods.by_uid(Uid::parse(&uid(1))).unwrap().ips[0], ip("10.0.0.2"));
    world.node_pods.deleted(own.clone());
    world.pods.applied(own.clone());
    world.pods.applied(pod(2, "next", "node-2", &["10.0.0.2"]));
    world.cluster.settle();
    assert_eq!(world.name("10.0.0.2", None), "pod shop/next  eu-1b");
    assert!(!world.cluster.is_alive(Uid::parse(&uid(1))));
    world.pods.deleted(own.clone());
    assert_eq!(world.cluster.state.read().pods.len(Watch::All), 1);
    assert!(world.cluster.local_pod(Uid::parse(&uid(1)), None, []).is_some(), "remembered");
    // The watch of all stands in for the one that does not work.
    world.node_pods.down("forbidden".to_owned());
    world.pods.applied(pod(3, "third", NODE, &["10.0.0.3"]));
    assert!(world.cluster.local_pod(Uid::parse(&uid(3)), None, []).is_some());
}

#[test]
fn of_two_with_one_address_in_a_list_the_younger_has_it() {
    let made = |created, pod| Pod { created, ..pod };
    let first = pod(1, "first", "node-2", &["10.0.0.1"]);
    let second = pod(2, "second", "node-2", &["10.0.0.1"]);
    let named = |list: [Pod; 2]| {
        let world = World::with_nodes(PodScope::Cluster);
        World::list(&world.pods, list);
        world.cluster.settle();
        world.at("10.0.0.1", None).unwrap().workload.to_string()
    };
    let (old, young) = (made(100, first.clone()), made(200, second.clone()));
    assert_eq!(named([old.clone(), young.clone()]), "second");
    assert_eq!(named([young.clone(), old.clone()]), "second");
    assert_eq!(named([Pod { deleting: true, ..young }, old]), "second", "however soon it goes");
    let going = Pod { deleting: true, ..made(100, first) };
    let alike = made(100, second);
    assert_eq!(
        named([going.clone(), alike.clone()]),
        "second",
        "of two made in one second, the one that stays"
    );
    assert_eq!(named([alike, going]), "second");
}
