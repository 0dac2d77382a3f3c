// SPDX-License-Identifier: Apache-2.0
//! What an item read, as the families it is served in.

use std::borrow::Cow;
use std::fmt;
use std::ptr;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};

use crate::source::{Family, FamilyKind, Unit};

/// A family of the node without a unit.
pub const fn plain(
    name: &'static str,
    kind: FamilyKind,
    labels: &'static [&'static str],
    help: &'static str,
    source: &'static str,
) -> Family {
    Family { name, kind, unit: None, help, labels, edge: false, source, buckets: "" }
}

/// The same in bytes.
pub const fn bytes(family: Family) -> Family {
    Family { unit: Some(Unit::Bytes), ..family }
}

/// The same in seconds.
pub const fn seconds(family: Family) -> Family {
    Family { unit: Some(Unit::Seconds), ..family }
}

/// A label's value.
pub type Label = Cow<'static, str>;

struct Sample {
    family: &'static Family,
    labels: Vec<Label>,
    value: f64,
}

/// Samples in the order in which they are served: those of a family one after the other.
#[derive(Default)]
pub struct Samples(Vec<Sample>);

impl Samples {
    /// The one sample of a family without labels.
    pub fn one(&mut self, family: &'static Family, value: f64) {
        self.0.push(Sample { family, labels: Vec::new(), value });
    }

    /// The samples of a family with one label, each with the label's value.
    pub fn each<L: Into<Label>>(
        &mut self,
        family: &'static Family,
        samples: impl IntoIterator<Item = (L, f64)>,
    ) {
        let sample = |(label, value): (L, f64)| Sample { family, labels: vec![label.into()], value };
        self.0.extend(samples.into_iter().map(sample));
    }

    /// The samples of a family with two labels.
    pub fn each_pair<A: Into<Label>, B: Into<Label>>(
        &mut self,
        family: &'static Family,
        samples: impl IntoIterator<Item = (A, B, f64)>,
    ) {
        let sample = |(a, b, value): (A, B, f64)| Sample { family, labels: vec![a.into(), b.into()], value };
        self.0.extend(samples.into_iter().map(sample));
    }

    /// What another item read, after what is here.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Writes them.
    ///
    /// # Errors
    /// What the encoder returns.
    pub fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for samples in self.0.chunk_by(|a, b| ptr::eq(a.family, b.family)) {
            let family = samples[0].family;
            let mut metric = family.describe(encoder)?;
            for Sample { labels, value, .. } in samples {
                let labels: Vec<(&str, &str)> =
                    family.labels.iter().copied().zip(labels.iter().map(AsRef::as_ref)).collect();
                // A set without labels would be written as empty braces.
                match (family.kind, labels.is_empty()) {
                    (FamilyKind::Counter, true) => {
                        metric.encode_counter::<NoLabelSet, _, f64>(value, None)?;
                    }
                    (FamilyKind::Counter, false) => {
                        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(value, None)?;
                    }
                    (_, true) => metric.encode_gauge(value)?,
                    (_, false) => metric.encode_family(&labels)?.encode_gauge(value)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl Samples {
    /// A line for each, for comparing: `name{a,b} value`.
    pub fn lines(&self) -> Vec<String> {
        let line = |sample: &Sample| {
            let labels = sample.labels.join(",");
            format!("{}{{{labels}}} {}", sample.family.name, sample.value)
        };
        self.0.iter().map(line).collect()
    }

    /// The families that have samples, in order, as often as they begin.
    pub fn families(&self) -> Vec<&'static str> {
        self.0.chunk_by(|a, b| ptr::eq(a.family, b.family)).map(|samples| samples[0].family.name).collect()
    }
}
