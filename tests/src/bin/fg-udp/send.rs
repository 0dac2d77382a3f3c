// SPDX-License-Identifier: Apache-2.0
//! The sender.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use flowgauge_tests::sys;
use flowgauge_tests::udp::Report;

#[derive(Args)]
pub struct Send {
    /// Where to, in turn.
    #[arg(long, required = true)]
    to: Vec<SocketAddr>,
    /// To that many IPv4 addresses instead, beginning with the given.
    #[arg(long, default_value_t = 1)]
    spread: u64,
    /// How many sends in all.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Bytes of payload of each send.
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// From how many sockets, in turn.
    #[arg(long, default_value_t = 1)]
    sockets: usize,
    /// Connect each socket to the first address.
    #[arg(long)]
    connect: bool,
    /// The address that sockets are bound to.
    #[arg(long)]
    bind: Option<SocketAddr>,
    /// Have each send cut into datagrams of that many bytes (UDP_SEGMENT).
    #[arg(long)]
    gso: Option<u16>,
    /// Wait for an answer to each.
    #[arg(long)]
    replies: bool,
    /// Microseconds to wait after each hundred sends.
    #[arg(long, default_value_t = 0)]
    pause: u64,
    /// Keep the sockets open until standard input ends.
    #[arg(long)]
    stay: bool,
}

pub fn run(send: &Send) -> Result<()> {
    sys::raise_open_files()?;
    let mut report = Report::default();
    let sockets = (0..send.sockets).map(|_| open(send)).collect::<Result<Vec<_>>>()?;
    let data = vec![b's'; send.size];
    let mut buffer = vec![0; 65_536];
    for number in 0..send.count {
        let socket = &sockets[number as usize % sockets.len()];
        let to = send.to[number as usize % send.to.len()];
        let sent = if send.connect {
            socket.send(&data)
        } else {
            socket.send_to(&data, shifted(to, number % send.spread))
        };
        match sent {
            Ok(length) => {
                report.sent_packets += send.gso.map_or(1, |segment| length.div_ceil(segment.into())) as u64;
                report.sent_bytes += length as u64;
            }
            Err(error) => note(&mut report, &error),
        }
        if send.replies {
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    report.received_packets += 1;
                    report.received_bytes += length as u64;
                }
                Err(error) => note(&mut report, &error),
            }
        }
        if send.pause > 0 && number % 100 == 99 {
            std::thread::sleep(Duration::from_micros(send.pause));
        }
    }
    println!("{}", serde_json::to_string(&report)?);
    if send.stay {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    }
    Ok(())
}

fn open(send: &Send) -> Result<UdpSocket> {
    let any = if send.to[0].is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let own = send.bind.map_or_else(|| any.to_owned(), |address| address.to_string());
    let socket = UdpSocket::bind(&own).with_context(|| format!("binding {own}"))?;
    if send.connect {
        socket.connect(send.to[0]).with_context(|| format!("connecting to {}", send.to[0]))?;
    }
    if let Some(size) = send.gso {
        sys::set_udp_segment(&socket, size).context("setting UDP_SEGMENT")?;
    }
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    Ok(socket)
}

fn shifted(to: SocketAddr, by: u64) -> SocketAddr {
    match to.ip() {
        IpAddr::V4(address) => {
            let address = Ipv4Addr::from(u32::from(address).wrapping_add(by as u32));
            SocketAddr::new(address.into(), to.port())
        }
        IpAddr::V6(_) => to,
    }
}

fn note(report: &mut Report, error: &std::io::Error) {
    let name = match error.kind() {
        ErrorKind::ConnectionRefused => "ECONNREFUSED".to_owned(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer".to_owned(),
        _ => error.to_string(),
    };
    *report.errors.entry(name).or_default() += 1;
}
