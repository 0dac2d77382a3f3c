// SPDX-License-Identifier: Apache-2.0
//! Addresses that go from one pod to another.

use super::*;

const ADDR: &str = "10.0.0.1";

fn finished(pod: Pod) -> Pod {
    Pod { finished: true, ..pod }
}

#[test]
fn an_address_that_was_asked_about_changes_hands_when_all_is_settled() {
    let world = World::with_nodes(PodScope::Cluster);
    world.pods.applied(pod(1, "old", "node-2", &[ADDR]));
    assert_eq!(world.name(ADDR, None), "pod shop/old  eu-1b");
    let since = world.generation();
    world.pods.deleted(pod(1, "old", "node-2", &[ADDR]));
    assert_eq!(world.name(ADDR, None), "pod shop/old  eu-1b", "departed");
    assert!(!world.cluster.needs_settling() && !world.is_stale(since, ADDR));
    world.pods.applied(pod(2, "new", "node-2", &[ADDR]));
    assert!(world.cluster.needs_settling());
    assert!(!world.is_stale(since, ADDR));
    assert_eq!(world.name(ADDR, None), "pod shop/old  eu-1b");
    world.cluster.settle();
    assert!(!world.cluster.needs_settling());
    assert!(world.is_stale(since, ADDR));
    assert_eq!(world.name(ADDR, None), "pod shop/new  eu-1b");
}

/// Its old pod may have said something that has not been reported, and so not been asked about, yet.
#[test]
fn an_address_that_was_held_after_the_last_report_changes_hands_when_all_is_settled() {
    let world = World::with_nodes(PodScope::Cluster);
    world.pods.applied(pod(1, "old", "node-2", &[ADDR]));
    world.cluster.set_reported(world.cluster.departures());
    world.pods.deleted(pod(1, "old", "node-2", &[ADDR]));
    world.pods.applied(pod(2, "new", "node-2", &[ADDR]));
    assert!(world.cluster.needs_settling());
    // More of them before the next report: the last one gets it.
    world.pods.deleted(pod(2, "new", "node-2", &[ADDR]));
    world.pods.applied(pod(3, "newer", "node-2", &[ADDR]));
    assert_eq!(world.name(ADDR, None), "pod shop/old  eu-1b");
    world.cluster.settle();
    assert_eq!(world.name(ADDR, None), "pod shop/newer  eu-1b");
}

#[test]
fn an_address_that_nobody_asked_about_changes_hands_at_once() {
    let world = World::with_nodes(PodScope::Cluster);
    world.pods.applied(pod(1, "old", "node-2", &[ADDR]));
    world.pods.deleted(pod(1, "old", "node-2", &[ADDR]));
    world.cluster.set_reported(world.cluster.departures());
    world.pods.applied(pod(2, "new", "node-2", &[ADDR]));
    assert!(!world.cluster.needs_settling());
    assert_eq!(world.name(ADDR, None), "pod shop/new  eu-1b");
    // One that was unknown when it was asked about, too.
    assert_eq!(world.name("10.0.0.2", None), "nobody");
    world.pods.applied(pod(3, "late", "node-2", &["10.0.0.2"]));
    assert!(!world.cluster.needs_settling());
    assert_eq!(world.name("10.0.0.2", None), "pod shop/late  eu-1b");
}

#[test]
fn nobody_has_asked_about_the_holder_in_between_yet() {
    let world = World::with_nodes(PodScope::Cluster);
    world.pods.applied(pod(1, "a", "node-2", &[ADDR]));
    world.name(ADDR, None);
    world.pods.applied(pod(2, "b", "node-2", &[ADDR]));
    world.cluster.settle();
    world.pods.applied(pod(3, "c", "node-2", &[ADDR]));
    assert_eq!(world.name(ADDR, None), "pod shop/b  eu-1b");
    world.cluster.settle();
    assert_eq!(world.name(ADDR, None), "pod shop/c  eu-1b");
}

