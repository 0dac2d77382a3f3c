// SPDX-License-Identifier: Apache-2.0
//! What is found, in which order, and what it says.

use super::*;

/// Three edges with a few addresses each, and things that fail.
fn scene() -> Fixture {
    let mut fixture = Fixture::new(100);
    let (api, db) = (edge("shop", "api"), edge("shop", "db"));
    let mut web = edge("browser", "shop");
    web.server.zone = "b".into();
    web.client.namespace = "public".into();
    let mut tags = [const { None }; 6];
    let [a, b, c, d, e, f] = &mut tags;
    let growth =
        |sent, retransmitted, rtt| Growth { retransmitted, rtt, connections: 1, ..Growth::sent(sent) };
    fixture.pass(
        15,
        &mut [
            (a, &api, "192.0.2.1", growth(5_000, 0, 1000)),
            (b, &api, "192.0.2.2", growth(4_000, 2, 9000)),
            (c, &api, "2001:db8::3", growth(6_000, 0, 0)),
            (d, &db, "10.0.0.1", growth(90_000, 1, 300)),
            (e, &web, "198.51.100.7", growth(10, 0, 20_000)),
            (f, &web, "198.51.100.8", Growth { connections: 1, ..Growth::default() }),
        ],
    );
    fixture
}

fn sorted(sort: &str, order: Order) -> Query {
    Query { sort: Column::named(sort, DEFAULT_LABELS).unwrap(), order, ..Query::default() }
}

fn addresses(answer: &Answer) -> Vec<String> {
    answer.rows.iter().map(|row| row.address.unwrap().to_string()).collect()
}

fn where_label(name: &'static str, labels: &[&str], values: &[&str]) -> Query {
    let places = labels.iter().map(|label| DEFAULT_LABELS.iter().position(|known| known == label).unwrap());
    let values = values.iter().map(|&value| value.to_owned()).collect();
    Query { filters: vec![Filter { name, labels: places.collect(), values }], ..Query::default() }
}

#[test]
fn rows_come_in_the_order_asked_for() {
    let fixture = scene();
    let of = |sort, order| addresses(&fixture.answer(&sorted(sort, order)));
    assert_eq!(
        of("bytes", Order::Descending),
        ["10.0.0.1", "2001:db8::3", "192.0.2.1", "192.0.2.2", "198.51.100.7", "198.51.100.8"]
    );
    // Where there is nothing to compare, it comes last either way, in order of labels and addresses.
    assert_eq!(of("retransmit_ratio", Order::Descending)[..2], ["192.0.2.2", "10.0.0.1"]);
    assert_eq!(of("retransmit_ratio", Order::Descending)[5], "198.51.100.8");
    assert_eq!(of("retransmit_ratio", Order::Ascending)[5], "198.51.100.8");
    assert_eq!(of("rtt_max", Order::Descending)[..2], ["198.51.100.7", "192.0.2.2"]);
    assert_eq!(of("rtt_mean", Order::Ascending)[..2], ["10.0.0.1", "192.0.2.1"]);
    assert_eq!(of("address", Order::Ascending)[..2], ["10.0.0.1", "192.0.2.1"]);
    assert_eq!(of("server_workload", Order::Descending)[..2], ["198.51.100.7", "198.51.100.8"]);
    for column in Column::names(DEFAULT_LABELS) {
        for order in [Order::Descending, Order::Ascending] {
            for by in [By::Address, By::Edge] {
                let all = fixture.answer(&Query { by, ..sorted(column, order) });
                assert_eq!((all.matched, all.returned), if by == By::Edge { (3, 3) } else { (6, 6) });
                // The same rows in the same order, however many are asked for.
                let first = fixture.answer(&Query { by, limit: 2, ..sorted(column, order) });
                assert_eq!((first.matched, first.returned), (all.matched, 2));
                let names = |answer: &Answer| format!("{:?}", answer.rows.iter().take(2).collect::<Vec<_>>());
                assert_eq!(names(&first), names(&all), "{column}");
            }
        }
    }
}

