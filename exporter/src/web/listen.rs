// SPDX-License-Identifier: Apache-2.0
//! Opens the listening sockets, before anything else is started.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use rustix::fs::Mode;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::flags::{Flags, Host, ListenAddress};

const BACKLOG: i32 = 256;

/// A socket that connections come from.
#[derive(Debug)]
pub enum Listener {
    /// A port.
    Tcp(TcpListener),
    /// A path, and the socket's number there if the file is ours to remove.
    Unix(UnixListener, Option<(PathBuf, u64)>),
}

/// An address that cannot be listened on. Its text is one line that names the flag.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// One of `--web.listen-address`.
    #[error("--web.listen-address {address}: {}", explain(.reason, .address))]
    Address {
        /// Which.
        address: ListenAddress,
        /// Why.
        reason: io::Error,
    },
    /// What systemd handed over, or did not.
    #[error("--web.systemd-socket: {0}")]
    Systemd(String),
}

/// Opens what the flags ask for, without blocking.
///
/// # Errors
/// The first address that cannot be had.
pub fn open(flags: &Flags) -> Result<Vec<Listener>, ListenError> {
    if flags.serving.systemd_socket { handed_over() } else { listen(&flags.listen_addresses) }
}

/// Opens a non-blocking listener for each address; for a host name, one for each address it resolves to.
///
/// # Errors
/// The first address that cannot be had.
pub fn listen(addresses: &[ListenAddress]) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = Vec::new();
    for address in addresses {
        let opened =
            open_all(address).map_err(|reason| ListenError::Address { address: address.clone(), reason })?;
        listeners.extend(opened);
    }
    Ok(listeners)
}

/// The sockets of a systemd socket unit, ports and paths.
fn handed_over() -> Result<Vec<Listener>, ListenError> {
    let mut handed = ListenFd::from_env();
    if handed.len() == 0 {
        let what = "no socket was handed over: start the socket unit, which starts the service";
        return Err(ListenError::Systemd(what.to_owned()));
    }
    let mut listeners = Vec::new();
    for at in 0..handed.len() {
        let listener = match handed.take_unix_listener(at) {
            Ok(Some(listener)) => Listener::Unix(listener, None),
            _ => match handed.take_tcp_listener(at) {
                Ok(Some(listener)) => Listener::Tcp(listener),
                Ok(None) => continue,
                Err(error) => return Err(ListenError::Systemd(format!("socket {at}: {error}"))),
            },
        };
        let set = match &listener {
            Listener::Tcp(listener) => listener.set_nonblocking(true),
            Listener::Unix(listener, _) => listener.set_nonblocking(true),
        };
        set.map_err(|error| ListenError::Systemd(format!("socket {at}: {error}")))?;
        listeners.push(listener);
    }
    Ok(listeners)
}

impl Listener {
    /// The file of a Unix socket that is ours to remove at the end.
    pub fn file(&self) -> Option<(PathBuf, u64)> {
        match self {
            Self::Unix(_, file) => file.clone(),
            Self::Tcp(_) => None,
        }
    }
}

impl fmt::Display for Listener {
    /// Where it really listens, with the port that the kernel chose.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "{address}"),
                Err(_) => f.write_str("unknown"),
            },
            Self::Unix(listener, _) => match listener.local_addr() {
                Ok(address) => match address.as_pathname() {
                    Some(path) => write!(f, "unix:{}", path.display()),
                    None => f.write_str("unix"),
                },
                Err(_) => f.write_str("unknown"),
            },
        }
    }
}

/// Removes the file of a Unix socket, unless somebody has put another in its place.
pub fn remove(file: &(PathBuf, u64)) -> io::Result<()> {
    let (path, number) = file;
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.ino() == *number => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

fn open_all(address: &ListenAddress) -> io::Result<Vec<Listener>> {
    match address {
        ListenAddress::Unix { path, mode } => open_unix(path, *mode).map(|listener| vec![listener]),
        ListenAddress::Tcp { host: Host::Any, port } => open_any(*port).map(|listener| vec![listener]),
        ListenAddress::Tcp { host: Host::Address(ip), port } => {
            open_tcp(SocketAddr::new(*ip, *port)).map(|listener| vec![listener])
        }
        ListenAddress::Tcp { host: Host::Name(name), port } => {
            let mut resolved: Vec<_> = (name.as_str(), *port).to_socket_addrs()?.collect();
            resolved.sort_unstable();
            resolved.dedup();
            if resolved.is_empty() {
                return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "resolves to no address"));
            }
            resolved.into_iter().map(open_tcp).collect()
        }
    }
}

/// One socket for IPv6 and IPv4; IPv4 alone where the kernel has no IPv6.
fn open_any(port: u16) -> io::Result<Listener> {
    match open_tcp(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)) {
        Err(error)
            if error.kind() != io::ErrorKind::AddrInUse
                && error.kind() != io::ErrorKind::PermissionDenied =>
        {
            open_tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
        }
        result => result,
    }
}

fn open_tcp(address: SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // Whatever net.ipv6.bindv6only says.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(Listener::Tcp(socket.into()))
}

fn open_unix(path: &Path, mode: u32) -> io::Result<Listener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let address = SockAddr::unix(path)?;
    if let Err(error) = socket.bind(&address) {
        if error.kind() != io::ErrorKind::AddrInUse || !is_left_over(path) {
            return Err(error);
        }
        std::fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    // Nobody can connect before it listens, so nobody gets in who may not.
    rustix::fs::chmod(path, Mode::from_raw_mode(mode))?;
    let number = std::fs::symlink_metadata(path)?.ino();
    socket.listen(BACKLOG)?;
    Ok(Listener::Unix(socket.into(), Some((path.to_owned(), number))))
}

/// Whether the file is the socket of a program that has gone without removing it.
fn is_left_over(path: &Path) -> bool {
    let socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    socket && UnixStream::connect(path).err().is_some_and(refused)
}

fn explain(reason: &io::Error, address: &ListenAddress) -> String {
    match (reason.kind(), address) {
        (io::ErrorKind::AddrInUse, ListenAddress::Tcp { port, .. }) => {
            format!("port {port} is in use, perhaps by another exporter; choose another address")
        }
        (io::ErrorKind::AddrInUse, ListenAddress::Unix { .. }) => {
            "is in use, or no socket; choose another path".to_owned()
        }
        (io::ErrorKind::PermissionDenied, ListenAddress::Tcp { port, .. }) => {
            format!("not allowed; port {port} needs CAP_NET_BIND_SERVICE")
        }
        (io::ErrorKind::AddrNotAvailable, _) => format!("this node has no such address ({reason})"),
        _ => reason.to_string(),
    }
}

#[cfg(test)]
mod tests;
