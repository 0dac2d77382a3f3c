// SPDX-License-Identifier: Apache-2.0

use std::fs;

use super::*;
use crate::Process;

const NAMES: &str = "names:\n  - cidrs: [10.1.0.0/16]\n    workload: site\n  - cidrs: [192.0.2.7]\n    ports: [5432]\n    workload: postgres\n";

fn host(names: Option<&str>) -> (tempfile::TempDir, Config) {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir_all(path("proc/1/net")).unwrap();
    fs::create_dir_all(path("proc/sys/kernel")).unwrap();
    fs::create_dir_all(path("cgroup/system.slice/nginx.service")).unwrap();
    fs::write(path("cgroup/cgroup.controllers"), "").unwrap();
    fs::write(path("proc/1/net/fib_trie"), "Local:\n  |-- 192.0.2.7\n     /32 host LOCAL\n").unwrap();
    fs::write(path("proc/sys/kernel/hostname"), "web-1\n").unwrap();
    let names_file = names.map(|text| {
        fs::write(path("names.yml"), text).unwrap();
        path("names.yml")
    });
    let config = Config {
        cgroup_root: path("cgroup"),
        procfs: path("proc"),
        sysfs: path("sys"),
        rootfs: dir.path().to_owned(),
        names_file,
        external_patterns: None,
        cloud_ranges: Vec::new(),
        cloud_metadata: Default::default(),
    };
    (dir, config)
}

fn remote(resolver: &Resolver, addr: &str, port: Option<u16>) -> (String, &'static str) {
    let identity = resolver.remote(addr.parse().unwrap(), port);
    (identity.workload.to_string(), identity.kind.as_str())
}

