// SPDX-License-Identifier: Apache-2.0
//! What can be broken, and mended again.

use anyhow::{Context, Result};

use super::conntrack::FullTable;
use super::network::Network;
use super::services::{API_PORT, Services};
use crate::dns::dnsmasq::Dnsmasq;
use crate::faults::{Rule, Verdict};

/// What can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// One data segment in twelve from the API to the proxy is dropped.
    Loss,
    /// The API refuses connections.
    Refused,
    /// The provider's DNS server cannot be reached.
    Upstream,
    /// The shop's own DNS server stands still.
    Resolver,
    /// Two of the six addresses of a provider do not answer.
    Provider,
    /// The connection tracking table of node-a is full.
    Conntrack,
}

/// All of them.
pub const FAULTS: [Fault; 6] =
    [Fault::Loss, Fault::Refused, Fault::Upstream, Fault::Resolver, Fault::Provider, Fault::Conntrack];

impl Fault {
    /// What it is, in a few words.
    pub fn title(self) -> &'static str {
        match self {
            Fault::Loss => "packet loss: 8 % of the API's packets to the proxy",
            Fault::Refused => "refused connections: nobody listens at the API",
            Fault::Upstream => "DNS upstream dead: the ISP's server does not answer",
            Fault::Resolver => "DNS resolver dead: the shop's own server stands still",
            Fault::Provider => "provider outage: 2 of 6 addresses of payments.example are silent",
            Fault::Conntrack => "conntrack exhaustion: the table of node-a is full",
        }
    }
}

/// A fault as long as it lasts: dropping it mends it.
#[derive(Debug)]
pub struct Made<'a> {
    /// Which.
    pub fault: Fault,
    _rules: Vec<Rule<'a>>,
    _stopped: Option<Stopped<'a>>,
    _full: Option<FullTable<'a>>,
}

impl<'a> Made<'a> {
    pub(super) fn new(network: &'a Network, services: &'a Services, fault: Fault) -> Result<Self> {
        let mut made = Made { fault, _rules: Vec::new(), _stopped: None, _full: None };
        match fault {
            Fault::Loss => {
                let (from, to) = (network.api().v4().to_string(), network.proxy().v4().to_string());
                let share = ["-m", "statistic", "--mode", "random", "--probability", "0.08"];
                let rule = [&["FORWARD", "-p", "tcp", "-s", &from, "-d", &to], &share[..]].concat();
                made._rules.push(Rule::new(&network.zones[1].node.host, &rule, Verdict::Drop)?);
            }
            Fault::Refused => {
                let rule = ["INPUT", "-p", "tcp", "--dport", &API_PORT.to_string()];
                made._rules.push(Rule::new(&network.api().host, &rule, Verdict::TcpReset)?);
            }
            Fault::Upstream => {
                let rule = ["INPUT", "-p", "udp", "--dport", "53"];
                made._rules.push(Rule::new(&network.isp_dns.host, &rule, Verdict::Drop)?);
            }
            Fault::Resolver => made._stopped = Some(Stopped::new(&services.dns)?),
            Fault::Provider => {
                let provider = network.providers.first().context("no provider")?;
                for address in provider.addresses().iter().rev().take(2) {
                    let rule = ["INPUT", "-d", &address.to_string()];
                    made._rules.push(Rule::new(&provider.site.host, &rule, Verdict::Drop)?);
                }
            }
            Fault::Conntrack => made._full = Some(FullTable::new(&network.zones[0].node.host)?),
        }
        Ok(made)
    }
}

/// A DNS server that stands still.
#[derive(Debug)]
struct Stopped<'a>(&'a Dnsmasq);

impl<'a> Stopped<'a> {
    fn new(dns: &'a Dnsmasq) -> Result<Self> {
        dns.signal(libc::SIGSTOP)?;
        Ok(Stopped(dns))
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.signal(libc::SIGCONT) {
            eprintln!("the DNS server stands still for good: {error:#}");
        }
    }
}
