// SPDX-License-Identifier: Apache-2.0
//! Who gets a place, and who loses it.

use super::*;

/// A pass in which each of these addresses sends something.
fn pass(fixture: &mut Fixture, tags: &mut [Option<FlowTag>], which: std::ops::Range<usize>) {
    let api = edge("shop", "api");
    fixture.pass(20, &mut []);
    for number in which {
        let address = [10, 0, (number >> 8) as u8, number as u8].into();
        fixture.grow(&mut tags[number], &api, address, &Growth::sent(1000));
    }
}

fn addresses(fixture: &Fixture) -> Vec<u8> {
    let query = Query { limit: 1000, sort: Column::named("address", &[]).unwrap(), ..over(Window::Fifteen) };
    let query = Query { order: Order::Ascending, ..query };
    let last = |row: &Row| row.address.unwrap().to_string().rsplit('.').next().unwrap().parse().unwrap();
    fixture.answer(&query).rows.iter().map(last).collect()
}

#[test]
fn the_one_idle_longest_makes_room() {
    let mut fixture = Fixture::new(10);
    let mut tags = vec![None; 100];
    pass(&mut fixture, &mut tags, 0..10);
    pass(&mut fixture, &mut tags, 5..10);
    pass(&mut fixture, &mut tags, 0..1);
    pass(&mut fixture, &mut tags, 0..1);
    // 1 to 4 have done nothing for longest.
    pass(&mut fixture, &mut tags, 20..23);
    assert_eq!(fixture.flows.usage(), FlowsUse { tracked: 10, capacity: 10, evicted: 3, refused: 0 });
    let kept = addresses(&fixture);
    assert!([0, 5, 6, 7, 8, 9, 20, 21, 22].iter().all(|one| kept.contains(one)), "{kept:?}");
    // One that was pushed out comes back as somebody new, with what it does from then on.
    let gone = (1..5).find(|one| !kept.contains(one)).unwrap();
    pass(&mut fixture, &mut tags, gone.into()..usize::from(gone) + 1);
    let answer = fixture.answer(&over(Window::Fifteen));
    let back =
        answer.rows.iter().find(|row| row.address.unwrap() == std::net::IpAddr::from([10, 0, 0, gone]));
    assert_eq!(back.unwrap().tcp.as_ref().unwrap().sent_bytes, 1000);
}

#[test]
fn more_busy_ones_than_room_do_not_push_each_other_out() {
    let mut fixture = Fixture::new(10);
    let mut tags = vec![None; 100];
    for _ in 0..5 {
        pass(&mut fixture, &mut tags, 0..30);
    }
    assert_eq!(addresses(&fixture), (0..10).collect::<Vec<_>>());
    let usage = fixture.flows.usage();
    assert_eq!((usage.evicted, usage.refused), (0, 5 * 20));
    let answer = fixture.answer(&over(Window::Fifteen));
    assert!(answer.rows.iter().all(|row| row.tcp.as_ref().unwrap().sent_bytes == 5000));
    assert_eq!((answer.evicted_total, answer.refused_total), (0, 100));
    // As soon as the first ones have been quiet for two passes, others have their places.
    for _ in 0..3 {
        pass(&mut fixture, &mut tags, 20..30);
    }
    assert_eq!(addresses(&fixture), (20..30).collect::<Vec<_>>());
}

#[test]
fn a_connection_that_does_nothing_takes_free_places_only() {
    let mut fixture = Fixture::new(2);
    let api = edge("shop", "api");
    let idle = Growth { connections: 3, ..Growth::default() };
    let mut tags = [const { None }; 4];
    for pause in [1, 20, 20, 20] {
        fixture.pass(pause, &mut []);
        for (number, tag) in tags.iter_mut().enumerate() {
            fixture.grow(tag, &api, [10, 0, 0, number as u8].into(), &idle);
        }
    }
    assert_eq!(addresses(&fixture), [0, 1]);
    assert_eq!(fixture.flows.usage().refused, 0, "nothing was to be counted of the others");
    let connections = |fixture: &Fixture| {
        let answer = fixture.answer(&Query::default());
        answer.rows.iter().map(|row| row.tcp.as_ref().unwrap().connections).collect::<Vec<_>>()
    };
    assert_eq!(connections(&fixture), [Some(3), Some(3)]);
    // One that grows does push out an idle one.
    let [_, _, third, _] = &mut tags;
    fixture.pass(20, &mut [(third, &api, "10.0.0.2", Growth::sent(5))]);
    assert_eq!(fixture.flows.usage().evicted, 1);
    // Connections that ended with a pass that failed half way are not known.
    fixture.flows.begin(Instant::now() + Duration::from_secs(3600));
    let answer = fixture.answer(&over(Window::Fifteen));
    assert!(answer.rows.iter().all(|row| row.tcp.as_ref().is_none_or(|tcp| tcp.connections.is_none())));
}

#[test]
fn names_that_nobody_uses_are_forgotten() {
    let mut fixture = Fixture::new(10);
    for number in 0..1000 {
        let mut tag = None;
        let api = edge("shop", &format!("api-{number}"));
        fixture.pass(20, &mut [(&mut tag, &api, "192.0.2.1", Growth::sent(10))]);
    }
    let usage = fixture.flows.usage();
    assert_eq!((usage.tracked, usage.refused), (10, 0));
    assert!(fixture.flows.named() <= 60, "{} names", fixture.flows.named());
}
