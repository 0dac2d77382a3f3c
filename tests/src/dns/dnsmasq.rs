// SPDX-License-Identifier: Apache-2.0
//! dnsmasq, whose query log is the ground truth for what was asked and answered.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::netns::Host;
use crate::process::{Process, run};

/// A running dnsmasq.
#[derive(Debug)]
pub struct Dnsmasq {
    directory: TempDir,
    process: Process,
}

/// What its log says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Log {
    /// Queries by type, named as dnsmasq names them: `A`, `type=65`.
    pub queries: BTreeMap<String, u64>,
    /// Answers without data by their code: `NXDOMAIN`, `REFUSED`, `SERVFAIL`, `NODATA`…
    pub codes: BTreeMap<String, u64>,
    /// Queries sent on to another server.
    pub forwarded: u64,
    /// Names asked, in order; only the first thousand.
    pub names: Vec<String>,
}

impl Log {
    /// Queries of all types.
    pub fn asked(&self) -> u64 {
        self.queries.values().sum()
    }
}

impl Dnsmasq {
    /// Starts it in `host`, on port 53 of all its addresses unless `lines` (dnsmasq's own configuration) say otherwise.
    /// It knows no other names than those in `lines`, and no upstream.
    pub fn start(host: &Host, lines: &[&str]) -> Result<Self> {
        let directory = TempDir::new().context("making a directory for dnsmasq")?;
        let root = directory.path();
        let text = format!(
            "user=root\nno-resolv\nno-hosts\nno-poll\npid-file\nlog-queries\nlog-facility={}/log\n\
             dns-forward-max=20000\ncache-size=0\n{}\n",
            root.display(),
            lines.join("\n")
        );
        fs::write(root.join("log"), "")?;
        fs::write(root.join("dnsmasq.conf"), text)?;
        let file = format!("--conf-file={}", root.join("dnsmasq.conf").display());
        run(host.command("dnsmasq").args(["--test", &file]))?;
        let process =
            Process::spawn("dnsmasq", host.command("dnsmasq").args(["--keep-in-foreground", &file]))?;
        let mut dnsmasq = Dnsmasq { directory, process };
        let deadline = Instant::now() + Duration::from_secs(10);
        // Its first line comes when its sockets are open.
        while !dnsmasq.text()?.contains("started, version") {
            ensure!(
                dnsmasq.process.is_running(),
                "dnsmasq ended: {}\n{}",
                dnsmasq.process.log(),
                dnsmasq.text()?
            );
            ensure!(Instant::now() < deadline, "dnsmasq does not start: {}", dnsmasq.text()?);
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(dnsmasq)
    }

    /// Its log, as it is.
    pub fn text(&self) -> Result<String> {
        let path = self.directory.path().join("log");
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// What its log says so far. It writes each line before it does the next thing.
    pub fn log(&self) -> Result<Log> {
        let text = self.text()?;
        let mut log = Log::default();
        for line in text.lines() {
            let Some((_, event)) = line.split_once("]: ") else { continue };
            let words: Vec<&str> = event.split(' ').collect();
            match words.as_slice() {
                [verb, name, "from", ..] if verb.starts_with("query[") => {
                    let qtype = verb.trim_start_matches("query[").trim_end_matches(']');
                    *log.queries.entry(qtype.to_owned()).or_default() += 1;
                    if log.names.len() < 1000 {
                        log.names.push((*name).to_owned());
                    }
                }
                ["forwarded", ..] => log.forwarded += 1,
                [_, _, "is", code, ..] if code.chars().all(|c| c.is_ascii_uppercase()) => {
                    *log.codes.entry((*code).to_owned()).or_default() += 1;
                }
                _ => {}
            }
        }
        Ok(log)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) -> Result<()> {
        self.process.signal(signal)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
