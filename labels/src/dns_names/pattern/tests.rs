// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use super::*;

fn captures(pattern: &str, name: &str) -> Option<String> {
    Pattern::parse(pattern).unwrap().captures(name).map(|all| all.join("|"))
}

#[test]
fn wildcards_stand_for_labels_and_parts_of_them() {
    for (pattern, name, wanted) in [
        ("a.example.com", "a.example.com", Some("")),
        ("A.Example.Com.", "a.example.com", Some("")),
        ("a.example.com", "b.example.com", None),
        ("a.example.com", "x.a.example.com", None),
        ("*.example.com", "a.example.com", Some("a")),
        ("*.example.com", "example.com", None),
        ("*.example.com", "a.b.example.com", None),
        ("*.*.rds.amazonaws.com", "db.eu-1.rds.amazonaws.com", Some("db|eu-1")),
        ("s3-*.example.com", "s3-eu.example.com", Some("eu")),
        ("s3*.example.com", "s3.example.com", Some("")),
        ("*-ro.example.com", "db-ro.example.com", Some("db")),
        ("a*a.example.com", "a.example.com", None),
        ("**.example.com", "a.example.com", Some("a")),
        ("**.example.com", "a.b.c.example.com", Some("a.b.c")),
        ("**.example.com", "example.com", None),
        ("**.s3.*.amazonaws.com", "my.bucket.s3.eu-1.amazonaws.com", Some("my.bucket|eu-1")),
        ("api.**", "api.example.com", Some("example.com")),
        ("api.**.com", "api.x.y.com", Some("x.y")),
        ("**", "a.b", Some("a.b")),
        ("*", "redis", Some("redis")),
    ] {
        assert_eq!(captures(pattern, name).as_deref(), wanted, "{pattern} {name}");
    }
}

#[test]
fn wrong_patterns() {
    for (pattern, wanted) in [
        ("", "`pattern` is empty"),
        (".", "`pattern` is empty"),
        ("a..b", "\"a..b\" has an empty label"),
        ("**.a.**", "\"**.a.**\" has more than one `**`"),
        ("a*b*.c", "\"a*b*.c\" has a label with more than one `*`; `**` stands alone"),
        ("a**.c", "\"a**.c\" has a label with more than one `*`; `**` stands alone"),
        ("a b.c", "\"a b.c\" holds ' ': labels are letters, digits, `-`, `_` and `*`"),
        ("ä.c", "\"ä.c\" holds 'ä': labels are letters, digits, `-`, `_` and `*`"),
        ("*.*.*.*.*.*.*.*.*.*", "\"*.*.*.*.*.*.*.*.*.*\" has more than 9 wildcards"),
    ] {
        assert_eq!(Pattern::parse(pattern).unwrap_err(), wanted, "{pattern}");
    }
    assert!(Pattern::parse(&"a.".repeat(130)).unwrap_err().contains("longer than 253"));
}

#[test]
fn templates() {
    let fill = |text: &str| Template::parse(text, 2).unwrap().fill("a.b", &["one", "two"]);
    assert_eq!(fill("$2-$1"), "two-one");
    assert_eq!(fill("x$1y"), "xoney");
    assert_eq!(fill("$0"), "a.b");
    assert_eq!(fill("$$1"), "$1");
    assert_eq!(fill(""), "");
    assert!(Template::parse("a$$b", 0).unwrap().is_fixed() && !Template::parse("$0", 0).unwrap().is_fixed());
    for (text, wildcards, wanted) in [
        ("$1", 0, "there is no $1: the pattern has no wildcard"),
        ("$2", 1, "there is no $2: the pattern has one wildcard only"),
        ("$9", 3, "there is no $9: the pattern has 3 wildcards only"),
        ("a$", 1, "`$` is followed by a digit, or by another `$`"),
        ("${1}", 1, "`$` is followed by a digit, or by another `$`"),
    ] {
        assert_eq!(Template::parse(text, wildcards).unwrap_err(), wanted, "{text}");
    }
}

proptest! {
    #[test]
    fn never_panics(pattern in "[a-c.*é]{0,12}", name in "[a-c.é]{0,14}", text in "[a$0-9é]{0,8}") {
        if let Ok(pattern) = Pattern::parse(&pattern)
            && let Some(captured) = pattern.captures(&name)
        {
            prop_assert_eq!(captured.len(), pattern.wildcards());
            if let Ok(template) = Template::parse(&text, pattern.wildcards()) {
                let _ = template.fill(&name, &captured);
            }
        }
    }

    #[test]
    fn what_is_captured_and_put_back_is_the_name(
        name in "[a-z]{1,3}(\\.[a-z]{1,3}){0,5}",
        wild in proptest::collection::vec(any::<bool>(), 6),
    ) {
        let labels: Vec<&str> = name.split('.').collect();
        let make = |star: &str| -> String {
            let label = |(label, wild): (&&str, &bool)| if *wild { star.to_owned() } else { (*label).to_owned() };
            labels.iter().zip(&wild).map(label).collect::<Vec<_>>().join(".")
        };
        let captured: Vec<String> = Pattern::parse(&make("*")).unwrap().captures(&name).unwrap()
            .into_iter().map(str::to_owned).collect();
        let mut rest = captured.iter();
        let back = make("*").split('.').map(|label| {
            if label == "*" { rest.next().unwrap().clone() } else { label.to_owned() }
        }).collect::<Vec<_>>().join(".");
        prop_assert_eq!(back, name);
    }
}
