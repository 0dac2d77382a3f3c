// SPDX-License-Identifier: Apache-2.0
//! What is counted of a flow in a stretch of time, as one row of numbers.

use std::ops::Range;

use flowgauge_probes::packets::{
    DnsCounts, HTTP_FAILURES, HttpGrowth, HttpOutcome, NXDOMAIN, RCODES, UdpCounts,
};
use flowgauge_probes::tcp::{CLOSE_REASONS, Events, FAILURES, RTT_POWERS};

use crate::http2::GRPC_STATUSES;

/// Where each number is.
pub mod at {
    use super::{CLOSE_REASONS, FAILURES, GRPC_STATUSES, HTTP_FAILURES, RCODES};

    pub const SENT_BYTES: usize = 0;
    pub const RECEIVED_BYTES: usize = 1;
    pub const SENT_SEGMENTS: usize = 2;
    pub const RECEIVED_SEGMENTS: usize = 3;
    pub const RETRANSMITTED: usize = 4;
    pub const OUT_OF_ORDER: usize = 5;
    /// Microseconds.
    pub const RTT_SUM: usize = 6;
    pub const RTT_SAMPLES: usize = 7;
    /// Microseconds; the only one that is not added up: of two, the larger counts.
    pub const RTT_MAX: usize = 8;
    pub const OPENED: usize = 9;
    pub const ATTEMPTS: usize = 10;
    pub const SYN_RETRANSMITS: usize = 11;
    pub const SYNACK_RETRANSMITS: usize = 12;
    /// By reason.
    pub const CLOSED: usize = 13;
    /// By reason.
    pub const FAILED: usize = CLOSED + CLOSE_REASONS.len();
    pub const UDP_SENT_BYTES: usize = FAILED + FAILURES.len();
    pub const UDP_RECEIVED_BYTES: usize = UDP_SENT_BYTES + 1;
    pub const UDP_SENT_PACKETS: usize = UDP_SENT_BYTES + 2;
    pub const UDP_RECEIVED_PACKETS: usize = UDP_SENT_BYTES + 3;
    pub const DNS_QUERIES: usize = UDP_SENT_BYTES + 4;
    pub const DNS_TIMEOUTS: usize = DNS_QUERIES + 1;
    /// Microseconds.
    pub const DNS_TIME: usize = DNS_QUERIES + 2;
    pub const DNS_TIMED: usize = DNS_QUERIES + 3;
    /// By code.
    pub const DNS_RESPONSES: usize = DNS_QUERIES + 4;
    /// By the hundreds of the code, 1xx first.
    pub const HTTP_RESPONSES: usize = DNS_RESPONSES + RCODES.len();
    /// By reason.
    pub const HTTP_FAILED: usize = HTTP_RESPONSES + 5;
    /// Microseconds.
    pub const HTTP_TIME: usize = HTTP_FAILED + HTTP_FAILURES.len();
    pub const HTTP_TIMED: usize = HTTP_TIME + 1;
    /// By status.
    pub const GRPC: usize = HTTP_TIMED + 1;
    /// How many there are.
    pub const COUNT: usize = GRPC + GRPC_STATUSES.len();
}

// A place is written as one byte.
const _: () = assert!(at::COUNT <= 128);

/// Statuses of gRPC that tell of a server, or of a way to it, that does not work; the others tell of requests. `other` is no status of
/// the protocol, `none` a response that ended without any. OpenTelemetry's conventions for servers name the same six.
const GRPC_ERRORS: [&str; 8] = [
    "UNKNOWN",
    "DEADLINE_EXCEEDED",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "other",
    "none",
];

/// Whether a gRPC status tells of a failing server.
pub fn is_grpc_error(status: &str) -> bool {
    GRPC_ERRORS.contains(&status)
}

const CLOSED: Range<usize> = at::CLOSED..at::CLOSED + CLOSE_REASONS.len();
const FAILED: Range<usize> = at::FAILED..at::FAILED + FAILURES.len();
const DNS_RESPONSES: Range<usize> = at::DNS_RESPONSES..at::DNS_RESPONSES + RCODES.len();
const HTTP_RESPONSES: Range<usize> = at::HTTP_RESPONSES..at::HTTP_RESPONSES + 5;
const HTTP_FAILED: Range<usize> = at::HTTP_FAILED..at::HTTP_FAILED + HTTP_FAILURES.len();
const GRPC: Range<usize> = at::GRPC..at::COUNT;

/// Names of the classes of status codes.
pub const HTTP_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// One number for each place of [`at`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts([u64; at::COUNT]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; at::COUNT])
    }
}

impl Counts {
    /// The number at a place.
    pub fn get(&self, place: usize) -> u64 {
        self.0.get(place).copied().unwrap_or_default()
    }

