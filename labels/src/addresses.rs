// SPDX-License-Identifier: Apache-2.0
//! This host's own addresses, read from procfs.
//!
//! IPv4: every `LOCAL` entry of `net/fib_trie`, which is the kernel's own answer to "is this address mine" and covers
//! secondary addresses, other routing tables and whole local prefixes (AnyIP). IPv6: `net/if_inet6`.
//! Both are read through `<procfs>/1/net`, the network namespace of the first process, which is the host's even where
//! the exporter lives in a namespace of its own; through `<procfs>/net` where that cannot be read.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use parking_lot::{Mutex, RwLock};

use crate::Set;
use crate::ranges::canonical;
use crate::status::SourceStatus;

const MAX_AGE: Duration = Duration::from_secs(10);
/// A router with full tables prints hundreds of megabytes: past this the rest is left unread and said to be so.
const MAX_BYTES: u64 = 32 << 20;
/// A read that took long is repeated more rarely, so that it costs at most one part in this of a processor.
const COST_DIVISOR: u32 = 500;

#[derive(Default, Debug)]
struct Own {
    exact: Set<IpAddr>,
    prefixes: Vec<Ipv4Net>,
    /// Of IPv6, those good on one link only: each container's link to the host has another one.
    link_local: Set<IpAddr>,
}

impl Own {
    /// Whether a name may depend on what differs.
    fn names_as(&self, other: &Own) -> bool {
        self.exact == other.exact && self.prefixes == other.prefixes
    }
}

impl Own {
    fn contains(&self, addr: IpAddr) -> bool {
        let addr = canonical(addr);
        addr.is_loopback()
            || self.exact.contains(&addr)
            || self.link_local.contains(&addr)
            || matches!(addr, IpAddr::V4(v4) if self.prefixes.iter().any(|net| net.contains(&v4)))
    }
}

#[derive(Debug)]
struct Schedule {
    due: Instant,
    error: Option<String>,
    truncated: bool,
    failed: u64,
}

/// The host's addresses, re-read at most every ten seconds.
#[derive(Debug)]
pub(crate) struct HostAddresses {
    net_dirs: [PathBuf; 2],
    own: RwLock<Own>,
    schedule: Mutex<Schedule>,
}

impl HostAddresses {
    pub fn new(procfs: &Path) -> Self {
        let addresses = HostAddresses {
            net_dirs: [procfs.join("1/net"), procfs.join("net")],
            own: RwLock::default(),
            schedule: Mutex::new(Schedule { due: Instant::now(), error: None, truncated: false, failed: 0 }),
        };
        addresses.refresh();
        addresses
    }

    /// True for loopback and for every address of the host's interfaces.
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.own.read().contains(addr)
    }

    /// The addresses of the host's interfaces without loopback and those good on one link only, in order.
    pub fn all(&self) -> Vec<IpAddr> {
        let mut all: Vec<_> =
            self.own.read().exact.iter().copied().filter(|addr| !addr.is_loopback()).collect();
        all.sort_unstable();
        all
    }

    /// Reads again if the last answer is old. True when the addresses have changed.
    pub fn refresh(&self) -> bool {
        let mut schedule = self.schedule.lock();
        let now = Instant::now();
        if now < schedule.due {
            return false;
        }
        let result = read_own(&self.net_dirs);
        schedule.due = now + MAX_AGE.max(now.elapsed() * COST_DIVISOR);
        match result {
            Ok((own, truncated)) => {
                if schedule.error.take().is_some() {
                    tracing::info!("host addresses can be read again");
                }
                schedule.truncated = truncated;
                let changed = !self.own.read().names_as(&own);
                *self.own.write() = own;
                changed
            }
            Err(error) => {
                schedule.failed += 1;
                let error = error.to_string();
                if schedule.error.as_ref() != Some(&error) {
                    tracing::warn!(%error, "host addresses cannot be read; keeping those known");
                }
                schedule.error = Some(error);
                false
            }
        }
    }

    /// Makes the next [`Self::refresh`] read at once.
    pub fn expire(&self) {
        self.schedule.lock().due = Instant::now();
    }

    pub fn status(&self) -> SourceStatus {
        let schedule = self.schedule.lock();
        let own = self.own.read();
        let entries = own.exact.len() + own.prefixes.len();
        let detail = match &schedule.error {
            Some(error) => error.clone(),
            None if schedule.truncated => {
                format!(
                    "{entries} addresses; routing table larger than {} MiB, read in part",
                    MAX_BYTES >> 20
                )
            }
            None => format!("{entries} addresses"),
        };
        SourceStatus {
            entries: entries as u64,
            reloads_failed: schedule.failed,
            ..SourceStatus::new("host_addresses", schedule.error.is_none(), detail)
        }
    }
}

fn read_own(net_dirs: &[PathBuf; 2]) -> io::Result<(Own, bool)> {
    let [first, second] = net_dirs;
    read_dir(first).or_else(|_| read_dir(second))
}

fn read_dir(net: &Path) -> io::Result<(Own, bool)> {
    let open = |name: &str| {
        let path = net.join(name);
        std::fs::File::open(&path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
    };
    let mut own = Own::default();
    let mut limited = BufReader::new(open("fib_trie")?.take(MAX_BYTES));
    parse_fib_trie(&mut limited, &mut own)?;
    let truncated = limited.get_ref().limit() == 0;
    match open("if_inet6") {
        Ok(file) => parse_if_inet6(&mut BufReader::new(file.take(MAX_BYTES)), &mut own)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {} // IPv6 is switched off
        Err(e) => return Err(e),
    }
    Ok((own, truncated))
}

/// `|-- 192.0.2.2` names a leaf, the lines below it (`/32 host LOCAL`) say what it is.
fn parse_fib_trie(input: &mut impl BufRead, own: &mut Own) -> io::Result<()> {
    let mut leaf: Option<Ipv4Addr> = None;
    each_line(input, |line| {
        let line = line.trim_ascii();
        if let Some(addr) = line.strip_prefix(b"|-- ") {
            leaf = text(addr).and_then(|a| a.parse().ok());
        } else if line.ends_with(b" host LOCAL")
            && let Some(addr) = leaf
            && let Some(length) = line.strip_prefix(b"/").and_then(|l| text(l.split(|b| *b == b' ').next()?))
            && let Some(net) = length.parse().ok().and_then(|length| Ipv4Net::new(addr, length).ok())
        {
            if net.prefix_len() == 32 {
                own.exact.insert(IpAddr::V4(addr));
            } else if !addr.is_loopback() && !own.prefixes.contains(&net) {
                own.prefixes.push(net);
            }
        }
    })
}

/// `20010db8000000000000000000000001 02 40 00 80 eth0`
fn parse_if_inet6(input: &mut impl BufRead, own: &mut Own) -> io::Result<()> {
    each_line(input, |line| {
        if let Some(digits) = line.get(..32).and_then(text)
            && let Ok(bits) = u128::from_str_radix(digits, 16)
        {
            let addr = IpAddr::V6(Ipv6Addr::from(bits));
            // The fourth column is the scope (`ipv6_addr_scope`): 20 is the link.
            let scope = line.split(|b| *b == b' ').filter(|column| !column.is_empty()).nth(3);
            let of_link = scope.is_some_and(|scope| scope == b"20");
            if of_link { &mut own.link_local } else { &mut own.exact }.insert(addr);
        }
    })
}

fn each_line(input: &mut impl BufRead, mut seen: impl FnMut(&[u8])) -> io::Result<()> {
    let mut line = Vec::with_capacity(128);
    while input.read_until(b'\n', &mut line)? > 0 {
        seen(&line);
        line.clear();
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
