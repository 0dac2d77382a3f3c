// SPDX-License-Identifier: Apache-2.0
//! Drives `fg-udp`, the purpose-made maker of datagrams (`src/bin/fg-udp`).

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::exporter::beside_test;
use crate::netns::Host;
use crate::process::Process;

const PATIENCE: Duration = Duration::from_secs(60);

/// What a sender or a server has counted; bytes are payload.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Datagrams sent; of a batch (GSO), each.
    pub sent_packets: u64,
    /// Bytes in them.
    pub sent_bytes: u64,
    /// Datagrams read; of those put together (GRO), each.
    pub received_packets: u64,
    /// Bytes in them.
    pub received_bytes: u64,
    /// Reads that brought more than one datagram.
    pub batches: u64,
    /// Sockets of a server that have one client each.
    pub connected: u64,
    /// Errors by errno name.
    pub errors: BTreeMap<String, u64>,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    process: Process,
}

impl Server {
    /// Starts `fg-udp serve` in `host` and waits until it has its sockets.
    pub fn start(host: &Host, arguments: &[&str]) -> Result<Self> {
        let mut command = host.command(beside_test("fg-udp")?);
        let mut process = Process::spawn("fg-udp serve", command.arg("serve").args(arguments))?;
        let ready = process.line(PATIENCE)?;
        ensure!(ready == "ready", "the UDP server said {ready:?}; its log:\n{}", process.log());
        Ok(Server { process })
    }

    /// What it has counted so far.
    pub fn report(&mut self) -> Result<Report> {
        self.process.send("report")?;
        parse(&self.process.line(PATIENCE)?)
    }

    /// What it has counted when it has read as many datagrams, or as many as it will.
    pub fn report_of(&mut self, packets: u64) -> Result<Report> {
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        loop {
            let report = self.report()?;
            if report.received_packets >= packets || std::time::Instant::now() > deadline {
                return Ok(report);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// A sender that keeps its sockets open when it has sent all.
#[derive(Debug)]
pub struct Sender {
    process: Process,
}

impl Sender {
    /// Runs `fg-udp send` in `host` until it has sent all; the sockets stay open.
    pub fn start(host: &Host, arguments: &[&str]) -> Result<(Self, Report)> {
        let mut command = host.command(beside_test("fg-udp")?);
        command.args(["send", "--stay"]).args(arguments);
        let mut process = Process::spawn(format!("fg-udp send {}", arguments.join(" ")), &mut command)?;
        let report = parse(&process.line(PATIENCE)?)?;
        Ok((Sender { process }, report))
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Runs `fg-udp send` in `host` to its end.
pub fn send(host: &Host, arguments: &[&str]) -> Result<Report> {
    let mut command = host.command(beside_test("fg-udp")?);
    command.arg("send").args(arguments);
    let mut process = Process::spawn(format!("fg-udp send {}", arguments.join(" ")), &mut command)?;
    let report = parse(&process.line(PATIENCE)?)?;
    let status = process.wait(PATIENCE)?;
    ensure!(status.success(), "the sender ended with {status}; its log:\n{}", process.log());
    Ok(report)
}

fn parse(line: &str) -> Result<Report> {
    serde_json::from_str(line).with_context(|| format!("report {line:?}"))
}
