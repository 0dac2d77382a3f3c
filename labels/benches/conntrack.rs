// SPDX-License-Identifier: Apache-2.0
//! What it costs to know where NAT sends connections: `cargo bench -p flowgauge-labels --bench conntrack`. Needs root.
//!
//! The kernel's share is measured on one CPU, in pairs: connect, read one byte and reset, with nobody listening and
//! with the product listening, which reads what it heard outside of what is measured.

use std::hint::black_box;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use flowgauge_labels::Conntrack;
use rustix::thread::{CpuSet, sched_setaffinity};

use nat::{BACKEND_PORT, BACKENDS, CLIENT, Dialled, VIP, World, at, digest};

#[path = "../tests/nat/mod.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod nat;

const PAIRS: usize = 400;
const CONNECTIONS: u32 = 100;
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
    kernel(&world, "connect+close through DNAT", at(VIP, 80));
    kernel(&world, "connect+close, tracked, not translated", at(BACKENDS[0], BACKEND_PORT));
    dump(&world, "a dump of translated entries", &format!("--dst-nat {}:{BACKEND_PORT}", BACKENDS[0]));
    dump(&world, "a dump of others", "");
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
    let known = world.dial(at(VIP, 80), 1000);
    conntrack.settle(Duration::from_secs(10));
    let start = Instant::now();
    for connection in &known {
        assert!(ask(&conntrack, connection.source.port()).is_some());
    }
    println!("{:<58} {:>10.1?}", "a question with an answer", start.elapsed() / 1000);
    let start = Instant::now();
    (0..100_000).for_each(|_| {
        black_box(ask(&conntrack, 1));
    });
    println!("{:<58} {:>10.1?}", "a question without", start.elapsed() / 100_000);
}

fn ask(conntrack: &Conntrack, port: u16) -> Option<(std::net::IpAddr, u16)> {
    conntrack.take(digest(at(CLIENT, 0).ip()), port, (at(VIP, 80).ip(), 80))
}

fn kernel(world: &World, name: &str, target: SocketAddr) {
    let round = || {
        world.client.enter(|| {
            let start = Instant::now();
            (0..CONNECTIONS).for_each(|_| Dialled::new(target).reset());
            start.elapsed() / CONNECTIONS
        })
    };
    // Both open it, so that what that leaves in the caches is the same.
    let alone = || {
        drop(world.open());
        round()
    };
    let heard = || {
        let conntrack = world.open();
        let spent = round();
        conntrack.settle(Duration::from_secs(1));
        spent
    };
    let (mut without, mut with, mut differences) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let (alone, heard) = if pair % 2 == 0 {
            let alone = alone();
            (alone, heard())
        } else {
            let heard = heard();
            (alone(), heard)
        };
        differences.push(heard.as_secs_f64() * 1e6 - alone.as_secs_f64() * 1e6);
        without.push(alone);
        with.push(heard);
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

/// `translation` is what the kernel's own command is given to make entries, which is quicker than connections.
fn dump(world: &World, name: &str, translation: &str) {
    world.router.sh("conntrack -F 2>/dev/null");
    let entries: String = (0..ENTRIES)
        .map(|number| {
            let port = 1024 + number;
            format!(
                "-I -p tcp -s {CLIENT} -d {VIP} --sport {port} --dport 80 {translation} --state ESTABLISHED -t 600 -u ASSURED,SEEN_REPLY\n"
            )
        })
        .collect();
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), entries).expect("it can be written");
    world.router.sh(&format!("conntrack -R {} >/dev/null 2>&1", file.path().display()));
    let mut best = Duration::MAX;
    let mut listed = 0;
    for _ in 0..10 {
        let conntrack = Conntrack::open(world.procfs(), digest);
        let start = Instant::now();
        conntrack.settle(Duration::from_secs(10));
        best = best.min(start.elapsed());
        assert_eq!(conntrack.status().reloads, 1);
        listed = conntrack.status().entries;
    }
    let count = world.router.sh("conntrack -C");
    println!("{name:<58} {best:>10.1?} ({listed} of {} entries listed)", count.trim());
}
