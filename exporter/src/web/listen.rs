// SPDX-License-Identifier: Apache-2.0
//! Opens the listening sockets, before anything else is started.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};

use socket2::{Domain, Protocol, Socket, Type};

use crate::flags::{Host, ListenAddress};

const BACKLOG: i32 = 256;

/// An address that cannot be listened on. Its text is one line that names the flag.
#[derive(Debug, thiserror::Error)]
#[error("--web.listen-address {address}: {}", explain(.reason, .address))]
pub struct ListenError {
    address: ListenAddress,
    reason: io::Error,
}

/// Opens a non-blocking listener for each address; for a host name, one for each address it resolves to.
///
/// # Errors
/// The first address that cannot be had.
pub fn listen(addresses: &[ListenAddress]) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::new();
    for address in addresses {
        let opened = open_all(address).map_err(|reason| ListenError { address: address.clone(), reason })?;
        listeners.extend(opened);
    }
    Ok(listeners)
}

/// Where a listener really listens, with the port that the kernel chose.
pub fn local_address(listener: &TcpListener) -> String {
    listener.local_addr().map_or_else(|_| "unknown".to_owned(), |address| address.to_string())
}

fn open_all(address: &ListenAddress) -> io::Result<Vec<TcpListener>> {
    match &address.host {
        Host::Any => open_any(address.port).map(|listener| vec![listener]),
        Host::Address(ip) => open(SocketAddr::new(*ip, address.port)).map(|listener| vec![listener]),
        Host::Name(name) => {
            let mut resolved: Vec<_> = (name.as_str(), address.port).to_socket_addrs()?.collect();
            resolved.sort_unstable();
            resolved.dedup();
            if resolved.is_empty() {
                return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "resolves to no address"));
            }
            resolved.into_iter().map(open).collect()
        }
    }
}

/// One socket for IPv6 and IPv4; IPv4 alone where the kernel has no IPv6.
fn open_any(port: u16) -> io::Result<TcpListener> {
    match open(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)) {
        Err(error)
            if error.kind() != io::ErrorKind::AddrInUse
                && error.kind() != io::ErrorKind::PermissionDenied =>
        {
            open(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
        }
        result => result,
    }
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // Whatever net.ipv6.bindv6only says.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn explain(reason: &io::Error, address: &ListenAddress) -> String {
    match reason.kind() {
        io::ErrorKind::AddrInUse => {
            format!("port {} is in use, perhaps by another exporter; choose another address", address.port)
        }
        io::ErrorKind::PermissionDenied => {
            format!("not allowed; port {} needs CAP_NET_BIND_SERVICE", address.port)
        }
        io::ErrorKind::AddrNotAvailable => format!("this node has no such address ({reason})"),
        _ => reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::{listen, local_address};

    #[test]
    fn every_address_means_both_families() {
        let listeners = listen(&[":0".parse().unwrap()]).unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        TcpStream::connect(("::1", port)).unwrap();
        assert_eq!(local_address(&listeners[0]), format!("[::]:{port}"));
    }

    #[test]
    fn one_address_means_that_one() {
        for (text, other) in [("127.0.0.1:0", "::1"), ("[::1]:0", "127.0.0.1")] {
            let listeners = listen(&[text.parse().unwrap()]).unwrap();
            let address = listeners[0].local_addr().unwrap();
            TcpStream::connect(address).unwrap();
            assert!(TcpStream::connect((other, address.port())).is_err());
        }
        assert!(!listen(&["localhost:0".parse().unwrap()]).unwrap().is_empty());
    }

    #[test]
    fn a_taken_port_is_told_with_flag_and_address() {
        let taken = listen(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = taken[0].local_addr().unwrap();
        let error =
            listen(&["127.0.0.1:0".parse().unwrap(), address.to_string().parse().unwrap()]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("--web.listen-address {address}: port {} is in use", address.port())),
            "{text}"
        );
        let error = listen(&["192.0.2.1:0".parse().unwrap()]).unwrap_err().to_string();
        assert!(
            error.starts_with("--web.listen-address 192.0.2.1:0: this node has no such address"),
            "{error}"
        );
    }
}
