// SPDX-License-Identifier: Apache-2.0
//! The rules in `alerts/`: Prometheus' and Alertmanager's own tools accept them, each alert has what an operator needs, they are
//! made of metrics that exist. `alerts_evaluated.rs` has a real Prometheus evaluate them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flowgauge_tests::prelude::*;
use flowgauge_tests::process::run;
use tempfile::TempDir;

const DASHBOARDS: [&str; 8] = [
    "flowgauge-dns",
    "flowgauge-exporter",
    "flowgauge-external",
    "flowgauge-map",
    "flowgauge-node",
    "flowgauge-overview",
    "flowgauge-service",
    "flowgauge-zones",
];

/// What the runbooks call them.
const TITLES: [&str; 7] =
    ["Overview", "Service", "DNS", "External services", "Zones", "Node and OS", "Exporter health and cost"];

/// What is run on a node.
const COMMANDS: [&str; 11] =
    ["bpftool", "cat", "conntrack", "dig", "ethtool", "flowgauge", "ip", "journalctl", "mtr", "nstat", "ss"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(folder: &str, extension: &str) -> Result<Vec<PathBuf>> {
    let folder = root().join(folder);
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|is| is == extension) {
            found.push(path);
        }
    }
    found.sort();
    ensure!(!found.is_empty(), "nothing in {}", folder.display());
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// The text of all rule files.
fn rules() -> Result<String> {
    files("alerts/rules", "yaml")?.iter().map(|path| read(path)).collect()
}

/// Each alert's name and the text of its rules.
fn alerts() -> Result<BTreeMap<String, String>> {
    let mut alerts = BTreeMap::<_, String>::new();
    for rule in rules()?.split("\n      - ").filter_map(|rule| rule.strip_prefix("alert: ")) {
        let name = rule.lines().next().context("an empty rule")?;
        alerts.entry(name.to_owned()).or_default().push_str(rule);
    }
    ensure!(!alerts.is_empty(), "no alerts");
    Ok(alerts)
}

/// Names of series in a text: words that may have colons.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).filter(|name| !name.is_empty())
}

fn generate(arguments: &[&str]) -> Result<String> {
    run(Command::new("python3").arg(root().join("alerts/generate.py")).args(arguments))
}

#[test]
fn rules_and_documentation_are_what_the_templates_say() -> Result<()> {
    generate(&["--check"])?;
    Ok(())
}

#[test]
fn promtool_accepts_the_rules() -> Result<()> {
    run(Command::new("promtool")
        .args(["check", "rules", "--lint=all", "--lint-fatal"])
        .args(files("alerts/rules", "yaml")?))?;
    Ok(())
}

/// Every alert fires with the numbers expected, keeps quiet on low volume, and resolves: see `alerts/tests`.
#[test]
fn promtool_tests_pass() -> Result<()> {
    run(Command::new("promtool").args(["test", "rules"]).args(files("alerts/tests", "yaml")?))?;
    Ok(())
}

#[test]
fn amtool_accepts_the_example_and_routes_by_severity() -> Result<()> {
    let example = root().join("alerts/alertmanager.example.yaml");
    run(Command::new("amtool").arg("check-config").arg(&example))?;
    for (name, rule) in alerts()? {
        let severity = if rule.contains("severity: critical") { "critical" } else { "warning" };
        let mut command = Command::new("amtool");
        command.args(["config", "routes", "test"]).arg(format!("--config.file={}", example.display()));
        let receiver = run(command.args([format!("alertname={name}"), format!("severity={severity}")]))?;
        assert_eq!(receiver.trim(), if severity == "critical" { "pager" } else { "chat" }, "{name}");
    }
    Ok(())
}

#[test]
fn what_pages_is_what_users_feel() -> Result<()> {
    let alerts = alerts()?;
    for name in [
        "FlowgaugeRetransmitsHigh",
        "FlowgaugeZoneRetransmitsHigh",
        "FlowgaugeConnectFailures",
        "FlowgaugeSynTimeouts",
        "FlowgaugeDnsClientTimeouts",
        "FlowgaugeDnsResolverFailures",
        "FlowgaugeDnsUpstreamFailures",
        "FlowgaugeProviderDegraded",
    ] {
        assert!(alerts[name].contains("severity: critical"), "{name} does not page");
    }
    for (name, rule) in &alerts {
        assert!(!(rule.contains("layer: exporter") && rule.contains("severity: critical")), "{name} pages");
    }
    Ok(())
}