#[test]
fn conditions_hold_all_together() {
    let fixture = scene();
    let count = |query: &Query| fixture.answer(query).matched;
    assert_eq!(count(&where_label("server_workload", &["server_workload"], &["api"])), 3);
    assert_eq!(count(&where_label("server_workload", &["server_workload"], &["api", "db"])), 4);
    let either = where_label("workload", &["client_workload", "server_workload"], &["shop"]);
    assert_eq!(count(&either), 6, "as a client and as a server");
    assert_eq!(count(&where_label("server_zone", &["server_zone"], &[""])), 4, "the empty label");
    assert_eq!(count(&where_label("server_zone", &["server_zone"], &["c"])), 0);
    let mut both = where_label("server_zone", &["server_zone"], &["b"]);
    both.filters.extend(where_label("client_namespace", &["client_namespace"], &["private"]).filters);
    assert_eq!(count(&both), 0);
    let within = |network: &str| Query { network: Some(network.parse().unwrap()), ..Query::default() };
    assert_eq!(count(&within("192.0.2.0/24")), 2);
    assert_eq!(count(&within("2001:db8::/32")), 1);
    assert_eq!(count(&within("::/0")), 1, "families do not mix");
    assert_eq!(count(&Query { least_segments: 5, ..Query::default() }), 3);
}

#[test]
fn an_edge_is_the_sum_of_its_addresses() {
    let fixture = scene();
    let answer = fixture.answer(&Query { by: By::Edge, ..sorted("server_workload", Order::Ascending) });
    let api = &answer.rows[0];
    assert_eq!((api.edge.get("server_workload"), api.addresses, api.address), ("api", Some(3), None));
    let tcp = api.tcp.as_ref().unwrap();
    assert_eq!((tcp.sent_bytes, tcp.sent_segments, tcp.retransmitted_segments), (15_000, 15, 2));
    assert_eq!((tcp.connections, tcp.retransmit_ratio), (Some(3), Some(2.0 / 15.0)));
    let rtt = tcp.rtt_seconds.as_ref().unwrap();
    assert_eq!((rtt.samples, rtt.mean, rtt.max), (2, 0.005, 0.009));
    assert_eq!(api.history.retransmitted_segments.iter().sum::<u64>(), 2);
    assert!(answer.rows.iter().all(|row| row.udp.is_none() && row.dns.is_none() && row.http.is_none()));
}

#[test]
fn names_of_the_local_end_are_told_where_all_is_of_one() {
    let mut fixture = Fixture::new(100);
    let end = |process: &str, pod: &str| {
        let mut edge = edge("shop", "api");
        edge.client.process = process.into();
        edge.client.pod = pod.into();
        edge
    };
    let (one, two) = (end("curl", "shop-1"), end("curl", "shop-2"));
    let (mut a, mut b) = (None, None);
    fixture.pass(15, &mut [(&mut a, &one, "192.0.2.1", Growth::sent(5))]);
    let told = |fixture: &Fixture| {
        let answer = fixture.answer(&Query::default());
        let row = &answer.rows[0];
        assert_eq!((answer.matched, &row.container), (1, &None));
        (row.process.as_deref().map(str::to_owned), row.pod.as_deref().map(str::to_owned))
    };
    assert_eq!(told(&fixture), (Some("curl".to_owned()), Some("shop-1".to_owned())));
    fixture.pass(15, &mut [(&mut b, &two, "192.0.2.1", Growth::sent(5))]);
    assert_eq!(told(&fixture), (Some("curl".to_owned()), None), "two pods of one workload");
}

#[test]
fn names_that_others_chose_are_only_text() {
    let mut fixture = Fixture::new(100);
    let name = "</script><b>\"\\\u{0}\u{1f}\u{2028}é";
    let mut hostile = edge(name, name);
    hostile.server.namespace = name.into();
    hostile.client = identity(name);
    let mut tag = None;
    fixture.pass(1, &mut [(&mut tag, &hostile, "192.0.2.1", Growth::sent(5))]);
    let answer = fixture.answer(&where_label("workload", &["client_workload", "server_workload"], &[name]));
    let json: serde_json::Value = serde_json::from_slice(&serde_json::to_vec(&answer).unwrap()).unwrap();
    assert_eq!(json["rows"][0]["edge"]["client_workload"], name);
    assert_eq!(json["rows"][0]["edge"].as_object().unwrap().len(), DEFAULT_LABELS.len());
    assert_eq!(json["rows"][0]["address"], "192.0.2.1");
}
