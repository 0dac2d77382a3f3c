// SPDX-License-Identifier: Apache-2.0
//! The drops probe on the running kernel, against what sockets count that drop. Needs root.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

use flowgauge_probes::drops::{DropOptions, Dropped, Drops, Storage};
use flowgauge_probes::tcp::ProcessHierarchy;

/// More owners than a quarter of the map: it has to be swapped on the way.
const SOCKETS: usize = 1300;
const FIRST_PORT: u16 = 20_000;

/// Moves this thread into a network namespace of its own, and returns its number.
fn own_network() -> u32 {
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "needs root");
    let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
    assert!(up.success());
    fs::metadata("/proc/thread-self/ns/net").unwrap().ino() as u32
}

/// A socket with as little room as there can be.
fn deaf(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let bytes: libc::c_int = 1;
    // SAFETY: the pointer and the size are of the same live value.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            (&raw const bytes).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(set, 0);
    socket
}

/// What the sockets of this namespace dropped, by port.
fn drops_of_sockets() -> HashMap<u16, u64> {
    let text = fs::read_to_string("/proc/thread-self/net/udp").unwrap();
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = u16::from_str_radix(fields[1].rsplit(':').next().unwrap(), 16).unwrap();
        (port, fields.last().unwrap().parse().unwrap())
    };
    text.lines().skip(1).map(line).filter(|(_, drops)| *drops > 0).collect()
}

fn add(sums: &mut HashMap<u16, u64>, netns: u32, taken: &[Dropped]) {
    for dropped in taken.iter().filter(|dropped| dropped.netns == netns) {
        assert_eq!(&*dropped.reason, "SOCKET_RCVBUFF");
        *sums.entry(dropped.socket.unwrap().port).or_default() += dropped.packets;
    }
}

#[test]
fn more_owners_than_the_map_is_meant_for_are_counted_to_the_packet() {
    if flowgauge_probes::Facts::read().unwrap().version.is_none_or(|version| version < (6, 11)) {
        eprintln!("this kernel does not tell which socket had no room");
        return;
    }
    let netns = own_network();
    let limit = libc::rlimit { rlim_cur: 4096, rlim_max: 4096 };
    // SAFETY: the pointer is to a live value.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    let options = DropOptions {
        mute_cgroups: Vec::new(),
        process_hierarchy: ProcessHierarchy::Unified,
        // So that sockets are told apart by their port.
        want_process: true,
    };
    let mut storage = Storage::default();
    let mut probe = Drops::load(&mut storage, &options, None).unwrap();
    let ports: Vec<u16> = (FIRST_PORT..).take(SOCKETS).collect();
    let sockets: Vec<UdpSocket> = ports.iter().map(|port| deaf(*port)).collect();
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut sums = HashMap::new();
    let mut swapped = false;
    // Each round most sockets drop something; it is taken at odd moments, with the map half full and fuller.
    for round in 0..4 {
        for (number, port) in ports.iter().enumerate() {
            for _ in 0..4 + round {
                sender.send_to(&[0; 1000], (Ipv4Addr::LOCALHOST, *port)).unwrap();
            }
            if number % 500 == 499 {
                swapped |= probe.is_filling();
                add(&mut sums, netns, &probe.take().unwrap());
            }
        }
    }
    swapped |= probe.is_filling();
    add(&mut sums, netns, &probe.take().unwrap());
    assert!(swapped, "the map was never full enough");
    let truth = drops_of_sockets();
    assert_eq!(truth.len(), SOCKETS);
    assert_eq!(sums, truth);
    add(&mut sums, netns, &probe.take().unwrap());
    assert_eq!(sums, truth, "taken twice");
    assert_eq!(probe.health().lost, [0; 2]);
    drop(sockets);
}
