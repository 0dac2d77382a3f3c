// SPDX-License-Identifier: Apache-2.0
//! Sockets with options, and the names of errors.

use std::io;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use clap::Args;
use socket2::{Domain, Protocol, Socket, Type};

/// Socket options that servers and clients share.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// SO_RCVBUF, bytes.
    #[arg(long)]
    receive_buffer: Option<usize>,
    /// SO_SNDBUF, bytes.
    #[arg(long)]
    send_buffer: Option<usize>,
    /// Use MPTCP instead of TCP.
    #[arg(long)]
    mptcp: bool,
}

/// A blocking socket for `address`, not connected yet.
pub fn socket(address: SocketAddr, options: &Options) -> io::Result<Socket> {
    let protocol = if options.mptcp { Protocol::MPTCP } else { Protocol::TCP };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(protocol))?;
    if let Some(size) = options.receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    if let Some(size) = options.send_buffer {
        socket.set_send_buffer_size(size)?;
    }
    Ok(socket)
}

/// A listening socket. An IPv6 wildcard takes IPv4 connections too.
pub fn listener(address: SocketAddr, backlog: i32, reuse_port: bool, options: &Options) -> Result<Socket> {
    let open = || {
        let socket = socket(address, options)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(reuse_port)?;
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        Ok::<_, io::Error>(socket)
    };
    open().with_context(|| format!("listening on {address}"))
}

/// The errno's own name where a test may expect it, else the text.
pub fn error_name(error: &io::Error) -> String {
    let name = match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => "ECONNREFUSED",
        Some(libc::ETIMEDOUT) => "ETIMEDOUT",
        Some(libc::EHOSTUNREACH) => "EHOSTUNREACH",
        Some(libc::ENETUNREACH) => "ENETUNREACH",
        Some(libc::ECONNRESET) => "ECONNRESET",
        Some(libc::EPIPE) => "EPIPE",
        Some(libc::EADDRNOTAVAIL) => "EADDRNOTAVAIL",
        Some(libc::EACCES) => "EACCES",
        Some(libc::EMFILE) => "EMFILE",
        _ => match error.kind() {
            io::ErrorKind::TimedOut => "gave up",
            io::ErrorKind::UnexpectedEof => "EOF",
            _ => return error.to_string(),
        },
    };
    name.to_owned()
}
