// SPDX-License-Identifier: Apache-2.0
//! What the operator makes of domain names: `--labels.external-patterns`. Format: `docs/external-names.md`.

use std::path::Path;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::pattern::{Pattern, Template};
use crate::identity::Kind;
use crate::names_file::parse::RawKind;
use crate::operator_file::yaml::{self, label};
use crate::operator_file::{Content, Fault, FileError, OperatorFile, check};

/// Patterns in one file. Each name that is met is compared with all of them once.
const MAX_PATTERNS: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    patterns: Vec<Spanned<RawEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    pattern: Spanned<String>,
    workload: Spanned<String>,
    namespace: Option<Spanned<String>>,
    zone: Option<Spanned<String>>,
    region: Option<Spanned<String>>,
    kind: Option<RawKind>,
}

#[derive(PartialEq, Eq, Debug)]
struct Entry {
    pattern: Pattern,
    workload: Template,
    namespace: Template,
    zone: Template,
    region: Template,
    kind: Option<Kind>,
}

/// A name as the first pattern that matches makes it.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub workload: String,
    /// No part of the workload is the name's.
    pub fixed: bool,
    pub namespace: String,
    pub zone: String,
    pub region: String,
    pub kind: Option<Kind>,
}

/// A parsed file of patterns.
#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct Patterns {
    entries: Vec<Entry>,
}

impl Patterns {
    /// What the first pattern that matches makes of a name in lower case, without final dot.
    pub(super) fn look_up(&self, name: &str) -> Option<Found> {
        self.entries.iter().find_map(|entry| {
            let captured = entry.pattern.captures(name)?;
            let fill = |template: &Template| template.fill(name, &captured);
            Some(Found {
                workload: fill(&entry.workload),
                fixed: entry.workload.is_fixed(),
                namespace: fill(&entry.namespace),
                zone: fill(&entry.zone),
                region: fill(&entry.region),
                kind: entry.kind,
            })
        })
    }
}

impl Content for Patterns {
    const WHAT: &'static str = "external patterns";
    const SOURCE: &'static str = "external_patterns";
    const MAX_BYTES: u64 = 1 << 20;

    fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let file: File = yaml::read(bytes, "patterns: []")?;
        let mut patterns = Patterns::default();
        let mut lines = Vec::new();
        for raw in file.patterns {
            let place = raw.referenced;
            if patterns.entries.len() == MAX_PATTERNS {
                return Err(Fault::at(place, format!("more than {MAX_PATTERNS} patterns")));
            }
            let entry = entry(raw)?;
            let same = patterns.entries.iter().position(|other| other.pattern == entry.pattern);
            if let Some(line) = same.and_then(|at| lines.get(at)) {
                let what = format!("the same pattern as that of the entry on line {line}");
                return Err(Fault::at(place, what));
            }
            patterns.entries.push(entry);
            lines.push(place.line());
        }
        Ok(patterns)
    }

    fn len(&self) -> usize {
        self.entries.len()
    }
}

fn entry(raw: Spanned<RawEntry>) -> Result<Entry, Fault> {
    let place = raw.referenced;
    let raw = raw.value;
    let pattern =
        Pattern::parse(&raw.pattern.value).map_err(|what| Fault::at(raw.pattern.referenced, what))?;
    let template = |key: &str, raw: Option<Spanned<String>>| {
        let place = raw.as_ref().map_or(place, |raw| raw.referenced);
        let text = label(key, raw)?;
        Template::parse(&text, pattern.wildcards())
            .map_err(|what| Fault::at(place, format!("`{key}`: {what}")))
    };
    let workload = template("workload", Some(raw.workload))?;
    if workload.is_empty() {
        return Err(Fault::at(place, "`workload` is empty"));
    }
    Ok(Entry {
        workload,
        namespace: template("namespace", raw.namespace)?,
        zone: template("zone", raw.zone)?,
        region: template("region", raw.region)?,
        kind: raw.kind.map(Kind::from),
        pattern,
    })
}

/// A file of patterns that is watched.
pub(crate) type PatternsFile = OperatorFile<Patterns>;

/// Reads a file of patterns as the exporter would and tells their number; for `flowgauge check`.
///
/// # Errors
/// It cannot be read or is wrong.
pub fn check_external_patterns(path: &Path) -> Result<usize, FileError> {
    check::<Patterns>(path)
}

#[cfg(test)]
mod tests;
