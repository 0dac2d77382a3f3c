// SPDX-License-Identifier: Apache-2.0

use std::fs;

use super::*;
use crate::Kind;

const GOOD: &str = "\
names:
  - cidrs: [10.0.0.0/8]
    workload: intranet
    region: eu
  - cidrs: [10.1.0.0/16, \"2001:db8::/32\", 10.9.9.9]
    workload: site
    namespace: net
    zone: dc-1
  - cidrs: [10.1.0.0/16, 10.1.2.0/24]
    ports: [5432, 6432]
    workload: postgres
    namespace: db
  - cidrs: [203.0.113.0/24, 198.41.0.4]
    workload: partner
  - cidrs: [8.8.8.0/24]
    workload: own-range
    kind: host
  - cidrs: [192.168.7.0/24]
    workload: tunnel
    kind: external
  - cidrs: [\"::ffff:192.168.8.0/120\"]
    workload: mapped
";

fn table(text: &str) -> Table {
    parse::parse(text.as_bytes()).unwrap_or_else(|fault| panic!("{fault}"))
}

fn fault(text: &str) -> String {
    match parse::parse(text.as_bytes()) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(fault) => fault.to_string(),
    }
}

fn workload(table: &Table, addr: &str, port: Option<u16>) -> String {
    table
        .look_up(addr.parse().unwrap(), port)
        .map_or_else(String::new, |identity| identity.workload.to_string())
}

#[test]
fn longest_prefix_then_port() {
    let table = table(GOOD);
    for (addr, port, expected) in [
        ("10.2.0.1", None, "intranet"),
        ("10.1.3.1", None, "site"),
        ("10.1.3.1", Some(5432), "postgres"),
        ("10.1.3.1", Some(80), "site"),
        ("10.1.2.1", Some(6432), "postgres"),
        ("10.1.2.1", Some(80), "site"), // the /24 has an entry for its ports alone
        ("10.1.2.1", None, "site"),     // a client's port tells nothing
        ("10.9.9.9", None, "site"),
        ("10.9.9.8", None, "intranet"),
        ("2001:db8:1::1", Some(1), "site"),
        ("::ffff:10.1.3.1", Some(5432), "postgres"),
        ("64:ff9b::10.1.3.1", Some(5432), "postgres"),
        ("192.168.8.77", None, "mapped"),
        ("192.168.9.1", None, ""),
        ("2001:db9::1", None, ""),
        ("11.0.0.1", None, ""),
    ] {
        assert_eq!(workload(&table, addr, port), expected, "{addr} {port:?}");
    }
    let site = table.look_up("10.1.3.1".parse().unwrap(), None).unwrap();
    assert_eq!((&*site.namespace, &*site.zone, &*site.region), ("net", "dc-1", ""));
}

#[test]
fn kind_is_what_the_entry_says_or_follows_the_address() {
    let table = table(GOOD);
    for (addr, kind) in [
        ("10.2.0.1", Kind::Host),
        ("198.41.0.4", Kind::External),
        ("203.0.113.1", Kind::Host), // documentation is not public
        ("8.8.8.8", Kind::Host),
        ("192.168.7.1", Kind::External),
    ] {
        assert_eq!(table.look_up(addr.parse().unwrap(), None).unwrap().kind, kind, "{addr}");
    }
}

/// Each is printed in docs/names-file.md as well, which the next test checks.
const FAULTS: [(&str, &str); 21] = [
    (
        "names:\n  - cidrs: [10.0.0.0/8]\n    wrkload: x\n",
        "3:5: unknown field `wrkload`, expected one of cidrs, ports, workload, namespace, zone, region, kind",
    ),
    (
        "names:\n  - cidrs: [10.0.0.0/8]\n    workload: x\n    workload: y\n",
        "4:5: duplicate mapping key: workload",
    ),
    ("names:\n  - cidrs: [10.0.0.0/8]\n", "2:5: missing field `workload`"),
    ("names:\n  - cidrs: 10.0.0.0/8\n    workload: x\n", "2:12: expected a list"),
    ("names:\n  - cidrs: []\n    workload: x\n", "2:5: `cidrs` is empty: the entry names nothing"),
    (
        "names:\n  - cidrs: [10.1.2.3/16]\n    workload: x\n",
        "2:13: 10.1.2.3/16 has bits set beyond its prefix length; the network is 10.1.0.0/16",
    ),
    (
        "names:\n  - cidrs: [10.0.0.0/33]\n    workload: x\n",
        "2:13: prefix length of 10.0.0.0/33 is more than 32",
    ),
    (
        "names:\n  - cidrs: [db.example]\n    workload: x\n",
        "2:13: \"db.example\" is neither an address nor a network such as 10.1.0.0/16 or 2001:db8::/32",
    ),
    (
        "names:\n  - cidrs: [10.0.0.0/8]\n    ports: [0]\n    workload: x\n",
        "3:13: port 0 is not between 1 and 65535",
    ),
    (
        "names:\n  - cidrs: [10.0.0.0/8]\n    ports: [80, 65536]\n    workload: x\n",
        "3:17: port 65536 is not between 1 and 65535",
    ),
    (
        "names:\n  - cidrs: [10.0.0.0/8]\n    ports: [80, 80]\n    workload: x\n",
        "3:17: port 80 is listed twice",
    ),
    (
        "names:\n  - cidrs: [10.0.0.0/8]\n    ports: []\n    workload: x\n",
        "2:5: `ports` is empty; leave it out to match every port",
    ),
    (
        "names:\n  - cidrs: [10.0.0.0/8]\n    ports: [http]\n    workload: x\n",
        "3:13: expected a whole number",
    ),
    ("names:\n  - cidrs: [10.0.0.0/8]\n    workload: \"\"\n", "2:5: `workload` is empty"),
    (
        "names:\n  - cidrs: [10.0.0.0/8]\n    workload: x\n    zone: \"a\\tb\"\n",
        "4:11: `zone` holds a control character: \"a\\tb\"",
    ),
    (
        "names:\n  - cidrs: [10.0.0.0/8]\n    workload: x\n    kind: pod\n",
        "4:11: unknown variant `pod`, expected one of host, external",
    ),
    (
        "names:\n  - cidrs: [10.0.0.0/8]\n    workload: x\n  - cidrs: [10.0.0.0/8]\n    workload: y\n",
        "4:13: 10.0.0.0/8 is named already by the entry on line 2",
    ),
    (
        "names:\n  - cidrs: [10.0.0.0/8]\n    ports: [80, 81]\n    workload: x\n  - cidrs: [10.0.0.0/8]\n    ports: [81]\n    workload: y\n",
        "5:13: 10.0.0.0/8 port 81 is named already by the entry on line 2",
    ),
    ("names:\n\t- cidrs: [10.0.0.0/8]\n", "2:2: tabs disallowed within this context (block indentation)"),
    ("names: []\n---\nnames: []\n", "3:1: multiple YAML documents detected; only one is allowed"),
    ("", "the file is empty; an empty list is `names: []`"),
];

#[test]
fn faults_say_where_and_what() {
    for (text, expected) in FAULTS {
        assert_eq!(fault(text), expected, "\n{text}");
    }
    assert_eq!(parse::parse(b"names:\n  - \xff").unwrap_err().to_string(), "2:5: not UTF-8 text");
    let long = format!("names:\n  - cidrs: [10.0.0.0/8]\n    workload: {}\n", "x".repeat(254));
    assert_eq!(fault(&long), "3:15: `workload` is 254 bytes long; at most 253 are allowed");
    let padded = "names:\n  - cidrs: [10.0.0.0/8]\n    workload: ' x'\n";
    assert_eq!(fault(padded), "3:15: `workload` begins or ends with white space: \" x\"");
}

#[test]
fn faults_stay_on_one_line() {
    let hostile = fault("names:\n  - \"a\\nb\\e[31m\": 1\n");
    assert!(hostile.contains("unknown field") && !hostile.contains(char::is_control), "{hostile:?}");
    let hostile = fault("names:\n  - cidrs: [10.0.0.0/8]\n    workload: x\n    kind: \"a\\nb\\e[31m\"\n");
    assert!(hostile.contains("unknown variant") && !hostile.contains(char::is_control), "{hostile:?}");
    let hostile =
        fault("names:\n  - cidrs: [10.0.0.0/8]\n    ? \"a\\nb\\e\"\n    : 1\n    \"a\\nb\\e\": 2\n");
    assert!(!hostile.contains(char::is_control), "{hostile:?}");
}

#[test]
fn the_manual_shows_faults_as_they_are_printed_and_an_example_that_works() {
    let manual = include_str!("../../../docs/names-file.md");
    for (_, expected) in FAULTS {
        assert!(manual.contains(expected), "docs/names-file.md does not show: {expected}");
    }
    let example = manual.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(table(example).len() >= 3);
}

#[test]
fn bom_anchors_and_an_empty_list_are_accepted() {
    assert_eq!(table("\u{feff}names: []\n").len(), 0);
    let anchors = table(
        "names:\n  - cidrs: &all [10.0.0.0/8]\n    ports: [1]\n    workload: a\n  - cidrs: *all\n    ports: [2]\n    workload: b\n",
    );
    assert_eq!(workload(&anchors, "10.0.0.1", Some(2)), "b");
}

#[test]
fn large_files_are_read_and_too_large_ones_refused() {
    use std::fmt::Write as _;
    let mut text = String::from("names:\n");
    for number in 0..36_000_u32 {
        let addr = std::net::Ipv4Addr::from(0x0a00_0000 + number * 4);
        writeln!(text, "  - cidrs: [{addr}/30]\n    workload: w{number}\n    zone: z").unwrap();
    }
    let table = table(&text);
    assert_eq!(workload(&table, "10.0.4.6", None), "w257");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("names.yml");
    fs::File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
    let error = NamesFile::open(path.clone()).unwrap_err().to_string();
    assert_eq!(error, format!("names file {}: larger than 16 MiB", path.display()));
}

proptest::proptest! {
    #[test]
    fn hostile_files_do_not_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), text in "\\PC{0,200}") {
        let _ = parse::parse(&bytes);
        let _ = parse::parse(text.as_bytes());
    }

    #[test]
    fn hostile_values_do_not_panic(cidr in "[0-9a-f:./\"]{0,24}", port in "[-0-9a-z.]{0,24}", name in "\\PC{0,20}") {
        let text = format!("names:\n  - cidrs: [{cidr}]\n    ports: [{port}]\n    workload: {name}\n");
        let _ = parse::parse(text.as_bytes());
    }

    #[test]
    fn the_longest_prefix_wins_as_a_plain_search_says(
        nets in proptest::collection::btree_set((proptest::num::u32::ANY, 0_u8..=32), 0..40),
        near in proptest::num::u32::ANY, flip in 0_u32..32,
    ) {
        let mut nets: Vec<ipnet::Ipv4Net> = nets.into_iter().map(|(addr, length)| ipnet::Ipv4Net::new(addr.into(), length).unwrap().trunc()).collect();
        nets.sort();
        nets.dedup();
        let mut text = String::from("names: []\n");
        if !nets.is_empty() {
            text = "names:\n".into();
            for net in &nets {
                text.push_str(&format!("  - cidrs: [{net}]\n    workload: n{net}\n"));
            }
        }
        let table = table(&text);
        let picked = nets.first().map_or(near, |net| u32::from(net.addr()) ^ (1 << flip));
        for addr in [near, picked].map(std::net::Ipv4Addr::from) {
            let plain = nets.iter().filter(|net| net.contains(&addr)).max_by_key(|net| net.prefix_len());
            let expected = plain.map_or_else(String::new, |net| format!("n{net}"));
            proptest::prop_assert_eq!(workload(&table, &addr.to_string(), None), expected);
        }
    }
}
