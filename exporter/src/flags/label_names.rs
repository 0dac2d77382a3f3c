// SPDX-License-Identifier: Apache-2.0
//! The labels that an operator may add to edges or drop from them.

use std::str::FromStr;

/// Every edge has these.
pub const DEFAULT_LABELS: &[&str] = &[
    "observer",
    "client_namespace",
    "client_workload",
    "client_zone",
    "server_namespace",
    "server_workload",
    "server_zone",
    "server_service",
    "server_kind",
    "server_port",
];

/// Every edge may have these.
pub const OPTIONAL_LABELS: &[&str] = &[
    "client_pod",
    "server_pod",
    "client_node",
    "server_node",
    "client_container",
    "server_container",
    "client_process",
    "server_process",
    "client_region",
    "server_region",
];

/// The value of `--labels.add`: optional labels, each once, in the order asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddedLabels(pub Vec<&'static str>);

/// The value of `--labels.drop`: default labels, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DroppedLabels(pub Vec<&'static str>);

impl FromStr for AddedLabels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        choose(text, OPTIONAL_LABELS, |label| {
            DEFAULT_LABELS.contains(&label).then(|| format!("label {label:?} is always there"))
        })
        .map(Self)
    }
}

impl FromStr for DroppedLabels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let droppable: Vec<_> = DEFAULT_LABELS.iter().copied().filter(|label| *label != "observer").collect();
        choose(text, &droppable, |label| match label {
            "observer" => Some(
                "label \"observer\" cannot be dropped: a flow seen at both ends would be counted twice"
                    .to_owned(),
            ),
            _ if OPTIONAL_LABELS.contains(&label) => {
                Some(format!("label {label:?} is only there when --labels.add asks for it"))
            }
            _ => None,
        })
        .map(Self)
    }
}

/// A comma list of `allowed` labels. `why_not` knows better reasons than that a label is unknown.
fn choose(
    text: &str,
    allowed: &[&'static str],
    why_not: impl Fn(&str) -> Option<String>,
) -> Result<Vec<&'static str>, String> {
    let mut chosen = Vec::new();
    for label in text.split(',').map(str::trim).filter(|label| !label.is_empty()) {
        let Some(known) = allowed.iter().copied().find(|known| *known == label) else {
            let reason = why_not(label).unwrap_or_else(|| format!("label {label:?} is not known"));
            return Err(format!("{reason}; allowed: {}", allowed.join(", ")));
        };
        if !chosen.contains(&known) {
            chosen.push(known);
        }
    }
    Ok(chosen)
}
