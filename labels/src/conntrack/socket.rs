// SPDX-License-Identifier: Apache-2.0
//! The two netlink sockets: one for events, one for dumps, so that a long dump holds up no event.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
};
use socket2::SockRef;

use super::filter::translated_tcp;
use super::message::dump_request;

/// Some 20,000 events that wait to be read.
const EVENT_BYTES: usize = 8 << 20;
/// The largest datagram: the kernel fills buffers of a dump up to this size.
pub(super) const DATAGRAM: usize = 32 << 10;

#[derive(Debug)]
pub(super) struct Sockets {
    events: OwnedFd,
    dumps: OwnedFd,
}

/// What came of reading.
pub(super) enum Received<'a> {
    /// One datagram.
    Datagram(&'a [u8]),
    /// Nothing waits.
    Nothing,
    /// Events were lost: the queue was full.
    Overrun,
}

impl Sockets {
    /// Opens both in the network namespace of the calling thread; they stay there. Nothing is heard before
    /// [`Self::listen`].
    pub fn open() -> Result<Sockets, Errno> {
        let open = || {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(NETFILTER))
        };
        let sockets = Sockets { events: open()?, dumps: open()? };
        // The first needs CAP_NET_ADMIN; the second is cut to net.core.rmem_max.
        set_socket_recv_buffer_size_force(&sockets.events, EVENT_BYTES)
            .or_else(|_| set_socket_recv_buffer_size(&sockets.events, EVENT_BYTES))?;
        Ok(sockets)
    }

    /// Starts to hear of new connections, which needs CAP_NET_ADMIN. From here on the kernel composes an event for each new entry.
    pub fn listen(&self) -> Result<(), Errno> {
        let error = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        SockRef::from(&self.events).attach_filter(&translated_tcp()).map_err(error)?;
        let group = 1 << (libc::NFNLGRP_CONNTRACK_NEW - 1);
        bind(&self.events, &SocketAddrNetlink::new(0, group))
    }

    /// Asks for the table. `marked`: for entries that the kernel marked as translated alone.
    pub fn ask(&self, sequence: u32, marked: bool) -> Result<(), Errno> {
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.dumps, &dump_request(sequence, marked), SendFlags::DONTWAIT, &kernel).map(drop)
    }

    pub fn event<'a>(&self, buffer: &'a mut [u8]) -> Result<Received<'a>, Errno> {
        read(&self.events, buffer)
    }

    /// The next part of the table. The kernel composes it while it is asked, so each takes a while: 0.2 ms if all
    /// its entries are translated, and several if none is.
    pub fn part<'a>(&self, buffer: &'a mut [u8]) -> Result<Received<'a>, Errno> {
        read(&self.dumps, buffer)
    }
}

fn read<'a>(socket: &OwnedFd, buffer: &'a mut [u8]) -> Result<Received<'a>, Errno> {
    loop {
        return match recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((length, _)) => Ok(Received::Datagram(buffer.get(..length).unwrap_or_default())),
            Err(Errno::AGAIN) => Ok(Received::Nothing),
            Err(Errno::NOBUFS) => Ok(Received::Overrun),
            Err(Errno::INTR) => continue,
            Err(error) => Err(error),
        };
    }
}
