// SPDX-License-Identifier: Apache-2.0
//! What can be said of the dashboards without Prometheus: nothing that an importer would trip over, no metric that there is
//! not, and no flow that is counted twice.

use std::collections::BTreeSet;
use std::fs;

use flowgauge_tests::dashboards::{self, Dashboard, Query};
use flowgauge_tests::prelude::*;
use serde_json::json;

#[test]
fn dashboards_are_complete() -> Result<()> {
    let all = dashboards::all()?;
    let uids: BTreeSet<&str> = all.iter().map(|dashboard| dashboard.uid.as_str()).collect();
    let wanted = ["dns", "exporter", "external", "map", "node", "overview", "service", "zones"];
    assert_eq!(uids, wanted.map(|name| format!("flowgauge-{name}")).iter().map(String::as_str).collect());
    let documented = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md"))?;
    for dashboard in &all {
        complete(dashboard, &uids, &documented).with_context(|| dashboard.uid.clone())?;
    }
    Ok(())
}

/// Names without the prefix, of histograms the family's.
fn metrics(expression: &str) -> impl Iterator<Item = &str> {
    let inside = |letter: char| !(letter.is_ascii_alphanumeric() || letter == '_');
    let starts =
        expression.match_indices("flowgauge_").map(move |(at, prefix)| &expression[at + prefix.len()..]);
    let names = starts.map(move |rest| rest.split(inside).next().unwrap_or_default());
    names.map(|name| {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        family.unwrap_or(name)
    })
}

/// Metrics that may be taken from both ends of a flow: what each end sent and waited for by itself, and quantiles.
const OF_EITHER_END: [&str; 4] = [
    "tcp_sent_segments_total",
    "tcp_retransmitted_segments_total",
    "tcp_limited_seconds_total",
    "tcp_rtt_seconds_bucket",
];

/// Nothing that both ends of a flow tell is added up over both, except where the panel is about the ends.
fn counts_nothing_twice(query: &Query, documented: &str) -> Result<()> {
    if ["RTT p95 by where it was watched", "Payload without a name"].contains(&query.title.as_str()) {
        return Ok(());
    }
    for selector in query.expression.split("flowgauge_").skip(1) {
        let (metric, rest) = selector.split_once('{').context("a metric without matchers")?;
        let matchers = rest.split_once('}').context("an open selector")?.0;
        let family = metrics(&format!("flowgauge_{metric}")).next().unwrap_or_default().to_owned();
        let row = documented.lines().find(|line| line.starts_with(&format!("| `flowgauge_{family}` ")));
        let of_edges = row.is_some_and(|row| row.contains("| E |") || row.contains("| E, "));
        let one = ["client$ends", "server$ends"].iter().any(|end| matchers.contains(&format!("=~\"{end}\"")));
        let either = matchers.contains("(client|server)$ends") && OF_EITHER_END.contains(&metric);
        ensure!(!of_edges || one || either, "{}: {metric}{{{matchers}}} counts flows twice", query.title);
    }
    Ok(())
}

fn complete(dashboard: &Dashboard, uids: &BTreeSet<&str>, documented: &str) -> Result<()> {
    ensure!(dashboard.json["editable"] == false && dashboard.json["id"].is_null(), "editable, or with an id");
    ensure!(dashboard.json["tags"] == json!(["flowgauge"]), "tags: {}", dashboard.json["tags"]);
    let names: BTreeSet<&str> =
        dashboard.variables().filter_map(|variable| variable["name"].as_str()).collect();
    for panel in dashboard.panels() {
        let title = panel["title"].as_str().unwrap_or_default();
        let described = panel["description"].as_str().is_some_and(|text| text.ends_with('.'));
        ensure!(!title.is_empty() && described, "{title}: no title, or no sentence that describes it");
        ensure!(panel["fieldConfig"].to_string().contains("\"unit\""), "{title}: no unit");
        let text = panel.to_string();
        for (_, rest) in text.match_indices("/d/").map(|(at, _)| text.split_at(at + 3)) {
            let uid = rest.split(['?', '"']).next().unwrap_or_default();
            ensure!(uids.contains(uid), "{title}: a link to {uid}, which there is not");
        }
        for (_, rest) in text.match_indices("&var-").map(|(at, _)| text.split_at(at + 5)) {
            ensure!(rest.contains('='), "{title}: a variable without a value in a link: {rest:.30}");
        }
    }
    for query in dashboard.queries() {
        for metric in metrics(&query.expression) {
            let known = documented.contains(&format!("`flowgauge_{metric}`"));
            ensure!(known, "{}: no metric flowgauge_{metric}", query.title);
        }
        counts_nothing_twice(&query, documented)?;
        let fixed = ["[1m]", "[5m]", "$__interval"].iter().find(|range| query.expression.contains(**range));
        ensure!(fixed.is_none(), "{}: {fixed:?} in place of $__rate_interval", query.title);
        let used = ["namespace", "workload", "zone", "provider", "instance", "ends"];
        for name in used.iter().filter(|name| query.expression.contains(&format!("${name}"))) {
            ensure!(names.contains(name), "{}: the dashboard has no variable {name}", query.title);
        }
    }
    Ok(())
}
