// SPDX-License-Identifier: Apache-2.0
//! What kube-proxy does to a node in its iptables mode.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::api_server::objects::{EndpointSlice, Service};
use crate::netns::Host;
use crate::process::start_error;

/// A service with its endpoints. The n-th port of each slice is where the service's n-th port leads.
#[derive(Debug, Clone)]
pub(super) struct Served {
    pub service: Service,
    pub slices: Vec<EndpointSlice>,
}

/// Replaces all rules of a node by those for `served`.
pub(super) fn program(node: &Host, served: &[Served]) -> Result<()> {
    restore(node, "iptables-restore", &rules(served, true)?)?;
    restore(node, "ip6tables-restore", &rules(served, false)?)
}

fn restore(node: &Host, program: &str, rules: &str) -> Result<()> {
    let mut command = node.command(program);
    command.arg("-w").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| start_error(program, error))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    stdin.write_all(rules.as_bytes()).with_context(|| format!("writing to {program}"))?;
    drop(stdin);
    let output = child.wait_with_output().with_context(|| format!("waiting for {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {}\n{said}\n{rules}", output.status);
    Ok(())
}

/// One port of one service.
struct Port<'a> {
    /// As iptables has it.
    protocol: String,
    /// Suffix of its chains' names.
    index: usize,
    service: &'a Service,
    port: u16,
    node_port: Option<u16>,
    backends: Vec<String>,
}

fn ports(served: &[Served], v4: bool) -> Vec<Port<'_>> {
    let family = |address: &IpAddr| address.is_ipv4() == v4;
    let mut ports = Vec::new();
    for Served { service, slices } in served {
        for (position, port) in service.ports.iter().enumerate() {
            let mut backends = Vec::new();
            for slice in slices {
                let Some(target) = slice.ports.get(position) else { continue };
                let ready = slice.endpoints.iter().filter(|endpoint| endpoint.ready);
                let addresses =
                    ready.flat_map(|endpoint| &endpoint.addresses).filter(|address| family(address));
                backends.extend(
                    addresses.map(|address| std::net::SocketAddr::new(*address, *target).to_string()),
                );
            }
            let (index, node_port) = (ports.len(), port.node_port);
            let protocol = port.protocol.to_lowercase();
            ports.push(Port { protocol, index, service, port: port.port, node_port, backends });
        }
    }
    ports
}

fn rules(served: &[Served], v4: bool) -> Result<String> {
    let (mut nat, mut chains, mut filter) = (String::new(), String::new(), String::new());
    let mut node_ports = String::new();
    for Port { protocol, index, service, port, node_port, backends } in ports(served, v4) {
        let own = |addresses: &[IpAddr]| {
            let own = addresses.iter().filter(|address| address.is_ipv4() == v4);
            own.map(ToString::to_string).collect::<Vec<_>>()
        };
        let inner = own(&service.cluster_addresses);
        let outer = [own(&service.external_addresses), own(&service.ingress)].concat();
        if backends.is_empty() {
            for address in inner.iter().chain(&outer) {
                writeln!(filter, "-A KUBE-SERVICES -d {address} -p {protocol} --dport {port} -j REJECT")?;
            }
            if let Some(node_port) = node_port {
                let local = "-m addrtype --dst-type LOCAL";
                writeln!(filter, "-A KUBE-SERVICES {local} -p {protocol} --dport {node_port} -j REJECT")?;
            }
            continue;
        }
        writeln!(chains, ":KUBE-SVC-{index} - [0:0]\n:KUBE-EXT-{index} - [0:0]")?;
        for address in &inner {
            writeln!(nat, "-A KUBE-SERVICES -d {address} -p {protocol} --dport {port} -j KUBE-SVC-{index}")?;
        }
        for address in &outer {
            writeln!(nat, "-A KUBE-SERVICES -d {address} -p {protocol} --dport {port} -j KUBE-EXT-{index}")?;
        }
        if let Some(node_port) = node_port {
            writeln!(node_ports, "-A KUBE-NODEPORTS -p {protocol} --dport {node_port} -j KUBE-EXT-{index}")?;
        }
        writeln!(nat, "-A KUBE-EXT-{index} -j KUBE-MARK-MASQ\n-A KUBE-EXT-{index} -j KUBE-SVC-{index}")?;
        for (number, backend) in backends.iter().enumerate() {
            let (address, _) = backend.rsplit_once(':').context("a backend without port")?;
            let address = address.trim_matches(['[', ']']);
            let chain = format!("KUBE-SEP-{index}-{number}");
            writeln!(chains, ":{chain} - [0:0]")?;
            let left = backends.len() - number;
            let random = if left > 1 {
                format!("-m statistic --mode random --probability {:.8} ", 1.0 / left as f64)
            } else {
                String::new()
            };
            writeln!(nat, "-A KUBE-SVC-{index} {random}-j {chain}")?;
            // Who is answered by itself would not know the answer for one from the service.
            writeln!(nat, "-A {chain} -s {address} -j KUBE-MARK-MASQ")?;
            writeln!(nat, "-A {chain} -p {protocol} -j DNAT --to-destination {backend}")?;
        }
    }
    Ok(format!(
        "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n\
         -A INPUT -m conntrack --ctstate NEW -j KUBE-SERVICES\n\
         -A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES\n\
         -A OUTPUT -m conntrack --ctstate NEW -j KUBE-SERVICES\n{filter}COMMIT\n\
         *nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
         :KUBE-SERVICES - [0:0]\n:KUBE-NODEPORTS - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n:KUBE-POSTROUTING - [0:0]\n{chains}\
         -A PREROUTING -j KUBE-SERVICES\n-A OUTPUT -j KUBE-SERVICES\n-A POSTROUTING -j KUBE-POSTROUTING\n\
         -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\n\
         -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n\
         -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0\n\
         -A KUBE-POSTROUTING -j MASQUERADE --random-fully\n\
         {nat}-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n{node_ports}COMMIT\n"
    ))
}
