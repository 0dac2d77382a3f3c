// SPDX-License-Identifier: Apache-2.0
//! How the families of edges and listeners are described, for each protocol alike.

use crate::source::{Family, FamilyKind, Unit};

/// A counter of each edge.
pub const fn counter(
    name: &'static str,
    unit: Option<Unit>,
    help: &'static str,
    source: &'static str,
) -> Family {
    Family { name, kind: FamilyKind::Counter, unit, help, labels: &[], edge: true, source, buckets: "" }
}

/// The same with labels besides those of the edge.
pub const fn by(labels: &'static [&'static str], family: Family) -> Family {
    Family { labels, ..family }
}

/// A gauge of each edge.
pub const fn gauge(name: &'static str, help: &'static str, source: &'static str) -> Family {
    Family { name, kind: FamilyKind::Gauge, unit: None, help, labels: &[], edge: true, source, buckets: "" }
}

/// A histogram of each edge, in seconds.
pub const fn histogram(
    name: &'static str,
    help: &'static str,
    source: &'static str,
    buckets: &'static str,
) -> Family {
    let (kind, unit) = (FamilyKind::Histogram, Some(Unit::Seconds));
    Family { name, kind, unit, help, labels: &[], edge: true, source, buckets }
}

/// A family of each listener.
pub const fn listener(
    name: &'static str,
    kind: FamilyKind,
    help: &'static str,
    source: &'static str,
) -> Family {
    let labels = &["namespace", "workload", "port"];
    Family { name, kind, unit: None, help, labels, edge: false, source, buckets: "" }
}