    /// Adds to the number at a place; of the largest RTT, keeps the larger one. A place that is none is ignored.
    pub fn add(&mut self, place: usize, value: u64) {
        if let Some(number) = self.0.get_mut(place) {
            *number = if place == at::RTT_MAX { value.max(*number) } else { number.saturating_add(value) };
        }
    }

    /// Adds all of another's.
    pub fn merge(&mut self, other: &Counts) {
        for (place, value) in other.nonzero() {
            self.add(place, value);
        }
    }

    /// Those that are not zero, and where.
    pub fn nonzero(&self) -> impl Iterator<Item = (usize, u64)> {
        self.0.iter().copied().enumerate().filter(|(_, value)| *value > 0)
    }

    /// Whether all are zero.
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|value| *value == 0)
    }

    fn add_all(&mut self, first: usize, values: impl IntoIterator<Item = u64>) {
        for (offset, value) in values.into_iter().enumerate() {
            self.add(first + offset, value);
        }
    }

    /// Adds what happened to connections, other than what their sockets count and their round trips.
    pub fn add_events(&mut self, events: &Events) {
        self.add(at::SYNACK_RETRANSMITS, events.synack_retransmits);
        self.add_all(at::CLOSED, events.closed.map(u64::from));
        self.add_all(at::FAILED, events.failed.map(u64::from));
    }

    /// Adds datagrams.
    pub fn add_udp(&mut self, growth: &UdpCounts) {
        self.add(at::UDP_SENT_BYTES, growth.sent_bytes);
        self.add(at::UDP_RECEIVED_BYTES, growth.received_bytes);
        self.add(at::UDP_SENT_PACKETS, growth.sent_packets);
        self.add(at::UDP_RECEIVED_PACKETS, growth.received_packets);
    }

    /// Adds DNS messages.
    pub fn add_dns(&mut self, growth: &DnsCounts) {
        self.add(at::DNS_QUERIES, growth.queries.iter().sum());
        self.add(at::DNS_TIMEOUTS, growth.timeouts);
        self.add(at::DNS_TIME, growth.duration_sum);
        self.add(at::DNS_TIMED, growth.durations.iter().sum());
        self.add_all(at::DNS_RESPONSES, growth.responses);
    }

    /// Adds requests.
    pub fn add_http(&mut self, growth: &HttpGrowth) {
        match growth.outcome {
            HttpOutcome::Response(code) => {
                let class = usize::from(code / 100).clamp(1, HTTP_CLASSES.len()) - 1;
                self.add(at::HTTP_RESPONSES + class, growth.count);
            }
            HttpOutcome::Failed(why) => {
                self.add(at::HTTP_FAILED + why.min(HTTP_FAILURES.len() - 1), growth.count);
            }
        }
        self.add(at::HTTP_TIME, growth.duration_sum);
        self.add(at::HTTP_TIMED, growth.durations.iter().sum());
    }

    /// Adds a gRPC response with a status of [`GRPC_STATUSES`].
    pub fn add_grpc(&mut self, status: usize) {
        self.add(at::GRPC + status.min(GRPC_STATUSES.len() - 1), 1);
    }

    fn sum(&self, places: Range<usize>) -> u64 {
        self.0.get(places).map_or(0, |values| values.iter().sum())
    }

    fn named(&self, places: Range<usize>, names: &[&'static str]) -> Vec<(&'static str, u64)> {
        let values = self.0.get(places).unwrap_or_default();
        names.iter().copied().zip(values.iter().copied()).filter(|(_, value)| *value > 0).collect()
    }

    /// Payload bytes of TCP and UDP, sent and received.
    pub fn bytes(&self) -> u64 {
        self.sent_bytes() + self.received_bytes()
    }

    /// Payload bytes sent.
    pub fn sent_bytes(&self) -> u64 {
        self.get(at::SENT_BYTES) + self.get(at::UDP_SENT_BYTES)
    }

    /// Payload bytes received.
    pub fn received_bytes(&self) -> u64 {
        self.get(at::RECEIVED_BYTES) + self.get(at::UDP_RECEIVED_BYTES)
    }

    /// TCP segments sent and received.
    pub fn segments(&self) -> u64 {
        self.get(at::SENT_SEGMENTS) + self.get(at::RECEIVED_SEGMENTS)
    }

    /// Retransmitted segments in those sent; None without any.
    pub fn retransmit_ratio(&self) -> Option<f64> {
        let sent = self.get(at::SENT_SEGMENTS);
        (sent > 0).then(|| self.get(at::RETRANSMITTED) as f64 / sent as f64)
    }

    /// Mean of the round-trip samples, seconds.
    pub fn rtt_mean(&self) -> Option<f64> {
        mean(self.get(at::RTT_SUM), self.get(at::RTT_SAMPLES))
    }

    /// Largest round-trip sample, seconds.
    pub fn rtt_max(&self) -> Option<f64> {
        (self.get(at::RTT_SAMPLES) > 0).then(|| self.get(at::RTT_MAX) as f64 / 1e6)
    }

    /// Attempts to connect that failed.
    pub fn connect_failures(&self) -> u64 {
        self.sum(FAILED)
    }

    /// The same by reason.
    pub fn connect_failures_by_reason(&self) -> Vec<(&'static str, u64)> {
        self.named(FAILED, &FAILURES)
    }

    /// Closed connections by reason.
    pub fn closed_by_reason(&self) -> Vec<(&'static str, u64)> {
        self.named(CLOSED, &CLOSE_REASONS)
    }

    /// DNS responses by code.
    pub fn dns_responses(&self) -> Vec<(&'static str, u64)> {
        self.named(DNS_RESPONSES, &RCODES)
    }

    /// DNS responses that are neither NOERROR nor NXDOMAIN, and timeouts.
    pub fn dns_errors(&self) -> u64 {
        let all = self.sum(DNS_RESPONSES);
        let fine = self.get(at::DNS_RESPONSES) + self.get(at::DNS_RESPONSES + NXDOMAIN);
        all - fine + self.get(at::DNS_TIMEOUTS)
    }

    /// Mean time to a DNS response, seconds.
    pub fn dns_mean(&self) -> Option<f64> {
        mean(self.get(at::DNS_TIME), self.get(at::DNS_TIMED))
    }

    /// HTTP responses.
    pub fn http_responses(&self) -> u64 {
        self.sum(HTTP_RESPONSES)
    }

    /// The same by class of code.
    pub fn http_responses_by_class(&self) -> Vec<(&'static str, u64)> {
        self.named(HTTP_RESPONSES, &HTTP_CLASSES)
    }

    /// Requests without a response by reason.
    pub fn http_failed_by_reason(&self) -> Vec<(&'static str, u64)> {
        self.named(HTTP_FAILED, &HTTP_FAILURES)
    }

    /// Responses of 500 and above, and requests without one.
    pub fn http_errors(&self) -> u64 {
        self.get(at::HTTP_RESPONSES + 4) + self.sum(HTTP_FAILED)
    }

    /// Mean time to an HTTP response, seconds.
    pub fn http_mean(&self) -> Option<f64> {
        mean(self.get(at::HTTP_TIME), self.get(at::HTTP_TIMED))
    }

    /// gRPC responses by status.
    pub fn grpc(&self) -> Vec<(&'static str, u64)> {
        self.named(GRPC, &GRPC_STATUSES)
    }

    /// gRPC responses with a status that tells of a failing server.
    pub fn grpc_errors(&self) -> u64 {
        let statuses = GRPC_STATUSES.iter().zip(self.0.get(GRPC).unwrap_or_default());
        statuses.filter(|(name, _)| is_grpc_error(name)).map(|(_, count)| count).sum()
    }

    /// Everything that failed: connects, DNS, HTTP, gRPC.
    pub fn errors(&self) -> u64 {
        self.connect_failures() + self.dns_errors() + self.http_errors() + self.grpc_errors()
    }

    /// Whether anything of TCP was counted.
    pub fn has_tcp(&self) -> bool {
        self.sum(0..at::UDP_SENT_BYTES) > 0
    }

    /// Whether any datagram was counted.
    pub fn has_udp(&self) -> bool {
        self.sum(at::UDP_SENT_BYTES..at::DNS_QUERIES) > 0
    }

    /// Whether any DNS message was counted.
    pub fn has_dns(&self) -> bool {
        self.sum(at::DNS_QUERIES..at::HTTP_RESPONSES) > 0
    }

    /// Whether any HTTP request was counted.
    pub fn has_http(&self) -> bool {
        self.sum(at::HTTP_RESPONSES..at::COUNT) > 0
    }
}

fn mean(sum: u64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum as f64 / count as f64 / 1e6)
}

/// What round trips that were sampled as their connections closed come to: samples, their sum and the largest, microseconds. Of several
/// only the sum and the buckets are known, so the largest is at least what is told.
pub fn closed_rtt(events: &Events) -> (u64, u64, u64) {
    let samples: u64 = events.rtt.iter().map(|count| u64::from(*count)).sum();
    if samples == 0 {
        return (0, 0, 0);
    }
    let highest = events.rtt.iter().rposition(|count| *count > 0).unwrap_or_default() as u32;
    let above = if highest == 0 { 0 } else { 1_u64 << (RTT_POWERS.start() + highest - 1) };
    (samples, events.rtt_sum, above.max(events.rtt_sum / samples))
}

#[cfg(test)]
mod tests;
