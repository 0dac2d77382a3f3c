// SPDX-License-Identifier: Apache-2.0
//! Alertmanager.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;
use tempfile::TempDir;

use super::{Labels, ask, start};
use crate::process::Process;

/// A running Alertmanager on a loopback port.
#[derive(Debug)]
pub struct Alertmanager {
    address: SocketAddr,
    process: Process,
    _directory: TempDir,
}

/// An alert as Alertmanager has it.
#[derive(Debug, Clone, Deserialize)]
pub struct Known {
    /// Its labels, `alertname` among them.
    pub labels: Labels,
    status: Status,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    inhibited_by: Vec<String>,
}

impl Known {
    /// Whether nobody is told, because of another alert.
    pub fn is_inhibited(&self) -> bool {
        !self.status.inhibited_by.is_empty()
    }
}

impl Alertmanager {
    /// Starts it with this configuration.
    pub fn start(config: &str) -> Result<Self> {
        let directory = TempDir::new().context("making a directory for Alertmanager")?;
        let file = directory.path().join("alertmanager.yml");
        fs::write(&file, config)?;
        let (process, address) = start("Alertmanager", |address| {
            let mut command = Command::new("prometheus-alertmanager");
            command
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--storage.path={}", directory.path().join("data").display()))
                .arg(format!("--web.listen-address={address}"))
                // It has no peers.
                .arg("--cluster.listen-address=");
            command
        })?;
        Ok(Alertmanager { address, process, _directory: directory })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// All alerts that it knows and that have not ended.
    pub fn alerts(&self) -> Result<Vec<Known>> {
        ask(self.address, "/api/v2/alerts")
    }
}
