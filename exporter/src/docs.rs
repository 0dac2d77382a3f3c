// SPDX-License-Identifier: Apache-2.0
//! `docs/metrics.md`, made from the same descriptions as the exposition. `flowgauge docs` prints it, `make docs` writes it.

use std::fmt::Write as _;

use crate::app;
use crate::flags::DEFAULT_LABELS;
use crate::self_metrics;
use crate::source::{Family, FamilyKind, PREFIX};

/// Families that the reference shows together.
#[derive(Clone, Copy)]
pub struct Group {
    /// The heading.
    pub title: &'static str,
    /// A paragraph below it.
    pub introduction: &'static str,
    /// In the order of exposition.
    pub families: &'static [&'static Family],
}

/// What each edge label means. The first ten are on every edge, the rest where `--labels.add` asks for them.
const EDGE_LABELS: &[(&str, &str)] = &[
    (
        "observer",
        "which end was watched: `client` or `server`; summing one of them never counts a flow twice",
    ),
    ("client_namespace", "namespace of who opened the connection; empty where there is none"),
    (
        "client_workload",
        "who opened it: systemd unit, container or process; `external` or `unknown` without a name",
    ),
    ("client_zone", "its zone; empty where not known"),
    ("server_namespace", "namespace of who answered"),
    ("server_workload", "who answered, named like a client"),
    ("server_zone", "its zone"),
    ("server_service", "service dialled; empty where there is none"),
    ("server_kind", "`host`, `external` or `unknown`"),
    (
        "server_port",
        "port the server listens on; `ephemeral` inside `ip_local_port_range`, unless `--labels.service-ports` names it",
    ),
    ("client_pod", "pod of the client"),
    ("server_pod", "pod of the server"),
    ("client_node", "node of the client"),
    ("server_node", "node of the server"),
    ("client_container", "container of the client"),
    ("server_container", "container of the server"),
    ("client_process", "process name of the client, where it runs on this node"),
    ("server_process", "process name of the server, where it runs on this node"),
    ("client_region", "region of the client"),
    ("server_region", "region of the server"),
];

/// How many of [`EDGE_LABELS`] are on every edge.
const ALWAYS: usize = DEFAULT_LABELS.len();

/// The whole reference as Markdown.
pub fn reference() -> String {
    let mut page = String::from(
        "<!-- Made by `make docs` from the descriptions in the code. Do not edit. -->\n\
         # Metrics\n\n\
         Every family, as exposed in the classic text format; OpenMetrics names a counter's family without `_total` and an info\n\
         metric's without `_info`. A counter falls in one case alone while the exporter runs: an edge that was folded into `other` and\n\
         comes back begins at zero, which Prometheus takes for the reset it is; what it had counted before stays in `other`. The same\n\
         holds for a listener.\n\n\
         ## Edge labels\n\n\
         Families marked E carry these labels. Past `--series.limit` the least recently active edges fold into one whose names are\n\
         `other`; sums stay exact.\n\n\
         | label | meaning |\n|---|---|\n",
    );
    labels(&mut page, &EDGE_LABELS[..ALWAYS]);
    page.push_str("\nWith `--labels.add`:\n\n| label | meaning |\n|---|---|\n");
    labels(&mut page, &EDGE_LABELS[ALWAYS..]);
    for group in app::FAMILY_GROUPS {
        section(&mut page, group.title, group.introduction, PREFIX, group.families.iter().copied());
    }
    section(
        &mut page,
        "The exporter",
        "Its build, how it is scraped, whom it turns away, and what it forbids itself.",
        PREFIX,
        own_families(),
    );
    section(
        &mut page,
        "The process",
        "Named and meant as in every Prometheus client library.",
        "",
        self_metrics::PROCESS_FAMILIES.iter().copied(),
    );
    page
}

/// Those that no source tells.
fn own_families() -> impl Iterator<Item = &'static Family> {
    let web = self_metrics::FAMILIES.iter().chain(self_metrics::WEB_FAMILIES);
    web.chain(self_metrics::SANDBOX_FAMILIES).copied()
}

fn labels(page: &mut String, labels: &[(&str, &str)]) {
    for (label, meaning) in labels {
        row(page, &[format!("`{label}`"), (*meaning).to_owned()]);
    }
}

fn section(
    page: &mut String,
    title: &str,
    introduction: &str,
    prefix: &str,
    families: impl Iterator<Item = &'static Family>,
) {
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "\n## {title}\n\n{introduction}\n\n| metric | type | labels | meaning | read from |\n|---|---|---|---|---|\n"
    );
    for family in families {
        let separator = if prefix.is_empty() { "" } else { "_" };
        let mut kind = family.kind.as_str().to_owned();
        if family.kind == FamilyKind::Histogram {
            let _ = write!(kind, ", {}", family.buckets);
        }
        let labels: Vec<_> = family
            .edge
            .then(|| "E".to_owned())
            .into_iter()
            .chain(family.labels.iter().map(|label| format!("`{label}`")))
            .collect();
        row(
            page,
            &[
                format!("`{prefix}{separator}{}`", family.sample_name()),
                kind,
                labels.join(", "),
                family.help.to_owned(),
                family.source.to_owned(),
            ],
        );
    }
}

fn row(page: &mut String, cells: &[String]) {
    page.push('|');
    for cell in cells {
        page.extend([" ", &cell.replace('|', "\\|").replace('\n', " "), " |"]);
    }
    page.push('\n');
}

#[cfg(test)]
mod tests {
    use super::{ALWAYS, EDGE_LABELS, Family, FamilyKind, app, own_families, reference, self_metrics};
    use crate::flags::{DEFAULT_LABELS, OPTIONAL_LABELS};

    fn families() -> Vec<&'static Family> {
        let own = own_families().chain(self_metrics::PROCESS_FAMILIES.iter().copied());
        app::FAMILY_GROUPS.iter().flat_map(|group| group.families).copied().chain(own).collect()
    }

    #[test]
    fn the_page_in_the_repository_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == reference(),
            "docs/metrics.md is not what the code says: run `make docs` (cargo run -p flowgauge -- docs > docs/metrics.md)"
        );
    }

    #[test]
    fn every_edge_label_is_described() {
        let described: Vec<_> = EDGE_LABELS.iter().map(|(label, _)| *label).collect();
        assert_eq!(described[..ALWAYS], *DEFAULT_LABELS);
        assert_eq!(described[ALWAYS..], *OPTIONAL_LABELS);
    }

    #[test]
    fn every_family_keeps_the_rules_of_names_and_help() {
        let mut seen = std::collections::HashSet::new();
        for family in families() {
            let Family { name, help, .. } = family;
            assert!(seen.insert(name), "{name} is there twice");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{name}");
            assert!(!name.starts_with("flowgauge"), "{name}: the prefix is added");
            assert!(!name.ends_with("_total") && !name.ends_with("_info"), "{name}: the suffix is added");
            if let Some(unit) = family.unit {
                assert!(name.ends_with(&format!("_{}", unit.as_str())), "{name} must end with its unit");
            }
            assert!(help.ends_with('.') && !help.contains(['"', '\\', '\n']), "{name}: {help}");
            assert!(!family.source.is_empty(), "{name} must say where it is read");
            assert_eq!(family.kind == FamilyKind::Histogram, !family.buckets.is_empty(), "{name}: buckets");
        }
    }
}
