// SPDX-License-Identifier: Apache-2.0
//! The report, for people and for programs. `docs/operations.md` describes the JSON.

use std::fmt;

use serde::Serialize;

use super::{Group, Item, Verdict};

/// The version of the JSON. Members and groups may be added without a new one.
const VERSION: u32 = 1;

/// All items, in the order of the ground they stand on.
#[derive(Clone, Debug, Default)]
pub struct Report(Vec<(Group, Item)>);

impl Group {
    /// Its name in the JSON.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Feature => "feature",
            Self::Capability => "capability",
            Self::Mount => "mount",
            Self::Configuration => "configuration",
            Self::Sandbox => "sandbox",
            Self::Kubernetes => "kubernetes",
            Self::LabelSource => "label_source",
            Self::Collector => "collector",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Kernel => "Kernel",
            Self::Feature => "Kernel features",
            Self::Capability => "Capabilities",
            Self::Mount => "Mounts and namespaces",
            Self::Configuration => "Configuration",
            Self::Sandbox => "Sandbox",
            Self::Kubernetes => "Kubernetes API",
            Self::LabelSource => "Label sources",
            Self::Collector => "Collectors",
        }
    }
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl Report {
    /// Adds items of a group.
    pub fn add(&mut self, group: Group, items: Vec<Item>) {
        self.0.extend(items.into_iter().map(|item| (group, item)));
    }

    /// Whether nothing failed.
    pub fn passed(&self) -> bool {
        self.count(Verdict::Fail) == 0
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.0.iter().filter(|(_, item)| item.verdict == verdict).count()
    }

    /// The report as JSON, with a line feed at its end.
    pub fn json(&self) -> String {
        let items = self.0.iter().map(|(group, item)| JsonItem {
            group: group.as_str(),
            name: one_line(&item.name),
            verdict: item.verdict.as_str(),
            finding: one_line(&item.finding),
            remedy: Some(one_line(&item.remedy)).filter(|remedy| !remedy.is_empty()),
        });
        let report = JsonReport {
            version: VERSION,
            flowgauge: env!("CARGO_PKG_VERSION"),
            revision: env!("FLOWGAUGE_REVISION"),
            passed: self.passed(),
            failed: self.count(Verdict::Fail),
            warnings: self.count(Verdict::Warn),
            items: items.collect(),
        };
        // Strings and numbers can always be written.
        serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
    }
}

#[derive(Serialize)]
struct JsonReport {
    version: u32,
    flowgauge: &'static str,
    revision: &'static str,
    passed: bool,
    failed: usize,
    warnings: usize,
    items: Vec<JsonItem>,
}

#[derive(Serialize)]
struct JsonItem {
    group: &'static str,
    name: String,
    verdict: &'static str,
    finding: String,
    remedy: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Longer names push their finding to the right.
        const MAX_WIDTH: usize = 34;
        let widths =
            self.0.iter().map(|(_, item)| item.name.chars().count()).filter(|width| *width <= MAX_WIDTH);
        let width = widths.max().unwrap_or_default();
        let mut last = None;
        for (group, item) in &self.0 {
            if last.replace(*group) != Some(*group) {
                writeln!(f, "{}", group.title())?;
            }
            let (verdict, name) = (item.verdict.as_str(), one_line(&item.name));
            writeln!(f, "  {verdict:<4}  {name:<width$}  {}", one_line(&item.finding))?;
            if !item.remedy.is_empty() {
                writeln!(f, "        {:<width$}  remedy: {}", "", one_line(&item.remedy))?;
            }
        }
        let (failed, warnings) = (self.count(Verdict::Fail), self.count(Verdict::Warn));
        writeln!(f, "{} items, {failed} failed, {warnings} with a warning", self.0.len())
    }
}

/// Findings carry text of the kernel and of files: whatever it is, it stays one line.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::{Group, Report};
    use crate::check::{Item, collector};

    fn report() -> Report {
        let mut report = Report::default();
        report.add(Group::Kernel, vec![Item::ok("release", "6.12")]);
        report.add(Group::Mount, vec![Item::warn("cgroup", "v1", "none\u{1b}[2J")]);
        report.add(Group::Collector, vec![collector("tcp", Err("load:\nEPERM".to_owned()))]);
        report
    }

    #[test]
    fn a_line_an_item_and_a_line_a_remedy() {
        let expected = "\
Kernel
  ok    release  6.12
Mounts and namespaces
  warn  cgroup   v1
                 remedy: none [2J
Collectors
  fail  tcp      load: EPERM
                 remedy: mend what fails above; --no-collector.tcp runs the exporter without it
3 items, 1 failed, 1 with a warning
";
        assert_eq!(report().to_string(), expected);
        assert!(!report().passed());
        let mut warned = Report::default();
        warned.add(Group::Mount, vec![Item::warn("cgroup", "v1", "none")]);
        assert!(warned.passed());
    }

    #[test]
    fn json_is_as_documented() {
        let json: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(
            (&json["version"], &json["passed"], &json["failed"], &json["warnings"]),
            (&1.into(), &false.into(), &1.into(), &1.into())
        );
        let item = |index: usize| &json["items"][index];
        let kernel = serde_json::json!({"group": "kernel", "name": "release", "verdict": "ok", "finding": "6.12", "remedy": null});
        assert_eq!(item(0), &kernel);
        assert_eq!(item(1)["remedy"], "none [2J");
        assert_eq!((&item(2)["group"], &item(2)["verdict"]), (&"collector".into(), &"fail".into()));
        // Every member and every group is in the manual.
        let manual = include_str!("../../../docs/operations.md");
        for group in [
            Group::Kernel,
            Group::Feature,
            Group::Capability,
            Group::Mount,
            Group::Configuration,
            Group::Sandbox,
            Group::Kubernetes,
            Group::LabelSource,
            Group::Collector,
        ] {
            assert!(manual.contains(&format!("`{}`", group.as_str())), "{group:?}");
        }
        for member in json.as_object().unwrap().keys().chain(item(0).as_object().unwrap().keys()) {
            assert!(manual.contains(&format!("`{member}`")), "{member}");
        }
    }
}
