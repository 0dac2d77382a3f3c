// SPDX-License-Identifier: Apache-2.0

use super::*;

const SECOND: Duration = Duration::from_secs(1);

struct World {
    table: Table,
    now: Instant,
}

impl World {
    fn new(capacity: usize) -> World {
        World { table: Table::new(capacity), now: Instant::now() }
    }

    /// Which addresses have another name.
    fn note(&mut self, netns: u32, name: &str, addresses: &[&str], ttl: u32) -> Vec<String> {
        let addresses = addresses.iter().map(|addr| (addr.parse().unwrap(), ttl)).collect();
        let answer = Answer { asked: name.into(), canonical: Vec::new(), addresses };
        self.table.note(netns, answer, self.now).iter().map(IpAddr::to_string).collect()
    }

    fn name(&mut self, netns: Option<u32>, addr: &str) -> String {
        let (asked, forgotten) = self.table.look_up(netns, addr.parse().unwrap(), self.now);
        assert!(!forgotten);
        asked.map_or_else(String::new, |asked| asked.name.to_string())
    }
}

#[test]
fn the_own_namespace_first_then_any() {
    let mut world = World::new(100);
    world.note(1, "one.com", &["198.41.0.4"], 60);
    world.note(2, "two.com", &["198.41.0.4"], 60);
    assert_eq!(world.name(Some(1), "198.41.0.4"), "one.com");
    assert_eq!(world.name(Some(2), "198.41.0.4"), "two.com");
    assert_eq!(world.name(Some(3), "198.41.0.4"), "two.com", "the last that anybody asked for");
    assert_eq!(world.name(None, "198.41.0.4"), "two.com");
    assert_eq!(world.name(Some(1), "198.41.0.5"), "");
    world.note(1, "three.com", &["198.41.0.4"], 60);
    assert_eq!(world.name(Some(1), "198.41.0.4"), "three.com");
    assert_eq!(world.name(Some(2), "198.41.0.4"), "two.com");
}

#[test]
fn names_count_for_their_time_to_live_with_a_floor_and_a_ceiling() {
    for (ttl, life) in [(0, MIN_LIFE), (299, MIN_LIFE), (301, 301 * SECOND), (u32::MAX, MAX_LIFE)] {
        let mut world = World::new(100);
        world.note(1, "a.com", &["198.41.0.4"], ttl);
        let start = world.now;
        // Asked for by address alone, so that no flow holds it.
        world.now = start + life - SECOND;
        assert_eq!(world.name(None, "198.41.0.4"), "a.com", "{ttl}");
        world.now = start + life;
        assert_eq!(world.name(None, "198.41.0.4"), "", "{ttl}");
        assert_eq!(world.name(Some(1), "198.41.0.4"), "", "{ttl}");
        assert_eq!(world.name(Some(2), "198.41.0.4"), "", "{ttl}");
    }
}

#[test]
fn a_longer_time_is_not_made_shorter() {
    let mut world = World::new(100);
    world.note(1, "a.com", &["198.41.0.4"], 3600);
    world.note(1, "a.com", &["198.41.0.4"], 1);
    world.now += 3000 * SECOND;
    assert_eq!(world.name(None, "198.41.0.4"), "a.com");
}

#[test]
fn what_has_named_a_flow_goes_on_naming_for_its_namespace() {
    let mut world = World::new(100);
    world.note(1, "a.com", &["198.41.0.4", "198.41.0.5"], 60);
    assert_eq!(world.name(Some(1), "198.41.0.4"), "a.com");
    assert_eq!(world.name(Some(2), "198.41.0.4"), "a.com");
    world.now += MIN_LIFE;
    world.table.sweep(world.now);
    assert_eq!(world.name(Some(1), "198.41.0.4"), "a.com");
    assert_eq!(world.name(Some(2), "198.41.0.4"), "a.com", "lent, and in use");
    assert_eq!(world.name(Some(3), "198.41.0.4"), "", "a new client");
    assert_eq!(world.name(Some(1), "198.41.0.5"), "", "no flow had this");
    assert_eq!(world.table.len(), (2, 0));
    world.note(3, "b.com", &["198.41.0.4"], 60);
    assert_eq!(world.name(Some(1), "198.41.0.4"), "a.com", "its own client's word");
    assert_eq!(world.name(Some(2), "198.41.0.4"), "b.com", "what was lent is worth no more");
}

#[test]
fn who_was_told_another_name_hears_of_the_change() {
    let mut world = World::new(100);
    let none: [&str; 0] = [];
    assert_eq!(world.note(1, "a.com", &["198.41.0.4"], 60), none, "nobody wanted to know");
    assert_eq!(world.name(Some(1), "198.41.0.5"), "");
    assert_eq!(world.note(1, "a.com", &["198.41.0.4", "198.41.0.5", "198.41.0.6"], 60), ["198.41.0.5"]);
    assert_eq!(world.note(1, "a.com", &["198.41.0.5"], 60), none, "the same name");
    assert_eq!(world.name(Some(1), "198.41.0.5"), "a.com");
    assert_eq!(world.note(1, "b.com", &["198.41.0.5"], 60), ["198.41.0.5"]);
    assert_eq!(world.name(Some(2), "198.41.0.5"), "b.com");
    assert_eq!(world.note(2, "b.com", &["198.41.0.5"], 60), none, "the name that it had been lent");
    world.now += MIN_LIFE;
    assert_eq!(world.name(Some(3), "198.41.0.5"), "");
    assert_eq!(world.note(1, "b.com", &["198.41.0.5"], 60), ["198.41.0.5"], "it counts again");
    let canonical = Answer {
        asked: "b.com".into(),
        canonical: vec!["c.com".into()],
        addresses: vec![("198.41.0.5".parse().unwrap(), 60)],
    };
    assert_eq!(world.table.note(1, canonical, world.now).len(), 1, "another chain may match another pattern");
}

#[test]
fn memory_is_bounded() {
    let mut world = World::new(64);
    let addr = |number: u32| std::net::Ipv4Addr::from(0x0800_0000 + number).to_string();
    for number in 0..1000 {
        world.note(number % 7, &format!("n{number}.com"), &[&addr(number), &addr(number + 1)], 60);
        let (here, anywhere) = world.table.len();
        assert!(here <= 64 && anywhere <= 64);
    }
    assert_eq!(world.table.len(), (64, 64));
    assert_eq!(world.name(None, &addr(1000)), "n999.com");
    assert_eq!(world.name(None, &addr(1)), "", "the least recently used goes");
    let mut forgotten = 0;
    for number in 0..1000 {
        let (_, all) = world.table.look_up(Some(1), addr(number).parse().unwrap(), world.now);
        forgotten += u32::from(all);
        assert!(world.table.wanted.len() <= 64 && world.table.len().0 <= 64);
    }
    assert_eq!(forgotten, 15);
}

#[test]
fn equal_names_are_kept_once() {
    let mut world = World::new(100);
    for netns in 0..10 {
        world.note(netns, "a.com", &["198.41.0.4", "198.41.0.5"], 60);
    }
    let (asked, _) = world.table.look_up(Some(3), "198.41.0.4".parse().unwrap(), world.now);
    // Twice node-wide, twice for each namespace, and here.
    assert_eq!(Arc::strong_count(&asked.unwrap()), 2 + 20 + 1);
}
