// SPDX-License-Identifier: Apache-2.0

use std::fs;

use proptest::prelude::*;

use super::*;

fn fault(text: &str) -> String {
    match Patterns::parse(text.as_bytes()) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(fault) => fault.to_string(),
    }
}

#[test]
fn the_first_pattern_that_matches_counts() {
    let text = "patterns:\n\
        \x20 - pattern: \"*.db.example.com\"\n\
        \x20   workload: db-$1\n\
        \x20 - pattern: \"**.example.com\"\n\
        \x20   workload: example\n\
        \x20   namespace: n\n\
        \x20   kind: external\n";
    let patterns = Patterns::parse(text.as_bytes()).unwrap();
    let found = patterns.look_up("orders.db.example.com").unwrap();
    assert_eq!((found.workload.as_str(), found.fixed, found.kind), ("db-orders", false, None));
    let found = patterns.look_up("a.orders.db.example.com").unwrap();
    assert_eq!((found.workload.as_str(), found.fixed, found.kind), ("example", true, Some(Kind::External)));
    assert_eq!((found.namespace.as_str(), found.zone.as_str()), ("n", ""));
    assert_eq!(patterns.look_up("example.com"), None);
    assert_eq!(Patterns::parse(b"patterns: []").unwrap().len(), 0);
}

/// Those that `docs/external-names.md` shows.
#[test]
fn faults_are_told_by_line_and_column() {
    let entry = |lines: &str| format!("patterns:\n  - pattern: '*.example.com'\n{lines}");
    for (text, wanted) in [
        (entry(""), "2:5: missing field `workload`"),
        (
            entry("    wrkload: x\n"),
            "3:5: unknown field `wrkload`, expected one of pattern, workload, namespace, zone, region, kind",
        ),
        (entry("    workload: x\n    workload: y\n"), "4:5: duplicate mapping key: workload"),
        (entry("    workload: ''\n"), "2:5: `workload` is empty"),
        (entry("    workload: $2\n"), "3:15: `workload`: there is no $2: the pattern has one wildcard only"),
        (
            entry("    workload: x\n    region: a$\n"),
            "4:13: `region`: `$` is followed by a digit, or by another `$`",
        ),
        (
            entry("    workload: x\n    zone: \"a\\tb\"\n"),
            "4:11: `zone` holds a control character: \"a\\tb\"",
        ),
        (
            entry("    workload: x\n    kind: pod\n"),
            "4:11: unknown variant `pod`, expected one of host, external",
        ),
        (
            entry("    workload: x\n  - pattern: '*.EXAMPLE.com.'\n    workload: y\n"),
            "4:5: the same pattern as that of the entry on line 2",
        ),
        (
            "patterns:\n  - pattern: 'a b'\n    workload: x\n".to_owned(),
            "2:14: \"a b\" holds ' ': labels are letters, digits, `-`, `_` and `*`",
        ),
        (String::new(), "the file is empty; an empty list is `patterns: []`"),
    ] {
        assert_eq!(fault(&text), wanted, "{text}");
    }
    let many = |count: usize| {
        let entries = (0..count).map(|n| format!("  - {{pattern: a{n}.com, workload: x}}\n"));
        format!("patterns:\n{}", entries.collect::<String>())
    };
    assert_eq!(Patterns::parse(many(MAX_PATTERNS).as_bytes()).unwrap().len(), MAX_PATTERNS);
    assert!(fault(&many(MAX_PATTERNS + 1)).ends_with("more than 4096 patterns"));
}

#[test]
fn the_example_of_the_documentation() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/external-names.md");
    let text = fs::read_to_string(path).unwrap();
    let example = text.split("```").nth(1).unwrap().strip_prefix("yaml\n").unwrap();
    let patterns = Patterns::parse(example.as_bytes()).unwrap();
    let of = |name: &str| {
        let Found { workload, namespace, zone, region, .. } = patterns.look_up(name).unwrap();
        format!("{namespace}/{workload} {zone} {region}")
    };
    assert_eq!(of("mydb.abc123.eu-west-1.rds.amazonaws.com"), "/rds.amazonaws.com  eu-west-1");
    assert_eq!(of("my.bucket.s3.eu-west-1.amazonaws.com"), "/s3.amazonaws.com  eu-west-1");
    assert_eq!(of("acct.blob.core.windows.net"), "/blob-acct  ");
    assert_eq!(of("orders.db.corp.example"), "databases/orders dc-1 ");
    assert_eq!(of("web.shop.svc.cluster.local"), "shop/web  ");
}

#[test]
fn the_file_is_read_again_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("patterns.yml");
    let put = |workload: &str| {
        let text = format!("patterns:\n  - pattern: a.example.com\n    workload: {workload}\n");
        fs::write(dir.path().join("new"), text).unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
    };
    put("one");
    assert_eq!(check_external_patterns(&path).unwrap(), 1);
    let file = PatternsFile::open(path.clone()).unwrap();
    let named = || file.content().look_up("a.example.com").unwrap().workload;
    put("two");
    assert!(file.refresh() && !file.refresh());
    assert_eq!(named(), "two");
    put("''");
    assert!(!file.refresh());
    assert_eq!(named(), "two");
    let status = file.status();
    let wanted = format!(
        "external patterns {}:2:5: `workload` is empty; keeping the 1 entries read before",
        path.display()
    );
    assert_eq!((status.source, status.up, status.detail), ("external_patterns", false, wanted));
}

proptest! {
    #[test]
    fn never_panics(text in "(patterns: ?)?[\\[\\]{}:,\"' a-c*$\\n-]{0,60}") {
        let _ = Patterns::parse(text.as_bytes());
    }
}
