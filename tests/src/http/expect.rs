// SPDX-License-Identifier: Apache-2.0
//! What the exporter has counted of HTTP on an edge, held against what is known.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::Counts;
use crate::exporter::Exporter;
use crate::metrics::{Histogram, Metrics};
use crate::stage::{CLIENT, Edge, SERVER};

const PATIENCE: Duration = Duration::from_secs(10);

/// Why requests may have failed.
pub const REASONS: [&str; 3] = ["reset", "closed", "timeout"];

/// What one observer has counted on one edge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Responses.
    pub responses: Counts,
    /// Durations measured.
    pub durations: u64,
    /// Failed requests by reason.
    pub failed: BTreeMap<String, u64>,
}

impl Seen {
    /// As scraped; what is 0 is left out.
    pub fn of(metrics: &Metrics, edge: &Edge, observer: &str) -> Self {
        let selector = edge.selector(observer);
        let mut seen = Seen::default();
        for sample in metrics.select("flowgauge_http_responses_total", &selector) {
            let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
            // A code that is no number counts as one that nobody expects.
            let key = (label("method"), label("code").parse().unwrap_or(0));
            *seen.responses.entry(key).or_default() += sample.value as u64;
        }
        seen.responses.retain(|_, count| *count > 0);
        seen.durations = durations(metrics, edge, observer).count as u64;
        for (reason, count) in metrics.sum_by("flowgauge_http_requests_failed_total", "reason", &selector) {
            if count > 0.0 {
                seen.failed.insert(reason, count as u64);
            }
        }
        seen
    }

    /// What must be seen when each of these responses is that to a request, and nothing failed.
    pub fn answered(responses: Counts) -> Self {
        let durations = responses.values().sum();
        Seen { responses, durations, failed: BTreeMap::new() }
    }

    /// All responses.
    pub fn total(&self) -> u64 {
        self.responses.values().sum()
    }

    /// Whether nothing was seen that was not there: fewer may have been counted, and of some the method may be unknown.
    pub fn within(&self, truth: &Seen) -> bool {
        let of_code = |code: u16| -> u64 {
            let all = truth.responses.iter().filter(|((_, other), _)| *other == code);
            all.map(|(_, count)| count).sum()
        };
        let right = |(key, count): (&(String, u16), &u64)| {
            let (method, code) = key;
            let there = if method == "unknown" {
                of_code(*code)
            } else {
                truth.responses.get(key).copied().unwrap_or(0)
            };
            *count <= there
        };
        self.responses.iter().all(right) && self.total() <= truth.total() && self.durations <= truth.durations
    }
}

/// The histogram of response times as seen by one observer.
pub fn durations(metrics: &Metrics, edge: &Edge, observer: &str) -> Histogram {
    metrics.histogram("flowgauge_http_response_duration_seconds", &edge.selector(observer))
}

/// How many series of HTTP there are on an edge.
pub fn series(metrics: &Metrics, edge: &Edge, observer: &str) -> usize {
    let selector = edge.selector(observer);
    let families = metrics.families().filter(|(name, _)| name.starts_with("flowgauge_http_"));
    let names: Vec<_> = families.flat_map(|(_, family)| &family.samples).map(|sample| &sample.name).collect();
    let names: std::collections::BTreeSet<_> = names.into_iter().collect();
    names.into_iter().map(|name| metrics.select(name, &selector).count()).sum()
}

/// Events of HTTP/1 that the exporter says it has lost, of all edges: of other tests' too, if they run at the same time.
pub fn lost(metrics: &Metrics) -> f64 {
    let lost = metrics.sum_by("flowgauge_lost_events_total", "reason", &[]);
    lost.iter().filter(|(reason, _)| reason.starts_with("http_")).map(|(_, count)| count).sum()
}

/// Waits until both observers have seen this, and then no more of it, on an edge.
pub fn expect_http(exporter: &Exporter, edge: &Edge, seen: &Seen) -> Result<Metrics> {
    let views = [(CLIENT, seen), (SERVER, seen)];
    let wrong = |metrics: &Metrics| -> Vec<String> {
        let wrong = views.iter().filter(|(side, seen)| Seen::of(metrics, edge, side) != **seen);
        wrong
            .map(|(side, seen)| {
                format!("the {side} saw {:?}\ninstead of {seen:?}", Seen::of(metrics, edge, side))
            })
            .collect()
    };
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let metrics = exporter.scrape()?;
        if wrong(&metrics).is_empty() {
            // What has been counted twice, or late, would show now.
            let metrics = exporter.scrape()?;
            ensure!(wrong(&metrics).is_empty(), "more came: {}", wrong(&metrics).join("\n"));
            return Ok(metrics);
        }
        if std::time::Instant::now() > deadline {
            let lost = metrics.describe("flowgauge_lost", &[]);
            let tcp = metrics.describe("flowgauge_tcp_connections", &edge.selector(SERVER)[..3]);
            bail!("{edge:?}: {}\nlost:\n{lost}\n{tcp}", wrong(&metrics).join("\n"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, u16, u64)]) -> Counts {
        counts.iter().map(|(method, code, count)| (((*method).to_owned(), *code), *count)).collect()
    }

    #[test]
    fn fewer_is_right_and_others_are_wrong() {
        let truth = Seen::answered(counts(&[("GET", 200, 5), ("PUT", 201, 2)]));
        for (seen, right) in [
            (&[("GET", 200, 5), ("PUT", 201, 2)][..], true),
            (&[("GET", 200, 3)], true),
            (&[("GET", 200, 3), ("unknown", 200, 2)], true),
            (&[("GET", 200, 6)], false),
            (&[("GET", 201, 1)], false),
            (&[("unknown", 404, 1)], false),
            (&[("unknown", 200, 6)], false),
            (&[("GET", 200, 5), ("PUT", 201, 2), ("unknown", 200, 1)], false),
        ] {
            assert_eq!(Seen::answered(counts(seen)).within(&truth), right, "{seen:?}");
        }
    }
}
