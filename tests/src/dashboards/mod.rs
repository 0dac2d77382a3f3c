// SPDX-License-Identifier: Apache-2.0
//! The dashboards in `dashboards/`: their queries, and a cluster in which each of them has something to show.

mod shop;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub use shop::{Shop, labels};

/// A dashboard as it is imported.
#[derive(Debug)]
pub struct Dashboard {
    /// Its uid, and its file's name.
    pub uid: String,
    /// All of it.
    pub json: Value,
}

/// A query of a panel or a variable.
#[derive(Debug, Clone)]
pub struct Query {
    /// The dashboard's uid.
    pub uid: String,
    /// The panel's number; none for variables.
    pub panel: Option<u64>,
    /// The panel's title, or the variable's name.
    pub title: String,
    /// The query's name in the panel.
    pub reference: String,
    /// What the series are called.
    pub legend: String,
    /// PromQL with the dashboard's variables in it.
    pub expression: String,
    /// Only the values of now are asked for.
    pub instant: bool,
}

/// All dashboards.
pub fn all() -> Result<Vec<Dashboard>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../dashboards");
    let files = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut found = Vec::new();
    for file in files {
        let path = file?.path();
        if path.extension().is_some_and(|end| end == "json") {
            let json: Value = serde_json::from_str(&fs::read_to_string(&path)?)
                .with_context(|| format!("{} is not JSON", path.display()))?;
            found.push(Dashboard { uid: text(&json, "uid"), json });
        }
    }
    ensure!(!found.is_empty(), "no dashboards in {}", folder.display());
    found.sort_by(|one, other| one.uid.cmp(&other.uid));
    Ok(found)
}

impl Dashboard {
    /// Its panels, headings of rows not among them.
    pub fn panels(&self) -> impl Iterator<Item = &Value> {
        list(&self.json["panels"]).filter(|panel| panel["type"] != "row")
    }

    /// Its variables.
    pub fn variables(&self) -> impl Iterator<Item = &Value> {
        list(&self.json["templating"]["list"])
    }

    /// The queries of its panels.
    pub fn queries(&self) -> Vec<Query> {
        let of_panel = |panel: &Value, target: &Value| Query {
            uid: self.uid.clone(),
            panel: panel["id"].as_u64(),
            title: text(panel, "title"),
            reference: text(target, "refId"),
            legend: text(target, "legendFormat"),
            expression: text(target, "expr"),
            instant: target["instant"] == true,
        };
        self.panels()
            .flat_map(|panel| list(&panel["targets"]).map(move |target| of_panel(panel, target)))
            .collect()
    }

    /// The queries that give its variables their values, as PromQL: `label_values(series, label)` becomes the series by
    /// that label.
    pub fn variable_queries(&self) -> Result<Vec<Query>> {
        let asked = self.variables().filter(|variable| variable["type"] == "query");
        asked
            .map(|variable| {
                let text_of = variable["query"]["query"].as_str().unwrap_or_default();
                let inner = |function: &str| text_of.strip_prefix(function)?.strip_suffix(')');
                let expression = if let Some(inner) = inner("label_values(") {
                    let (series, label) = inner.rsplit_once(", ").context("label_values without a label")?;
                    format!("group by ({label}) ({series})")
                } else {
                    inner("query_result(").with_context(|| format!("{text_of:?}"))?.to_owned()
                };
                Ok(Query {
                    uid: self.uid.clone(),
                    panel: None,
                    title: text(variable, "name"),
                    reference: "variable".to_owned(),
                    legend: String::new(),
                    expression,
                    instant: true,
                })
            })
            .collect()
    }
}

/// The expression with the variables' values in place of them; fails if one has none.
pub fn substituted(expression: &str, values: &[(&str, &str)]) -> Result<String> {
    let mut done = expression.to_owned();
    for (name, value) in values {
        done = done.replace(&format!("${name}"), value);
    }
    // What is left of `$` are groups of regular expressions ("$1", "${1}xx") and their ends ("^$").
    let mut rest = done.as_str();
    while let Some((_, after)) = rest.split_once('$') {
        let group =
            after.trim_start_matches('{').starts_with(|next: char| next.is_ascii_digit() || next == '"');
        ensure!(group, "no value for ${after:.20}… in {expression}");
        rest = after;
    }
    Ok(done)
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_all_replaced_and_groups_are_left() {
        let values = [("job", "flowgauge"), ("__rate_interval", "15s")];
        let done = substituted(r#"rate(x{job=~"$job"}[$__rate_interval])"#, &values).unwrap();
        assert_eq!(done, r#"rate(x{job=~"flowgauge"}[15s])"#);
        let groups = r#"label_replace(x, "a", "${1}xx $1", "b", "(.+)$")"#;
        assert_eq!(substituted(groups, &values).unwrap(), groups);
        assert!(substituted("x{a=~\"$zone\"}", &values).is_err());
    }
}
