// SPDX-License-Identifier: Apache-2.0
//! What HTTP and gRPC did on one edge.

use std::collections::BTreeMap;

use flowgauge_probes::packets::{HTTP_BUCKETS, HTTP_FAILURES, HttpGrowth, HttpOutcome, METHODS};

use super::entry::add;
use crate::http2::GRPC_STATUSES;

/// Pairs of method and code that an edge tells apart. Services answer with a dozen; a peer that makes codes up must not take the
/// budget of all edges.
const MOST_PAIRS: usize = 64;

/// Code of responses beyond [`MOST_PAIRS`].
const OTHER_CODE: u16 = 0;

/// Everything counted of the edge's requests since the start.
#[derive(Debug, Clone, Default)]
pub struct HttpPart {
    /// By index into [`METHODS`] and code.
    responses: BTreeMap<(usize, u16), u64>,
    /// Response times by bucket.
    pub durations: [u64; HTTP_BUCKETS],
    /// Their sum, microseconds.
    pub duration_sum: u64,
    /// Requests that were not answered, in the order of [`HTTP_FAILURES`].
    pub failed: [u64; HTTP_FAILURES.len()],
    /// gRPC responses, in the order of [`GRPC_STATUSES`].
    grpc: [u64; GRPC_STATUSES.len()],
}

impl HttpPart {
    /// Adds what a flow grew.
    pub fn add(&mut self, growth: &HttpGrowth) {
        match growth.outcome {
            HttpOutcome::Response(code) => self.add_responses(growth.method, code, growth.count),
            HttpOutcome::Failed(why) => self.failed[why.min(HTTP_FAILURES.len() - 1)] += growth.count,
        }
        add(&mut self.durations, growth.durations);
        self.duration_sum += growth.duration_sum;
    }

    fn add_responses(&mut self, method: usize, code: u16, count: u64) {
        let pair = (method, code);
        let full = self.responses.len() >= MOST_PAIRS && !self.responses.contains_key(&pair);
        let pair = if full { (METHODS.len() - 1, OTHER_CODE) } else { pair };
        *self.responses.entry(pair).or_default() += count;
    }

    /// Adds a gRPC response with a status of [`GRPC_STATUSES`].
    pub fn add_grpc(&mut self, status: usize) {
        self.grpc[status.min(GRPC_STATUSES.len() - 1)] += 1;
    }

    /// Adds all that another edge counted.
    pub fn absorb(&mut self, other: &HttpPart) {
        for ((method, code), count) in &other.responses {
            self.add_responses(*method, *code, *count);
        }
        add(&mut self.durations, other.durations);
        self.duration_sum += other.duration_sum;
        add(&mut self.failed, other.failed);
        add(&mut self.grpc, other.grpc);
    }

    /// Responses as they are served: method, code and how many.
    pub fn responses(&self) -> impl Iterator<Item = (&'static str, String, u64)> {
        let code = |code: u16| if code == OTHER_CODE { "other".to_owned() } else { code.to_string() };
        self.responses.iter().map(move |((method, number), count)| {
            (METHODS[(*method).min(METHODS.len() - 1)], code(*number), *count)
        })
    }

    /// gRPC responses as they are served: status and how many. With any, OK is there, for a rate of errors to be measured against.
    pub fn grpc(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let any = self.grpc.iter().any(|count| *count > 0);
        let all = GRPC_STATUSES.iter().zip(self.grpc).enumerate();
        all.filter(move |(at, (_, count))| *count > 0 || (any && *at == 0))
            .map(|(_, (status, count))| (*status, count))
    }

    /// Whether any response time was measured.
    pub fn has_durations(&self) -> bool {
        self.durations.iter().any(|count| *count > 0)
    }

    /// How many series it is served as.
    pub fn series(&self) -> usize {
        // Sum and count come on top of the buckets.
        let durations = if self.has_durations() { HTTP_BUCKETS + 2 } else { 0 };
        self.responses.len() + HTTP_FAILURES.len() + durations + self.grpc().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(method: usize, outcome: HttpOutcome, count: u64) -> HttpGrowth {
        HttpGrowth { method, outcome, count, durations: [0; HTTP_BUCKETS], duration_sum: 0 }
    }

    #[test]
    fn codes_made_up_by_a_peer_are_bounded_and_none_is_forgotten() {
        let mut part = HttpPart::default();
        for code in 100..600 {
            part.add(&growth(1, HttpOutcome::Response(code), 2));
        }
        let served: Vec<_> = part.responses().collect();
        assert_eq!(served.len(), MOST_PAIRS + 1);
        assert_eq!(served.iter().map(|(.., count)| count).sum::<u64>(), 1000);
        assert_eq!(
            served.last().map(|(method, code, count)| (*method, code.as_str(), *count)),
            Some(("other", "other", 872))
        );
        // Those that have a place keep it.
        part.add(&growth(1, HttpOutcome::Response(100), 1));
        assert_eq!(part.responses().next(), Some(("GET", "100".to_owned(), 3)));
        let mut other = HttpPart::default();
        other.add(&growth(3, HttpOutcome::Response(200), 5));
        other.absorb(&part);
        assert_eq!(other.responses().map(|(.., count)| count).sum::<u64>(), 1006);
        assert!(other.series() <= MOST_PAIRS + 1 + HTTP_FAILURES.len());
    }

    #[test]
    fn a_rate_of_grpc_errors_has_something_to_be_measured_against() {
        let mut part = HttpPart::default();
        assert_eq!(part.grpc().count(), 0);
        part.add_grpc(14);
        assert_eq!(part.grpc().collect::<Vec<_>>(), [("OK", 0), ("UNAVAILABLE", 1)]);
    }
}
