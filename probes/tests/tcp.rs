// SPDX-License-Identifier: Apache-2.0
//! The TCP probe on the running kernel, against connections made here. Needs root.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use flowgauge_probes::tcp::{
    Backend, Counter, Counters, Events, Listener, ProcessHierarchy, Processes, Sink, Storage, Tcp,
    TcpOptions, digest,
};
use flowgauge_probes::{Facts, FlowKey, Peer, Role};

/// Each test sees every connection of the host: one at a time keeps the others' out of the way.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[derive(Default)]
struct Seen {
    growth: HashMap<FlowKey, Counters>,
    connections: HashMap<FlowKey, u32>,
    events: HashMap<FlowKey, Events>,
    rtts: HashMap<FlowKey, Vec<Duration>>,
    listeners: Vec<Listener>,
    processes: Processes,
    /// Where connections go, by the digest of their own address and their own port.
    backends: HashMap<(u64, u16), Backend>,
}

impl Sink<()> for Seen {
    fn catch_up(&mut self) {}
    fn backend(&mut self, _: &FlowKey, source: u64, port: u16) -> Option<Backend> {
        self.backends.remove(&(source, port))
    }
    fn listeners(&mut self, listeners: &[Listener], processes: &Processes) {
        self.listeners = listeners.to_vec();
        self.processes = processes.clone();
        self.connections.clear();
    }
    fn accept_queues(&mut self, _: &[Listener], _: &Processes) {}
    fn growth(&mut self, key: &FlowKey, (): &mut (), growth: &Counters, connections: u32, _: &Processes) {
        self.growth.entry(*key).or_default().add(growth);
        self.connections.insert(*key, connections);
    }
    fn events(&mut self, key: &FlowKey, (): &mut (), events: &Events, _: &Processes) {
        let sum = self.events.entry(*key).or_default();
        sum.connect_sum += events.connect_sum;
        sum.rtt_sum += events.rtt_sum;
        for (sum, more) in sum.closed.iter_mut().zip(events.closed) {
            *sum += more;
        }
        for (sum, more) in sum.failed.iter_mut().zip(events.failed) {
            *sum += more;
        }
        for (sum, more) in sum.connect.iter_mut().zip(events.connect) {
            *sum += more;
        }
    }
    fn rtt(&mut self, key: &FlowKey, (): &mut (), rtt: Duration, _: &Processes) {
        self.rtts.entry(*key).or_default().push(rtt);
    }
}

impl Seen {
    fn total(&self, role: Role, port: u16, counter: Counter) -> u64 {
        let of = |key: &&FlowKey| key.role == role && key.port == port;
        self.growth.iter().filter(|(key, _)| of(key)).map(|(_, growth)| growth[counter]).sum()
    }
    fn open(&self, role: Role, port: u16) -> u32 {
        let of = |key: &&FlowKey| key.role == role && key.port == port;
        self.connections.iter().filter(|(key, _)| of(key)).map(|(_, open)| open).sum()
    }
    fn closed(&self, role: Role, port: u16) -> [u32; 4] {
        let mut sum = [0; 4];
        for (_, events) in self.events.iter().filter(|(key, _)| key.role == role && key.port == port) {
            sum.iter_mut().zip(events.closed).for_each(|(sum, more)| *sum += more);
        }
        sum
    }
    fn failed(&self, port: u16) -> [u32; 7] {
        let mut sum = [0; 7];
        for (_, events) in self.events.iter().filter(|(key, _)| key.port == port) {
            sum.iter_mut().zip(events.failed).for_each(|(sum, more)| *sum += more);
        }
        sum
    }
}

fn options() -> TcpOptions {
    TcpOptions {
        mute_cgroups: vec![0, 1],
        process_hierarchy: ProcessHierarchy::Unified,
        want_process: true,
        services: true,
    }
}

