// SPDX-License-Identifier: Apache-2.0
//! Windows, places and rows, with a clock that the tests turn.

use std::time::{Duration, Instant};

use super::fixture::{Fixture, Growth, edge, identity};
use super::*;
use crate::edge::{Edge, LabelPlan};
use crate::flags::DEFAULT_LABELS;

mod places;
mod rows;

fn over(window: Window) -> Query {
    Query { window, ..Query::default() }
}

fn bytes_of(answer: &Answer) -> u64 {
    answer.rows.iter().filter_map(|row| row.tcp.as_ref()).map(|tcp| tcp.sent_bytes).sum()
}

#[test]
fn a_window_holds_what_grew_in_it() {
    let mut fixture = Fixture::new(100);
    let (mut tag, api) = (None, edge("shop", "api"));
    // 1,000 bytes every 15 s for 20 minutes; the last pass is at the begin of a slot.
    for _ in 0..80 {
        fixture.pass(15, &mut [(&mut tag, &api, "192.0.2.1", Growth::sent(1000))]);
    }
    for (window, slots) in [(Window::One, 4), (Window::Five, 20), (Window::Fifteen, 57)] {
        let answer = fixture.answer(&over(window));
        assert_eq!(bytes_of(&answer), slots * 1000, "{window:?}");
        // What grew in a slot's first pass began with the pass before it.
        assert_eq!(answer.covered_seconds, (slots * 15) as f64, "{window:?}");
        let history = &answer.rows[0].history.bytes;
        assert_eq!(history.iter().sum::<u64>(), slots * 1000);
        let points = (slots as usize).div_ceil(answer.slot_seconds as usize / 15);
        assert_eq!(history.len(), points, "{window:?}: {history:?}");
    }
}

#[test]
fn nothing_old_is_told() {
    let mut fixture = Fixture::new(100);
    let (mut tag, api) = (None, edge("shop", "api"));
    fixture.pass(1, &mut [(&mut tag, &api, "192.0.2.1", Growth::sent(1000))]);
    fixture.pass(60, &mut []);
    assert_eq!(fixture.answer(&over(Window::One)).matched, 0);
    assert_eq!(bytes_of(&fixture.answer(&over(Window::Five))), 1000);
    fixture.pass(300, &mut []);
    assert_eq!(fixture.answer(&over(Window::Five)).matched, 0);
    assert_eq!(fixture.answer(&over(Window::Fifteen)).matched, 1);
    fixture.pass(900, &mut []);
    let answer = fixture.answer(&over(Window::Fifteen));
    assert_eq!((answer.matched, answer.tracked), (0, 1), "it keeps its place");
    // It comes back as who it was.
    fixture.pass(5, &mut [(&mut tag, &api, "192.0.2.1", Growth::sent(7))]);
    let answer = fixture.answer(&over(Window::One));
    assert_eq!(bytes_of(&answer), 7);
    assert!((answer.rows[0].last_seen - answer.rows[0].first_seen - 1265.0).abs() < 0.01, "{answer:?}");
}

#[test]
fn whatever_the_pace_of_passes_windows_agree_with_a_plain_list() {
    let mut seed = 11_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    let mut fixture = Fixture::new(100);
    let api = edge("shop", "api");
    let mut tags = [const { None }; 5];
    let (mut now, mut grown) = (0, Vec::new());
    for _ in 0..2000 {
        let pause = [1, 3, 15, 15, 60, 75][random(6) as usize];
        now += pause;
        let which = random(5) as usize;
        let growth = Growth { sent: random(1 << 20), retransmitted: random(3), ..Growth::sent(0) };
        let address = format!("192.0.2.{which}");
        fixture.pass(pause, &mut [(&mut tags[which], &api, &address, growth)]);
        grown.push((now, growth));
        for window in Window::ALL {
            let first = window.first((now / 15) as u32);
            let held = grown.iter().filter(|(then, _)| then / 15 >= u64::from(first));
            let (bytes, retransmitted) = held.fold((0, 0), |(bytes, sent_again), (_, growth)| {
                (bytes + growth.sent, sent_again + growth.retransmitted)
            });
            let answer = fixture.answer(&over(window));
            assert_eq!(bytes_of(&answer), bytes, "{window:?} at {now}");
            let history = |read: fn(&Row) -> &Vec<u64>| answer.rows.iter().flat_map(read).sum::<u64>();
            assert_eq!(history(|row| &row.history.bytes), bytes);
            assert_eq!(history(|row| &row.history.retransmitted_segments), retransmitted);
        }
    }
}

#[test]
fn time_that_goes_back_or_jumps_breaks_nothing() {
    let plan = LabelPlan::new(DEFAULT_LABELS, &[], &[]);
    let epoch = Instant::now() + Duration::from_secs(3600);
    let mut flows = Flows::new(plan, 100, epoch);
    let api = edge("shop", "api");
    let mut tag = None;
    // Before the epoch, back and forth, and for years.
    for seconds in [0, 7200, 3600, 4000, 3600 * 24 * 3650, 10, 3600 * 24 * 3651] {
        flows.begin(epoch - Duration::from_secs(3600) + Duration::from_secs(seconds));
        flows.name(&mut tag, Some(&api));
        let entry = flows.entry(tag.as_mut().unwrap(), true, || [192, 0, 2, 1].into()).unwrap();
        entry.add_rtt(Duration::from_millis(5));
        flows.whole();
        let answer = flows.answer(&Query::default(), "node", std::time::UNIX_EPOCH);
        assert_eq!(answer.matched, 1, "{seconds}");
        assert!(answer.covered_seconds >= 0.0 && answer.rows[0].last_seen <= answer.generated_at);
    }
}

#[test]
fn busy_addresses_take_as_little_as_the_budget_needs() {
    let mut fixture = Fixture::new(2000);
    let edges: Vec<Edge> = (0..20).map(|number| edge("shop", &format!("api-{number}"))).collect();
    let mut tags = vec![None; 2000];
    // Each does something in each slot for a quarter of an hour. 20,000 of them are the default.
    for pass in 0..61_u64 {
        fixture.pass(15, &mut []);
        for (number, tag) in tags.iter_mut().enumerate() {
            let address = [10, 0, (number >> 8) as u8, number as u8].into();
            let growth = Growth {
                sent: 40_000 + pass,
                received: 900_000,
                segments: 700,
                retransmitted: pass % 2,
                opened: 1,
                connections: 2,
                rtt: 800,
                refused: 0,
            };
            fixture.grow(tag, &edges[number % 20], address, &growth);
        }
    }
    let usage = fixture.flows.usage();
    assert_eq!((usage.tracked, usage.evicted, usage.refused), (2000, 0, 0));
    let heap = fixture.flows.heap() as f64 / 2000.0;
    println!("{heap} bytes of a busy address");
    assert!(heap < 1500.0, "{heap} bytes an address");
    let begun = Instant::now();
    let answer = fixture.answer(&Query { window: Window::Fifteen, by: By::Edge, ..Query::default() });
    assert_eq!((answer.matched, answer.returned), (20, 20));
    println!("{:?} for an answer about 2,000", begun.elapsed());
    assert!(answer.rows.iter().all(|row| row.addresses == Some(100)));
    // Idle ones give their memory back.
    for _ in 0..70 {
        fixture.pass(15, &mut []);
    }
    let heap = fixture.flows.heap() as f64 / 2000.0;
    println!("{heap} bytes of an idle one");
    assert!(heap < 350.0, "{heap} bytes an idle address");
}
