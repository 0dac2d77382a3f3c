// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::skeleton::tcp::types;

fn key(port: u16) -> FlowKey {
    FlowKey::decode(&types::fg_key { role: 1, port, ..Default::default() }).unwrap()
}

fn bytes(sent: u64) -> Counters {
    let mut counters = Counters::default();
    counters[Counter::SentBytes] = sent;
    counters
}

fn segments(sent: u64) -> Counters {
    let mut counters = Counters::default();
    counters[Counter::SentSegments] = sent;
    counters
}

/// One pass over the given live sockets; what it reported for `counter`.
fn pass(totals: &mut Totals<()>, live: &[(u16, Counters)], counter: Counter) -> Vec<(u16, u64)> {
    totals.begin();
    for (port, counters) in live {
        totals.live(&key(*port), counters, true);
    }
    let mut grown = Vec::new();
    totals.finish(|key, (), growth, _| {
        if growth[counter] > 0 {
            grown.push((key.port, growth[counter]));
        }
    });
    grown.sort_unstable();
    grown
}

#[test]
fn a_live_socket_reports_its_growth() {
    let mut totals = Totals::new();
    assert_eq!(pass(&mut totals, &[(1, bytes(10))], Counter::SentBytes), [(1, 10)]);
    assert_eq!(pass(&mut totals, &[(1, bytes(10))], Counter::SentBytes), []);
    assert_eq!(pass(&mut totals, &[(1, bytes(25)), (2, bytes(1))], Counter::SentBytes), [(1, 15), (2, 1)]);
}

#[test]
fn a_socket_that_lives_and_dies_between_passes_is_reported_once() {
    let mut totals = Totals::new();
    totals.closed(&key(1), &bytes(7));
    assert_eq!(pass(&mut totals, &[], Counter::SentBytes), [(1, 7)]);
    assert_eq!(pass(&mut totals, &[], Counter::SentBytes), []);
    assert_eq!(totals.len(), 0, "a settled account is closed");
}

#[test]
fn closing_moves_a_total_from_live_to_closed() {
    let mut totals = Totals::new();
    assert_eq!(pass(&mut totals, &[(1, bytes(100))], Counter::SentBytes), [(1, 100)]);
    totals.closed(&key(1), &bytes(130));
    assert_eq!(pass(&mut totals, &[], Counter::SentBytes), [(1, 30)]);
    assert_eq!(totals.len(), 0);
}

#[test]
fn what_was_counted_before_the_start_is_not_reported() {
    let mut totals = Totals::<()>::new();
    totals.begin();
    totals.live(&key(1), &bytes(1000), true);
    totals.set_baseline();
    assert_eq!(pass(&mut totals, &[(1, bytes(1001))], Counter::SentBytes), [(1, 1)]);
    totals.closed(&key(1), &bytes(1005));
    assert_eq!(pass(&mut totals, &[], Counter::SentBytes), [(1, 4)]);
}

#[test]
fn a_missed_socket_heals() {
    let mut totals = Totals::new();
    assert_eq!(pass(&mut totals, &[(1, bytes(50)), (1, bytes(5))], Counter::SentBytes), [(1, 55)]);
    assert_eq!(pass(&mut totals, &[(1, bytes(6))], Counter::SentBytes), []);
    assert_eq!(pass(&mut totals, &[(1, bytes(50)), (1, bytes(6))], Counter::SentBytes), [(1, 1)]);
}

#[test]
fn a_socket_seen_twice_heals() {
    let mut totals = Totals::new();
    assert_eq!(pass(&mut totals, &[(1, bytes(50)), (1, bytes(50))], Counter::SentBytes), [(1, 100)]);
    assert_eq!(pass(&mut totals, &[(1, bytes(60))], Counter::SentBytes), []);
    totals.closed(&key(1), &bytes(90));
    assert_eq!(pass(&mut totals, &[], Counter::SentBytes), []);
    totals.closed(&key(1), &bytes(20));
    assert_eq!(pass(&mut totals, &[], Counter::SentBytes), [(1, 10)]);
}

#[test]
fn an_account_that_reported_too_much_is_not_kept_for_ever() {
    let mut totals = Totals::new();
    pass(&mut totals, &[(1, bytes(50))], Counter::SentBytes);
    for _ in 0..HEALING_PASSES {
        assert_eq!(totals.len(), 1);
        pass(&mut totals, &[], Counter::SentBytes);
    }
    assert_eq!(totals.len(), 0);
}

#[test]
fn a_wrapped_segment_counter_goes_on() {
    const WRAP: u64 = 1 << 32;
    let mut totals = Totals::new();
    let near = WRAP - 100;
    assert_eq!(pass(&mut totals, &[(1, segments(near))], Counter::SentSegments), [(1, near)]);
    // 300 more: the kernel's counter shows 200. One pass of doubt, then all of it.
    assert_eq!(pass(&mut totals, &[(1, segments(200))], Counter::SentSegments), []);
    assert_eq!(pass(&mut totals, &[(1, segments(250))], Counter::SentSegments), [(1, 350)]);
    // It closes: its last word is the 32-bit value.
    totals.closed(&key(1), &segments(260));
    assert_eq!(pass(&mut totals, &[], Counter::SentSegments), [(1, 10)]);
}

#[test]
fn a_very_old_socket_that_is_lost_invents_nothing() {
    let mut totals = Totals::new();
    let old = 3_000_000_000;
    assert_eq!(
        pass(&mut totals, &[(1, segments(old)), (1, segments(5))], Counter::SentSegments),
        [(1, old + 5)]
    );
    for _ in 0..3 {
        assert_eq!(pass(&mut totals, &[(1, segments(5))], Counter::SentSegments), []);
    }
    assert_eq!(pass(&mut totals, &[(1, segments(9))], Counter::SentSegments), [(1, 4)]);
}

#[test]
fn a_very_old_socket_missed_once_is_no_wrap() {
    let mut totals = Totals::new();
    let old = 3_000_000_000;
    assert_eq!(pass(&mut totals, &[(1, segments(old))], Counter::SentSegments), [(1, old)]);
    assert_eq!(pass(&mut totals, &[(1, segments(0))], Counter::SentSegments), []);
    assert_eq!(pass(&mut totals, &[(1, segments(old + 5))], Counter::SentSegments), [(1, 5)]);
}

#[test]
fn connections_are_counted_afresh() {
    let mut totals = Totals::<()>::new();
    totals.begin();
    totals.live(&key(1), &bytes(1), true);
    totals.live(&key(1), &bytes(1), false);
    let mut seen = Vec::new();
    totals.finish(|key, (), _, connections| seen.push((key.port, connections)));
    assert_eq!(seen, [(1, 1)]);
}
