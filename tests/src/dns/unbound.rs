// SPDX-License-Identifier: Apache-2.0
//! unbound, as a resolver that forwards everything to one upstream.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::netns::Host;
use crate::process::{Process, run};

/// A running unbound.
#[derive(Debug)]
pub struct Unbound {
    _directory: TempDir,
    process: Process,
}

impl Unbound {
    /// Starts it in `host` on port 53 of `address`; all questions go to `upstream`.
    pub fn start(host: &Host, address: IpAddr, upstream: SocketAddr) -> Result<Self> {
        let directory = TempDir::new().context("making a directory for unbound")?;
        let root = directory.path();
        let text = format!(
            "server:\n interface: {address}\n access-control: 0.0.0.0/0 allow\n access-control: ::/0 allow\n\
             do-daemonize: no\n username: \"\"\n chroot: \"\"\n directory: \"{root}\"\n pidfile: \"\"\n\
             use-syslog: no\n logfile: \"\"\n verbosity: 1\n log-queries: yes\n num-threads: 1\n\
             module-config: \"iterator\"\n qname-minimisation: no\n do-not-query-localhost: no\n\
             cache-max-ttl: 0\n cache-max-negative-ttl: 0\n minimal-responses: yes\n\
             forward-zone:\n name: \".\"\n forward-addr: {}@{}\n",
            upstream.ip(),
            upstream.port(),
            root = root.display(),
        );
        let file = root.join("unbound.conf");
        fs::write(&file, text)?;
        run(host.command("unbound-checkconf").arg(&file))?;
        let mut process = Process::spawn("unbound", host.command("unbound").arg("-d").arg("-c").arg(&file))?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while !process.log().contains("start of service") {
            ensure!(process.is_running(), "unbound ended: {}", process.log());
            ensure!(Instant::now() < deadline, "unbound does not start: {}", process.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Unbound { _directory: directory, process })
    }

    /// How many queries it took, by its own log.
    pub fn asked(&self) -> u64 {
        // `[time] unbound[pid:0] info: 10.0.0.1 name. A IN`
        self.process.log().lines().filter(|line| line.contains("info:") && line.ends_with(" IN")).count()
            as u64
    }
}
