// SPDX-License-Identifier: Apache-2.0
//! Queries of one socket that wait for their answers.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use flowgauge_tests::dns::client::Report;
use flowgauge_tests::dns::message::{Query, Response};

/// Queries under way by id, and what became of the others.
pub struct Pending {
    sent: HashMap<u16, Instant>,
    next: u16,
    pub report: Report,
}

impl Pending {
    pub fn new(first: u16) -> Self {
        Pending { sent: HashMap::new(), next: first, report: Report::default() }
    }

    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// An encoded query under an id that none under way has. It counts as sent `copies` times.
    pub fn query(&mut self, name: String, qtype: u16, edns: bool, copies: u64) -> Vec<u8> {
        while self.sent.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let query = Query { id: self.next, name, qtype, edns };
        self.next = self.next.wrapping_add(1);
        self.sent.insert(query.id, Instant::now());
        self.report.sent += copies;
        *self.report.by_type.entry(qtype).or_default() += copies;
        query.encode()
    }

    /// Takes a message that came.
    pub fn take(&mut self, message: &[u8]) {
        let Some(response) = Response::decode(message) else {
            self.report.malformed += 1;
            return;
        };
        let Some(sent) = self.sent.remove(&response.id) else {
            self.report.unmatched += 1;
            return;
        };
        let seconds = sent.elapsed().as_secs_f64();
        self.report.total += seconds;
        self.report.longest = self.report.longest.max(seconds);
        self.report.truncated += u64::from(response.truncated);
        *self.report.answers.entry(response.rcode).or_default() += 1;
    }

    /// Gives up what waits for longer than `patience`.
    pub fn expire(&mut self, patience: Duration) {
        let before = self.sent.len();
        self.sent.retain(|_, sent| sent.elapsed() < patience);
        self.report.unanswered += (before - self.sent.len()) as u64;
    }

    pub fn error(&mut self, error: &std::io::Error) {
        let name = match error.raw_os_error() {
            Some(libc::ECONNREFUSED) => "ECONNREFUSED".to_owned(),
            Some(libc::EHOSTUNREACH) => "EHOSTUNREACH".to_owned(),
            Some(libc::EPERM) => "EPERM".to_owned(),
            _ => error.to_string(),
        };
        *self.report.errors.entry(name).or_default() += 1;
    }
}
