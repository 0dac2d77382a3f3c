// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use flowgauge_labels::{Identity, Kind};
use flowgauge_probes::tcp::{Counter, Counters, Events};
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::registry::Registry;

use super::*;
use crate::flags::DEFAULT_LABELS;

mod listeners;
mod parts;

fn identity(workload: &str) -> Identity {
    let empty: Arc<str> = "".into();
    Identity {
        kind: Kind::Host,
        namespace: empty.clone(),
        workload: workload.into(),
        zone: empty.clone(),
        region: empty.clone(),
        service: empty.clone(),
        pod: empty.clone(),
        node: empty.clone(),
        container: empty.clone(),
        process: empty,
        sidecar: false,
    }
}

fn edge(observer: Observer, server: &str) -> Edge {
    Edge { observer, client: identity("client"), server: identity(server), server_port: "443".into() }
}

fn ledger(series_limit: usize) -> Ledger {
    let plan = LabelPlan::new(DEFAULT_LABELS, &[], &[]);
    let collectors = Collectors { tcp: true, udp: true, dns: true, http: true, drops: true };
    Ledger::new(LedgerConfig {
        plan,
        collectors,
        dns_names: 0,
        series_limit,
        idle_timeout: Duration::from_secs(60),
    })
}

/// One pass in which each named server's edge grows by as many bytes.
fn pass(ledger: &mut Ledger, now: Instant, grown: &[(&str, u64)]) {
    ledger.begin(now);
    for (server, bytes) in grown {
        let place = ledger.place(&edge(Observer::Client, server));
        let mut counters = Counters::default();
        counters[Counter::SentBytes] = *bytes;
        ledger.active(place).tcp().counters.add(&counters);
    }
    ledger.whole();
    ledger.finish();
}

#[derive(Debug)]
struct Collected(String);

impl Collected {
    fn of(ledger: Ledger) -> (Self, Ledger) {
        #[derive(Debug)]
        struct Lent(Arc<parking_lot::Mutex<Ledger>>);
        impl prometheus_client::collector::Collector for Lent {
            fn encode(
                &self,
                mut encoder: prometheus_client::encoding::DescriptorEncoder<'_>,
            ) -> std::fmt::Result {
                self.0.lock().encode(&mut encoder)
            }
        }
        let ledger = Arc::new(parking_lot::Mutex::new(ledger));
        let mut registry = Registry::with_prefix("flowgauge");
        registry.register_collector(Box::new(Lent(Arc::clone(&ledger))));
        let mut text = String::new();
        encode_registry(&mut text, &registry).unwrap();
        drop(registry);
        (Collected(text), Arc::into_inner(ledger).unwrap().into_inner())
    }

    fn samples(&self) -> impl Iterator<Item = &str> {
        self.0.lines().filter(|line| !line.starts_with('#'))
    }

    fn sum(&self, name: &str) -> u64 {
        self.values(name).iter().map(|(_, value)| value).sum()
    }

    fn values(&self, name: &str) -> Vec<(String, u64)> {
        self.samples()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')))
            .map(|line| {
                let (labels, value) = line.rsplit_once(' ').unwrap();
                (labels.to_owned(), value.trim_end_matches(".0").parse().unwrap())
            })
            .collect()
    }
}

const SENT: &str = "flowgauge_tcp_sent_bytes_total";

#[test]
fn an_entry_counts_its_series_as_they_are_served() {
    for (observer, with_histograms) in [
        (Observer::Client, false),
        (Observer::Client, true),
        (Observer::Server, false),
        (Observer::Server, true),
    ] {
        let mut ledger = ledger(1000);
        ledger.begin(Instant::now());
        let place = ledger.place(&edge(observer, "api"));
        let entry = ledger.active(place);
        if with_histograms {
            let mut events = Events { rtt_sum: 5, connect_sum: 7, ..Default::default() };
            events.rtt[0] = 1;
            // Only clients connect; a server's entry must not be counted as having the histogram.
            events.connect[0] = u32::from(observer == Observer::Client);
            entry.tcp().add_events(&events);
        }
        ledger.listener(["".into(), "api".into(), "443".into()]).open = true;
        ledger.whole();
        let counted = ledger.series();
        let (collected, _) = Collected::of(ledger);
        assert_eq!(collected.samples().count(), counted, "{observer:?} {with_histograms}: {}", collected.0);
        let infinite = collected.samples().filter(|line| line.contains("le=\"+Inf\"")).count();
        let histograms = collected.samples().filter(|line| line.contains("_seconds_count{")).count();
        assert_eq!(infinite, histograms, "{}", collected.0);
    }
}

