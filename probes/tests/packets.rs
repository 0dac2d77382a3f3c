// SPDX-License-Identifier: Apache-2.0
//! The packet probe on the running kernel, against datagrams sent here. Needs root.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use flowgauge_probes::packets::{
    DnsCounts, DnsOptions, DnsSample, Http2Record, HttpGrowth, PacketOptions, Packets, Sink, Storage,
    UdpCounts,
};
use flowgauge_probes::tcp::{Backend, Listener, ProcessHierarchy, Processes};
use flowgauge_probes::{FlowKey, Peer, Role};

/// Each test sees every packet of the host: one at a time keeps the others' out of the way.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[derive(Default)]
struct Seen {
    udp: HashMap<FlowKey, UdpCounts>,
    dns: HashMap<FlowKey, Vec<DnsCounts>>,
    servers: Vec<Listener>,
    samples: Vec<(FlowKey, bool, Vec<u8>)>,
    processes: Processes,
}

impl Sink<()> for Seen {
    fn servers(&mut self, servers: &[Listener], processes: &Processes) {
        self.servers = servers.to_vec();
        self.processes = processes.clone();
    }
    fn sample(&mut self, sample: &DnsSample<'_>, _: &Processes) {
        self.samples.push((sample.key, sample.is_answer, sample.message.to_vec()));
    }
    fn udp(&mut self, key: &FlowKey, (): &mut (), growth: &UdpCounts, _: &Processes) {
        let sum = self.udp.entry(*key).or_default();
        sum.sent_bytes += growth.sent_bytes;
        sum.sent_packets += growth.sent_packets;
        sum.received_bytes += growth.received_bytes;
        sum.received_packets += growth.received_packets;
    }
    fn dns(&mut self, key: &FlowKey, (): &mut (), growth: &DnsCounts, _: &Processes) {
        self.dns.entry(*key).or_default().push(*growth);
    }
    fn backend(&mut self, _: &FlowKey, _: u64, _: u16) -> Option<Backend> {
        None
    }
    fn http(&mut self, _: &FlowKey, (): &mut (), _: &HttpGrowth, _: &Processes) {}
    fn http2(&mut self, _: &Http2Record<'_>, (): &mut (), _: &Processes) {}
    fn receive_drops(&mut self, _: &FlowKey, _: u64, _: &Processes) {}
}

impl Seen {
    fn udp_of(&self, role: Role, port: u16) -> UdpCounts {
        let of = self.udp.iter().filter(|(key, _)| key.role == role && key.port == port);
        let all: Vec<_> = of.collect();
        assert_eq!(all.len(), 1, "{role:?} {port}: {all:?}");
        *all[0].1
    }

