// SPDX-License-Identifier: Apache-2.0
//! An exporter for each node.
//!
//! Both see the sockets of the whole machine, in all its network namespaces. What makes each of them a node's own is that the
//! first process it sees is one in the node's namespace, whose addresses, interfaces and connection tracking are then its
//! host's; and that Prometheus keeps only those series of it which a socket on that node makes (`watch.rs`).

use std::process::Command;

use anyhow::Result;

use super::network::{Network, Zone};
use crate::exporter::{Exporter, binary};
use crate::names::NamesFile;
use crate::process::Process;
use crate::sys::{self, Placement};

/// A node's exporter.
#[derive(Debug)]
pub(super) struct Node {
    name: String,
    exporter: Exporter,
    hosts: Vec<String>,
    /// Stands for process 1.
    _first: Process,
    _names: NamesFile,
}

impl Node {
    pub fn start_all(network: &Network) -> Result<[Self; 2]> {
        let [a, b] = &network.zones;
        Ok([Self::start(network, a)?, Self::start(network, b)?])
    }

    fn start(network: &Network, zone: &Zone) -> Result<Self> {
        let names = NamesFile::new(&network.names())?;
        let node = &zone.node.host;
        let first = Process::spawn("a first process", node.visitor()?.command("sleep").arg("infinity"))?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", "mount --bind /proc/$0 /proc/1 && exec \"$@\""]);
        command.arg(first.pid().to_string()).arg(binary()?).arg("--web.listen-address=127.0.0.1:0");
        // Others on this machine may have many edges: none is folded, and none is served for long after its end.
        command.args([
            &names.flag(),
            "--series.limit=200000",
            "--series.idle-timeout=1m",
            "--dns.timeout=2s",
        ]);
        // A scrape that comes late is a gap in the rates: this is not what shall be found here.
        sys::place(&mut command, Placement { first: true, ..Placement::default() });
        let exporter = Exporter::adopt(Process::spawn("exporter", &mut command)?)?.wait_ready()?;
        let hosts = zone.hosts.iter().chain([&zone.node]).map(|site| site.host.workload.clone()).collect();
        Ok(Node { name: node.workload.clone(), exporter, hosts, _first: first, _names: names })
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its exporter.
    pub fn exporter(&self) -> &Exporter {
        &self.exporter
    }

    /// Names of the workloads on it, its own included.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }
}
