// SPDX-License-Identifier: Apache-2.0
use super::super::{Counter, Discard, Events, Listener, Processes};
use super::*;
use crate::skeleton::tcp::types;

const SERVICE: (IpAddr, u16) = (IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 1)), 80);
const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 244, 0, 7));

/// Answers for each port what it is told.
#[derive(Default)]
struct Nat(HashMap<u16, Backend>);

impl Sink<()> for Nat {
    fn catch_up(&mut self) {}
    fn backend(&mut self, key: &FlowKey, source: u64, port: u16) -> Option<Backend> {
        assert_eq!(((key.remote(), key.port), source), (SERVICE, digest(OWN)));
        self.0.remove(&port)
    }
    fn listeners(&mut self, _: &[Listener], _: &Processes) {}
    fn accept_queues(&mut self, _: &[Listener], _: &Processes) {}
    fn growth(&mut self, _: &FlowKey, (): &mut (), _: &Counters, _: u32, _: &Processes) {}
    fn events(&mut self, _: &FlowKey, (): &mut (), _: &Events, _: &Processes) {}
    fn rtt(&mut self, _: &FlowKey, (): &mut (), _: std::time::Duration, _: &Processes) {}
}

fn backend(last: u8) -> Backend {
    Backend { address: IpAddr::from([10, 244, 1, last]), port: 8080, service: 3 }
}

/// A connection to the Service from one of the client's ports; as keys were before the Service was known, and after.
fn keys(port: u16) -> (FlowKey, FlowKey) {
    let raw = types::fg_key { remote: mapped(SERVICE.0), port: SERVICE.1, role: 1, ..Default::default() };
    let plain = FlowKey::decode(&raw).unwrap();
    (plain, FlowKey { peer: Peer::Service { source: digest(OWN), port }, ..plain })
}

fn bytes(sent: u64) -> Counters {
    let mut counters = Counters::default();
    counters[Counter::SentBytes] = sent;
    counters
}

struct Books {
    totals: Totals<()>,
    services: Services,
    nat: Nat,
}

impl Books {
    fn new() -> Self {
        Books { totals: Totals::new(), services: Services::default(), nat: Nat::default() }
    }

    fn learn_service(&mut self) {
        self.services.known.insert(SERVICE, self.services.ended);
    }

    fn closed(&mut self, key: FlowKey, sent: u64) {
        let key = self.services.closed(key, false, &self.totals, &mut self.nat);
        self.totals.closed(&key, &bytes(sent));
    }

    /// It was established, and goes on.
    fn begun(&mut self, key: FlowKey) {
        let key = self.services.closed(key, true, &self.totals, &mut self.nat);
        self.totals.closed(&key, &Counters::default());
    }

    /// One pass over live connections; bytes that each address grew.
    fn pass(&mut self, live: &[(FlowKey, u64)]) -> Vec<(String, u64)> {
        self.totals.begin();
        for (key, sent) in live {
            let counters = bytes(*sent);
            let key = self.services.live(*key, &counters, &mut self.totals, &mut self.nat);
            self.totals.live(&key, &counters, true);
        }
        let mut grown = Vec::new();
        self.totals.finish(|key, (), growth, _| {
            if growth[Counter::SentBytes] > 0 {
                grown.push((key.remote().to_string(), growth[Counter::SentBytes]));
            }
        });
        self.services.end_pass();
        grown.sort_unstable();
        grown
    }
}

fn grown(all: &[(&str, u64)]) -> Vec<(String, u64)> {
    all.iter().map(|(address, bytes)| ((*address).to_owned(), *bytes)).collect()
}

#[test]
fn an_ipv4_address_has_a_digest_of_its_own() {
    let v4 = |bits: u32| digest(IpAddr::from(bits.to_be_bytes()));
    assert_ne!(v4(0x0a00_0001), v4(0x0a00_0002));
    assert_eq!(v4(0x0a00_0001), digest("::ffff:10.0.0.1".parse().unwrap()));
    assert_ne!(digest("fd00::1".parse().unwrap()), digest("fd00:0:0:1::".parse().unwrap()));
}

#[test]
fn connections_are_added_up_by_backend() {
    let mut books = Books::new();
    books.learn_service();
    books.nat.0.extend([(1, backend(1)), (2, backend(2)), (3, backend(1))]);
    let live: Vec<_> = [(1, 10), (2, 20), (3, 30)].map(|(port, sent)| (keys(port).1, sent)).into();
    assert_eq!(books.pass(&live), grown(&[("10.244.1.1", 40), ("10.244.1.2", 20)]));
    // What was found stays with the connection, though its translation is forgotten.
    books.nat.0.clear();
    books.closed(keys(1).1, 15);
    assert_eq!(books.pass(&live[1..]), grown(&[("10.244.1.1", 5)]));
}

#[test]
fn without_a_translation_it_is_the_service_that_was_dialled() {
    let mut books = Books::new();
    books.learn_service();
    assert_eq!(books.pass(&[(keys(1).1, 10)]), grown(&[("10.96.0.1", 10)]));
    books.closed(keys(2).1, 5);
    assert_eq!(books.pass(&[(keys(1).1, 10)]), grown(&[("10.96.0.1", 5)]));
}

