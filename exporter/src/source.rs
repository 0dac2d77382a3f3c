// SPDX-License-Identifier: Apache-2.0
//! The seam between what measures (pass, ledger, labels) and what serves (web, exposition, documentation).

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry;

use crate::flows;

/// What every Flowgauge family's name begins with. `process_*` families have no prefix.
pub const PREFIX: &str = "flowgauge";

/// What serves the numbers. Implemented over the pass and the ledger.
///
/// The web side calls [`refresh`](Self::refresh) and [`encode`](Self::encode) from threads that have given up every
/// capability beyond `app::SERVING_CAPABILITIES`: whatever needs more belongs on a thread of the source's own, started
/// while the source is built.
pub trait MetricSource: Send + Sync + 'static {
    /// Brings the numbers up to date: one pass. Blocks for up to tens of milliseconds.
    ///
    /// # Errors
    /// When no usable numbers could be had; the scrape then answers 500 with the reason. A part that fails alone is
    /// told by [`status`](Self::status) and its own metric instead.
    fn refresh(&self) -> Result<(), anyhow::Error>;

    /// Writes the families, consistent in themselves, as of the last pass.
    ///
    /// Several scrapes may encode at the same time, and a pass for a later scrape may end between `refresh` and `encode`.
    ///
    /// # Errors
    /// Only what the encoder itself returns.
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result;

    /// The state of each collector and label source, for the landing page and `/-/ready`.
    fn status(&self) -> Vec<ComponentStatus>;

    /// Whether the first pass is done. The web side remembers the first `true`.
    fn ready(&self) -> bool;

    /// The name of this host; empty if it has none.
    fn node(&self) -> String {
        String::new()
    }

    /// Names of the labels that edges have in the drill-down by address; None if it is off.
    fn flow_labels(&self) -> Option<Vec<&'static str>> {
        None
    }

    /// Answers a question about addresses, as of the last pass; None if the drill-down is off. Takes milliseconds.
    fn flows(&self, query: &flows::Query) -> Option<flows::Answer> {
        let _ = query;
        None
    }

    /// Reads again what an operator can change while the program runs (the names file). Called on SIGHUP.
    ///
    /// # Errors
    /// Says what could not be read; what was in force before stays in force.
    fn reload(&self) -> Result<(), anyhow::Error> {
        Ok(())
    }
}

/// How one collector or label source fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentStatus {
    /// `collector` or `label source`.
    pub kind: &'static str,
    /// As in the flag: `tcp`, `names_file`.
    pub name: String,
    /// Whether it works.
    pub state: State,
    /// One line for an operator: what is observed, or why not.
    pub detail: String,
}

/// Whether a component works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Works.
    Up,
    /// Switched off by a flag or not configured.
    Disabled,
    /// Should work, and does not.
    Failed,
}

impl State {
    /// The word shown to an operator.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Disabled => "disabled",
            Self::Failed => "failed",
        }
    }
}

/// One metric family: the single source of HELP, of `docs/metrics.md` and of the exposition.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The OpenMetrics family name without prefix, with unit: `tcp_sent_bytes` for `flowgauge_tcp_sent_bytes_total`,
    /// `build` for `flowgauge_build_info`.
    pub name: &'static str,
    /// Its type.
    pub kind: FamilyKind,
    /// Its base unit; `name` must end with it.
    pub unit: Option<Unit>,
    /// One sentence that ends with a full stop and needs no escaping: no quotes, no backslashes.
    pub help: &'static str,
    /// Labels besides the edge labels.
    pub labels: &'static [&'static str],
    /// Whether it carries the edge labels.
    pub edge: bool,
    /// Where it is read: kernel field, file or RFC. For the documentation.
    pub source: &'static str,
    /// A histogram's bounds in words; empty for the rest.
    pub buckets: &'static str,
}

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// Only grows; exposed with the suffix `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Classic histogram: `_bucket`, `_sum`, `_count`.
    Histogram,
    /// Facts as labels of a constant 1; exposed with the suffix `_info`.
    Info,
}

/// The base unit of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

static BYTES: registry::Unit = registry::Unit::Bytes;
static SECONDS: registry::Unit = registry::Unit::Seconds;

impl Unit {
    /// The suffix in the name, which a test holds every family to.
    #[cfg(test)]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Seconds => "seconds",
        }
    }
}

impl Family {
    /// Writes HELP, TYPE and UNIT and returns the encoder for the samples.
    ///
    /// For each label set call [`MetricEncoder::encode_family`] on the result.
    ///
    /// # Errors
    /// What the encoder returns.
    pub fn describe<'a>(
        &'static self,
        encoder: &'a mut DescriptorEncoder<'_>,
    ) -> Result<MetricEncoder<'a>, std::fmt::Error> {
        let (stem, unit) = self.stem_and_unit();
        encoder.encode_descriptor(stem, self.help, unit, self.kind.metric_type())
    }

    /// The name of its samples without prefix (a histogram's without `_bucket`, `_sum`, `_count`).
    pub fn sample_name(&self) -> String {
        match self.kind {
            FamilyKind::Counter => format!("{}_total", self.name),
            FamilyKind::Info => format!("{}_info", self.name),
            FamilyKind::Gauge | FamilyKind::Histogram => self.name.to_owned(),
        }
    }

    /// The encoder appends the unit itself.
    fn stem_and_unit(&self) -> (&'static str, Option<&'static registry::Unit>) {
        let (suffix, unit) = match self.unit {
            Some(Unit::Bytes) => ("_bytes", &BYTES),
            Some(Unit::Seconds) => ("_seconds", &SECONDS),
            None => return (self.name, None),
        };
        self.name.strip_suffix(suffix).map_or((self.name, None), |stem| (stem, Some(unit)))
    }
}

impl FamilyKind {
    /// The word in a TYPE line of OpenMetrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }

    const fn metric_type(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
            Self::Info => MetricType::Info,
        }
    }
}
