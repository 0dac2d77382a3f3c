// SPDX-License-Identifier: Apache-2.0
//! The server. Each socket is a thread.

use std::io::BufRead;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use clap::Args;
use flowgauge_tests::sys;
use flowgauge_tests::udp::Report;
use socket2::{Domain, Protocol, Socket, Type};

#[derive(Args, Clone)]
pub struct Serve {
    /// Addresses to listen on. An IPv6 wildcard takes IPv4 as well.
    #[arg(long, required = true)]
    listen: Vec<SocketAddr>,
    /// Answer each datagram with one of that many bytes.
    #[arg(long)]
    reply: Option<usize>,
    /// Give each client a connected socket on the same port once it has sent something, as QUIC servers do.
    #[arg(long)]
    per_client: bool,
    /// Take datagrams put together, all of that many bytes but the last (UDP_GRO).
    #[arg(long)]
    gro: Option<u64>,
    /// SO_RCVBUF, bytes.
    #[arg(long)]
    receive_buffer: Option<usize>,
    /// Never read.
    #[arg(long)]
    deaf: bool,
}

type Shared = Arc<Mutex<Report>>;

pub fn run(serve: Serve) -> Result<()> {
    let shared = Shared::default();
    let mut sockets = Vec::new();
    for address in &serve.listen {
        let socket: UdpSocket = bind(&serve, *address).with_context(|| format!("binding {address}"))?.into();
        sockets.push(socket.try_clone()?);
        if !serve.deaf {
            start(&serve, socket, &shared);
        }
    }
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        anyhow::ensure!(line? == "report", "unknown command");
        println!("{}", serde_json::to_string(&*lock(&shared))?);
    }
    Ok(())
}

fn bind(serve: &Serve, address: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(serve.per_client)?;
    socket.set_recv_buffer_size(serve.receive_buffer.unwrap_or(8 << 20))?;
    if serve.gro.is_some() {
        sys::set_udp_gro(&socket)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn start(serve: &Serve, socket: UdpSocket, shared: &Shared) {
    let (serve, shared) = (serve.clone(), Arc::clone(shared));
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        let connected = socket.peer_addr().ok();
        loop {
            match socket.recv_from(&mut buffer) {
                Ok((length, client)) => {
                    count(&serve, &shared, length as u64);
                    if serve.per_client
                        && connected.is_none()
                        && adopt(&serve, &socket, client, &shared).is_err()
                    {
                        *lock(&shared).errors.entry("adopt".to_owned()).or_default() += 1;
                    }
                    reply(&serve, &socket, client, connected.is_some(), &shared);
                }
                Err(error) => *lock(&shared).errors.entry(error.kind().to_string()).or_default() += 1,
            }
        }
    });
}

fn count(serve: &Serve, shared: &Shared, length: u64) {
    let mut report = lock(shared);
    let packets = serve.gro.map_or(1, |segment| length.div_ceil(segment).max(1));
    report.received_packets += packets;
    report.received_bytes += length;
    report.batches += u64::from(packets > 1);
}

/// Gives a client a socket of its own.
fn adopt(serve: &Serve, listening: &UdpSocket, client: SocketAddr, shared: &Shared) -> std::io::Result<()> {
    let socket: UdpSocket = bind(serve, listening.local_addr()?)?.into();
    socket.connect(client)?;
    lock(shared).connected += 1;
    start(serve, socket, shared);
    Ok(())
}

fn reply(serve: &Serve, socket: &UdpSocket, client: SocketAddr, connected: bool, shared: &Shared) {
    let Some(size) = serve.reply else { return };
    let data = vec![b'r'; size];
    let sent = if connected { socket.send(&data) } else { socket.send_to(&data, client) };
    let mut report = lock(shared);
    match sent {
        Ok(length) => {
            report.sent_packets += 1;
            report.sent_bytes += length as u64;
        }
        Err(error) => *report.errors.entry(error.kind().to_string()).or_default() += 1,
    }
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, Report> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
