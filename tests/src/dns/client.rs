// SPDX-License-Identifier: Apache-2.0
//! Drives `fg-dns ask`, the purpose-made DNS client (`src/bin/fg-dns/ask.rs`).

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::exporter::beside_test;
use crate::netns::Host;
use crate::process::Process;

const PATIENCE: Duration = Duration::from_secs(90);

/// What the client has counted.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Queries sent, those sent again included.
    pub sent: u64,
    /// The same by type's number.
    pub by_type: BTreeMap<u16, u64>,
    /// First answers by rcode.
    pub answers: BTreeMap<u16, u64>,
    /// First answers that were truncated.
    pub truncated: u64,
    /// Queries that had no answer in the time the client waits.
    pub unanswered: u64,
    /// Responses to nothing that the client still waited for.
    pub unmatched: u64,
    /// Datagrams that were no whole responses.
    pub malformed: u64,
    /// Errors by errno name.
    pub errors: BTreeMap<String, u64>,
    /// The longest and the sum of all times to an answer, seconds.
    pub longest: f64,
    /// See `longest`.
    pub total: f64,
    /// From the first query to the last answer, seconds.
    pub seconds: f64,
}

impl Report {
    /// First answers of all rcodes.
    pub fn answered(&self) -> u64 {
        self.answers.values().sum()
    }

    /// Adds another client's counts.
    pub fn add(&mut self, other: &Report) {
        self.sent += other.sent;
        self.truncated += other.truncated;
        self.unanswered += other.unanswered;
        self.unmatched += other.unmatched;
        self.malformed += other.malformed;
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
        self.seconds = self.seconds.max(other.seconds);
        other.by_type.iter().for_each(|(key, count)| *self.by_type.entry(*key).or_default() += count);
        other.answers.iter().for_each(|(key, count)| *self.answers.entry(*key).or_default() += count);
        other.errors.iter().for_each(|(key, count)| *self.errors.entry(key.clone()).or_default() += count);
    }
}

/// A client that is asking.
#[derive(Debug)]
pub struct Asking {
    process: Process,
}

impl Asking {
    /// Starts `fg-dns` with these arguments in `host`.
    pub fn start(host: &Host, arguments: &[&str]) -> Result<Self> {
        let process =
            Process::spawn(arguments.join(" "), host.command(beside_test("fg-dns")?).args(arguments))?;
        Ok(Asking { process })
    }

    /// Waits until it is done.
    pub fn finish(mut self) -> Result<Report> {
        let line = self.process.line(PATIENCE)?;
        let status = self.process.wait(PATIENCE)?;
        ensure!(status.success(), "the client ended with {status}; its log:\n{}", self.process.log());
        serde_json::from_str(&line).with_context(|| format!("client's report {line:?}"))
    }
}

/// Asks in `host` until done: see `fg-dns ask --help`.
pub fn ask(host: &Host, arguments: &[&str]) -> Result<Report> {
    Asking::start(host, &[&["ask"], arguments].concat())?.finish()
}

/// Sends malformed datagrams from `host`: see `fg-dns spray --help`.
pub fn spray(host: &Host, arguments: &[&str]) -> Result<Report> {
    Asking::start(host, &[&["spray"], arguments].concat())?.finish()
}
