// SPDX-License-Identifier: Apache-2.0
//! What a name costs: `cargo bench -p flowgauge-labels`. Prints the best of twenty rounds each.

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use flowgauge_labels::{Config, Owner, Process, ProcessHierarchy, Resolver};

const GROUPS: u32 = 1000;
const ENTRIES: u32 = 20_000;

fn best(name: &str, count: u32, mut run: impl FnMut(u32)) {
    let round = |run: &mut dyn FnMut(u32)| {
        let start = Instant::now();
        (0..count).for_each(run);
        start.elapsed() / count
    };
    let best = (0..20).map(|_| round(&mut run)).min().unwrap_or(Duration::ZERO);
    println!("{name:<58} {best:>10.1?}");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("names-{}", std::process::id()));
    let cgroup = dir.join("cgroup");
    fs::create_dir_all(&cgroup)?;
    fs::write(cgroup.join("cgroup.controllers"), "")?;
    let mut ids = Vec::new();
    for number in 0..GROUPS {
        let group = cgroup.join(format!("system.slice/unit-{number}.service"));
        fs::create_dir_all(&group)?;
        ids.push(fs::metadata(&group)?.ino());
    }
    let mut names = String::from("names:\n");
    for number in 0..ENTRIES {
        let network = Ipv4Addr::from(0x0a00_0000 + number * 256);
        writeln!(names, "  - cidrs: [{network}/24]\n    workload: w{number}")?;
    }
    let names_file = dir.join("names.yml");
    fs::write(&names_file, names)?;
    let config = Config {
        cgroup_root: cgroup,
        procfs: "/proc".into(),
        sysfs: "/sys".into(),
        rootfs: dir.clone(),
        names_file: Some(names_file),
        external_patterns: None,
        cloud_ranges: Vec::new(),
        cloud_metadata: Default::default(),
    };
    let resolver = Resolver::new(config, ProcessHierarchy::Unified, None)?;
    let process = |number: u64| Some(Process { cgroup: 0, name: format!("p{number}").into() });
    let owners: Vec<Owner> = ids
        .iter()
        .zip(0..)
        .map(|(id, number)| Owner { netns: 1, cgroup: *id, process: process(number), ambiguous: false })
        .collect();
    best("local, one of 1,000 owners asked before", 100_000, |at| {
        black_box(resolver.local(&owners[at as usize % owners.len()]));
    });
    let strange = Owner { netns: 1, cgroup: u64::MAX, process: process(0), ambiguous: false };
    best("local, group that does not exist", 100_000, |_| {
        black_box(resolver.local(&strange));
    });
    best("remote, named by one of 20,000 entries", 100_000, |at| {
        let addr = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + (at * 7919) % (ENTRIES * 256)));
        black_box(resolver.remote(addr, Some(443)));
    });
    best("remote, public address without a name", 100_000, |at| {
        black_box(resolver.remote(IpAddr::V4(Ipv4Addr::from(0x0800_0000 + at)), Some(443)));
    });
    best("refresh, nothing changed", 1000, |_| resolver.refresh());
    best("reload, 20,000 entries and 1,000 groups (on disk)", 1, |_| resolver.reload());
    fs::remove_dir_all(&dir)?;
    Ok(())
}