fn with_probe(test: impl FnOnce(&mut Tcp<'_, ()>, &mut Seen)) {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    with_facts(Facts::read().unwrap(), test);
}

fn with_facts(facts: Facts, test: impl FnOnce(&mut Tcp<'_, ()>, &mut Seen)) {
    let mut storage = Storage::default();
    let mut probe = Tcp::load(&mut storage, &facts, &options()).expect("the probe loads (needs root)");
    test(&mut probe, &mut Seen::default());
    let health = probe.health();
    assert_eq!(health.lost, [0; 8]);
    assert_eq!(health.undecodable, 0);
}

/// A connection over which `up` bytes go to the server and `down` bytes come back; both ends.
fn connection(listener: &TcpListener, up: usize, down: usize) -> (TcpStream, TcpStream) {
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(&vec![1; up]).unwrap();
    server.read_exact(&mut vec![0; up]).unwrap();
    server.write_all(&vec![2; down]).unwrap();
    client.read_exact(&mut vec![0; down]).unwrap();
    (client, server)
}

fn close_in_order((client, mut server): (TcpStream, TcpStream)) {
    drop(client);
    assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
    drop(server);
    settle();
}

/// Lets delayed acknowledgements and softirqs finish.
fn settle() {
    std::thread::sleep(Duration::from_millis(60));
}

fn listen(address: impl Into<IpAddr>) -> (TcpListener, u16) {
    let listener = TcpListener::bind(SocketAddr::from((address.into(), 0))).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn counts_to_the_byte(address: IpAddr) {
    with_probe(|probe, seen| {
        let (listener, port) = listen(address);
        let (up, down) = (70_001, 1_234);
        let open = connection(&listener, up, down);
        settle();
        let report = probe.pass(seen).unwrap();
        assert!(report.moved_chains < 100, "{report:?}");
        for (role, sent, received) in [(Role::Client, up, down), (Role::Server, down, up)] {
            assert_eq!(seen.total(role, port, Counter::SentBytes), sent as u64, "{role:?} open");
            assert_eq!(seen.total(role, port, Counter::ReceivedBytes), received as u64, "{role:?} open");
            assert_eq!(seen.total(role, port, Counter::Opened), 1);
            assert_eq!(seen.open(role, port), 1);
        }
        assert_eq!(
            seen.total(Role::Client, port, Counter::SentSegments),
            seen.total(Role::Server, port, Counter::ReceivedSegments),
        );
        assert_eq!(
            seen.total(Role::Client, port, Counter::ReceivedSegments),
            seen.total(Role::Server, port, Counter::SentSegments) + 1,
            "the SYN-ACK is sent before the server's socket exists"
        );
        close_in_order(open);
        probe.pass(seen).unwrap();
        for (role, sent, received) in [(Role::Client, up, down), (Role::Server, down, up)] {
            assert_eq!(seen.total(role, port, Counter::SentBytes), sent as u64, "{role:?} closed");
            assert_eq!(seen.total(role, port, Counter::ReceivedBytes), received as u64, "{role:?} closed");
            assert_eq!(seen.total(role, port, Counter::Opened), 1);
            assert_eq!(seen.open(role, port), 0);
            assert_eq!(seen.closed(role, port), [1, 0, 0, 0], "{role:?} fin");
        }
    });
}

#[test]
fn ipv4_bytes_are_exact() {
    counts_to_the_byte(Ipv4Addr::LOCALHOST.into());
}

#[test]
fn ipv6_bytes_are_exact() {
    counts_to_the_byte(Ipv6Addr::LOCALHOST.into());
}

#[test]
fn the_walk_without_typed_casts_sees_the_same() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let facts = Facts { typed_casts: false, ..Facts::read().unwrap() };
    with_facts(facts, |probe, seen| {
        let (listener, port) = listen(Ipv4Addr::LOCALHOST);
        let open = connection(&listener, 5_000, 300);
        settle();
        probe.pass(seen).unwrap();
        assert_eq!(seen.total(Role::Client, port, Counter::SentBytes), 5_000);
        assert_eq!(seen.total(Role::Server, port, Counter::SentBytes), 300);
        close_in_order(open);
        probe.pass(seen).unwrap();
        assert_eq!(seen.total(Role::Client, port, Counter::SentBytes), 5_000);
    });
}

#[test]
fn connections_that_live_and_die_between_passes() {
    with_probe(|probe, seen| {
        let (listener, port) = listen(Ipv4Addr::LOCALHOST);
        for _ in 0..100 {
            let (client, mut server) = connection(&listener, 100, 10);
            drop(client);
            assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
        }
        settle();
        probe.pass(seen).unwrap();
        for (role, sent) in [(Role::Client, 100 * 100), (Role::Server, 100 * 10)] {
            assert_eq!(seen.total(role, port, Counter::SentBytes), sent);
            assert_eq!(seen.total(role, port, Counter::Opened), 100);
            assert_eq!(seen.closed(role, port), [100, 0, 0, 0]);
        }
        assert_eq!(seen.total(Role::Client, port, Counter::Attempts), 100);
        let connects: u32 =
            seen.events.iter().filter(|(key, _)| key.port == port).flat_map(|(_, e)| e.connect).sum();
        assert_eq!(connects, 100);
    });
}

#[test]
fn what_was_sent_before_the_start_is_not_counted() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (listener, port) = listen(Ipv4Addr::LOCALHOST);
    let (mut client, mut server) = connection(&listener, 40_000, 40_000);
    settle();
    with_facts(Facts::read().unwrap(), |probe, seen| {
        probe.pass(seen).unwrap();
        assert_eq!(seen.total(Role::Client, port, Counter::SentBytes), 0);
        assert_eq!(seen.open(Role::Client, port), 1);
        client.write_all(&[1; 77]).unwrap();
        server.read_exact(&mut [0; 77]).unwrap();
        close_in_order((client, server));
        probe.pass(seen).unwrap();
        assert_eq!(seen.total(Role::Client, port, Counter::SentBytes), 77);
        assert_eq!(seen.total(Role::Server, port, Counter::ReceivedBytes), 77);
        assert_eq!(seen.total(Role::Client, port, Counter::Opened), 0);
    });
}

#[test]
fn a_reset_is_counted_on_both_ends() {
    with_probe(|probe, seen| {
        let (listener, port) = listen(Ipv4Addr::LOCALHOST);
        let (client, mut server) = connection(&listener, 10, 10);
        // Unread data makes close() a reset.
        server.write_all(b"unread").unwrap();
        settle();
        drop(client);
        assert!(server.read(&mut [0; 16]).is_err());
        drop(server);
        settle();
        probe.pass(seen).unwrap();
        assert_eq!(seen.closed(Role::Client, port), [0, 0, 1, 0], "reset_sent");
        assert_eq!(seen.closed(Role::Server, port), [0, 1, 0, 0], "reset_received");
        assert_eq!(seen.total(Role::Server, port, Counter::SentBytes), 16);
    });
}

#[test]
fn a_half_closed_connection_ends_with_fin() {
    with_probe(|probe, seen| {
        let (listener, port) = listen(Ipv4Addr::LOCALHOST);
        let (mut client, mut server) = connection(&listener, 10, 0);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
        server.write_all(&[3; 500]).unwrap();
        drop(server);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        settle();
        drop(client);
        settle();
        probe.pass(seen).unwrap();
        assert_eq!(seen.closed(Role::Client, port), [1, 0, 0, 0]);
        assert_eq!(seen.closed(Role::Server, port), [1, 0, 0, 0]);
        assert_eq!(seen.total(Role::Client, port, Counter::ReceivedBytes), 500);
    });
}

#[test]
fn a_refused_connection_is_a_failure() {
    with_probe(|probe, seen| {
        let (listener, port) = listen(Ipv4Addr::LOCALHOST);
        drop(listener);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
        settle();
        probe.pass(seen).unwrap();
        assert_eq!(seen.failed(port), [1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(seen.total(Role::Client, port, Counter::Attempts), 1);
        assert_eq!(seen.total(Role::Client, port, Counter::Opened), 0);
    });
}

#[test]
fn both_ends_know_their_processes() {
    with_probe(|probe, seen| {
        let (listener, port) = listen(Ipv4Addr::LOCALHOST);
        let open = connection(&listener, 1, 1);
        settle();
        probe.pass(seen).unwrap();
        let own = std::fs::read_to_string("/proc/self/comm").unwrap().trim().to_owned();
        let client = seen.growth.keys().find(|key| key.role == Role::Client && key.port == port).unwrap();
        assert_eq!(*seen.processes[&client.process].name, own);
        let server = seen.growth.keys().find(|key| key.role == Role::Server && key.port == port).unwrap();
        let Peer::Known { process, .. } = server.peer else { panic!("the peer is on this host: {server:?}") };
        assert_eq!(*seen.processes[&process].name, own);
        let listening = seen.listeners.iter().find(|listening| listening.key.port == port).unwrap();
        assert_eq!(*seen.processes[&listening.key.process].name, own);
        close_in_order(open);
    });
}

#[test]
fn rtt_is_sampled_while_data_moves() {
    with_probe(|probe, seen| {
        let (listener, port) = listen(Ipv4Addr::LOCALHOST);
        let (mut client, mut server) = connection(&listener, 1, 1);
        probe.pass(seen).unwrap();
        settle();
        let of = |seen: &Seen| {
            seen.rtts
                .iter()
                .filter(|(key, _)| key.port == port && key.role == Role::Client)
                .map(|(_, r)| r.len())
                .sum::<usize>()
        };
        probe.pass(seen).unwrap();
        let before = of(seen);
        settle();
        probe.pass(seen).unwrap();
        assert_eq!(of(seen), before, "idle since the last pass");
        client.write_all(&[0; 9]).unwrap();
        server.read_exact(&mut [0; 9]).unwrap();
        probe.pass(seen).unwrap();
        assert_eq!(of(seen), before + 1, "it moved");
    });
}

#[test]
fn a_local_connection_keeps_its_key_among_many_others() {
    with_probe(|probe, seen| {
        let (listener, port) = listen(Ipv4Addr::LOCALHOST);
        let open = connection(&listener, 3_000, 200);
        settle();
        probe.pass(seen).unwrap();
        for _ in 0..20_000 {
            let (client, server) = connection(&listener, 1, 1);
            drop(client);
            drop(server);
        }
        settle();
        probe.pass(seen).unwrap();
        probe.pass(seen).unwrap();
        assert_eq!(seen.total(Role::Server, port, Counter::Opened), 20_001);
        assert_eq!(seen.total(Role::Server, port, Counter::ReceivedBytes), 3_000 + 20_000);
        assert_eq!(seen.total(Role::Client, port, Counter::ReceivedBytes), 200 + 20_000);
        let kept = |probe: &Tcp<'_, ()>| {
            probe.health().maps.iter().find(|used| used.map == "local_owners").map(|used| used.entries)
        };
        assert!(kept(probe).unwrap() < 100, "closed connections are forgotten: {:?}", probe.health().maps);
        close_in_order(open);
    });
}

#[test]
fn one_port_on_two_addresses_has_two_listeners() {
    with_probe(|probe, seen| {
        let (one, port) = listen(Ipv4Addr::LOCALHOST);
        let two = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), port)).unwrap();
        probe.pass(seen).unwrap();
        let mut addresses: Vec<_> = seen
            .listeners
            .iter()
            .filter(|l| l.key.port == port)
            .map(|l| l.key.remote().to_string())
            .collect();
        addresses.sort();
        assert_eq!(addresses, ["127.0.0.1", "127.0.0.2"]);
        drop((one, two));
    });
}