#[test]
fn alerts_are_annotated() -> Result<()> {
    for (name, rules) in alerts()? {
        for rule in rules.split("\n        annotations:").skip(1) {
            let field =
                |field: &str| rule.split_once(&format!("\n          {field}: ")).map(|(_, rest)| rest);
            let line = |name: &str| field(name).and_then(|rest| rest.lines().next()).unwrap_or_default();
            let summary = line("summary");
            assert!(summary.ends_with('.') && !summary.contains("{{"), "{name}: summary {summary:?}");
            let description = field("description").unwrap_or_default();
            let description = description.split("\n          runbook_url").next().unwrap_or_default();
            let absent = rules.contains("signal: absent") && summary.contains("has no Flowgauge");
            assert!(absent || description.contains("{{"), "{name}: no numbers in {description:?}");
            assert!(line("runbook_url").ends_with(&format!("/{name}.md")), "{name}: {}", line("runbook_url"));
            let dashboard = line("dashboard").split_once("/d/").map(|(_, rest)| rest).unwrap_or_default();
            let uid = dashboard.split(['?', '{']).next().unwrap_or_default();
            assert!(DASHBOARDS.contains(&uid), "{name}: dashboard {dashboard:?}");
        }
        for needed in ["severity: ", "layer: ", "\n        for: "] {
            assert!(rules.contains(needed), "{name} lacks {needed:?}");
        }
    }
    Ok(())
}

/// Every alert has a runbook with the four sections in order, a panel, a command and `/flows`; and there are no others.
#[test]
fn alerts_have_runbooks() -> Result<()> {
    let mut runbooks = BTreeSet::new();
    for path in files("alerts/runbooks", "md")? {
        let text = read(&path)?;
        let name = path.file_stem().context("no name")?.to_string_lossy().into_owned();
        let headings: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
        let title = format!("# {name}");
        assert_eq!(
            headings,
            [title.as_str(), "## Meaning", "## Impact", "## Diagnosis", "## Mitigation"],
            "{name}"
        );
        assert!(text.contains("/flows"), "{name}: nothing about /flows");
        assert!(TITLES.iter().any(|title| text.contains(&format!("{title}, "))), "{name}: no panel");
        let command =
            |program| text.contains(&format!("`{program} ")) || text.contains(&format!("; {program} "));
        assert!(COMMANDS.into_iter().any(command), "{name}: no command");
        for (_, link) in
            text.match_indices("](").map(|(at, _)| (at, text[at + 2..].split(')').next().unwrap_or_default()))
        {
            assert!(
                link.starts_with('#') || root().join("alerts/runbooks").join(link).exists(),
                "{name}: {link} is not there"
            );
        }
        runbooks.insert(name);
    }
    assert_eq!(runbooks, alerts()?.into_keys().collect());
    Ok(())
}

/// A test that expects the alert with its annotations, and one that expects nothing of it later.
#[test]
fn alerts_have_tests() -> Result<()> {
    let tests: String =
        files("alerts/tests", "yaml")?.iter().map(|path| read(path)).collect::<Result<_>>()?;
    for name in alerts()?.into_keys() {
        let fires = format!("alertname: {name}\n        exp_alerts:\n");
        let Some((_, after)) = tests.split_once(&fires) else { panic!("no test in which {name} fires") };
        assert!(after.contains(&format!("alertname: {name}}}")), "no test in which {name} resolves");
    }
    Ok(())
}

/// What the rules read is served by the exporter, Prometheus, or another rule.
#[test]
fn rules_are_made_of_metrics_that_exist() -> Result<()> {
    let documented = read(&root().join("docs/metrics.md"))?;
    let documented: BTreeSet<_> = documented
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split('`').next())
        .collect();
    let rules = rules()?;
    let recorded: BTreeSet<_> =
        rules.lines().filter_map(|line| line.split_once("record: ")).map(|(_, name)| name).collect();
    let mut used = BTreeSet::new();
    for name in names(&rules) {
        if name.contains(":flowgauge_") {
            assert!(recorded.contains(name), "{name} is not recorded");
        } else if name.starts_with("flowgauge_") || name.starts_with("process_") {
            used.insert(name);
        }
    }
    for name in &used {
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        let known = documented.contains(name) || documented.contains(family);
        assert!(known, "{name} is not in docs/metrics.md");
    }
    Ok(())
}

/// Tests may have everything faster, and other thresholds; nothing else changes, and mistakes are told.
#[test]
fn durations_can_be_divided() -> Result<()> {
    let directory = TempDir::new()?;
    let output = format!("--output={}", directory.path().display());
    generate(&[&output, "--speed=20", "--set", "retransmit_ratio=0.5", "--set", "baseline_window=90s"])?;
    let services = read(&directory.path().join("services.yaml"))?;
    assert!(services.contains("for: 15s") && services.contains("[15s]"), "{services}");
    assert!(
        services.contains("ratio_rate5m{client_workload!=\"other\",server_workload!=\"other\"} > 0.5"),
        "{services}"
    );
    let recording = read(&directory.path().join("recording.yaml"))?;
    assert!(!recording.contains("[5m]") && recording.contains("[90s:30s] offset 180s"), "{recording}");
    let made: Vec<_> =
        fs::read_dir(directory.path())?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    run(Command::new("promtool").args(["check", "rules"]).args(made))?;
    for wrong in [&["--speed=2"][..], &[&output, "--set", "retransmit=1"], &[&output, "--speed=0"]] {
        assert!(generate(wrong).is_err(), "{wrong:?} is accepted");
    }
    Ok(())
}