#[test]
fn the_last_of_several_gets_it() {
    let world = World::with_nodes(PodScope::Cluster);
    world.pods.applied(pod(1, "a", "node-2", &[ADDR]));
    world.name(ADDR, None);
    world.pods.deleted(pod(1, "a", "node-2", &[ADDR]));
    world.pods.applied(pod(2, "b", "node-2", &[ADDR]));
    world.pods.deleted(pod(2, "b", "node-2", &[ADDR]));
    assert_eq!(world.name(ADDR, None), "pod shop/a  eu-1b");
    world.pods.applied(pod(3, "c", "node-2", &[ADDR]));
    world.pods.deleted(pod(3, "c", "node-2", &[ADDR]));
    world.cluster.settle();
    assert_eq!(world.name(ADDR, None), "pod shop/c  eu-1b", "departed, but the last who had it");
    assert!(!world.cluster.needs_settling());
}

#[test]
fn back_before_anything_was_settled() {
    let world = World::with_nodes(PodScope::Cluster);
    world.pods.applied(pod(1, "a", "node-2", &[ADDR]));
    world.name(ADDR, None);
    let since = world.generation();
    world.pods.applied(pod(2, "b", "node-2", &[ADDR]));
    world.pods.deleted(pod(2, "b", "node-2", &[ADDR]));
    world.cluster.settle();
    assert_eq!(world.name(ADDR, None), "pod shop/a  eu-1b", "it never ended");
    assert!(!world.is_stale(since, ADDR));
}

#[test]
fn of_two_at_once_the_unfinished_counts_then_the_newer() {
    let world = World::with_nodes(PodScope::Cluster);
    world.pods.applied(pod(1, "old", "node-2", &[ADDR]));
    world.pods.applied(pod(2, "new", "node-2", &[ADDR]));
    world.cluster.settle();
    assert_eq!(world.name(ADDR, None), "pod shop/new  eu-1b");
    // The old one's status is still written to.
    let mut dying = pod(1, "old", "node-2", &[ADDR, "fd00::1"]);
    world.pods.applied(dying.clone());
    world.cluster.settle();
    assert_eq!(world.name(ADDR, None), "pod shop/new  eu-1b");
    assert_eq!(world.name("fd00::1", None), "pod shop/old  eu-1b");
    dying.finished = true;
    world.pods.applied(dying);
    assert_eq!(world.name(ADDR, None), "pod shop/new  eu-1b");
    assert!(!world.cluster.needs_settling());
    // A job that has ended and is kept does not get its address back.
    world.pods.applied(finished(pod(3, "job", "node-2", &[ADDR])));
    world.pods.deleted(pod(2, "new", "node-2", &[ADDR]));
    assert_eq!(world.name(ADDR, None), "pod shop/new  eu-1b");
}

#[test]
fn a_finished_pod_keeps_its_address_until_somebody_else_gets_it() {
    let world = World::with_nodes(PodScope::Cluster);
    World::list(&world.pods, [pod(1, "job", "node-2", &[]), pod(2, "web", "node-2", &["10.0.0.2"])]);
    // It ended so soon that it was never told of as running there.
    world.pods.applied(finished(pod(1, "job", "node-2", &[ADDR])));
    assert_eq!(world.name(ADDR, None), "pod shop/job  eu-1b");
    world.pods.applied(finished(pod(2, "web", "node-2", &["10.0.0.2"])));
    assert_eq!(world.name("10.0.0.2", None), "pod shop/web  eu-1b");
    world.pods.applied(pod(3, "new", "node-2", &[ADDR, "10.0.0.2"]));
    world.cluster.settle();
    assert_eq!(
        (world.name(ADDR, None), world.name("10.0.0.2", None)),
        ("pod shop/new  eu-1b".into(), "pod shop/new  eu-1b".into())
    );
}

#[test]
fn a_pod_that_had_finished_before_it_was_listed_names_no_address() {
    let world = World::with_nodes(PodScope::Cluster);
    let done = [finished(pod(1, "job", "node-2", &[ADDR])), finished(pod(2, "report", NODE, &["10.0.0.2"]))];
    World::list(&world.node_pods, [done[1].clone()]);
    World::list(&world.pods, done);
    assert_eq!(world.name(ADDR, None), "nobody");
    assert_eq!(world.name("10.0.0.2", None), "nobody");
    world.pods.deleted(pod(1, "job", "node-2", &[ADDR]));
    assert_eq!(world.name(ADDR, None), "nobody");
}

