// SPDX-License-Identifier: Apache-2.0
//! A node: the network namespace that its host processes live in, and the routes to its pods.

use std::cell::Cell;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::pod::Sandbox;
use crate::exporter;
use crate::netns::{Host, Interface, Subnet, World};
use crate::process::Process;

/// The gateway of every pod, as CNI plugins with a veth pair for each pod choose it: it exists on that link only.
const GATEWAY4: &str = "169.254.1.1";
const GATEWAY6: &str = "fe80::1";

/// A node.
#[derive(Debug)]
pub struct Node {
    /// Its name in the API.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// Its link to the router; the addresses are the node's.
    pub link: Interface,
    /// The range that its pods' addresses are from.
    pub pods: Subnet,
    /// Where host processes are started that belong to no pod.
    pub host: Host,
    next: Cell<u8>,
    /// Keeps the node's namespace in procfs, as the first process of a real node does.
    first_process: Process,
}

impl Node {
    /// Adds a node that reaches everything else through `router`.
    pub(super) fn new(world: &World, router: &Host, name: &str, zone: &str) -> Result<Self> {
        let host = world.host(&format!("node-{name}"))?;
        let link = world.link(&host, router)?;
        let pods = Subnet::next();
        for key in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
            host.sysctl(key, "1")?;
        }
        // kube-proxy's: NodePorts are reached through loopback too.
        host.sysctl("net.ipv4.conf.all.route_localnet", "1")?;
        for (gateway, range, next) in [
            (link.b.v4.to_string(), format!("{}/24", pods.v4(0)), link.a.v4.to_string()),
            (link.b.v6.to_string(), format!("{}/64", pods.v6(0)), link.a.v6.to_string()),
        ] {
            host.ip(&["route", "add", "default", "via", &gateway])?;
            // What is no pod's is nobody's: without this it would go to and fro between node and router.
            host.ip(&["route", "add", "unreachable", &range])?;
            router.ip(&["route", "add", &range, "via", &next])?;
        }
        let first_process = Process::spawn("first process", host.command("sleep").arg("infinity"))?;
        let node = Node {
            name: name.to_owned(),
            zone: zone.to_owned(),
            link: link.a,
            pods,
            host,
            next: Cell::new(2),
            first_process,
        };
        Ok(node)
    }

    /// Its IPv4 address.
    pub fn v4(&self) -> Ipv4Addr {
        self.link.v4
    }

    /// Its IPv6 address.
    pub fn v6(&self) -> Ipv6Addr {
        self.link.v6
    }

    /// Makes a pod's namespace, its link and its addresses.
    pub(super) fn sandbox(&self, world: &World, number: Option<u8>) -> Result<Arc<Sandbox>> {
        let number = match number {
            Some(number) => number,
            None => {
                let number = self.next.get();
                self.next.set(number.checked_add(1).context("no pod address is left")?);
                number
            }
        };
        let host = world.host_without_cgroup("pod")?;
        let (v4, v6) = (self.pods.v4(number), self.pods.v6(number.into()));
        let (cidr4, cidr6) = (format!("{v4}/32"), format!("{v6}/128"));
        let device = Subnet::next().device("p", number);
        let (inner, outer) = (host.namespace(), self.host.namespace());
        let pair =
            ["link", "add", "eth0", "netns", inner, "type", "veth", "peer", "name", &device, "netns", outer];
        crate::netns::ip(&pair)?;
        for (side, lines) in [
            (
                &self.host,
                [
                    &["addr", "add", "169.254.1.1/32", "dev", &device, "scope", "link"][..],
                    &["addr", "add", "fe80::1/64", "dev", &device, "nodad"],
                    &["link", "set", &device, "up"],
                    &["route", "replace", &cidr4, "dev", &device],
                    &["route", "replace", &cidr6, "dev", &device],
                ],
            ),
            (
                &host,
                [
                    &["addr", "add", &cidr4, "dev", "eth0"],
                    &["addr", "add", &cidr6, "dev", "eth0", "nodad"],
                    &["link", "set", "eth0", "up"],
                    &["route", "add", "default", "via", GATEWAY4, "dev", "eth0", "onlink"],
                    &["route", "add", "default", "via", GATEWAY6, "dev", "eth0"],
                ],
            ),
        ] {
            for line in lines {
                side.ip(line)?;
            }
        }
        Ok(Arc::new(Sandbox { host, v4, v6 }))
    }

    /// The network of a pod that has none of its own.
    pub(super) fn host_network(&self) -> Result<Arc<Sandbox>> {
        Ok(Arc::new(Sandbox { host: self.host.visitor()?, v4: self.v4(), v6: self.v6() }))
    }

    /// A command for the exporter of this node: it sees this node's namespace as that of the first process, in a mount
    /// namespace of its own.
    pub(super) fn exporter_command(&self, procfs: &TempDir, flags: &[&str]) -> Result<Command> {
        const SCRIPT: &str =
            "mount -t proc proc \"$0\" && mount --bind \"/proc/$1\" \"$0/1\" && shift && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT]);
        command.arg(procfs.path()).arg(self.first_process.pid().to_string());
        command.arg(exporter::binary()?).arg("--web.listen-address=127.0.0.1:0");
        command.arg(format!("--path.procfs={}", procfs.path().display()));
        command.args(flags).env("NODE_NAME", &self.name);
        Ok(command)
    }
}
