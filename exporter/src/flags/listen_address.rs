// SPDX-License-Identifier: Apache-2.0
//! Where to listen: `:10950`, `127.0.0.1:0`, `[::1]:10950`, `localhost:10950`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// One `--web.listen-address`, as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// Which of the node's addresses.
    pub host: Host,
    /// The port; 0 lets the kernel choose.
    pub port: u16,
}

/// Which of the node's addresses to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// All, IPv4 and IPv6.
    Any,
    /// One address.
    Address(IpAddr),
    /// What a host name resolves to at start.
    Name(String),
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = text
            .rsplit_once(':')
            .ok_or("must be [HOST]:PORT, such as :10950 or 127.0.0.1:10950".to_owned())?;
        let port = port.parse().map_err(|_| format!("{port:?} is not a port between 0 and 65535"))?;
        Ok(Self { host: parse_host(host)?, port })
    }
}

fn parse_host(host: &str) -> Result<Host, String> {
    if host.is_empty() {
        return Ok(Host::Any);
    }
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match address.parse::<Ipv6Addr>() {
            Ok(address) => Ok(Host::Address(address.into())),
            Err(_) => Err(format!("{address:?} is not an IPv6 address")),
        };
    }
    if host.contains(':') {
        return Err("an IPv6 address must be in brackets, such as [::1]:10950".to_owned());
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(Host::Address(address.into()));
    }
    let valid = host.len() <= 253
        && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
        && host.chars().any(|c| c.is_ascii_alphabetic());
    if valid {
        Ok(Host::Name(host.to_owned()))
    } else {
        Err(format!("{host:?} is neither an address nor a host name"))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Any => write!(f, ":{}", self.port),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}
