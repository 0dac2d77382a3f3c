// SPDX-License-Identifier: Apache-2.0
//! glibc's resolver in a host: its `/etc/resolv.conf` is replaced for one process, in a mount namespace of its own.

use std::ffi::OsStr;
use std::fs;
use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::netns::Host;

/// A `resolv.conf`, and an `nsswitch.conf` by which names come from DNS alone.
#[derive(Debug)]
pub struct Resolving {
    directory: TempDir,
}

impl Resolving {
    /// With this name server and further lines.
    pub fn new(server: IpAddr, lines: &str) -> Result<Self> {
        let directory = TempDir::new().context("making a directory for resolv.conf")?;
        let root = directory.path();
        fs::write(root.join("resolv.conf"), format!("nameserver {server}\n{lines}\n"))?;
        fs::write(root.join("nsswitch.conf"), "hosts: dns\n")?;
        Ok(Resolving { directory })
    }

    /// A command by which the client's `getent` looks a name up: `database` is `ahosts`, `ahostsv4`…
    pub fn getent(&self, host: &Host, database: &str, name: &str) -> Command {
        let mut command = self.command(host, "getent");
        command.args([database, name]);
        command
    }

    /// A command that runs `program` in `host` with this resolver.
    pub fn command(&self, host: &Host, program: impl AsRef<OsStr>) -> Command {
        let root = self.directory.path().display();
        let script = format!(
            "mount --bind {root}/resolv.conf /etc/resolv.conf && \
             mount --bind {root}/nsswitch.conf /etc/nsswitch.conf && exec \"$0\" \"$@\""
        );
        let mut command = host.command("unshare");
        command.args(["--mount", "sh", "-c", &script]).arg(program);
        command
    }
}
