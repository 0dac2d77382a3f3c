// SPDX-License-Identifier: Apache-2.0
//! haproxy before one server, with connections to it that are kept open.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::netns::Host;
use crate::process::{Process, run};

/// A running haproxy.
#[derive(Debug)]
pub(super) struct Haproxy {
    _process: Process,
    _directory: TempDir,
}

impl Haproxy {
    /// Starts it in `host`, on `port` of all addresses, before `server`.
    pub fn start(host: &Host, port: u16, server: SocketAddr) -> Result<Self> {
        let directory = TempDir::new().context("making a directory for haproxy")?;
        let file = directory.path().join("haproxy.cfg");
        let text = format!(
            "global\n  maxconn 500\n\ndefaults\n  mode http\n  timeout connect 2s\n  timeout client 30s\n  timeout server 5s\n  \
             retries 1\n  http-reuse always\n\nfrontend shop\n  bind 0.0.0.0:{port}\n  default_backend api\n\n\
             backend api\n  server api {server}\n"
        );
        fs::write(&file, text)?;
        run(host.command("haproxy").args(["-c", "-q", "-f"]).arg(&file))?;
        let mut process = Process::spawn("haproxy", host.command("haproxy").args(["-db", "-f"]).arg(&file))?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while host.enter(|| Ok(TcpStream::connect(("127.0.0.1", port)).is_err()))? {
            ensure!(process.is_running(), "haproxy ended: {}", process.log());
            ensure!(Instant::now() < deadline, "haproxy does not listen: {}", process.log());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Haproxy { _process: process, _directory: directory })
    }
}
