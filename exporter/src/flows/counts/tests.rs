// SPDX-License-Identifier: Apache-2.0
use super::*;

#[test]
fn the_names_of_errors_are_statuses() {
    assert!(GRPC_ERRORS.iter().all(|name| GRPC_STATUSES.contains(name)));
    let mut counts = Counts::default();
    for status in 0..GRPC_STATUSES.len() {
        counts.add_grpc(status);
    }
    assert_eq!(counts.grpc_errors(), GRPC_ERRORS.len() as u64);
    assert_eq!(counts.grpc().len(), GRPC_STATUSES.len());
}

#[test]
fn errors_are_what_the_reference_says() {
    let mut counts = Counts::default();
    let mut dns = DnsCounts { timeouts: 2, ..DnsCounts::default() };
    dns.responses = std::array::from_fn(|_| 1);
    counts.add_dns(&dns);
    assert_eq!(counts.dns_errors(), RCODES.len() as u64 - 2 + 2, "neither NOERROR nor NXDOMAIN");
    let http = |outcome| HttpGrowth { method: 1, outcome, count: 3, durations: [0; 18], duration_sum: 0 };
    for code in [100, 204, 301, 404, 500, 599] {
        counts.add_http(&http(HttpOutcome::Response(code)));
    }
    counts.add_http(&http(HttpOutcome::Failed(0)));
    assert_eq!(counts.http_responses(), 18);
    assert_eq!(counts.http_errors(), 9);
    assert_eq!(counts.http_responses_by_class()[4], ("5xx", 6));
    assert!(counts.has_dns() && counts.has_http() && !counts.has_tcp() && !counts.has_udp());
}

#[test]
fn the_largest_round_trip_is_not_added_up() {
    let mut counts = Counts::default();
    for rtt in [300, 900, 100] {
        let mut more = Counts::default();
        more.add(at::RTT_MAX, rtt);
        more.add(at::RTT_SUM, rtt);
        more.add(at::RTT_SAMPLES, 1);
        counts.merge(&more);
    }
    assert_eq!((counts.rtt_max(), counts.rtt_mean()), (Some(0.0009), Some(1300.0 / 3.0 / 1e6)));
}

#[test]
fn round_trips_of_closed_connections_are_not_made_larger_than_they_were() {
    let mut events = Events { rtt_sum: 5000, ..Events::default() };
    events.rtt[7] = 1;
    assert_eq!(closed_rtt(&events), (1, 5000, 5000), "of one, it is known exactly");
    events.rtt[0] = 1;
    // Up to 64 µs and 4,096 to 8,192 µs.
    assert_eq!(closed_rtt(&events), (2, 5000, 4096));
    assert_eq!(closed_rtt(&Events::default()), (0, 0, 0));
}