#[test]
fn sums_stay_exact_whatever_the_budget() {
    let mut ledger = ledger(200);
    let start = Instant::now();
    let names: Vec<String> = (0..2000).map(|n| format!("server-{n}")).collect();
    let mut total = 0;
    for round in 0..5u64 {
        let grown: Vec<(&str, u64)> =
            names.iter().enumerate().map(|(n, name)| (name.as_str(), n as u64 + round)).collect();
        total += grown.iter().map(|(_, bytes)| bytes).sum::<u64>();
        pass(&mut ledger, start + Duration::from_secs(round), &grown);
        assert!(ledger.series() <= 200, "{} series", ledger.series());
        let (collected, back) = Collected::of(ledger);
        ledger = back;
        assert_eq!(collected.sum(SENT), total);
        assert!(collected.values(SENT).len() > 1, "the budget is used for real edges as well");
    }
    assert!(ledger.folded_edges() >= 1990);
}

#[test]
fn edges_that_were_there_first_keep_their_series() {
    let mut ledger = ledger(200);
    let start = Instant::now();
    pass(&mut ledger, start, &[("first", 1)]);
    for second in 1..20 {
        let name = format!("new-{second}");
        pass(&mut ledger, start + Duration::from_secs(second), &[("first", 1), (&name, 1), ("second", 1)]);
    }
    let (collected, _) = Collected::of(ledger);
    let first: Vec<_> =
        collected.values(SENT).into_iter().filter(|(labels, _)| labels.contains("\"first\"")).collect();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].1, 20);
}

#[test]
fn a_folded_edge_gives_its_place_up() {
    let mut ledger = ledger(60);
    let start = Instant::now();
    ledger.begin(start);
    let place = ledger.place(&edge(Observer::Client, "a"));
    ledger.active(place);
    assert!(ledger.is_current(place));
    for n in 0..20 {
        let other = ledger.place(&edge(Observer::Client, &format!("b{n}")));
        ledger.active(other);
    }
    ledger.finish();
    ledger.begin(start + Duration::from_secs(1));
    for n in 0..20 {
        let other = ledger.place(&edge(Observer::Client, &format!("c{n}")));
        ledger.active(other);
    }
    ledger.finish();
    assert!(!ledger.is_current(place), "a was idle, so it was folded and its place is another's");
}

#[test]
fn an_idle_edge_leaves_and_comes_back_with_its_total() {
    let mut ledger = ledger(1000);
    let start = Instant::now();
    pass(&mut ledger, start, &[("a", 5), ("b", 1)]);
    pass(&mut ledger, start + Duration::from_secs(61), &[("b", 1)]);
    let (collected, mut ledger) = Collected::of(ledger);
    assert!(!collected.0.contains("server_workload=\"a\""), "{}", collected.0);
    pass(&mut ledger, start + Duration::from_secs(62), &[("a", 2)]);
    let (collected, _) = Collected::of(ledger);
    let a: Vec<_> = collected
        .values(SENT)
        .into_iter()
        .filter(|(labels, _)| labels.contains("server_workload=\"a\""))
        .collect();
    assert_eq!(a[0].1, 7);
}

#[test]
fn retained_totals_are_bounded_and_not_lost() {
    let mut ledger = ledger(160);
    let start = Instant::now();
    let mut total = 0;
    for n in 0..500u64 {
        let name = format!("once-{n}");
        pass(&mut ledger, start + Duration::from_secs(n * 100), &[(&name, 3)]);
        total += 3;
    }
    assert!(ledger.by_labels.len() <= 160 / 16 * 4 + OTHER.len() + 1, "{} kept", ledger.by_labels.len());
    // Idle edges are kept but not served: fold them all by asking for room.
    let hidden: u64 = ledger
        .entries
        .iter()
        .flat_map(|entry| &entry.tcp)
        .map(|part| part.counters[Counter::SentBytes])
        .sum();
    assert_eq!(hidden, total);
}