#[test]
fn published_ranges_come_after_all_that_the_host_knows() {
    let (dir, mut config) = host(Some(NAMES));
    let path = dir.path().join("ip-ranges.json");
    let write = |service: &str| {
        let entry = |net: &str, region: &str| {
            format!(r#"{{"ip_prefix":"{net}","region":"{region}","service":"{service}"}}"#)
        };
        let entries =
            [entry("8.8.0.0/16", "us-east-1"), entry("10.0.0.0/8", "x"), entry("192.0.2.0/24", "x")];
        fs::write(&path, format!(r#"{{"prefixes":[{}]}}"#, entries.join(","))).unwrap();
    };
    write("S3");
    config.cloud_ranges = vec![path.clone(), dir.path().join("missing")];
    let resolver = Resolver::new(config, ProcessHierarchy::Unified, None).unwrap();
    for (addr, port, workload, kind) in [
        ("10.1.2.3", None, "site", "host"),
        ("192.0.2.7", Some(80), "web-1", "host"),
        ("192.0.2.8", Some(80), "aws-s3", "external"),
        ("8.8.8.8", Some(443), "aws-s3", "external"),
        ("8.8.8.8", None, "aws-s3", "external"),
        ("8.9.0.1", Some(443), "external", "external"),
    ] {
        assert_eq!(remote(&resolver, addr, port), (workload.to_owned(), kind), "{addr} {port:?}");
    }
    let addr = "8.8.8.8".parse().unwrap();
    let identity = resolver.remote(addr, Some(443));
    assert_eq!((&*identity.zone, &*identity.region), ("us-east-1", "us-east-1"));
    let source = resolver.sources().into_iter().find(|source| source.source == "cloud_ranges").unwrap();
    assert_eq!((source.up, source.entries), (false, 3));

    // What was named otherwise keeps its name, and the place it has.
    let words = Words::default();
    let named = words.identity(Kind::External, "example.com".into());
    let found = resolver.in_cloud(addr, Some(named.clone())).unwrap();
    assert_eq!((&*found.workload, &*found.zone), ("example.com", "us-east-1"));
    let placed = Identity { zone: "here".into(), ..named.clone() };
    assert_eq!(resolver.in_cloud(addr, Some(placed.clone())), Some(placed));
    assert_eq!(resolver.in_cloud("8.9.0.1".parse().unwrap(), Some(named.clone())), Some(named));

    let since = resolver.generation();
    resolver.refresh();
    assert_eq!(resolver.generation(), since, "nothing has changed");
    write("EC2");
    resolver.reload();
    assert!(resolver.is_stale(since, &[Subject::Address(addr)]));
    assert_eq!(remote(&resolver, "8.8.8.8", None).0, "aws-ec2");
}

#[test]
fn names_file_then_own_addresses_then_by_range() {
    let (_dir, config) = host(Some(NAMES));
    let resolver = Resolver::new(config, ProcessHierarchy::Unified, None).unwrap();
    for (addr, port, workload, kind) in [
        ("10.1.2.3", None, "site", "host"),
        ("192.0.2.7", Some(5432), "postgres", "host"),
        ("192.0.2.7", Some(80), "web-1", "host"),
        ("::ffff:192.0.2.7", None, "web-1", "host"),
        ("127.0.0.1", Some(80), "web-1", "host"),
        ("::1", Some(80), "web-1", "host"),
        ("8.8.8.8", Some(53), "external", "external"),
        ("2606:4700::1", None, "external", "external"),
        ("10.2.0.1", Some(80), "unknown", "unknown"),
        ("fe80::1", None, "unknown", "unknown"),
        ("100.64.0.1", None, "unknown", "unknown"),
    ] {
        assert_eq!(remote(&resolver, addr, port), (workload.to_owned(), kind), "{addr} {port:?}");
    }
    assert_eq!(&*resolver.remote("127.0.0.1".parse().unwrap(), None).node, "web-1");
    assert!(resolver.is_host_address("192.0.2.7".parse().unwrap()));
    assert!(!resolver.is_host_address("192.0.2.8".parse().unwrap()));
}

#[test]
fn the_generation_grows_with_each_change_and_only_then() {
    let (dir, config) = host(Some(NAMES));
    let names_file = config.names_file.clone().unwrap();
    let resolver = Resolver::new(config, ProcessHierarchy::Unified, None).unwrap();
    let start = resolver.generation();
    resolver.refresh();
    resolver.reload();
    assert_eq!(resolver.generation(), start);
    fs::write(dir.path().join("new"), NAMES.replace("site", "office")).unwrap();
    fs::rename(dir.path().join("new"), &names_file).unwrap();
    resolver.refresh();
    assert_eq!(
        (resolver.generation(), remote(&resolver, "10.1.2.3", None).0.as_str()),
        (start + 1, "office")
    );
    fs::write(dir.path().join("proc/1/net/fib_trie"), "Local:\n |-- 192.0.2.8\n  /32 host LOCAL\n").unwrap();
    resolver.reload();
    assert_eq!(resolver.generation(), start + 2);
    assert!(resolver.is_host_address("192.0.2.8".parse().unwrap()));
    fs::write(&names_file, "names: 1").unwrap();
    resolver.reload();
    assert_eq!(
        (resolver.generation(), remote(&resolver, "10.1.2.3", None).0.as_str()),
        (start + 2, "office")
    );
    let down: Vec<&str> = resolver.sources().iter().filter(|s| !s.up).map(|s| s.source).collect();
    assert_eq!(down, ["names_file"]);
}

#[test]
fn sources_are_listed() {
    let (_dir, config) = host(None);
    let resolver = Resolver::new(config, ProcessHierarchy::Unified, None).unwrap();
    let sources: Vec<(&str, bool)> = resolver.sources().iter().map(|s| (s.source, s.up)).collect();
    assert_eq!(sources, [("cgroup", true), ("host_addresses", true), ("dns_names", true)]);
}

#[test]
fn a_wrong_names_file_is_the_only_error() {
    let (_dir, config) = host(Some("names:\n  - cidrs: [10.0.0.1/8]\n    workload: x\n"));
    let path = config.names_file.clone().unwrap();
    let error = Resolver::new(config, ProcessHierarchy::Unified, None).unwrap_err().to_string();
    let what = "10.0.0.1/8 has bits set beyond its prefix length; the network is 10.0.0.0/8";
    assert_eq!(error, format!("names file {}:2:13: {what}", path.display()));

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
    let resolver = Resolver::new(config, ProcessHierarchy::V1("memory"), None).unwrap();
    let up: Vec<&str> = resolver.sources().iter().filter(|s| s.up).map(|s| s.source).collect();
    assert_eq!(up, ["dns_names"], "needs nothing of the host");
    assert_eq!(remote(&resolver, "127.0.0.1", None).0, "unknown");
}

#[test]
fn the_host_is_named_by_its_own_root_when_that_is_mounted_elsewhere() {
    let (dir, config) = host(None);
    assert_eq!(host_name(&config.procfs, &config.rootfs).as_deref(), Some("web-1"));
    fs::create_dir(dir.path().join("etc")).unwrap();
    fs::write(dir.path().join("etc/hostname"), "the-host\n").unwrap();
    assert_eq!(host_name(&config.procfs, &config.rootfs).as_deref(), Some("the-host"));
    assert_eq!(host_name(&config.procfs, Path::new("/")).as_deref(), Some("web-1"));
}

#[test]
fn it_can_be_shared_between_threads() {
    let (_dir, config) = host(Some(NAMES));
    let resolver = Resolver::new(config, ProcessHierarchy::Unified, None).unwrap();
    let owner = |number: u64| Owner {
        netns: 1,
        cgroup: number,
        process: Some(Process { cgroup: number, name: format!("p{number}").into() }),
        ambiguous: false,
    };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let resolver = &resolver;
            scope.spawn(move || {
                for number in 0..500 {
                    let number = u64::MAX - number - thread * 1000;
                    assert_eq!(*resolver.local(&owner(number)).workload, *format!("p{number}"));
                    assert_eq!(remote(resolver, "10.1.2.3", None).0, "site");
                    resolver.refresh();
                }
            });
        }
    });
}

#[test]
fn this_hosts_own_ends_are_where_the_names_file_says() {
    let (dir, config) =
        host(Some("names:\n  - cidrs: [192.0.2.0/24]\n    workload: rack\n    zone: dc-1\n    region: eu\n"));
    let resolver = Resolver::new(config, ProcessHierarchy::Unified, None).unwrap();
    let process = Some(Process { cgroup: 0, name: "curl".into() });
    let owner = Owner { netns: 1, cgroup: 0, process, ambiguous: false };
    let place = |resolver: &Resolver| {
        let identity = resolver.local(&owner);
        (identity.workload.to_string(), identity.zone.to_string(), identity.region.to_string())
    };
    assert_eq!(place(&resolver), ("curl".into(), "dc-1".into(), "eu".into()));
    let generation = resolver.generation();
    fs::write(
        dir.path().join("names.yml"),
        "names:\n  - cidrs: [192.0.2.7]\n    workload: x\n    zone: dc-2\n",
    )
    .unwrap();
    resolver.reload();
    assert_eq!(place(&resolver), ("curl".into(), "dc-2".into(), String::new()));
    assert!(resolver.generation() > generation);
}

mod cluster;
mod dns;
