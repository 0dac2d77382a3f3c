// SPDX-License-Identifier: Apache-2.0
//! A real server and a real client, both hyper, that count what they did: `fg-http serve` and `fg-http ask`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{Counts, method_label};
use crate::exporter::beside_test;
use crate::netns::Host;
use crate::process::Process;

const PATIENCE: Duration = Duration::from_secs(60);

/// What one end has counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Responses by method and status code: `GET 200`.
    pub responses: BTreeMap<String, u64>,
    /// Connections made or accepted.
    pub connections: u64,
    /// Bytes of bodies received.
    pub received: u64,
    /// Times from each request to its response's head, added up.
    pub seconds: f64,
}

impl Report {
    /// Counts a response.
    pub fn count(&mut self, method: &str, code: u16) {
        *self.responses.entry(format!("{method} {code}")).or_default() += 1;
    }

    /// All responses.
    pub fn total(&self) -> u64 {
        self.responses.values().sum()
    }

    /// As the exporter must have them.
    pub fn counts(&self) -> Result<Counts> {
        let mut counts = Counts::new();
        for (what, count) in &self.responses {
            let (method, code) = what.split_once(' ').context("no code")?;
            *counts.entry((method_label(method).to_owned(), code.parse()?)).or_default() += count;
        }
        Ok(counts)
    }
}

/// A running server.
#[derive(Debug)]
pub struct Serving {
    process: Process,
}

impl Serving {
    /// Starts `fg-http serve` in `host`.
    pub fn start(host: &Host, arguments: &[&str]) -> Result<Self> {
        let mut command = host.command(beside_test("fg-http")?);
        let mut process = Process::spawn("fg-http serve", command.arg("serve").args(arguments))?;
        let ready = process.line(PATIENCE)?;
        ensure!(ready == "ready", "the server said {ready:?}; its log:\n{}", process.log());
        Ok(Serving { process })
    }

    /// What it has counted so far.
    pub fn report(&mut self) -> Result<Report> {
        self.process.send("report")?;
        read(&mut self.process)
    }
}

/// A client at work.
#[derive(Debug)]
pub struct Asking {
    process: Process,
}

impl Asking {
    /// Starts `fg-http ask` in `host`.
    pub fn start(host: &Host, arguments: &[&str]) -> Result<Self> {
        let mut command = host.command(beside_test("fg-http")?);
        Ok(Asking { process: Process::spawn("fg-http ask", command.arg("ask").args(arguments))? })
    }

    /// Waits until it has had all its answers.
    pub fn finish(mut self) -> Result<Report> {
        let report = read(&mut self.process)?;
        let status = self.process.wait(PATIENCE)?;
        ensure!(status.success(), "the client ended with {status}; its log:\n{}", self.process.log());
        Ok(report)
    }
}

/// Runs `fg-http ask` in `host` to its end.
pub fn ask(host: &Host, arguments: &[&str]) -> Result<Report> {
    Asking::start(host, arguments)?.finish()
}

fn read(process: &mut Process) -> Result<Report> {
    let line = process.line(PATIENCE)?;
    serde_json::from_str(&line).with_context(|| format!("report {line:?}"))
}
