// SPDX-License-Identifier: Apache-2.0
//! Where to listen: `:10950`, `127.0.0.1:0`, `[::1]:10950`, `localhost:10950`, `unix:/run/flowgauge.sock?mode=0660`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

/// Who may connect to a Unix socket if nobody says: its owner and its group.
const DEFAULT_MODE: u32 = 0o660;
/// `sun_path` of `sockaddr_un` with its final zero.
const LONGEST_PATH: usize = 107;

/// One `--web.listen-address`, as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP port.
    Tcp {
        /// Which of the node's addresses.
        host: Host,
        /// The port; 0 lets the kernel choose.
        port: u16,
    },
    /// A Unix socket.
    Unix {
        /// Where.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
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
        if let Some(socket) = text.strip_prefix("unix:") {
            return parse_unix(socket);
        }
        let (host, port) = text.rsplit_once(':').ok_or(
            "must be [HOST]:PORT, such as :10950 or 127.0.0.1:10950, or unix:/PATH[?mode=MODE]".to_owned(),
        )?;
        let port = port.parse().map_err(|_| format!("{port:?} is not a port between 0 and 65535"))?;
        Ok(Self::Tcp { host: parse_host(host)?, port })
    }
}

fn parse_unix(socket: &str) -> Result<ListenAddress, String> {
    let (path, mode) = match socket.split_once('?') {
        None => (socket, DEFAULT_MODE),
        Some((path, query)) => {
            let mode = query.strip_prefix("mode=").ok_or("after ? only mode=MODE, such as mode=0660")?;
            let octal = u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o777);
            (path, octal.ok_or_else(|| format!("{mode:?} is not an octal mode from 0 to 777"))?)
        }
    };
    if !path.starts_with('/') || path.ends_with('/') {
        return Err("a Unix socket needs an absolute path, such as unix:/run/flowgauge.sock".to_owned());
    }
    if path.len() > LONGEST_PATH {
        return Err(format!("the path is {} bytes long; the kernel takes {LONGEST_PATH}", path.len()));
    }
    Ok(ListenAddress::Unix { path: path.into(), mode })
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
        match self {
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
            Self::Tcp { host: Host::Any, port } => write!(f, ":{port}"),
            Self::Tcp { host: Host::Address(IpAddr::V6(address)), port } => write!(f, "[{address}]:{port}"),
            Self::Tcp { host: Host::Address(IpAddr::V4(address)), port } => write!(f, "{address}:{port}"),
            Self::Tcp { host: Host::Name(name), port } => write!(f, "{name}:{port}"),
        }
    }
}