#[test]
fn a_set_that_gives_the_same_name_to_another_pod() {
    let world = World::with_nodes(PodScope::Cluster);
    let named = |number| Pod { name: "db-0".to_owned(), ..pod(number, "db", "node-2", &[ADDR]) };
    world.pods.applied(named(1));
    world.name(ADDR, None);
    world.pods.deleted(named(1));
    let since = world.generation();
    world.pods.applied(named(2));
    assert!(!world.cluster.needs_settling() && !world.is_stale(since, ADDR), "the same name");
    // It was scheduled anew, on another node.
    world.pods.applied(Pod { node: NODE.to_owned(), ..named(2) });
    assert!(world.is_stale(since, ADDR));
    assert_eq!(world.name(ADDR, None), "pod shop/db  eu-1a");
}

#[test]
fn a_service_takes_a_departed_pods_address() {
    let world = World::with_nodes(PodScope::Cluster);
    world.pods.applied(pod(1, "web", "node-2", &[ADDR]));
    world.name(ADDR, None);
    world.services.applied(service("api", &[ADDR], &[(80, None)]));
    world.cluster.settle();
    assert_eq!(world.name(ADDR, Some(80)), "pod shop/web  eu-1b", "while it lives it has it");
    world.services.deleted(service("api", &[ADDR], &[(80, None)]));
    world.pods.deleted(pod(1, "web", "node-2", &[ADDR]));
    world.services.applied(service("api", &[ADDR], &[(80, None)]));
    assert_eq!(world.name(ADDR, Some(80)), "pod shop/web  eu-1b");
    world.cluster.settle();
    assert_eq!(world.name(ADDR, Some(80)), "service shop/api api");
    // Somebody entered an endpoint by hand.
    world.pods.applied(pod(2, "web", "node-2", &["10.0.0.2"]));
    world.pods.deleted(pod(2, "web", "node-2", &["10.0.0.2"]));
    world.slices.applied(slice("manual", &[80], &[("10.0.0.2", "")]));
    world.cluster.settle();
    assert_eq!(world.name("10.0.0.2", Some(80)), "host shop/manual manual eu-1b");
}

#[test]
fn the_departed_are_forgotten_in_time() {
    let world = World::with_nodes(PodScope::Cluster);
    let forget = |after| {
        let mut state = world.cluster.state.write();
        let State { holders, touched, .. } = &mut *state;
        holders.forget_departed(Instant::now() + after, touched);
        touched.subjects.clear();
    };
    world.pods.applied(pod(1, "a", "node-2", &[ADDR]));
    world.pods.deleted(pod(1, "a", "node-2", &[ADDR]));
    world.pods.applied(pod(2, "b", "node-2", &["10.0.0.2"]));
    world.pods.deleted(pod(2, "b", "node-2", &["10.0.0.2"]));
    world.pods.applied(pod(3, "c", "node-2", &["10.0.0.2"]));
    forget(std::time::Duration::from_secs(590));
    assert_eq!(world.name(ADDR, None), "pod shop/a  eu-1b");
    forget(std::time::Duration::from_secs(610));
    assert_eq!(world.name(ADDR, None), "pod shop/a  eu-1b", "it was asked about");
    world.tend_and_settle();
    assert_eq!(world.name(ADDR, None), "nobody");
    assert_eq!(world.name("10.0.0.2", None), "pod shop/c  eu-1b", "it is somebody's again");
}

impl World {
    fn tend_and_settle(&self) {
        self.cluster.tend();
        assert!(self.cluster.needs_settling());
        self.cluster.settle();
    }
}

#[test]
fn the_departed_are_bounded() {
    let world = World::new(PodScope::Cluster);
    for number in 0..20_000u32 {
        let addr = IpAddr::from((0x0a00_0000 + number).to_be_bytes()).to_string();
        world.node_pods.applied(pod(number, "job", NODE, &[&addr]));
        world.node_pods.deleted(pod(number, "job", NODE, &[&addr]));
    }
    let state = world.cluster.state.read();
    assert!(state.holders.len() <= 8193, "{}", state.holders.len());
    assert_eq!(state.pods.len(Watch::OwnNode), 0);
    assert!(state.pods.by_uid(Uid::parse(&uid(19_999))).is_some());
    assert!(state.pods.by_uid(Uid::parse(&uid(19_999 - 4096))).is_none());
}
