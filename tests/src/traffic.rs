// SPDX-License-Identifier: Apache-2.0
//! Drives `fg-traffic`, the purpose-made traffic maker (`src/bin/fg-traffic`), and the protocol it speaks.
//!
//! A request is a header of 17 bytes, then a body; a response is a body alone:
//! request length (8 bytes, big endian), response length (8 bytes), [`After`] (1 byte).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::exporter::beside_test;
use crate::netns::Host;
use crate::process::Process;
use crate::sys::{self, Placement};

/// Bytes of a request header.
pub const HEADER: usize = 17;

/// How long any one step of the traffic maker may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the server does after its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum After {
    /// Waits for the next request.
    Stay = 0,
    /// Closes the connection.
    Close = 1,
    /// Resets the connection.
    Reset = 2,
}

/// What a server has counted.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct ServerReport {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections that ended, in whatever way.
    pub ended: u64,
    /// Bytes read.
    pub received: u64,
    /// Bytes written.
    pub sent: u64,
    /// Errors by errno name.
    pub errors: BTreeMap<String, u64>,
}

/// What a client has counted.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct ClientReport {
    /// Connections established.
    pub connected: u64,
    /// Requests answered in full.
    pub answered: u64,
    /// Bytes read.
    pub received: u64,
    /// Bytes written.
    pub sent: u64,
    /// Failures by errno name.
    pub errors: BTreeMap<String, u64>,
    /// Wall clock so far, seconds.
    pub seconds: f64,
}

/// The traffic maker's binary.
pub fn binary() -> Result<PathBuf> {
    let path = beside_test("fg-traffic")?;
    ensure!(path.is_file(), "{} is missing: cargo build -p flowgauge-tests --bins", path.display());
    Ok(path)
}

/// The traffic maker, to be run outside of all hosts.
pub fn command_outside() -> Command {
    let mut command = Command::new(program());
    sys::place(&mut command, Placement::default());
    command
}

/// A missing binary shows when it is started: the error names the path then.
fn program() -> PathBuf {
    binary().unwrap_or_else(|_| PathBuf::from("fg-traffic"))
}

/// The traffic maker, to be run in a host.
pub fn command(host: &Host, arguments: &[impl AsRef<OsStr>]) -> Command {
    let mut command = host.command(program());
    command.args(arguments);
    command
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    process: Process,
}

impl Server {
    /// Starts `fg-traffic serve` in `host` and waits until it listens.
    pub fn start(host: &Host, arguments: &[&str]) -> Result<Self> {
        Self::adopt(Process::spawn("server", &mut command(host, &[&["serve"], arguments].concat()))?)
    }

    /// Waits until a server that was started otherwise says that it listens.
    pub fn adopt(mut process: Process) -> Result<Self> {
        let ready = process.line(PATIENCE)?;
        ensure!(ready == "ready", "the server said {ready:?}; its log:\n{}", process.log());
        Ok(Server { process })
    }

    /// What it has counted so far.
    pub fn report(&mut self) -> Result<ServerReport> {
        self.process.send("report")?;
        let line = self.process.line(PATIENCE)?;
        serde_json::from_str(&line).with_context(|| format!("server's report {line:?}"))
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// A client that goes on in steps: connections stay open between them.
#[derive(Debug)]
pub struct Client {
    process: Process,
}

impl Client {
    /// Starts `fg-traffic get --pause` in `host`, waits until all its connections have had their answers, and returns
    /// what it counted by then.
    pub fn start(host: &Host, arguments: &[&str]) -> Result<(Self, ClientReport)> {
        Self::adopt(Process::spawn("client", &mut command(host, &[&["get", "--pause"], arguments].concat()))?)
    }

    /// The same for a process that was started otherwise.
    pub fn adopt(process: Process) -> Result<(Self, ClientReport)> {
        let mut client = Client { process };
        let report = client.report()?;
        Ok((client, report))
    }

    /// Has the requests made once more on the same connections.
    pub fn again(&mut self) -> Result<ClientReport> {
        self.process.send("again")?;
        self.report()
    }

    /// Has the connections closed and the process ended.
    pub fn finish(mut self) -> Result<ClientReport> {
        self.process.send("close")?;
        let report = self.report()?;
        let status = self.process.wait(PATIENCE)?;
        ensure!(status.success(), "the client ended with {status}; its log:\n{}", self.process.log());
        Ok(report)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn report(&mut self) -> Result<ClientReport> {
        let line = self.process.line(PATIENCE)?;
        serde_json::from_str(&line).with_context(|| format!("client's report {line:?}"))
    }
}

/// Runs `fg-traffic get` in `host` to its end; every error is in the report.
pub fn get(host: &Host, arguments: &[&str]) -> Result<ClientReport> {
    run_step(host, &[&["get"], arguments].concat())
}

/// Runs a client step of the traffic maker to its end.
pub fn run_step(host: &Host, arguments: &[&str]) -> Result<ClientReport> {
    let mut client = Client { process: Process::spawn(arguments.join(" "), &mut command(host, arguments))? };
    let report = client.report()?;
    let status = client.process.wait(PATIENCE)?;
    ensure!(status.success(), "{arguments:?} ended with {status}; its log:\n{}", client.process.log());
    Ok(report)
}
