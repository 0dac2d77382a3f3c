// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use super::*;
use crate::operator_file::Content;

#[test]
fn registrable_domains() {
    for (name, wanted) in [
        ("api.stripe.com", "stripe.com"),
        ("stripe.com", "stripe.com"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("co.uk", "co.uk"),
        ("com", "com"),
        ("redis", "redis"),
        ("d1234.cloudfront.net", "cloudfront.net"),
        ("cloudfront.net", "cloudfront.net"),
        ("bucket.s3.eu-west-1.amazonaws.com", "amazonaws.com"),
        ("mydb.abc.eu-west-1.rds.amazonaws.com", "amazonaws.com"),
        ("someone.github.io", "github.io"),
        ("a.b.c.kawasaki.jp", "b.c.kawasaki.jp"),
        ("www.city.kawasaki.jp", "city.kawasaki.jp"),
        ("db.prod.corp", "prod.corp"),
        ("ip-10-0-0-1.eu-west-1.compute.internal", "compute.internal"),
        ("_8443._https.api.example.org", "example.org"),
        ("x.xn--p1ai", "x.xn--p1ai"),
        ("a.x.xn--p1ai", "x.xn--p1ai"),
    ] {
        assert_eq!(registrable_domain(name), wanted, "{name}");
    }
    for odd in ["", ".", "..", "a..b", ".com", "com."] {
        assert!(odd.ends_with(registrable_domain(odd)), "{odd:?}");
    }
}

fn asked(name: &str) -> Asked {
    Asked::new(name.into(), Vec::new())
}

#[test]
fn there_is_room_for_so_many_names() {
    let mut workloads = Workloads::default();
    let of = |workloads: &mut Workloads, name: String| workloads.name(&asked(&name), None).identity;
    for number in 0..MAX_WORKLOADS {
        assert_eq!(
            *of(&mut workloads, format!("www.site-{number}.com")).workload,
            *format!("site-{number}.com")
        );
    }
    assert_eq!((workloads.admitted(), workloads.refused()), (MAX_WORKLOADS, 0));
    for _ in 0..3 {
        for number in 0..5 {
            let late = of(&mut workloads, format!("www.late-{number}.com"));
            assert_eq!((&*late.workload, late.kind), ("other-external", Kind::External));
        }
    }
    assert_eq!((workloads.admitted(), workloads.refused()), (MAX_WORKLOADS, 5), "each is counted once");
    assert_eq!(*of(&mut workloads, "api.site-7.com".to_owned()).workload, *"site-7.com");
    let patterns =
        Patterns::parse(b"patterns:\n  - {pattern: '**.late-1.com', workload: partner}\n  - {pattern: '*.late-2.com', workload: p-$1}\n")
            .unwrap();
    let mut by_pattern = |name: &str| workloads.name(&asked(name), Some((1, &patterns))).identity.workload;
    assert_eq!(&*by_pattern("www.late-1.com"), "partner", "the file itself says how many there are");
    assert_eq!(&*by_pattern("www.late-2.com"), "other-external");
}

#[test]
fn patterns_come_before_domains_and_the_asked_name_before_the_canonical_ones() {
    let text = "patterns:\n\
        \x20 - {pattern: '*.*.*.rds.amazonaws.com', workload: rds.amazonaws.com, region: $3}\n\
        \x20 - {pattern: db.example.com, workload: orders-db, namespace: shop, zone: eu-1a, region: eu-1, kind: host}\n\
        \x20 - {pattern: 's3-*.amazonaws.com', workload: 's3.$1', zone: everywhere}\n";
    let patterns = Patterns::parse(text.as_bytes()).unwrap();
    let mut workloads = Workloads::default();
    let mut name = |asked: &str, canonical: &[&str]| {
        let canonical = canonical.iter().map(|name| (*name).into()).collect();
        let made = workloads.name(&Asked::new(asked.into(), canonical), Some((1, &patterns)));
        let Identity { namespace, workload, zone, region, .. } = made.identity;
        let kind = made.kind.map_or("", Kind::as_str);
        format!("{namespace}/{workload} {zone} {region} {kind}").trim_end().to_owned()
    };
    let rds = "mydb.abc123.eu-west-1.rds.amazonaws.com";
    assert_eq!(name(rds, &[]), "/rds.amazonaws.com eu-west-1 eu-west-1");
    assert_eq!(name("db.corp.example", &["x.example", rds]), "/rds.amazonaws.com eu-west-1 eu-west-1");
    assert_eq!(name("db.example.com", &[rds]), "shop/orders-db eu-1a eu-1 host");
    assert_eq!(name("s3-eu.amazonaws.com", &[]), "/s3.eu everywhere");
    assert_eq!(name("www.example.com", &["www.cdn.net"]), "/example.com");
}

#[test]
fn other_patterns_make_other_names() {
    let parse = |text: &str| Patterns::parse(text.as_bytes()).unwrap();
    let one = parse("patterns:\n  - {pattern: a.example.com, workload: one}\n");
    let two = parse("patterns:\n  - {pattern: a.example.com, workload: two}\n");
    let mut workloads = Workloads::default();
    let asked = asked("a.example.com");
    let mut of = |patterns| workloads.name(&asked, patterns).identity.workload.to_string();
    assert_eq!(of(Some((1, &one))), "one");
    assert_eq!(of(Some((1, &two))), "one", "made once by each version");
    assert_eq!(of(Some((2, &two))), "two");
    assert_eq!(of(None), "example.com");
}

proptest! {
    #[test]
    fn domains_never_panic(name in "[a-z0-9.\\-*_é]{0,60}") {
        prop_assert!(name.ends_with(registrable_domain(&name)));
    }
}
