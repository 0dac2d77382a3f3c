// SPDX-License-Identifier: Apache-2.0
//! What published cloud ranges cost: `cargo bench -p flowgauge-labels --bench cloud`. Files as large as the published
//! ones of AWS and Azure; prints the best of ten rounds each, and what the tables take in memory.

use std::fs;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use flowgauge_labels::{Config, ProcessHierarchy, Resolver, check_cloud_ranges};

/// Each of AWS's is there twice, as `AMAZON` and as a service.
const AWS_PREFIXES: u32 = 5_000;
const AZURE_TAGS: u32 = 3_000;
const PREFIXES_PER_TAG: u32 = 35;

/// Spreads numbers over all 32 bits.
fn spread(number: u32) -> u32 {
    number.wrapping_mul(2_654_435_769)
}

fn aws() -> String {
    let entry = |at: u32, service: &str| {
        let net = Ipv4Addr::from(spread(at) & 0xffff_ff00);
        let region = at % 30;
        format!(
            "    {{\n      \"ip_prefix\": \"{net}/24\",\n      \"region\": \"region-{region}\",\n      \
             \"service\": \"{service}\",\n      \"network_border_group\": \"region-{region}\"\n    }}"
        )
    };
    let both = |at| [entry(at, "AMAZON"), entry(at, ["EC2", "S3", "CLOUDFRONT"][at as usize % 3])];
    let entries: Vec<String> = (0..AWS_PREFIXES).flat_map(both).collect();
    format!("{{\n  \"syncToken\": \"1\",\n  \"prefixes\": [\n{}\n  ]\n}}", entries.join(",\n"))
}

fn azure() -> String {
    let prefix = |at: u32| match at % 4 {
        0 => format!("\"{}/56\"", Ipv6Addr::from(0x2603 << 112 | u128::from(spread(at)) << 72)),
        _ => format!("\"{}/{}\"", Ipv4Addr::from(spread(at) & 0xffff_fff0), 28),
    };
    let tag = |at: u32| {
        // Half of them share their prefixes with another tag, as AzureCloud does with all.
        let first = at / 2 * PREFIXES_PER_TAG;
        let prefixes: Vec<_> = (first..first + PREFIXES_PER_TAG).map(prefix).collect();
        format!(
            r#"{{"name":"Service{}.region{}","id":"x","properties":{{"changeNumber":1,"region":"region{}","platform":"Azure",
            "systemService":"AzureService{}","addressPrefixes":[{}],"networkFeatures":["API","NSG"]}}}}"#,
            at % 130,
            at % 60,
            at % 60,
            at % 130,
            prefixes.join(",\n          ")
        )
    };
    let tags: Vec<String> = (0..AZURE_TAGS).map(tag).collect();
    format!(r#"{{"changeNumber":1,"cloud":"Public","values":[{}]}}"#, tags.join(","))
}

fn best(name: &str, count: u32, mut run: impl FnMut(u32)) {
    let round = |run: &mut dyn FnMut(u32)| {
        let start = Instant::now();
        (0..count).for_each(run);
        start.elapsed() / count
    };
    let best = (0..10).map(|_| round(&mut run)).min().unwrap_or(Duration::ZERO);
    println!("{name:<58} {best:>10.1?}");
}

/// Resident memory, in KiB.
fn resident() -> Result<u64, Box<dyn std::error::Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim_end_matches("kB").trim().parse()?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cloud-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let files =
        [("ip-ranges.json", aws()), ("ServiceTags.json", azure())].map(|(name, text)| (dir.join(name), text));
    for (path, text) in &files {
        fs::write(path, text)?;
    }
    let config = |cloud_ranges| Config {
        cgroup_root: dir.clone(),
        procfs: "/proc".into(),
        sysfs: "/sys".into(),
        rootfs: dir.clone(),
        names_file: None,
        external_patterns: None,
        cloud_ranges,
        cloud_metadata: Default::default(),
    };
    let paths: Vec<_> = files.iter().map(|(path, _)| path.clone()).collect();
    drop(files);
    let before = resident()?;
    let resolver = Resolver::new(config(paths.clone()), ProcessHierarchy::Unified, None)?;
    println!("memory of both tables: {} KiB", resident()?.saturating_sub(before));
    for path in &paths {
        println!("{}, {} KiB", check_cloud_ranges(path)?, fs::metadata(path)?.len() >> 10);
        best("  read", 1, |_| drop(black_box(check_cloud_ranges(path))));
    }
    best("remote, in a range of AWS", 100_000, |at| {
        black_box(resolver.remote(IpAddr::V4(Ipv4Addr::from(spread(at % AWS_PREFIXES))), Some(443)));
    });
    best("remote, mostly in no range", 100_000, |at| {
        black_box(resolver.remote(IpAddr::V4(Ipv4Addr::from(0x0800_0000 + at * 31)), Some(443)));
    });
    best("refresh, nothing changed", 1000, |_| resolver.refresh());
    fs::remove_dir_all(&dir)?;
    Ok(())
}
