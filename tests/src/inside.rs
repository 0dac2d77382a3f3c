// SPDX-License-Identifier: Apache-2.0
//! The exporter in a host of the world, for which that host is the machine: its own procfs and sysfs, its own process 1.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::exporter::{Exporter, binary, get, spawn};
use crate::metrics::{Format, Metrics};
use crate::netns::Host;

/// How long it may take to start.
const START: Duration = Duration::from_secs(20);

/// A running exporter that only its host can reach.
#[derive(Debug)]
pub struct Inside<'a> {
    host: &'a Host,
    exporter: Exporter,
    _sysfs: TempDir,
}

impl<'a> Inside<'a> {
    /// Starts it without the collectors that load programs.
    pub fn start(host: &'a Host, flags: &[&str]) -> Result<Self> {
        Self::start_among(host, &[], flags)
    }

    /// The same where processes live in the network namespaces of other hosts, too.
    pub fn start_among(host: &'a Host, others: &[&Host], flags: &[&str]) -> Result<Self> {
        let sysfs = tempfile::tempdir()?;
        let residents = others
            .iter()
            .map(|other| format!("nsenter --net=/run/netns/{} sleep 3600 & ", other.namespace()));
        let script = format!(
            "mount -t sysfs sysfs \"$1\" && shift && {{ {} exec \"$@\"; }}",
            residents.collect::<String>()
        );
        let mut command = host.command("unshare");
        command.args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-c",
            &script,
            "sh",
        ]);
        command.arg(sysfs.path()).arg(binary()?).args(["--web.listen-address=127.0.0.1:0"]);
        command.args(
            ["tcp", "udp", "dns", "http", "drops"].map(|collector| format!("--no-collector.{collector}")),
        );
        command.arg(format!("--path.sysfs={}", sysfs.path().display())).args(flags);
        let exporter = Exporter::adopt(spawn(&mut command)?)?;
        let inside = Inside { host, exporter, _sysfs: sysfs };
        let deadline = Instant::now() + START;
        while let Err(error) = inside.scrape() {
            ensure!(Instant::now() < deadline, "{error:#}; its log:\n{}", inside.exporter.log());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(inside)
    }

    /// One scrape.
    pub fn scrape(&self) -> Result<Metrics> {
        let address = self.exporter.address();
        let response = self.host.enter(|| get(address, "/metrics", "text/plain;version=0.0.4"))?;
        ensure!(response.status == 200, "/metrics answered {}: {}", response.status, response.body);
        Metrics::parse(&response.body, Format::Classic).context("a scrape from inside")
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.exporter.log()
    }
}
