// SPDX-License-Identifier: Apache-2.0
//! Who goes when there are too many.

use super::{Slot, Slots, Source};
use std::sync::Arc;

fn source(last: u8) -> Source {
    Source::from(std::net::SocketAddr::from(([192, 0, 2, last], 1)))
}

fn fill(slots: &Arc<Slots>, last: u8, count: usize) -> Vec<Slot> {
    (0..count).map(|_| slots.try_admit(source(last)).unwrap().0).collect()
}

fn is_dismissed(slots: &Slots, slot: &Slot) -> bool {
    !slots.state.lock().open.contains_key(&slot.id)
}

#[test]
fn the_longest_waiting_goes() {
    let slots = Slots::new(4, 100);
    let open = fill(&slots, 1, 4);
    open[0].working();
    open[0].sending(1);
    open[0].sent();
    open[1].working();
    let (_new, dismissed) = slots.try_admit(source(1)).unwrap();
    assert!(dismissed);
    let gone: Vec<_> = open.iter().map(|slot| is_dismissed(&slots, slot)).collect();
    assert_eq!(gone, [false, false, true, false]);
    assert_eq!(slots.open(), 4);
    drop(open);
    assert_eq!(slots.open(), 1);
}

#[test]
fn the_greedy_pay_first() {
    let slots = Slots::new(16, 100);
    let modest = fill(&slots, 1, 1);
    let greedy = fill(&slots, 2, 15);
    let more = fill(&slots, 2, 40);
    assert!(!is_dismissed(&slots, &modest[0]));
    assert!(greedy.iter().all(|slot| is_dismissed(&slots, slot)));
    assert_eq!(more.iter().filter(|slot| !is_dismissed(&slots, slot)).count(), 15);
    // Of many who have one each, age alone counts.
    let crowd: Vec<_> = (3..60).flat_map(|last| fill(&slots, last, 1)).collect();
    assert!(is_dismissed(&slots, &modest[0]));
    assert!(!is_dismissed(&slots, &crowd[56]));
}

#[test]
fn nobody_at_work_goes_and_slow_readers_do() {
    let slots = Slots::new(2, 100);
    let open = fill(&slots, 1, 2);
    open.iter().for_each(Slot::working);
    assert!(slots.try_admit(source(2)).is_none());
    open[1].sending(90);
    open[0].sending(5);
    assert!(!is_dismissed(&slots, &open[1]));
    let (_new, dismissed) = slots.try_admit(source(2)).unwrap();
    assert!(dismissed && is_dismissed(&slots, &open[1]));
}

#[test]
fn answers_that_nobody_takes_are_bounded() {
    let slots = Slots::new(8, 100);
    let open = fill(&slots, 1, 3);
    for slot in &open {
        slot.sending(60);
    }
    let gone: Vec<_> = open.iter().map(|slot| is_dismissed(&slots, slot)).collect();
    assert_eq!(gone, [true, true, false]);
    // One alone may be larger than all of them together should be.
    open[2].sending(1000);
    assert!(!is_dismissed(&slots, &open[2]));
}

#[tokio::test]
async fn who_has_to_leave_is_told_and_who_waits_gets_in() {
    let slots = Slots::new(1, 100);
    let (first, _) = slots.admit(source(1)).await;
    first.working();
    let waiting = tokio::spawn({
        let slots = Arc::clone(&slots);
        async move { slots.admit(source(2)).await.0 }
    });
    tokio::task::yield_now().await;
    first.sending(1);
    drop(first);
    let second = waiting.await.unwrap();
    let (_third, dismissed) = slots.admit(source(3)).await;
    assert!(dismissed);
    second.dismissed().await;
    drop(second);
    assert_eq!(slots.open(), 1);
}

#[test]
fn sources() {
    let of = |text: &str| Source::from(text.parse::<std::net::SocketAddr>().unwrap());
    assert_eq!(of("[::ffff:192.0.2.1]:5"), source(1));
    assert_eq!(of("[2001:db8:1:2::1]:1"), of("[2001:db8:1:2:ffff::]:2"));
    assert_ne!(of("[2001:db8:1:2::1]:1"), of("[2001:db8:1:3::1]:1"));
}
