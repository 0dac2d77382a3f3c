// SPDX-License-Identifier: Apache-2.0

use std::fs;

use super::testing::answer;
use super::*;

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn workload(names: &DnsNames, netns: u32, at: &str) -> (String, &'static str) {
    let asked = names.look_up(Some(netns), addr(at), Instant::now());
    let identity = asked.and_then(|asked| names.identity(&asked, addr(at)));
    identity.map_or_else(|| (String::new(), ""), |found| (found.workload.to_string(), found.kind.as_str()))
}

#[test]
fn answers_name_addresses() {
    let changes = Arc::new(Changes::default());
    let names = DnsNames::new(None, changes.clone()).unwrap();
    let start = changes.generation();
    names.note(1, &answer("api.stripe.com", 60, &["198.41.0.4"]), Instant::now());
    names.note(1, &answer("db.corp.example", 60, &["10.0.0.5"]), Instant::now());
    assert_eq!(changes.generation(), start, "nobody had asked");
    assert_eq!(workload(&names, 1, "198.41.0.4"), ("stripe.com".to_owned(), "external"));
    assert_eq!(workload(&names, 1, "::ffff:198.41.0.4"), ("stripe.com".to_owned(), "external"));
    assert_eq!(workload(&names, 1, "10.0.0.5"), ("corp.example".to_owned(), "host"));
    names.note(1, &answer("www.example.com", 60, &["198.41.0.4"]), Instant::now());
    assert!(changes.is_stale(start, &[Subject::Address(addr("198.41.0.4"))]));
    assert!(!changes.is_stale(start, &[Subject::Address(addr("10.0.0.5"))]));

    names.note(1, &[1, 2, 3], Instant::now());
    let status = names.statuses().next().unwrap();
    assert_eq!((status.source, status.up, status.entries, status.misses), ("dns_names", true, 2, 1));
    let detail = "2 addresses (2 by network namespace) from 3 answers; 2 of at most 256 names in use";
    assert_eq!(status.detail, detail);
}

#[test]
fn beyond_the_room_for_names() {
    let names = DnsNames::new(None, Arc::default()).unwrap();
    for number in 0..300_u32 {
        let at = std::net::Ipv4Addr::from(0x0800_0000 + number).to_string();
        names.note(1, &answer(&format!("www.site-{number}.com"), 60, &[&at]), Instant::now());
        let wanted = if number < 256 { format!("site-{number}.com") } else { "other-external".to_owned() };
        assert_eq!(workload(&names, 1, &at), (wanted, "external"));
    }
    names.note(1, &answer("db.corp.example", 60, &["10.0.0.5"]), Instant::now());
    assert_eq!(workload(&names, 1, "10.0.0.5").0, "", "a private address is not external");
    let status = names.statuses().next().unwrap();
    assert!(status.detail.ends_with("256 of at most 256 names in use, 45 more are other-external"));
}

#[test]
fn patterns_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("patterns.yml");
    let put = |workload: &str| {
        let text = format!("patterns:\n  - pattern: '*.*.*.rds.amazonaws.com'\n    workload: {workload}\n");
        fs::write(&path, text).unwrap();
    };
    put("rds");
    let names = DnsNames::new(Some(path.clone()), Arc::default()).unwrap();
    let rds = answer("mydb.abc123.eu-west-1.rds.amazonaws.com", 60, &["198.41.0.4"]);
    names.note(1, &rds, Instant::now());
    assert_eq!(workload(&names, 1, "198.41.0.4").0, "rds");
    put("rds-$3");
    assert!(names.refresh(true, Instant::now()) && !names.refresh(true, Instant::now()));
    assert_eq!(workload(&names, 1, "198.41.0.4").0, "rds-eu-west-1");
    let sources: Vec<&str> = names.statuses().map(|status| status.source).collect();
    assert_eq!(sources, ["dns_names", "external_patterns"]);
    fs::write(&path, "patterns: 1").unwrap();
    let error = DnsNames::new(Some(path.clone()), Arc::default()).unwrap_err().to_string();
    assert_eq!(error, format!("external patterns {}:1:11: expected a list", path.display()));
}
