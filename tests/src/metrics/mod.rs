// SPDX-License-Identifier: Apache-2.0
//! Scraped metrics: what was scraped, sums over labels, and what must hold between two scrapes.

mod parse;

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

pub use parse::Format;

/// Label names and values that a sample must have; an absent label counts as empty.
pub type Selector<'a> = [(&'a str, &'a str)];

/// What a metric family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
    /// Facts as labels, valued 1 (OpenMetrics only).
    Info,
    /// Declared as unknown or untyped.
    Unknown,
}

/// A metric family: one HELP, one TYPE, its samples in one block.
#[derive(Debug, Clone)]
pub struct Family {
    /// What it is.
    pub kind: Kind,
    /// Its HELP text, unescaped.
    pub help: String,
    /// Samples in order of appearance.
    pub samples: Vec<Sample>,
}

/// One sample.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Its full name, with `_total`, `_bucket` and the like.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Sample {
    fn matches(&self, selector: &Selector) -> bool {
        selector.iter().all(|(label, value)| self.labels.get(*label).map_or("", String::as_str) == *value)
    }
}

/// One scrape, parsed.
#[derive(Debug, Clone)]
pub struct Metrics {
    families: BTreeMap<String, Family>,
}

impl Metrics {
    /// Parses a scrape and checks it against the format's rules.
    pub fn parse(text: &str, format: Format) -> Result<Self> {
        let families = parse::families(text, format)?;
        Ok(Metrics { families })
    }

    /// A family by its declared name (classic text: counters with `_total`; OpenMetrics: without).
    pub fn family(&self, name: &str) -> Option<&Family> {
        self.families.get(name)
    }

    /// All families by name.
    pub fn families(&self) -> impl Iterator<Item = (&str, &Family)> {
        self.families.iter().map(|(name, family)| (name.as_str(), family))
    }

    /// All samples.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.families.values().flat_map(|family| &family.samples)
    }

    /// Samples of this full name that match.
    pub fn select<'a>(
        &'a self,
        name: &'a str,
        selector: &'a Selector<'a>,
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples().filter(move |sample| sample.name == name && sample.matches(selector))
    }

    /// The sum of the samples of this full name that match; 0 if none does.
    pub fn sum(&self, name: &str, selector: &Selector) -> f64 {
        self.samples()
            .filter(|sample| sample.name == name && sample.matches(selector))
            .fold(0.0, |sum, sample| sum + sample.value)
    }

    /// The sum by the values of one label.
    pub fn sum_by(&self, name: &str, label: &str, selector: &Selector) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for sample in self.samples().filter(|sample| sample.name == name && sample.matches(selector)) {
            *sums.entry(sample.labels.get(label).cloned().unwrap_or_default()).or_insert(0.0) += sample.value;
        }
        sums
    }

    /// The matching histograms of a family, added up.
    pub fn histogram(&self, name: &str, selector: &Selector) -> Histogram {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        let bucket_name = format!("{name}_bucket");
        for sample in self.samples().filter(|sample| sample.name == bucket_name && sample.matches(selector)) {
            let bound = sample.labels.get("le").and_then(|le| parse::number(le)).unwrap_or(f64::NAN);
            match buckets.iter_mut().find(|(le, _)| *le == bound) {
                Some((_, count)) => *count += sample.value,
                None => buckets.push((bound, sample.value)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Histogram {
            buckets,
            count: self.sum(&format!("{name}_count"), selector),
            sum: self.sum(&format!("{name}_sum"), selector),
        }
    }

    /// Checks that nothing that may only grow has fallen, and that no series of `earlier` has gone, unless
    /// `may_vanish` (folding, idle edges).
    pub fn ensure_monotone_since(&self, earlier: &Metrics, may_vanish: bool) -> Result<()> {
        let now: BTreeMap<_, _> = self.cumulative().collect();
        for (key, before) in earlier.cumulative() {
            match now.get(&key) {
                Some(after) => ensure!(*after >= before, "{key:?} fell from {before} to {after}"),
                None if may_vanish => {}
                None => bail!("{key:?} was {before} and has vanished"),
            }
        }
        Ok(())
    }

    fn cumulative(&self) -> impl Iterator<Item = ((&str, &BTreeMap<String, String>), f64)> {
        let grows = |family: &&Family| matches!(family.kind, Kind::Counter | Kind::Histogram);
        self.families
            .values()
            .filter(grows)
            .flat_map(|family| &family.samples)
            .map(|sample| ((sample.name.as_str(), &sample.labels), sample.value))
    }

    /// The matching samples of names beginning with `prefix` that are not 0, a line each: for failure messages.
    pub fn describe(&self, prefix: &str, selector: &Selector) -> String {
        let mut text = String::new();
        for sample in self.samples() {
            let wanted = sample.name.starts_with(prefix) && sample.matches(selector);
            if wanted && sample.value != 0.0 && !sample.name.ends_with("_bucket") {
                let labels = sample.labels.iter().filter(|(_, value)| !value.is_empty());
                let labels: Vec<_> = labels.map(|(name, value)| format!("{name}={value:?}")).collect();
                text += &format!("{}{{{}}} {}\n", sample.name, labels.join(","), sample.value);
            }
        }
        text
    }
}

/// A histogram: cumulative counts by upper bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Upper bounds, ascending, with the count of values at or below each.
    pub buckets: Vec<(f64, f64)>,
    /// Number of values.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
}

impl Histogram {
    /// What was added since `earlier`.
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let before =
            |bound: f64| earlier.buckets.iter().find(|(le, _)| *le == bound).map_or(0.0, |(_, count)| *count);
        Histogram {
            buckets: self.buckets.iter().map(|(le, count)| (*le, count - before(*le))).collect(),
            count: self.count - earlier.count,
            sum: self.sum - earlier.sum,
        }
    }

    /// Bounds (low, high] of the bucket in which the `quantile` (0 to 1) lies; none if the histogram is empty.
    pub fn quantile_bucket(&self, quantile: f64) -> Option<(f64, f64)> {
        let mut low = 0.0;
        for (high, count) in &self.buckets {
            if self.count > 0.0 && *count >= quantile * self.count && *count > 0.0 {
                return Some((low, *high));
            }
            low = *high;
        }
        None
    }

    /// The average of the values; NaN if there are none.
    pub fn mean(&self) -> f64 {
        self.sum / self.count
    }
}