#[test]
fn a_service_that_comes_late_moves_its_connections_exactly() {
    let mut books = Books::new();
    books.nat.0.extend([(1, backend(1)), (2, backend(2)), (3, backend(2))]);
    let before: Vec<_> = [(1, 100), (2, 200), (3, 300)].map(|(port, sent)| (keys(port).0, sent)).into();
    assert_eq!(books.pass(&before), grown(&[("10.96.0.1", 600)]));
    books.learn_service();
    // One closed before the address came to the map, and one after it but before the pass.
    books.closed(keys(3).1, 303);
    let after = [(keys(1).1, 101), (keys(2).1, 202)];
    assert_eq!(
        books.pass(&after),
        grown(&[("10.96.0.1", 1 + 2 + 3)]),
        "grew before anybody saw the new keys"
    );
    let after = [(keys(1).1, 111), (keys(2).1, 222)];
    assert_eq!(books.pass(&after), grown(&[("10.244.1.1", 10), ("10.244.1.2", 20)]));
    books.closed(keys(1).1, 112);
    assert_eq!(books.pass(&after[1..]), grown(&[("10.244.1.1", 1)]));
}

#[test]
fn a_connection_that_closes_while_it_moves_is_counted_once() {
    let mut books = Books::new();
    books.nat.0.insert(1, backend(1));
    assert_eq!(books.pass(&[(keys(1).0, 100)]), grown(&[("10.96.0.1", 100)]));
    books.learn_service();
    // The pass drains, then the connection closes, then the pass walks: only the next one sees it again.
    assert_eq!(books.pass(&[]), []);
    books.closed(keys(1).1, 107);
    assert_eq!(books.pass(&[]), grown(&[("10.96.0.1", 7)]));
    // Later ones have nothing to do with what was before.
    books.closed(keys(1).1, 9);
    assert_eq!(books.pass(&[]), grown(&[("10.244.1.1", 9)]));
}

#[test]
fn a_backend_that_is_known_late_takes_over_exactly() {
    let mut books = Books::new();
    books.learn_service();
    for _ in 0..3 {
        books.pass(&[(keys(1).1, 10)]);
    }
    books.nat.0.insert(1, backend(1));
    assert_eq!(books.pass(&[(keys(1).1, 17)]), grown(&[("10.96.0.1", 7)]), "until it was known");
    assert_eq!(books.pass(&[(keys(1).1, 20)]), grown(&[("10.244.1.1", 3)]));
    books.closed(keys(1).1, 21);
    assert_eq!(books.pass(&[]), grown(&[("10.244.1.1", 1)]));
}

#[test]
fn an_earlier_connection_from_the_same_port_names_nothing() {
    let mut books = Books::new();
    books.learn_service();
    books.nat.0.insert(1, backend(1));
    books.closed(keys(1).1, 10);
    assert_eq!(books.services.pins.len(), 0, "it has ended");
    assert_eq!(books.pass(&[]), grown(&[("10.244.1.1", 10)]));
    books.pass(&[]);
    books.pass(&[]);
    // Refused: no endpoint, so no translation.
    books.closed(keys(1).1, 1);
    assert_eq!(books.pass(&[]), grown(&[("10.96.0.1", 1)]));
}

#[test]
fn what_began_and_lives_is_asked_for_once() {
    let mut books = Books::new();
    books.learn_service();
    books.nat.0.insert(1, backend(1));
    // It was established: its handshake is drained before its socket is seen.
    books.begun(keys(1).1);
    assert_eq!(books.pass(&[(keys(1).1, 5)]), grown(&[("10.244.1.1", 5)]));
}

#[test]
fn another_connection_from_the_same_port_goes_to_its_own_backend() {
    let mut books = Books::new();
    books.learn_service();
    books.nat.0.insert(1, backend(1));
    assert_eq!(books.pass(&[(keys(1).1, 10)]), grown(&[("10.244.1.1", 10)]));
    books.closed(keys(1).1, 10);
    books.nat.0.insert(1, backend(2));
    assert_eq!(books.pass(&[(keys(1).1, 4)]), grown(&[("10.244.1.2", 4)]));
}

#[test]
fn connections_that_have_gone_are_forgotten() {
    let mut books = Books::new();
    books.learn_service();
    books.pass(&[(keys(1).1, 10)]);
    assert_eq!(books.services.pins.len(), 1);
    books.pass(&[]);
    books.pass(&[]);
    assert_eq!(books.services.pins.len(), 0);
}

#[test]
fn other_keys_are_left_alone() {
    let (mut services, mut totals) = (Services::default(), Totals::<()>::new());
    let key = keys(1).0;
    assert_eq!(services.live(key, &bytes(1), &mut totals, &mut Discard), key);
    assert_eq!(services.closed(key, false, &totals, &mut Discard), key);
}
