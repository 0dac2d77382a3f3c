// SPDX-License-Identifier: Apache-2.0
//! Whatever happens in whatever order: names are right in the end, and nothing grows.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const ADDRESSES: u8 = 6;

#[derive(Clone, Debug)]
enum Step {
    /// A pod gets an address, or another one.
    Run {
        number: u32,
        addr: u8,
        own: bool,
    },
    Finish {
        number: u32,
    },
    Delete {
        number: u32,
    },
    Ask {
        addr: u8,
    },
    Relist,
    Slice {
        addr: u8,
        number: u32,
    },
    Flap {
        up: bool,
    },
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    let (number, addr) = (0..12u32, 0..ADDRESSES);
    prop_oneof![
        6 => (number.clone(), addr.clone(), any::<bool>()).prop_map(|(number, addr, own)| Step::Run { number, addr, own }),
        2 => number.clone().prop_map(|number| Step::Finish { number }),
        4 => number.clone().prop_map(|number| Step::Delete { number }),
        4 => addr.clone().prop_map(|addr| Step::Ask { addr }),
        1 => Just(Step::Relist),
        2 => (addr, number).prop_map(|(addr, number)| Step::Slice { addr, number }),
        1 => any::<bool>().prop_map(|up| Step::Flap { up }),
        2 => Just(Step::Settle),
    ]
}

fn addr(number: u8) -> String {
    format!("10.0.0.{number}")
}

/// The pods as the API has them, and who got each address last.
#[derive(Default)]
struct Truth {
    pods: BTreeMap<u32, Pod>,
    last: BTreeMap<IpAddr, u32>,
    ages: u32,
}

impl Truth {
    fn alive_at(&self, addr: IpAddr) -> Vec<&Pod> {
        self.pods.values().filter(|pod| !pod.finished && pod.ips.contains(&addr)).collect()
    }

    fn own(&self) -> Vec<Pod> {
        self.pods.values().filter(|pod| pod.node == NODE).cloned().collect()
    }
}

/// Tells of a pod on every watch that has it.
fn tell(world: &World, pod: &Pod, what: fn(&dyn Watched<Pod>, Pod)) {
    if pod.node == NODE {
        what(&*world.node_pods, pod.clone());
    }
    what(&*world.pods, pod.clone());
}

