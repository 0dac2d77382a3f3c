// SPDX-License-Identifier: Apache-2.0
//! Edges have the families of the protocols that were seen on them, and no others.

use flowgauge_probes::packets::{DnsCounts, NXDOMAIN, UdpCounts};

use super::*;

const UDP_SENT: &str = "flowgauge_udp_sent_bytes_total";
const QUERIES: &str = "flowgauge_dns_queries_total";
const RESPONSES: &str = "flowgauge_dns_responses_total";
const DURATIONS: &str = "flowgauge_dns_response_duration_seconds_count";
const DROPS: &str = "flowgauge_udp_receive_drops_total";

/// A flow that only sent.
const SENT_ONLY: UdpCounts = UdpCounts {
    sent_bytes: 100,
    sent_packets: 2,
    received_bytes: 0,
    received_packets: 0,
    sent_joined: 0,
    received_joined: 0,
};

/// Two queries, answered, one of them with NXDOMAIN.
fn lookups() -> DnsCounts {
    let mut counts = DnsCounts { duration_sum: 300, ..Default::default() };
    counts.queries[0] = 1;
    counts.queries[1] = 1;
    counts.responses[0] = 1;
    counts.responses[NXDOMAIN] = 1;
    counts.durations[0] = 1;
    counts.durations[1] = 1;
    counts
}

fn samples_of(collected: &Collected, prefix: &str) -> usize {
    collected.samples().filter(|line| line.starts_with(prefix)).count()
}

#[test]
fn an_edge_has_the_families_of_what_was_seen_on_it() {
    for (udp, dns) in [(true, false), (false, true), (true, true)] {
        let mut ledger = ledger(1000);
        ledger.begin(Instant::now());
        let place = ledger.place(&edge(Observer::Client, "dns"));
        if udp {
            ledger.active(place).udp().add(&SENT_ONLY);
        }
        if dns {
            ledger.active(place).dns().add(&lookups());
        }
        ledger.decide_nxdomain(std::iter::empty());
        ledger.whole();
        ledger.finish();
        let counted = ledger.series();
        let (collected, _) = Collected::of(ledger);
        assert_eq!(collected.samples().count(), counted, "{}", collected.0);
        assert_eq!(samples_of(&collected, "flowgauge_tcp_"), 0, "{}", collected.0);
        assert_eq!(samples_of(&collected, "flowgauge_udp_"), if udp { 4 } else { 0 }, "both directions");
        assert_eq!(samples_of(&collected, "flowgauge_dns_") > 0, dns);
        if dns {
            assert_eq!(collected.sum(QUERIES), 2);
            let labels: Vec<_> = collected.values(QUERIES).into_iter().map(|(labels, _)| labels).collect();
            assert!(
                labels.len() == 2
                    && labels[0].contains("qtype=\"A\"")
                    && labels[1].contains("qtype=\"AAAA\"")
            );
            let responses = collected.values(RESPONSES);
            let of = |rcode: &str, search: &str| {
                let wanted = format!("rcode=\"{rcode}\",search=\"{search}\"");
                responses.iter().find(|(labels, _)| labels.contains(&wanted)).map(|(_, count)| *count)
            };
            assert_eq!((of("NOERROR", "false"), of("NXDOMAIN", "false")), (Some(1), Some(1)));
            assert_eq!((of("SERVFAIL", "false"), of("NXDOMAIN", "true")), (Some(0), None));
            assert_eq!(collected.sum(DURATIONS), 2);
            assert!(collected.0.contains("flowgauge_dns_response_duration_seconds_bucket{"));
        }
    }
}

#[test]
fn every_dns_family_counts_its_series_as_they_are_served() {
    let mut ledger = ledger(1000);
    ledger.begin(Instant::now());
    let place = ledger.place(&edge(Observer::Server, "dns"));
    let mut all = lookups();
    all.queries = [3; _];
    all.responses = [3; _];
    ledger.active(place).dns().add(&all);
    ledger.decide_nxdomain([(place, 2, 1)].into_iter());
    ledger.finish();
    let counted = ledger.series();
    let (collected, _) = Collected::of(ledger);
    assert_eq!(collected.samples().count(), counted, "{}", collected.0);
    let made_up: Vec<_> = collected
        .values(RESPONSES)
        .into_iter()
        .filter(|(labels, _)| labels.contains("search=\"true\""))
        .collect();
    assert!(made_up.len() == 1 && made_up[0].1 == 2, "{made_up:?}");
    assert_eq!(collected.sum(RESPONSES), 14 * 3 - 1, "one is undecided");
}

