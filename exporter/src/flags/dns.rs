// SPDX-License-Identifier: Apache-2.0
//! `--dns.…`: how DNS is measured.

use std::time::Duration;

use clap::Args;

use super::values::Ports;

/// The shortest and the longest time that an answer may take. A resolver that gives up after less has no use for one.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// Most ports that are looked at: each packet's ports are compared with all of them.
const MOST_PORTS: usize = 8;

/// Most domains that are counted by name.
const MOST_NAMES: usize = 1000;

/// How DNS is measured.
#[derive(Args, Clone, Debug)]
pub struct DnsFlags {
    /// How long a DNS query may wait for its answer before it counts as timed out, 100ms to 60s.
    #[arg(
        long = "dns.timeout",
        env = "FLOWGAUGE_DNS_TIMEOUT",
        value_name = "DURATION",
        default_value = "5s",
        value_parser = timeout,
        global = true
    )]
    pub timeout: Duration,

    /// Ports on which DNS is spoken, a comma list of at most 8, such as `53,5353` for multicast DNS as well.
    #[arg(
        long = "dns.ports",
        env = "FLOWGAUGE_DNS_PORTS",
        value_name = "PORTS",
        default_value = "53",
        value_parser = ports,
        global = true
    )]
    ports: Ports,

    /// Count answers by registrable domain for so many of the busiest, at most 1000, the rest as `other`; 0 is off.
    #[arg(
        long = "dns.names",
        env = "FLOWGAUGE_DNS_NAMES",
        value_name = "COUNT",
        default_value = "0",
        value_parser = names,
        global = true
    )]
    pub names: usize,
}

impl DnsFlags {
    /// Ports on which DNS is spoken, each once.
    pub fn ports(&self) -> &[u16] {
        &self.ports.0
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    let timeout =
        humantime::parse_duration(text).map_err(|_| "is not a duration such as 500ms or 5s".to_owned())?;
    if TIMEOUTS.contains(&timeout) { Ok(timeout) } else { Err("must be from 100ms to 60s".to_owned()) }
}

fn ports(text: &str) -> Result<Ports, String> {
    let Ports(mut ports) = super::values::ports(text)?;
    let mut seen = std::collections::HashSet::new();
    ports.retain(|port| seen.insert(*port));
    match ports.len() {
        0 => Err("must name a port; --no-collector.dns does without DNS".to_owned()),
        count if count > MOST_PORTS => Err(format!("must name at most {MOST_PORTS} ports, not {count}")),
        _ => Ok(Ports(ports)),
    }
}

fn names(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|names| *names <= MOST_NAMES)
        .ok_or_else(|| format!("must be a whole number from 0 to {MOST_NAMES}"))
}
