// SPDX-License-Identifier: Apache-2.0
//! Faults made on purpose by packet filter rules of one namespace; gone with the rule or the namespace.

use anyhow::Result;

use crate::netns::Host;
use crate::process::run;

/// How a filter refuses a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Swallow the packet.
    Drop,
    /// Answer with a TCP reset.
    TcpReset,
    /// Answer with ICMP port unreachable.
    PortUnreachable,
    /// Answer with ICMP host unreachable.
    HostUnreachable,
    /// Answer with ICMP net unreachable.
    NetUnreachable,
    /// Answer with ICMP administratively prohibited.
    Prohibited,
}

impl Verdict {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Verdict::Drop => &["-j", "DROP"],
            Verdict::TcpReset => &["-j", "REJECT", "--reject-with", "tcp-reset"],
            Verdict::PortUnreachable => &["-j", "REJECT", "--reject-with", "icmp-port-unreachable"],
            Verdict::HostUnreachable => &["-j", "REJECT", "--reject-with", "icmp-host-unreachable"],
            Verdict::NetUnreachable => &["-j", "REJECT", "--reject-with", "icmp-net-unreachable"],
            Verdict::Prohibited => &["-j", "REJECT", "--reject-with", "icmp-admin-prohibited"],
        }
    }
}

/// A rule in a host's filter; removed when dropped.
#[derive(Debug)]
pub struct Rule<'a> {
    host: &'a Host,
    rule: Vec<String>,
}

impl<'a> Rule<'a> {
    /// Adds `rule` (iptables' own words, chain first) to the IPv4 filter table of `host`.
    pub fn new(host: &'a Host, rule: &[&str], verdict: Verdict) -> Result<Self> {
        let rule: Vec<String> = rule.iter().chain(verdict.arguments()).map(|&word| word.to_owned()).collect();
        run(host.command("iptables").args(["-w", "-A"]).args(&rule))?;
        Ok(Rule { host, rule })
    }

    /// Drops a random share of the TCP packets that arrive at `host` through `device`.
    pub fn random_loss(host: &'a Host, device: &str, share: f64) -> Result<Self> {
        let share = share.to_string();
        let random = ["-m", "statistic", "--mode", "random", "--probability", &share];
        Self::new(host, &[&["INPUT", "-i", device, "-p", "tcp"], &random[..]].concat(), Verdict::Drop)
    }

    /// Packets that met the rule so far.
    pub fn hits(&self) -> Result<u64> {
        let listing = run(self.host.command("iptables").args(["-w", "-vxnL", &self.rule[0]]))?;
        let rows = listing.lines().skip(2);
        Ok(rows.filter_map(|row| row.split_whitespace().next()?.parse::<u64>().ok()).sum())
    }
}

impl Drop for Rule<'_> {
    fn drop(&mut self) {
        // With the namespace already gone the rule is gone too; there is nothing else to be done.
        let _ = run(self.host.command("iptables").args(["-w", "-D"]).args(&self.rule));
    }
}
