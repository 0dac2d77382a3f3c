// SPDX-License-Identifier: Apache-2.0
//! What names from the DNS cost: `cargo bench -p flowgauge-labels --bench dns_names`. Prints the best of twenty rounds each.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use flowgauge_labels::{Config, ProcessHierarchy, Resolver};

const ADDRESSES: u32 = 65_536;
const CLIENT: u32 = 7;

fn best(name: &str, count: u32, mut run: impl FnMut(u32)) {
    let mut round = || {
        let start = Instant::now();
        (0..count).for_each(&mut run);
        start.elapsed() / count
    };
    let best = (0..20).map(|_| round()).min().unwrap_or(Duration::ZERO);
    println!("{name:<66} {best:>10.1?}");
}

fn addr(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0800_0000 + number % ADDRESSES)
}

/// A response whose records have the question's name, or what a pointer says.
struct Message(Vec<u8>);

impl Message {
    fn to(name: &str) -> Message {
        let mut bytes = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.extend([0, 0, 1, 0, 1]);
        Message(bytes)
    }

    fn record(mut self, owner: u16, rtype: u8, data: &[u8]) -> Message {
        self.0.extend((0xc000 | owner).to_be_bytes());
        self.0.extend([0, rtype, 0, 1, 0, 0, 0, 60, (data.len() >> 8) as u8, data.len() as u8]);
        self.0.extend(data);
        let count = u16::from_be_bytes([self.0[6], self.0[7]]) + 1;
        self.0[6..8].copy_from_slice(&count.to_be_bytes());
        self
    }

    fn addresses(self, count: u32, from: u32) -> Message {
        (0..count).fold(self, |message, at| message.record(12, 1, &addr(from + at).octets()))
    }
}

/// As many records as fit, whose owner and target are the longest chains of pointers that are followed.
fn bomb() -> Message {
    let mut message = Message::to("a.example");
    let start = message.0.len() + 12;
    let mut data = vec![0];
    for at in 0..254 {
        let to = if at == 0 { start } else { start + 1 + (at - 1) * 2 };
        data.extend((0xc000 | to as u16).to_be_bytes());
    }
    message = message.record(12, 2, &data);
    let last = (start + 1 + 253 * 2) as u16;
    for _ in 0..220 {
        message = message.record(last, 5, &(0xc000 | last).to_be_bytes());
    }
    message
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let nowhere = PathBuf::from("/nonexistent");
    let config = Config {
        cgroup_root: nowhere.clone(),
        procfs: nowhere.clone(),
        sysfs: nowhere.clone(),
        rootfs: nowhere,
        names_file: None,
        external_patterns: None,
        cloud_ranges: Vec::new(),
        cloud_metadata: Default::default(),
    };
    let resolver = Resolver::new(config, ProcessHierarchy::Unified, None)?;
    let before = resident_kib();
    let full: Vec<Message> = (0..ADDRESSES / 2)
        .map(|at| Message::to(&format!("host-{at}.site-{}.example.com", at % 500)).addresses(2, at * 2))
        .collect();
    let messages = resident_kib() - before;
    for message in &full {
        resolver.note_answer(CLIENT, &message.0);
    }
    let tables = resident_kib() - before - messages;
    println!("{:<66} {:>7} KiB", "tables full: 65,536 addresses of 32,768 names, one namespace", tables);
    best("note_answer, two addresses, known", 10_000, |at| {
        resolver.note_answer(CLIENT, &full[at as usize % full.len()].0);
    });
    let chained = Message::to("www.example.com")
        .record(12, 5, b"\x03cdn\xc0\x10")
        .record(0x2d, 5, b"\x04pool\xc0\x10")
        .record(0x3f, 1, &[198, 41, 0, 4])
        .record(0x3f, 1, &[198, 41, 0, 5]);
    best("note_answer, two aliases and two addresses, known", 10_000, |_| {
        resolver.note_answer(CLIENT, &chained.0);
    });
    let mut netns = CLIENT;
    best("note_answer, two addresses, new: the oldest go", 10_000, |at| {
        netns += 1;
        resolver.note_answer(netns, &full[at as usize % full.len()].0);
    });
    let many = Message::to("www.example.com").addresses(254, 0);
    best("note_answer, 4 KB with 254 addresses", 200, |_| resolver.note_answer(CLIENT, &many.0));
    let bomb = bomb();
    best("note_answer, 4 KB of pointers to pointers", 20, |_| resolver.note_answer(CLIENT, &bomb.0));
    best("note_answer, no message", 10_000, |_| resolver.note_answer(CLIENT, &[0; 40]));
    for message in &full {
        resolver.note_answer(CLIENT, &message.0);
    }
    let remote =
        |at: u32, client| black_box(resolver.remote_for(client, IpAddr::V4(addr(at * 7919)), Some(443)));
    best("remote_for, named by its own client", 100_000, |at| {
        remote(at, Some(CLIENT));
    });
    best("remote_for, named by another client", 100_000, |at| {
        remote(at, None);
    });
    best("remote_for, public address that nobody asked for", 100_000, |at| {
        black_box(resolver.remote_for(
            Some(CLIENT),
            IpAddr::V4(Ipv4Addr::from(0x0900_0000 + at % 10_000)),
            Some(443),
        ));
    });
    Ok(())
}