/// Two connections to what is called a Service half-way; what they counted before and after is all there, each once.
fn a_service_is_split_by_backend(facts: Facts, address: IpAddr, other: IpAddr) {
    with_facts(facts, |probe, seen| {
        let (listener, port) = listen(address);
        let mut open = [connection(&listener, 1000, 0), connection(&listener, 200, 0)];
        settle();
        probe.pass(seen).unwrap();
        assert_eq!(seen.total(Role::Client, port, Counter::SentBytes), 1200);
        for (number, (client, _)) in open.iter().enumerate() {
            let own = client.local_addr().unwrap();
            let backend = Backend { address: other, port: 9000 + number as u16, service: 7 };
            seen.backends.insert((digest(own.ip()), own.port()), backend);
        }
        probe.add_services([(address, port)]).unwrap();
        probe.pass(seen).unwrap();
        assert_eq!(seen.total(Role::Client, port, Counter::SentBytes), 1200);
        assert_eq!((seen.open(Role::Client, 9000), seen.open(Role::Client, 9001)), (1, 1));
        for (client, server) in &mut open {
            client.write_all(&[3; 50]).unwrap();
            server.read_exact(&mut [0; 50]).unwrap();
        }
        let [first, second] = open;
        close_in_order(second);
        probe.pass(seen).unwrap();
        for backend in [9000, 9001] {
            assert_eq!(seen.total(Role::Client, backend, Counter::SentBytes), 50, "{backend}");
            assert_eq!(seen.total(Role::Client, backend, Counter::Opened), 0, "opened before");
        }
        assert_eq!(seen.closed(Role::Client, 9001), [1, 0, 0, 0]);
        assert_eq!(seen.open(Role::Client, 9000), 1);
        assert_eq!(seen.total(Role::Client, port, Counter::SentBytes), 1200);
        let key = seen.growth.keys().find(|key| key.port == 9000).unwrap();
        assert_eq!((key.remote(), key.peer), (other, Peer::Backend { service: 7 }));
        let services = probe.health().maps.into_iter().find(|map| map.map == "services").unwrap();
        assert_eq!(services.entries, 1);
        close_in_order(first);
    });
}

#[test]
fn a_connection_to_a_service_is_its_backends() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for typed_casts in [true, false] {
        let facts = Facts::read().unwrap();
        let facts = Facts { typed_casts: typed_casts && facts.typed_casts, ..facts };
        a_service_is_split_by_backend(
            facts,
            Ipv4Addr::new(127, 3, 0, 1).into(),
            Ipv4Addr::new(192, 0, 2, 1).into(),
        );
    }
    let six = "2001:db8::1".parse().unwrap();
    a_service_is_split_by_backend(Facts::read().unwrap(), Ipv6Addr::LOCALHOST.into(), six);
}
