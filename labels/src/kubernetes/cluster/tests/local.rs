// SPDX-License-Identifier: Apache-2.0
//! Pods of this node by their uid.

use super::*;

fn hint<'a>(id: &'a str, name: Option<&'a str>) -> Option<ContainerHint<'a>> {
    Some(ContainerHint { id, name })
}

fn with_containers(containers: Vec<Container>) -> Pod {
    Pod { containers, ..pod(1, "web", NODE, &["10.0.0.1"]) }
}

fn own(world: &World, container: Option<ContainerHint<'_>>) -> (String, bool) {
    let found = world.cluster.local_pod(Uid::parse(&uid(1)), container, []).unwrap().identity;
    (found.container.to_string(), found.sidecar)
}

#[test]
fn containers_and_sidecars() {
    let world = World::with_nodes(PodScope::Cluster);
    world.node_pods.applied(with_containers(vec![
        container("setup", "a1", false),
        container("istio-proxy", "b2", true),
        container("app", "c3", true),
        container("debugger", "d4", false),
        container("late", "", true),
    ]));
    assert_eq!(own(&world, hint("a1", None)), ("setup".into(), false));
    assert_eq!(own(&world, hint("b2", None)), ("istio-proxy".into(), true));
    assert_eq!(own(&world, hint("c3", Some("istio-proxy"))), ("app".into(), false), "the id counts");
    assert_eq!(own(&world, hint("d4", None)), ("debugger".into(), false));
    assert_eq!(own(&world, hint("ee", Some("late"))), ("late".into(), false), "its status is late");
    assert_eq!(own(&world, hint("ee", Some("POD"))), (String::new(), false), "the pause container");
    assert_eq!(own(&world, None), (String::new(), false));
    let found = world.cluster.local_pod(Uid::parse(&uid(1)), None, []).unwrap();
    assert_eq!((brief(&found.identity), found.host_network), ("pod shop/web  eu-1a".into(), false));
    assert_eq!((&*found.identity.pod, &*found.identity.node), ("web-1", NODE));
}

#[test]
fn a_proxy_that_serves_nobody_in_its_pod_is_no_sidecar() {
    let world = World::with_nodes(PodScope::Cluster);
    let gateway = vec![container("istio-proxy", "b2", true), container("setup", "a1", false)];
    world.node_pods.applied(with_containers(gateway));
    assert_eq!(own(&world, hint("b2", None)), ("istio-proxy".into(), false));
    let two = vec![container("istio-proxy", "b2", true), container("linkerd-proxy", "c3", true)];
    world.node_pods.applied(with_containers(two));
    assert_eq!(own(&world, hint("b2", None)), ("istio-proxy".into(), false), "nor do two");
}

#[test]
fn static_pods_by_their_configuration_hash() {
    let world = World::with_nodes(PodScope::Cluster);
    let hash = "0123456789abcdef0123456789abcdef";
    let mirror = Pod { config_hash: Some(hash.to_owned()), ..pod(1, "etcd", NODE, &["192.0.2.1"]) };
    world.node_pods.applied(mirror.clone());
    let known =
        |uid: &str| world.cluster.local_pod(Uid::parse(uid), None, []).map(|found| found.identity.workload);
    assert_eq!((known(hash).as_deref(), known(&uid(1)).as_deref()), (Some("etcd"), Some("etcd")));
    assert!(world.cluster.is_alive(Uid::parse(hash)));
    let changed = "ffffffffffffffff0123456789abcdef";
    world.node_pods.applied(Pod { config_hash: Some(changed.to_owned()), ..mirror.clone() });
    assert_eq!((known(hash), known(changed).as_deref()), (None, Some("etcd")));
    world.node_pods.deleted(mirror);
    assert_eq!(
        (known(changed).as_deref(), known(&uid(1)).as_deref()),
        (Some("etcd"), Some("etcd")),
        "departed"
    );
    assert!(!world.cluster.is_alive(Uid::parse(changed)));
}

