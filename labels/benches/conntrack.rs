// SPDX-License-Identifier: Apache-2.0
//! What it costs to know where NAT sends connections: `cargo bench -p flowgauge-labels --bench conntrack`. Needs root.
//!
//! The kernel's share is measured on one CPU, in pairs: connect and close through DNAT, with nobody listening and
//! with the product listening, which reads what it heard outside of what is measured.

use std::hint::black_box;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use flowgauge_labels::Conntrack;
use rustix::thread::{CpuSet, sched_setaffinity};
use socket2::SockRef;

use nat::{BACKEND_PORT, BACKENDS, CLIENT, VIP, World, at, digest};

#[path = "../tests/nat/mod.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod nat;

const PAIRS: usize = 60;
const CONNECTIONS: u32 = 500;
const ENTRIES: usize = 50_000;
const EVENTS: u16 = 10_000;

fn main() {
    let mut cpu = CpuSet::new();
    cpu.set(0);
    sched_setaffinity(None, &cpu).expect("there is a CPU 0");
    let world = World::new();
    world.balance_by_iptables();
    let to_closed = format!("-j DNAT --to {}:9", BACKENDS[0]);
    world
        .router
        .sh(&format!("iptables -w -t nat -A PREROUTING -p tcp -d {VIP} --dport 1000:1999 {to_closed}"));
    user_space(&world);
    world.router.sh("conntrack -F 2>/dev/null");
    kernel(&world, "connect+close through DNAT", at(VIP, 80));
    kernel(&world, "connect+close, tracked, not translated", at(BACKENDS[0], BACKEND_PORT));
    dump(&world);
}

/// Connects and closes at once, without a TIME_WAIT.
fn connect(target: SocketAddr) {
    let stream = TcpStream::connect(target).expect("the backend listens");
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket lingers");
}

fn user_space(world: &World) {
    let mut best = Duration::MAX;
    let conntrack = world.open();
    for _ in 0..10 {
        let before = conntrack.events();
        // Each refused connection is one event.
        world
            .client
            .enter(|| (0..EVENTS).for_each(|at_| drop(TcpStream::connect(at(VIP, 1000 + at_ % 1000)))));
        let start = Instant::now();
        conntrack.settle(Duration::from_secs(10));
        let events = u32::try_from(conntrack.events() - before).expect("few");
        best = best.min(start.elapsed() / events);
    }
    println!("{:<58} {best:>10.1?}", "user space, an event: read, decoded, remembered");
    assert_eq!(conntrack.lost(), 0);
    let per_question = |port: u16| {
        let start = Instant::now();
        (0..100_000).for_each(|_| drop(black_box(ask(&conntrack, port))));
        start.elapsed() / 100_000
    };
    let known = world.dial(at(VIP, 80), 1);
    let port = known[0].source.port();
    assert!(ask(&conntrack, port).is_some());
    println!("{:<58} {:>10.1?}", "a question with an answer", per_question(port));
    println!("{:<58} {:>10.1?}", "a question without, nothing waits", per_question(1));
}

fn ask(conntrack: &Conntrack, port: u16) -> Option<(std::net::IpAddr, u16)> {
    conntrack.backend(digest(at(CLIENT, 0).ip()), port, (at(VIP, 80).ip(), 80))
}

fn kernel(world: &World, name: &str, target: SocketAddr) {
    let round = || {
        world.client.enter(|| {
            let start = Instant::now();
            (0..CONNECTIONS).for_each(|_| connect(target));
            start.elapsed() / CONNECTIONS
        })
    };
    let listening = || {
        let conntrack = world.open();
        let spent = round();
        conntrack.settle(Duration::from_secs(1));
        spent
    };
    let (mut without, mut with, mut differences) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let (alone, heard) = if pair % 2 == 0 {
            let alone = round();
            (alone, listening())
        } else {
            let heard = listening();
            (round(), heard)
        };
        differences.push(heard.as_secs_f64() * 1e6 - alone.as_secs_f64() * 1e6);
        without.push(alone);
        with.push(heard);
        // So that tables and listen queues are as empty as at the start.
        world.router.sh("conntrack -F 2>/dev/null");
        thread::sleep(Duration::from_millis(5));
    }
    without.sort_unstable();
    with.sort_unstable();
    differences.sort_unstable_by(f64::total_cmp);
    let at = |part: usize| differences[PAIRS * part / 4];
    println!(
        "{name:<58} {:>10.1?} without, {:.1?} with; difference {:+.2} µs (quartiles {:+.2} {:+.2})",
        without[PAIRS / 2],
        with[PAIRS / 2],
        at(2),
        at(1),
        at(3)
    );
}

fn dump(world: &World) {
    // Entries made by the kernel's own command, which is quicker than connections.
    let entries: String = (0..ENTRIES)
        .map(|number| {
            let (third, port) = (number / 50_000, 1024 + number % 50_000);
            format!(
                "-I -p tcp -s 10.231.{third}.2 -d {VIP} --sport {port} --dport 80 -r {} -q 10.231.{third}.2 \
                 --reply-port-src {BACKEND_PORT} --reply-port-dst {port} --state ESTABLISHED -t 600 -u ASSURED,SEEN_REPLY\n",
                BACKENDS[0]
            )
        })
        .collect();
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), entries).expect("it can be written");
    world.router.sh(&format!("conntrack -R {} >/dev/null 2>&1 || true", file.path().display()));
    let count = world.router.sh("conntrack -C");
    let mut best = Duration::MAX;
    let mut entries = 0;
    for _ in 0..10 {
        let conntrack = Conntrack::open(world.procfs(), digest);
        let start = Instant::now();
        conntrack.settle(Duration::from_secs(10));
        best = best.min(start.elapsed());
        assert_eq!(conntrack.status().reloads, 1);
        entries = conntrack.status().entries;
    }
    println!("{:<58} {best:>10.1?} ({entries} of {} entries were translated)", "a dump", count.trim());
}
