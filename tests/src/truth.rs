// SPDX-License-Identifier: Apache-2.0
//! What others count: the kernel's SNMP counters of a namespace, and `ss`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::netns::Host;
use crate::process::run;

/// The SNMP counters of one namespace at one moment (`/proc/net/snmp`, `/proc/net/netstat`, `/proc/net/snmp6`), named as
/// nstat does: `TcpRetransSegs`, `TcpExtListenOverflows`, `Udp6InDatagrams`.
#[derive(Debug, Clone)]
pub struct Snmp(BTreeMap<String, u64>);

impl Snmp {
    /// Reads them as the host's namespace has them.
    pub fn of(host: &Host) -> Result<Self> {
        let mut counters = BTreeMap::new();
        for file in ["snmp", "netstat"] {
            let text = host.proc_net(file)?;
            let lines: Vec<&str> = text.lines().collect();
            for pair in lines.chunks_exact(2) {
                let (group, names) = pair[0].split_once(": ").context("a line without group")?;
                let (_, values) = pair[1].split_once(": ").context("a line without group")?;
                for (name, value) in names.split(' ').zip(values.split(' ')) {
                    // Some are signed (TcpMaxConn is -1) and none of those is asked for.
                    if let Ok(value) = value.parse() {
                        counters.insert(format!("{group}{name}"), value);
                    }
                }
            }
        }
        for line in host.proc_net("snmp6")?.lines() {
            if let Some((name, value)) = line.split_once(char::is_whitespace)
                && let Ok(value) = value.trim().parse()
            {
                counters.insert(name.to_owned(), value);
            }
        }
        Ok(Snmp(counters))
    }

    /// One counter. A name the kernel does not have is an error of the test.
    pub fn get(&self, name: &str) -> Result<u64> {
        self.0.get(name).copied().with_context(|| format!("this kernel has no counter {name}"))
    }

    /// What a counter grew since `earlier`.
    pub fn since(&self, earlier: &Snmp, name: &str) -> Result<f64> {
        Ok((self.get(name)? - earlier.get(name)?) as f64)
    }
}

/// Datagrams dropped at the UDP sockets of a host bound to `port`, by the kernel's own table.
pub fn udp_drops(host: &Host, port: u16) -> Result<u64> {
    let mut drops = 0;
    for file in ["udp", "udp6"] {
        for line in host.proc_net(file)?.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let local = fields.get(1).and_then(|local| local.rsplit(':').next());
            if local.and_then(|port| u16::from_str_radix(port, 16).ok()) == Some(port) {
                let count = fields.last().context("an empty line")?;
                drops += count.parse::<u64>().with_context(|| format!("drops in {line:?}"))?;
            }
        }
    }
    Ok(drops)
}

/// What `ss -tin` says of one connection.
#[derive(Debug, Clone, Default)]
pub struct SocketInfo {
    /// `ESTAB` and the like.
    pub state: String,
    /// Local address and port.
    pub local: String,
    /// Remote address and port.
    pub remote: String,
    fields: BTreeMap<String, String>,
}

impl SocketInfo {
    /// A counter such as `bytes_acked`, `segs_out`; 0 when `ss` leaves it out.
    pub fn count(&self, field: &str) -> f64 {
        self.fields.get(field).and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }

    /// Segments retransmitted in all (the second number of `retrans:0/3`).
    pub fn retransmitted(&self) -> f64 {
        let total = self.fields.get("retrans").and_then(|value| value.split('/').nth(1));
        total.and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }

    /// A time that `ss` prints in milliseconds, such as `rwnd_limited:812ms(99.5%)`.
    pub fn milliseconds(&self, field: &str) -> Option<f64> {
        self.fields.get(field)?.split("ms").next()?.parse().ok()
    }

    /// Smoothed round-trip time in seconds (the first number of `rtt:50.1/0.2`, milliseconds).
    pub fn rtt(&self) -> Option<f64> {
        let milliseconds: f64 = self.fields.get("rtt")?.split('/').next()?.parse().ok()?;
        Some(milliseconds / 1e3)
    }
}

/// All connections of a host (not listeners), as `ss` sees them; `filter` is ss's own, `["sport", "=", ":80"]`.
pub fn sockets(host: &Host, filter: &[&str]) -> Result<Vec<SocketInfo>> {
    let text = run(host.command("ss").arg("-tinOH").args(filter))?;
    Ok(text.lines().map(socket).collect())
}

fn socket(line: &str) -> SocketInfo {
    let mut words = line.split_whitespace();
    let state = words.next().unwrap_or_default().to_owned();
    let mut words = words.skip(2);
    let local = words.next().unwrap_or_default().to_owned();
    let remote = words.next().unwrap_or_default().to_owned();
    let fields = words.filter_map(|word| word.split_once(':'));
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    SocketInfo { state, local, remote, fields }
}

/// The sum of a counter over connections.
pub fn total(sockets: &[SocketInfo], field: &str) -> f64 {
    sockets.iter().map(|socket| socket.count(field)).sum()
}