#[test]
fn a_pass_that_failed_has_no_gauges() {
    let mut ledger = ledger(1000);
    let start = Instant::now();
    let gauges = |collected: &Collected| {
        let names =
            ["tcp_connections", "tcp_accept_queue_length", "tcp_accept_queue_limit", "tcp_syn_queue_length"];
        names.map(|name| collected.values(&format!("flowgauge_{name}")).len())
    };
    for (second, whole) in [(0, true), (1, false), (2, true)] {
        ledger.begin(start + Duration::from_secs(second));
        let place = ledger.place(&edge(Observer::Client, "api"));
        ledger.active(place).tcp().connections += 1;
        ledger.listener(["".into(), "api".into(), "443".into()]).open = true;
        if whole {
            ledger.whole();
        }
        ledger.finish();
        let (collected, back) = Collected::of(ledger);
        ledger = back;
        assert_eq!(gauges(&collected), [usize::from(whole); 4], "{}", collected.0);
        assert_eq!(collected.values(SENT).len(), 1, "counters are served all the same");
        assert_eq!(collected.samples().count(), ledger.series());
    }
}

#[test]
fn unattributed_bytes_are_counted_by_end() {
    let mut ledger = ledger(1000);
    ledger.begin(Instant::now());
    let place = ledger.place(&edge(Observer::Client, "api"));
    ledger.count_unattributed(place.with_unattributed(false, true), 100);
    // Another flow of the same edge, both of whose ends have a name.
    let named = ledger.place(&edge(Observer::Client, "api"));
    ledger.count_unattributed(named, 7);
    assert_eq!(ledger.unattributed_bytes(), [0, 100]);
}

#[test]
fn a_flood_of_edges_within_a_pass_is_bounded_and_exact() {
    const FLOOD: u64 = 10_000;
    let mut ledger = ledger(200);
    let start = Instant::now();
    for round in 1..=3 {
        ledger.begin(start + Duration::from_secs(round));
        for n in 0..FLOOD {
            let observer = if n % 2 == 0 { Observer::Client } else { Observer::Server };
            let place = ledger.place(&edge(observer, &format!("{round}-{n}")));
            assert!(ledger.is_current(place), "it is good until the pass ends");
            let mut counters = Counters::default();
            counters[Counter::SentBytes] = n;
            ledger.active(place).tcp().counters.add(&counters);
        }
        let most = 200 / 16 * 4 + 4096 + OTHER.len();
        assert!(ledger.by_labels.len() <= most, "{} edges", ledger.by_labels.len());
        assert!(ledger.entries.len() <= most, "{} entries", ledger.entries.len());
        ledger.finish();
        assert!(ledger.series() <= 200);
        let (collected, back) = Collected::of(ledger);
        ledger = back;
        assert_eq!(collected.sum(SENT), round * (FLOOD - 1) * FLOOD / 2);
        assert!(ledger.folded_edges() >= round * (FLOOD - 20));
    }
}

#[test]
fn an_edge_folded_on_arrival_gets_its_own_place_once_there_is_room() {
    let mut ledger = ledger(200);
    ledger.begin(Instant::now());
    let own = ledger.place(&edge(Observer::Client, "own"));
    for n in 0..5000 {
        ledger.place(&edge(Observer::Client, &format!("b{n}")));
    }
    let folded = ledger.place(&edge(Observer::Server, "late"));
    assert_eq!(folded.index, 1, "the server's other");
    assert!(ledger.is_current(folded));
    assert_ne!(own.index, 0);
    ledger.finish();
    assert!(!ledger.is_current(folded));
    assert!(ledger.place(&edge(Observer::Server, "late")).index >= OTHER.len() as u32);
}
