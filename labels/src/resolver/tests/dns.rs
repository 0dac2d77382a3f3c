// SPDX-License-Identifier: Apache-2.0
//! Names that clients asked for.

use super::*;
use crate::dns_names::testing::{A, CNAME, Response, answer, name, v4};
use crate::kubernetes::cluster::PodScope;
use crate::kubernetes::objects;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// `kind namespace/workload service zone`
fn server(resolver: &Resolver, netns: u32, addr: &str) -> String {
    let Identity { kind, namespace, workload, service, zone, .. } =
        resolver.remote_for(Some(netns), ip(addr), Some(443));
    format!("{} {namespace}/{workload} {service} {zone}", kind.as_str()).trim_end().to_owned()
}

#[test]
fn the_names_file_and_the_host_come_before_the_dns() {
    let (_dir, config) = host(Some(NAMES));
    let resolver = Resolver::new(config, ProcessHierarchy::Unified, None).unwrap();
    let all = ["10.1.0.4", "192.0.2.7", "198.41.0.4", "10.2.0.1"];
    resolver.note_answer(7, &answer("www.example.com", 60, &all));
    for (addr, wanted) in [
        ("10.1.0.4", "host /site"),
        ("192.0.2.7", "host /web-1"),
        ("198.41.0.4", "external /example.com"),
        ("10.2.0.1", "host /example.com"),
        ("198.41.0.5", "external /external"),
        ("10.2.0.2", "unknown /unknown"),
    ] {
        assert_eq!(server(&resolver, 7, addr), wanted, "{addr}");
    }
    assert_eq!(remote(&resolver, "198.41.0.4", Some(443)).0, "example.com", "whoever asks");
    assert_eq!(remote(&resolver, "198.41.0.4", None).0, "external", "of a client it tells nothing");
}

#[test]
fn an_answer_that_comes_late_names_anew_what_goes_there_alone() {
    let (_dir, config) = host(None);
    let resolver = Resolver::new(config, ProcessHierarchy::Unified, None).unwrap();
    assert_eq!(server(&resolver, 7, "198.41.0.4"), "external /external");
    assert_eq!(server(&resolver, 7, "198.41.0.5"), "external /external");
    let since = resolver.generation();
    resolver.note_answer(7, &answer("www.example.com", 60, &["198.41.0.4", "198.41.0.6"]));
    let stale = |addr: &str| resolver.is_stale(since, &[Subject::Address(ip(addr))]);
    assert!(stale("198.41.0.4") && !stale("198.41.0.5") && !stale("198.41.0.6"));
    assert_eq!(server(&resolver, 7, "198.41.0.4"), "external /example.com");
    let since = resolver.generation();
    resolver.note_answer(7, &answer("www.example.com", 60, &["198.41.0.4"]));
    resolver.note_answer(7, b"no message");
    assert_eq!(resolver.generation(), since);
    let sources = resolver.sources();
    let dns = sources.iter().find(|source| source.source == "dns_names").unwrap();
    assert_eq!((dns.entries, dns.misses), (2, 1));
}

#[test]
fn a_file_of_patterns_names_and_renames() {
    let (dir, mut config) = host(None);
    let path = dir.path().join("patterns.yml");
    let put = |workload: &str| {
        let text = format!(
            "patterns:\n  - pattern: '*.*.*.rds.amazonaws.com'\n    workload: {workload}\n    region: $3\n"
        );
        fs::write(&path, text).unwrap();
    };
    put("rds.amazonaws.com");
    config.external_patterns = Some(path.clone());
    let resolver = Resolver::new(config.clone(), ProcessHierarchy::Unified, None).unwrap();
    resolver.note_answer(7, &answer("orders.abc123.eu-west-1.rds.amazonaws.com", 60, &["198.41.0.4"]));
    assert_eq!(server(&resolver, 7, "198.41.0.4"), "external /rds.amazonaws.com  eu-west-1");
    let since = resolver.generation();
    put("rds-$1");
    resolver.reload();
    assert!(resolver.is_stale(since, &[Subject::Address(ip("198.41.0.4"))]));
    assert_eq!(server(&resolver, 7, "198.41.0.4"), "external /rds-orders  eu-west-1");
    put("$4");
    let error = Resolver::new(config, ProcessHierarchy::Unified, None).unwrap_err().to_string();
    let what = "`workload`: there is no $4: the pattern has 3 wildcards only";
    assert_eq!(error, format!("external patterns {}:3:15: {what}", path.display()));
}

#[test]
fn services_that_are_aliases_have_their_name() {
    let (_dir, config) = host(None);
    let cluster = Arc::new(Cluster::new("node-1", PodScope::Cluster, Vec::new()));
    let services = cluster.services();
    let resolver = Resolver::new(config, ProcessHierarchy::Unified, Some(cluster)).unwrap();
    let message = |asked: &str, target: &str, addr: &str| {
        let alias = Response::to(asked, A).record(asked, CNAME, 5, name(target));
        alias.record(target, A, 60, v4(addr)).bytes()
    };
    resolver.note_answer(7, &message("db.shop.svc.cluster.local", "orders.example.com", "198.41.0.4"));
    assert_eq!(server(&resolver, 7, "198.41.0.4"), "external /cluster.local", "no such Service");
    let since = resolver.generation();
    services.applied(objects::Service {
        namespace: "shop".to_owned(),
        name: "db".to_owned(),
        external_name: "orders.example.com".to_owned(),
        ..objects::Service::default()
    });
    assert!(resolver.is_stale(since, &[Subject::Address(ip("198.41.0.4"))]));
    assert_eq!(server(&resolver, 7, "198.41.0.4"), "external shop/example.com db");
    resolver.note_answer(7, &message("db.shop.svc.cluster.local", "orders.example.com", "10.0.0.9"));
    assert_eq!(server(&resolver, 7, "10.0.0.9"), "external shop/example.com db");
    for (asked, target) in [
        ("db.shop.svc.cluster.local", "other.example.com"),
        ("db.shop.pod.cluster.local", "orders.example.com"),
        ("db.bank.svc.cluster.local", "orders.example.com"),
    ] {
        resolver.note_answer(7, &message(asked, target, "198.41.0.5"));
        assert_eq!(server(&resolver, 7, "198.41.0.5"), "external /cluster.local", "{asked} {target}");
    }
    resolver.note_answer(7, &answer("orders.example.com", 60, &["198.41.0.4"]));
    assert_eq!(server(&resolver, 7, "198.41.0.4"), "external /example.com", "asked for by its own name");
}
