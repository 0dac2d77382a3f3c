// SPDX-License-Identifier: Apache-2.0
use super::super::fixture::ANSWER;
use super::Answer;

#[test]
fn what_is_documented_is_read() {
    let answer = Answer::parse(ANSWER.as_bytes()).unwrap();
    assert_eq!((&*answer.node, answer.matched, answer.tracked), ("node-1", 45.0, 123.0));
    let row = &answer.rows()[0];
    assert_eq!((row.label("client_workload"), row.label("server_port")), ("checkout", "443"));
    assert_eq!(row.label("nonsense"), "");
    let tcp = row.tcp.as_ref().unwrap();
    assert_eq!((tcp.sent_bytes, tcp.connect_failures.sum()), (1_234_567.0, 3.0));
    assert_eq!(tcp.rtt_seconds.as_ref().unwrap().max, Some(0.0041));
    assert!(row.mentions("checkout") && row.mentions("192.0.2.7") && !row.mentions("nobody"));
    assert!(answer.rows()[1].tcp.is_none());
}

#[test]
fn other_versions_and_other_documents_are_refused() {
    let refused = |text: &str| Answer::parse(text.as_bytes()).unwrap_err();
    assert!(refused(r#"{"version": 2, "rows": []}"#).contains("in version 2 of the format"));
    assert!(refused("<html>").starts_with("not an answer of /flows: "));
    assert!(refused(r#"{"version": 1}"#).contains("rows"));
    assert!(refused(r#"{"version": 1, "rows": [{"edge": 3}]}"#).contains("an object"));
    assert!(refused(r#"{"version": 1, "rows": [{"tcp": {"sent_bytes": 1e999}}]}"#).contains("out of range"));
}

#[test]
fn size_is_bounded_whatever_comes() {
    let rows = |count: usize| format!(r#"{{"version": 1, "rows": [{}]}}"#, vec!["{}"; count].join(","));
    assert_eq!(Answer::parse(rows(1000).as_bytes()).unwrap().rows().len(), 1000);
    assert!(Answer::parse(rows(1001).as_bytes()).unwrap_err().contains("at most 1000 values"));
    let labels: Vec<_> = (0..65).map(|i| format!(r#""l{i}":"""#)).collect();
    let edge = format!(r#"{{"version": 1, "rows": [{{"edge": {{{}}}}}]}}"#, labels.join(","));
    assert!(Answer::parse(edge.as_bytes()).unwrap_err().contains("at most 64 members"));
    let deep = format!(r#"{{"version": 1, "rows": [], "x": {}"#, "[".repeat(100_000));
    assert!(Answer::parse(deep.as_bytes()).is_err());
    let deep = format!(r#"{{"version": 1, "rows": {}"#, "[".repeat(100_000));
    assert!(Answer::parse(deep.as_bytes()).is_err());
}

#[test]
fn names_are_clean_once_read() {
    let text = r#"{"version": 1, "node": "a\u001b[2J", "rows": [{"edge": {"client_workload": "x\u009b31m\u202e"}, "address": "\r\n"}]}"#;
    let answer = Answer::parse(text.as_bytes()).unwrap();
    assert_eq!(&*answer.node, "a\u{fffd}[2J");
    assert_eq!(answer.rows()[0].label("client_workload"), "x\u{fffd}31m\u{fffd}");
    assert_eq!(answer.rows()[0].address.as_deref(), Some("\u{fffd}\u{fffd}"));
}
