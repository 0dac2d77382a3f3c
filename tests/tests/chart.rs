// SPDX-License-Identifier: Apache-2.0
//! The Helm chart, rendered by Helm's own engine: valid Kubernetes objects, what the program needs and no more, in the words that it
//! knows. Whether a cluster runs it is not tested: there is none here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use flowgauge_tests::api_server::{ApiServer, Resource, Role, StreamingLists, TOKEN, Verb};
use flowgauge_tests::exporter::{self, binary};
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::{output, run};
use flowgauge_tests::python;
use serde::Deserialize;
use tempfile::TempDir;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn script(name: &str) -> Result<Command> {
    let mut command = Command::new(python::program("python")?);
    command.arg(top().join("tests/clients/chart").join(name));
    Ok(command)
}

/// Runs one of the checks in `clients/chart/check.py`, which says what is wrong.
fn check(name: &str) -> Result<String> {
    run(script("check.py")?.arg(name))
}

/// What the chart makes of one file of values.
#[derive(Deserialize)]
struct Rendered {
    args: Vec<String>,
    capabilities: Vec<String>,
    role: Vec<Rule>,
}

/// A rule of the ClusterRole.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    verbs: Vec<String>,
}

fn rendered() -> Result<BTreeMap<String, Rendered>> {
    Ok(serde_json::from_str(&check("show")?)?)
}

fn rendered_by_default() -> Result<Rendered> {
    rendered()?.remove("default").context("no case without values")
}

#[test]
fn helm_accepts_it() -> Result<()> {
    check("lint").map(drop)
}

#[test]
fn objects_are_valid() -> Result<()> {
    check("validate")?;
    check("strictness").map(drop)
}

#[test]
fn unknown_and_contradictory_values_are_refused() -> Result<()> {
    check("schema")?;
    check("refusals").map(drop)
}

#[test]
fn rules_and_dashboards_are_those_of_the_project() -> Result<()> {
    check("rules")?;
    check("dashboards")?;
    check("release").map(drop)
}

#[test]
fn objects_fit_together() -> Result<()> {
    check("names")?;
    check("mounts")?;
    check("probes").map(drop)
}

#[test]
fn copies_and_the_plain_manifest_are_up_to_date() -> Result<()> {
    let generate = top().join("charts/generate.py");
    run(Command::new(python::program("python")?).arg(generate).arg("--check")).map(drop)
}

/// Whether an engine builds it is not tested: there is none here. What the image needs is, below.
#[test]
fn the_dockerfile_says_what_the_sources_say() -> Result<()> {
    check("image").map(drop)
}

/// A flag, its path where the host has it.
fn on_this_host(flag: &str) -> String {
    flag.replace("=/host/root", "=/").replace("=/host/", "=/")
}

#[test]
fn flags_are_the_programs() -> Result<()> {
    let help = run(Command::new(binary()?).arg("--help"))?;
    let known: BTreeSet<_> = help
        .split(|c: char| c.is_whitespace() || matches!(c, ',' | '=' | '[' | '`'))
        .filter(|word| word.starts_with("--"))
        .collect();
    let mut used = BTreeSet::new();
    for (case, rendered) in rendered()? {
        let mut flags = Vec::new();
        for flag in &rendered.args {
            let name = flag.split('=').next().unwrap_or_default();
            used.insert(name.to_owned());
            ensure!(known.contains(name), "{case}: the program does not know {flag}");
            // Files that are mounted are not here.
            if !flag.contains("=/etc/flowgauge/") && !flag.contains("=/host/root/etc/") {
                flags.push(on_this_host(flag));
            }
        }
        // It prints its metrics' reference, and reads all flags before.
        let output = output(Command::new(binary()?).arg("docs").args(&flags))?;
        ensure!(output.status.success(), "{case}: {flags:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// The role has each verb that the exporter and `flowgauge check` ask for, and no other: from an API server that has streaming
/// lists, and from one that has not.
#[test]
fn the_role_is_what_the_program_asks_for() -> Result<()> {
    let mut granted = BTreeSet::new();
    for rule in rendered_by_default()?.role {
        for group in &rule.api_groups {
            for resource in &rule.resources {
                granted.extend(rule.verbs.iter().map(|verb| format!("{verb} {group}/{resource}")));
            }
        }
    }
    let mut role = Role::reader();
    for resource in Resource::ALL {
        for verb in [Verb::Get, Verb::List, Verb::Watch] {
            if !granted.contains(&spelt(resource, verb)) {
                role = role.without_verb(resource, verb);
            }
        }
    }
    let mut asked = BTreeSet::new();
    for lists in [StreamingLists::Served, StreamingLists::Refused] {
        let api = ApiServer::start()?;
        api.grant(TOKEN, role.clone());
        api.behave(|server| server.streaming_lists = lists);
        let kubeconfig = api.kubeconfig(TOKEN)?;
        let flags = [kubeconfig.flag(), "--labels.kubernetes.node=a".to_owned()];
        let exporter = Exporter::start(&flags.each_ref().map(String::as_str))?;
        api.wait_until("five watches open", SOON, |asked| {
            asked.iter().filter(|request| request.open).count() == 5
        })?;
        exporter.stop()?;
        let checked = output(Command::new(binary()?).arg("check").args(&flags))?;
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        ensure!(!said.contains("forbidden"), "{said}");
        for request in api.asked() {
            ensure!(request.status != Some(403), "{request:?}");
            asked.extend(request.target.map(|(resource, verb)| spelt(resource, verb)));
        }
    }
    assert_eq!(granted, asked);
    Ok(())
}

fn spelt(resource: Resource, verb: Verb) -> String {
    format!("{} {}/{}", verb.as_str(), resource.group(), resource.plural())
}

/// With the container's root directory, flags and capabilities, and nothing of the image but the binary, every collector works.
#[test]
fn the_binary_needs_nothing_else_and_these_capabilities() -> Result<()> {
    let _world = World::new()?;
    let binary = binary()?;
    let linked = output(Command::new("ldd").arg(&binary))?;
    let said = [linked.stdout, linked.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(
        said.contains("statically linked") || said.contains("not a dynamic executable"),
        "{} is not the binary that the image has: set FLOWGAUGE_BIN to the one that `make build` makes",
        binary.display()
    );
    let root = TempDir::new()?;
    let chart = rendered_by_default()?;
    let flags = chart.args.iter().filter(|flag| !flag.starts_with("--web.listen-address"));
    let mut command = script("contained.py")?;
    command.arg(root.path()).arg(&binary).arg(chart.capabilities.join(","));
    command.arg("--web.listen-address=127.0.0.1:0").args(flags);
    let exporter = Exporter::adopt(exporter::spawn(&mut command)?)?.wait_ready()?;

    let inside = std::fs::read_link(format!("/proc/{}/root", exporter.pid()))?;
    assert_eq!(inside, root.path().canonicalize()?);
    let metrics = exporter.scrape()?;
    let up = metrics.sum_by("flowgauge_collector_up", "collector", &[]);
    ensure!(up.len() >= 5 && up.values().all(|value| *value == 1.0), "{up:?}; its log:\n{}", exporter.log());
    exporter.stop().map(drop)
}
