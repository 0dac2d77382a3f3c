// SPDX-License-Identifier: Apache-2.0
use super::*;

const DROPS: &str = "flowgauge_tcp_accept_queue_drops_total";
const LENGTH: &str = "flowgauge_tcp_accept_queue_length";

fn labels(workload: &str) -> ListenerLabels {
    ["".into(), workload.into(), "443".into()]
}

/// One pass that finds these listeners, each with one connection waiting and so many drops more.
fn listen(ledger: &mut Ledger, now: Instant, listeners: &[(&str, u64)]) {
    ledger.begin(now);
    for (workload, drops) in listeners {
        let entry = ledger.listener(labels(workload));
        entry.length += 1;
        entry.limit += 128;
        entry.open = true;
        entry.drops += drops;
    }
    ledger.whole();
    ledger.finish();
}

fn of(collected: &Collected, family: &str, workload: &str) -> Option<u64> {
    let wanted = format!("workload=\"{workload}\"");
    let mut values = collected.values(family).into_iter().filter(|(labels, _)| labels.contains(&wanted));
    let value = values.next().map(|(_, value)| value);
    assert_eq!(values.next(), None, "{workload} twice");
    value
}

#[test]
fn listeners_keep_to_their_share_and_drops_stay_exact() {
    let mut ledger = ledger(200);
    let start = Instant::now();
    let names: Vec<String> = (0..300).map(|n| format!("server-{n}")).collect();
    let (mut total, mut first) = (0, None);
    for round in 0..4u64 {
        let found: Vec<(&str, u64)> =
            names.iter().enumerate().map(|(n, name)| (name.as_str(), n as u64 + round)).collect();
        total += found.iter().map(|(_, drops)| drops).sum::<u64>();
        listen(&mut ledger, start + Duration::from_secs(round), &found);
        let (collected, back) = Collected::of(ledger);
        ledger = back;
        let samples = collected.samples().count();
        assert!(samples <= 200 / 4, "{samples} series of listeners");
        assert_eq!(samples, ledger.series());
        assert_eq!(collected.sum(DROPS), total);
        assert_eq!(collected.sum(LENGTH), 300);
        assert!(of(&collected, LENGTH, "other").unwrap() > 250);
        assert!(collected.0.contains("{namespace=\"\",workload=\"other\",port=\"\"}"), "{}", collected.0);
        let mut served: Vec<_> = collected.values(DROPS).into_iter().map(|(labels, _)| labels).collect();
        served.sort();
        assert_eq!(*first.get_or_insert(served.clone()), served, "who was there first stays");
    }
}

#[test]
fn listeners_within_their_share_need_no_other() {
    let mut ledger = ledger(200);
    let names: Vec<String> = (0..12).map(|n| format!("server-{n}")).collect();
    let found: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 0)).collect();
    listen(&mut ledger, Instant::now(), &found);
    let (collected, _) = Collected::of(ledger);
    assert_eq!(collected.values(DROPS).len(), 12);
    assert_eq!(of(&collected, DROPS, "other"), None);
}

#[test]
fn a_listener_that_has_gone_keeps_its_drops() {
    let mut ledger = ledger(1000);
    let start = Instant::now();
    let at = |ledger: &mut Ledger, second, found: &[(&str, u64)]| {
        listen(ledger, start + Duration::from_secs(second), found);
    };
    at(&mut ledger, 0, &[("api", 5), ("web", 1)]);
    at(&mut ledger, 1, &[("web", 0)]);
    let (collected, mut ledger) = Collected::of(ledger);
    assert_eq!((of(&collected, LENGTH, "api"), of(&collected, DROPS, "api")), (None, Some(5)));
    at(&mut ledger, 60, &[("web", 0)]);
    let (collected, mut ledger) = Collected::of(ledger);
    assert_eq!(of(&collected, DROPS, "api"), None, "gone for as long as the idle timeout");
    at(&mut ledger, 5000, &[("web", 0), ("api", 2)]);
    let (collected, _) = Collected::of(ledger);
    assert_eq!((of(&collected, LENGTH, "api"), of(&collected, DROPS, "api")), (Some(1), Some(7)));
}

#[test]
fn listeners_that_have_gone_are_bounded_and_their_drops_not_lost() {
    let mut ledger = ledger(200);
    let start = Instant::now();
    for n in 0..200u64 {
        let (gone, idle) = (format!("once-{n}"), format!("quiet-{n}"));
        listen(&mut ledger, start + Duration::from_secs(n * 100), &[(&gone, 3), (&idle, 0)]);
    }
    assert!(ledger.listeners.kept() <= 16 + 16 * 4, "{} kept", ledger.listeners.kept());
    let (collected, mut ledger) = Collected::of(ledger);
    let folded = of(&collected, DROPS, "other").unwrap();
    assert!(folded > 300 && of(&collected, LENGTH, "other").is_none(), "{}", collected.0);
    // Those that were kept come back with what they had.
    listen(&mut ledger, start + Duration::from_secs(20_000), &[("once-190", 1)]);
    let (collected, _) = Collected::of(ledger);
    assert_eq!((of(&collected, DROPS, "once-190"), of(&collected, DROPS, "other")), (Some(4), Some(folded)));
}

#[test]
fn a_flood_of_listeners_within_a_pass_is_bounded() {
    let mut ledger = ledger(200);
    ledger.begin(Instant::now());
    for n in 0..10_000 {
        ledger.listener(labels(&format!("server-{n}"))).drops += 1;
    }
    assert!(ledger.listeners.kept() <= 16 + 16 * 4 + 4096);
    ledger.finish();
    let (collected, _) = Collected::of(ledger);
    assert_eq!(collected.sum(DROPS), 10_000);
}
