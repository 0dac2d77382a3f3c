// SPDX-License-Identifier: Apache-2.0
//! Programs under names of one's own, for owners that are known by their process alone.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::netns::Host;
use crate::process::Process;
use crate::traffic::{ClientReport, Server, binary};

const PATIENCE: Duration = Duration::from_secs(60);

/// The traffic maker under another name: the kernel names a process after the file it was started from.
#[derive(Debug)]
pub struct Disguise(TempDir);

impl Disguise {
    /// No disguises yet.
    pub fn new() -> Result<Self> {
        Ok(Disguise(TempDir::new()?))
    }

    /// The program under this name.
    pub fn named(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.path().join(name);
        if !path.exists() {
            symlink(binary()?, &path)?;
        }
        Ok(path)
    }

    /// A server under this name.
    pub fn serve(&self, name: &str, host: &Host, arguments: &[&str]) -> Result<Server> {
        Server::adopt(Process::spawn(name, host.command(self.named(name)?).arg("serve").args(arguments))?)
    }

    /// A client under this name, run to its end.
    pub fn get(&self, name: &str, host: &Host, arguments: &[&str]) -> Result<ClientReport> {
        let mut process = Process::spawn(name, host.command(self.named(name)?).arg("get").args(arguments))?;
        let line = process.line(PATIENCE)?;
        ensure!(process.wait(PATIENCE)?.success(), "{name} failed: {}", process.log());
        Ok(serde_json::from_str(&line)?)
    }
}