fn run(world: &World, truth: &mut Truth, step: &Step) {
    match step {
        Step::Run { number, addr: at, own } => {
            if truth.pods.get(number).is_some_and(|pod| pod.finished) {
                return; // those do not run again
            }
            truth.ages += 1;
            // A uid is never used again.
            let unborn = pod(
                truth.ages * 100 + number,
                &format!("w{}", truth.ages),
                if *own { NODE } else { "node-2" },
                &[],
            );
            let pod = truth.pods.entry(*number).or_insert(unborn);
            if pod.ips != [ip(&addr(*at))] {
                pod.ips = vec![ip(&addr(*at))];
                truth.last.insert(ip(&addr(*at)), *number);
            }
            tell(world, &pod.clone(), |watch, pod| watch.applied(pod));
        }
        Step::Finish { number } => {
            if let Some(pod) = truth.pods.get_mut(number) {
                pod.finished = true;
                tell(world, &pod.clone(), |watch, pod| watch.applied(pod));
            }
        }
        Step::Delete { number } => {
            if let Some(pod) = truth.pods.remove(number) {
                tell(world, &pod, |watch, pod| watch.deleted(pod));
            }
        }
        Step::Ask { addr: at } => drop(world.at(&addr(*at), None)),
        Step::Relist => {
            World::list(&world.node_pods, truth.own());
            World::list(&world.pods, truth.pods.values().cloned());
        }
        // Of a pod that exists, as the endpoints' controller makes them; it may be late.
        Step::Slice { addr: at, number } => {
            let name = truth.pods.get(number).map_or("ghost-0".to_owned(), |pod| pod.name.clone());
            world.slices.applied(slice("any", &[80], &[(&addr(*at), &name)]));
        }
        Step::Flap { up: true } => world.pods.up(),
        Step::Flap { up: false } => world.pods.down("gone".to_owned()),
        Step::Settle => world.cluster.settle(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_address_is_named_after_a_pod_that_lost_it(steps in prop::collection::vec(step(), 1..80)) {
        let world = World::with_nodes(PodScope::Cluster);
        let mut truth = Truth::default();
        World::list(&world.node_pods, []);
        World::list(&world.pods, []);
        for at in &steps {
            run(&world, &mut truth, at);
        }
        run(&world, &mut truth, &Step::Relist);
        world.cluster.settle();
        prop_assert!(!world.cluster.needs_settling());
        for number in 0..ADDRESSES {
            let here = ip(&addr(number));
            let shown = world.cluster.at(here, None);
            let alive = truth.alive_at(here);
            let names: Vec<&str> = alive.iter().map(|pod| pod.workload.as_str()).collect();
            match (&shown, alive.is_empty()) {
                (Some(shown), false) => {
                    prop_assert!(names.contains(&&*shown.workload), "{here}: {shown:?}, not of {names:?}");
                    // Who got it last has it, if that one is still alive.
                    let last = truth.last.get(&here).and_then(|number| truth.pods.get(number));
                    if let Some(last) = last.filter(|pod| !pod.finished && pod.ips.contains(&here)) {
                        prop_assert_eq!(&*shown.workload, last.workload.as_str());
                    }
                }
                (None, false) => prop_assert!(false, "{} is somebody's", here),
                (_, true) => {}
            }
        }
        let state = world.cluster.state.read();
        prop_assert_eq!(state.pods.len(Watch::All), truth.pods.len());
        prop_assert_eq!(state.pods.len(Watch::OwnNode), truth.own().len());
        prop_assert!(state.holders.len() <= usize::from(ADDRESSES));
    }

    #[test]
    fn until_it_is_settled_an_answer_does_not_change_hands(steps in prop::collection::vec(step(), 1..60)) {
        let world = World::with_nodes(PodScope::Cluster);
        let mut truth = Truth::default();
        let mut given: BTreeMap<u8, (u64, Arc<str>)> = BTreeMap::new();
        for at in &steps {
            run(&world, &mut truth, at);
            if matches!(at, Step::Settle) {
                given.clear();
            }
            for number in 0..ADDRESSES {
                let since = world.generation();
                let Some(found) = world.cluster.at(ip(&addr(number)), None) else { continue };
                let (_, pod) = given.entry(number).or_insert((since, found.pod.clone()));
                prop_assert_eq!(&*found.pod, &**pod);
            }
        }
    }
}

#[test]
fn fifty_pods_a_second_for_ten_minutes() {
    let world = World::with_nodes(PodScope::Cluster);
    for second in 0..600u32 {
        for number in 0..50 {
            let id = second * 50 + number;
            // 4,000 addresses go round.
            let addr = IpAddr::from((0x0a00_0000 + id % 4000).to_be_bytes()).to_string();
            let young = pod(id, &format!("w{}", id % 97), "node-2", &[&addr]);
            world.pods.applied(young.clone());
            world.slices.applied(slice(&format!("s{}", id % 40), &[80], &[(&addr, &young.name)]));
            world.cluster.at(ip(&addr), Some(80));
            world.pods.applied(Pod { finished: true, ..young.clone() });
            if id >= 500 {
                world.pods.deleted(Pod { uid: uid(id - 500), ..Pod::default() });
            }
        }
        if world.cluster.needs_settling() {
            world.cluster.settle();
        }
    }
    let state = world.cluster.state.read();
    assert_eq!(state.pods.len(Watch::All), 500);
    assert!(state.holders.len() <= 4000, "{}", state.holders.len());
    assert!(state.endpoints.addresses() <= 40 && state.endpoints.len() == 40);
}