    fn dns_of(&self, role: Role, port: u16, count: impl Fn(&DnsCounts) -> u64) -> u64 {
        let of = self.dns.iter().filter(|(key, _)| key.role == role && key.port == port);
        of.flat_map(|(_, counts)| counts.iter()).map(count).sum()
    }
}

fn cgroup_root() -> PathBuf {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    PathBuf::from(fields.into_iter().find(|fields| fields[2] == "cgroup2").unwrap()[1])
}

fn options(ports: &[u16]) -> PacketOptions {
    PacketOptions {
        udp: true,
        http: true,
        services: false,
        dns: Some(DnsOptions { ports: ports.to_vec(), timeout: Duration::from_millis(300), domains: false }),
        cgroup_root: Some(cgroup_root()),
        mute_cgroups: vec![0, 1],
        process_hierarchy: ProcessHierarchy::V1Memory,
        want_process: false,
    }
}

fn loopback() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

fn query(id: u16, name: &[&str], qtype: u16) -> Vec<u8> {
    let mut message = vec![(id >> 8) as u8, id as u8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(qtype.to_be_bytes());
    message.extend(1u16.to_be_bytes());
    message
}

fn answer(query: &[u8], rcode: u8) -> Vec<u8> {
    let mut message = query.to_vec();
    message[2] |= 0x80;
    message[3] |= rcode;
    message
}

#[test]
fn datagrams_are_counted_at_both_ends() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|broken| broken.into_inner());
    let mut storage = Storage::default();
    let mut probe = Packets::<()>::load(&mut storage, options(&[53])).unwrap();
    // A port that the application chose, as servers do.
    let at = loopback().local_addr().unwrap();
    let (server, client) = (UdpSocket::bind(at).unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    for _ in 0..10 {
        client.send_to(&[7; 100], at).unwrap();
    }
    let mut buffer = [0; 200];
    for _ in 0..10 {
        let (_, from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(&[8; 50], from).unwrap();
    }
    let mut seen = Seen::default();
    probe.pass(&mut seen).unwrap();
    let client = UdpCounts {
        sent_bytes: 1000,
        sent_packets: 10,
        received_bytes: 500,
        received_packets: 10,
        ..UdpCounts::default()
    };
    let server = UdpCounts {
        sent_bytes: 500,
        sent_packets: 10,
        received_bytes: 1000,
        received_packets: 10,
        ..UdpCounts::default()
    };
    assert_eq!(seen.udp_of(Role::Client, at.port()), client);
    assert_eq!(seen.udp_of(Role::Server, at.port()), server);
    let (key, _) =
        seen.udp.iter().find(|(key, _)| key.role == Role::Server && key.port == at.port()).unwrap();
    let Peer::Known { process, .. } = key.peer else { panic!("{key:?}") };
    assert_eq!(&*seen.processes[&process].name, &*own_name());
    let listener = seen.servers.iter().find(|listener| listener.key.port == at.port()).unwrap();
    assert_eq!(&*seen.processes[&listener.key.process].name, &*own_name());
    assert_eq!(listener.key.remote(), IpAddr::from(Ipv4Addr::LOCALHOST));
    let mut seen = Seen::default();
    probe.pass(&mut seen).unwrap();
    assert!(!seen.udp.keys().any(|key| key.port == at.port()), "told once");
    assert!(probe.health().lost.iter().all(|lost| *lost == 0), "{:?}", probe.health());
}

fn own_name() -> String {
    std::fs::read_to_string("/proc/self/comm").unwrap().trim().to_owned()
}

/// A server on a port of its own, and a client connected to it.
fn pair() -> (UdpSocket, UdpSocket, SocketAddr) {
    let (server, client) = (loopback(), loopback());
    let at = server.local_addr().unwrap();
    client.connect(at).unwrap();
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    }
    (server, client, at)
}

#[test]
fn queries_and_answers_are_matched() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|broken| broken.into_inner());
    let (server, client, at) = pair();
    let mut storage = Storage::default();
    let mut probe = Packets::<()>::load(&mut storage, options(&[at.port()])).unwrap();
    let mut buffer = [0; 600];
    let names: [(&str, u16, u8); 4] = [("a", 1, 0), ("b", 28, 3), ("c", 1, 2), ("d", 99, 5)];
    let mut waiting = Vec::new();
    for (id, (name, qtype, _)) in names.iter().enumerate() {
        client.send(&query(id as u16, &[name, "Example", "com"], *qtype)).unwrap();
        waiting.push(server.recv_from(&mut buffer).map(|(n, from)| (buffer[..n].to_vec(), from)).unwrap());
    }
    // Sent again, answered in another order, one twice, one with another id, one that answers another question.
    client.send(&waiting[0].0).unwrap();
    for index in [2, 0, 3, 1, 1] {
        let (message, from) = &waiting[index];
        let mut reply = answer(message, names[index].2);
        reply[13] ^= if index == 0 { 0x20 } else { 0 };
        server.send_to(&reply, from).unwrap();
    }
    let (message, from) = &waiting[0];
    server.send_to(&answer(&[&[9, 9], &message[2..]].concat(), 0), from).unwrap();
    // Nobody answers this one in time.
    client.send(&query(7, &["late", "example", "com"], 1)).unwrap();
    std::thread::sleep(Duration::from_millis(350));
    let mut seen = Seen::default();
    probe.pass(&mut seen).unwrap();
    server.send_to(&answer(&query(7, &["late", "example", "com"], 1), 0), from).unwrap();
    client.send(b"garbage").unwrap();
    probe.pass(&mut seen).unwrap();
    for role in [Role::Client, Role::Server] {
        let of = |count: &dyn Fn(&DnsCounts) -> u64| seen.dns_of(role, at.port(), count);
        assert_eq!(of(&|dns| dns.queries[0]), 4, "A, one of them sent again");
        assert_eq!(of(&|dns| dns.queries[1]), 1, "AAAA");
        assert_eq!(of(&|dns| dns.queries[17]), 1, "other");
        for rcode in [0, 2, 3, 5] {
            assert_eq!(of(&|dns| dns.responses[rcode]), 1, "{role:?} {rcode}");
        }
        assert_eq!(of(&|dns| dns.responses.iter().sum()), 4);
        assert_eq!(of(&|dns| dns.durations.iter().sum()), 4);
        assert_eq!(of(&|dns| dns.retransmits), 1);
        assert_eq!(of(&|dns| dns.unsolicited), 2);
        assert_eq!(of(&|dns| dns.timeouts), 1);
        assert_eq!(of(&|dns| dns.late), 1);
        assert_eq!(of(&|dns| dns.malformed), 1);
    }
    let none = seen.samples.iter().filter(|(_, answer, _)| *answer).count();
    assert_eq!(none, 2, "NXDOMAIN, at both ends: {:?}", seen.samples);
    assert!(probe.health().lost.iter().all(|lost| *lost == 0), "{:?}", probe.health());
}