#[test]
fn sums_of_all_parts_stay_exact_whatever_the_budget() {
    let mut ledger = ledger(400);
    let start = Instant::now();
    for round in 1..=4u64 {
        ledger.begin(start + Duration::from_secs(round));
        let mut places = Vec::new();
        for n in 0..300 {
            let place = ledger.place(&edge(Observer::Client, &format!("server-{n}")));
            let entry = ledger.active(place);
            entry.udp().add(&SENT_ONLY);
            if n % 3 == 0 {
                entry.dns().add(&lookups());
                places.push((place, 1, 0));
            }
            if n % 10 == 0 {
                entry.tcp().counters[Counter::SentBytes] += 5;
            }
        }
        ledger.decide_nxdomain(places.into_iter());
        ledger.whole();
        ledger.finish();
        assert!(ledger.series() <= 400, "{} series", ledger.series());
        let counted = ledger.series();
        let (collected, back) = Collected::of(ledger);
        ledger = back;
        assert_eq!(collected.samples().count(), counted);
        assert_eq!(collected.sum(UDP_SENT), 300 * 100 * round);
        assert_eq!(collected.sum(QUERIES), 100 * 2 * round);
        assert_eq!(collected.sum(RESPONSES), 100 * 2 * round);
        assert_eq!(collected.sum(DURATIONS), 100 * 2 * round);
        assert_eq!(collected.sum(SENT), 30 * 5 * round);
    }
}

#[test]
fn udp_sockets_and_accept_queues_are_apart() {
    let mut ledger = ledger(1000);
    let labels = || ["".into(), "dns".into(), "53".into()];
    ledger.begin(Instant::now());
    ledger.udp_socket(labels()).open = true;
    ledger.udp_socket(labels()).drops += 3;
    ledger.listener(labels()).drops += 1;
    ledger.udp_socket(["".into(), "quiet".into(), "443".into()]).open = true;
    ledger.whole();
    ledger.finish();
    let counted = ledger.series();
    let (collected, _) = Collected::of(ledger);
    assert_eq!(collected.samples().count(), counted, "{}", collected.0);
    assert_eq!((collected.sum(DROPS), collected.sum("flowgauge_tcp_accept_queue_drops_total")), (3, 1));
    assert_eq!(collected.values(DROPS).len(), 2, "a socket that serves is there before it drops anything");
}

#[test]
fn only_what_runs_is_served() {
    let mut ledger = ledger(1000);
    ledger.config.collectors = Collectors { tcp: false, udp: false, dns: true, http: false, drops: false };
    let (collected, mut ledger) = Collected::of(ledger);
    assert!(collected.0.contains("# TYPE flowgauge_dns_queries counter"), "{}", collected.0);
    assert!(!collected.0.contains("flowgauge_udp_") && !collected.0.contains("flowgauge_tcp_"));
    ledger.config.collectors = Collectors { tcp: false, udp: true, dns: false, http: false, drops: false };
    let (collected, _) = Collected::of(ledger);
    assert!(collected.0.contains("flowgauge_udp_") && !collected.0.contains("flowgauge_dns_"));
}

#[test]
fn domains_are_served_on_request() {
    let family = "flowgauge_dns_domain_responses_total";
    for (names, samples) in [(0, 0), (1, 2)] {
        let mut ledger = ledger(1000);
        ledger.config.dns_names = names;
        ledger.domains = Domains::new(names);
        ledger.domains().count(None, 0);
        ledger.domains().count(crate::dns::Name::from_text("www.example.com").as_ref(), 3);
        let (collected, _) = Collected::of(ledger);
        assert_eq!(collected.values(family).len(), samples, "{}", collected.0);
        assert_eq!(collected.0.contains("{domain=\"example.com\",rcode=\"NXDOMAIN\"} 1"), names > 0);
    }
}
