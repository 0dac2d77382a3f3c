// SPDX-License-Identifier: Apache-2.0
//! Has two hosts play conversations, by `fg-http server` and `fg-http client`.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::script::{Conversation, Side};
use crate::exporter::beside_test;
use crate::netns::Host;
use crate::process::Process;

const PATIENCE: Duration = Duration::from_secs(60);

/// Conversations with one address of the server, played one after the other, each on a connection of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scene {
    /// Where the server listens.
    pub address: SocketAddr,
    /// In this order.
    pub conversations: Vec<Conversation>,
}

/// What one end did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Played {
    /// Connections.
    pub connections: u64,
    /// Pieces written, each of which was a segment.
    pub pieces: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// Both ends at work.
#[derive(Debug)]
pub struct Playing {
    client: Process,
    server: Process,
    _script: NamedTempFile,
}

fn script(scenes: &[Scene]) -> Result<NamedTempFile> {
    let script = NamedTempFile::new().context("making a file for the script")?;
    fs::write(script.path(), serde_json::to_string(scenes)?)?;
    Ok(script)
}

fn command(host: &Host, role: &str, script: &NamedTempFile) -> Result<Command> {
    let mut command = host.command(beside_test("fg-http")?);
    command.args([role, "--script"]).arg(script.path());
    Ok(command)
}

fn start_server(host: &Host, script: &NamedTempFile) -> Result<Process> {
    let mut server = Process::spawn("fg-http server", &mut command(host, "server", script)?)?;
    let ready = server.line(PATIENCE)?;
    ensure!(ready == "ready", "the playing server said {ready:?}; its log:\n{}", server.log());
    Ok(server)
}

/// A server that plays its part to whoever comes.
pub fn server_alone(host: &Host, scenes: &[Scene]) -> Result<Process> {
    // It has read its script when it is ready.
    start_server(host, &script(scenes)?)
}

impl Playing {
    /// Starts both ends.
    pub fn start(client: &Host, server: &Host, scenes: &[Scene]) -> Result<Self> {
        let script = script(scenes)?;
        let server = start_server(server, &script)?;
        let client = Process::spawn("fg-http client", &mut command(client, "client", &script)?)?;
        Ok(Playing { client, server, _script: script })
    }

    /// Waits until both ends hold.
    pub fn held(&mut self) -> Result<()> {
        for process in [&mut self.client, &mut self.server] {
            let said = process.line(PATIENCE)?;
            ensure!(said == "held", "a player said {said:?}; its log:\n{}", process.log());
        }
        Ok(())
    }

    /// Lets both ends go on.
    pub fn go(&mut self) -> Result<()> {
        self.client.send("go")?;
        self.server.send("go")
    }

    /// Waits until TCP has given up at this end, and lets the other go on.
    pub fn lost(&mut self, from: Side) -> Result<()> {
        let (loser, other) = match from {
            Side::Client => (&mut self.client, &mut self.server),
            Side::Server => (&mut self.server, &mut self.client),
        };
        let said = loser.line(PATIENCE)?;
        ensure!(said == "lost", "a player said {said:?}; its log:\n{}", loser.log());
        other.send("go")
    }

    /// Waits until all is said; returns what the client did and what the server did. All went as written, or this fails. The server
    /// goes on listening.
    pub fn played(&mut self) -> Result<(Played, Played)> {
        let client = report(&mut self.client)?;
        let status = self.client.wait(PATIENCE)?;
        ensure!(status.success(), "the client ended with {status}; its log:\n{}", self.client.log());
        Ok((client, report(&mut self.server)?))
    }

    /// The same, and ends the server.
    pub fn finish(mut self) -> Result<(Played, Played)> {
        let played = self.played()?;
        self.server.send("end")?;
        let status = self.server.wait(PATIENCE)?;
        ensure!(status.success(), "the server ended with {status}; its log:\n{}", self.server.log());
        Ok(played)
    }
}

fn report(process: &mut Process) -> Result<Played> {
    let mut said = process.line(PATIENCE)?;
    while said == "held" {
        said = process.line(PATIENCE)?;
    }
    serde_json::from_str(&said).with_context(|| format!("{said:?}; its log:\n{}", process.log()))
}

/// Has it all played to the end.
pub fn play(client: &Host, server: &Host, scenes: &[Scene]) -> Result<(Played, Played)> {
    Playing::start(client, server, scenes)?.finish()
}