#[test]
fn the_alias_of_a_mirror_pod_that_is_made_anew() {
    let world = World::with_nodes(PodScope::Cluster);
    let hash = "0123456789abcdef0123456789abcdef";
    let mirror = |number, workload| Pod {
        config_hash: Some(hash.to_owned()),
        ..pod(number, workload, NODE, &["192.0.2.1"])
    };
    let known = || {
        let found = world.cluster.local_pod(Uid::parse(hash), None, []);
        (found.map(|found| found.identity.pod.to_string()), world.cluster.is_alive(Uid::parse(hash)))
    };
    let second = (Some("etcd-2".to_owned()), true);
    world.node_pods.applied(mirror(1, "etcd"));
    world.node_pods.applied(mirror(2, "etcd"));
    assert_eq!(known(), second);
    world.node_pods.applied(mirror(1, "etcd-dying"));
    assert_eq!(known(), second, "told of once more");
    world.node_pods.deleted(mirror(1, "etcd"));
    assert_eq!(known(), second);
    // The one before changes its configuration, or has none any more.
    world.node_pods.applied(mirror(3, "etcd"));
    world.node_pods.applied(Pod { config_hash: None, ..mirror(2, "etcd") });
    assert_eq!(known(), (Some("etcd-3".to_owned()), true));
    world.node_pods.deleted(mirror(3, "etcd"));
    assert_eq!(known(), (Some("etcd-3".to_owned()), false), "departed");
}

#[test]
fn answers_are_stale_when_their_pod_has_changed() {
    let world = World::with_nodes(PodScope::Cluster);
    let changes = &world.cluster.changes;
    let ask =
        |number| world.cluster.local_pod(Uid::parse(&uid(number)), None, [Subject::Cgroup(number.into())]);
    assert!(ask(1).is_none() && ask(2).is_none());
    let since = changes.generation();
    world.node_pods.applied(pod(1, "web", NODE, &["10.0.0.1"]));
    assert!(changes.is_stale(since, &[Subject::Cgroup(1)]));
    assert!(!changes.is_stale(since, &[Subject::Cgroup(2)]), "that one is still awaited");
    assert!(ask(1).is_some());
    let since = changes.generation();
    world.pods.applied(pod(1, "web", NODE, &["10.0.0.1"]));
    world.node_pods.applied(pod(7, "other", NODE, &["10.0.0.7"]));
    assert!(!changes.is_stale(since, &[Subject::Cgroup(1)]), "nothing new");
    world.node_pods.applied(with_containers(vec![container("app", "c3", true)]));
    assert!(changes.is_stale(since, &[Subject::Cgroup(1)]), "its container has an id now");
    for number in 10..100_000 {
        ask(number);
    }
    assert!(world.cluster.awaited.lock().len() <= 16_384);
    assert!(changes.is_stale(since, &[Subject::Cgroup(2)]), "what is not remembered counts as changed");
}

#[test]
fn services_of_local_servers() {
    let world = World::with_nodes(PodScope::Cluster);
    world.node_pods.applied(pod(1, "web", NODE, &["10.0.0.1", "fd00::1"]));
    world.node_pods.applied(host_pod(2, "exporter", NODE, "192.0.2.1", &[9100]));
    world.slices.applied(slice("web", &[80], &[("10.0.0.1", "web-1")]));
    world.slices.applied(slice("web6", &[443], &[("fd00::1", "web-1")]));
    world.slices.applied(slice("metrics", &[9100], &[("192.0.2.1", "exporter-2")]));
    let service = |number, port| world.cluster.service_of(Uid::parse(&uid(number)), port);
    assert_eq!(service(1, 80).as_deref(), Some("web"));
    assert_eq!(service(1, 443).as_deref(), Some("web6"));
    assert_eq!(service(1, 22), None);
    assert_eq!(service(2, 9100).as_deref(), Some("metrics"));
    assert_eq!(service(3, 80), None);
    assert_eq!(world.cluster.service_of_node(1, 9100).as_deref(), Some("metrics"));
    assert_eq!(world.cluster.own_place(), ("eu-1a".into(), "eu-1".into()));
}
