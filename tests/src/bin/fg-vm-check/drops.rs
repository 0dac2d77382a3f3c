// SPDX-License-Identifier: Apache-2.0

//! Dropped packets on this kernel: the program loads, and counts by this kernel's reasons what the kernel counts otherwise.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use anyhow::{Result, ensure};
use flowgauge_tests::raw;

use crate::exporter::{Exporter, Scrape};
use crate::kernel;
use crate::report::Report;

const CLOSED: u16 = 7040;
const DEAF: u16 = 7041;

/// The one that lives in this network namespace, and no cgroup of its own.
const WORKLOAD: &str = "fg-vm-check";

/// Reasons, and the kernel's own counter of the same.
const CASES: [(&str, &str); 3] =
    [("NO_SOCKET", "NoPorts"), ("UDP_CSUM", "InCsumErrors"), ("SOCKET_RCVBUFF", "RcvbufErrors")];

/// Has packets dropped and compares.
pub fn check(report: &mut Report, exporter: &Exporter) -> Result<()> {
    let scrape = exporter.scrape()?;
    report.equal("collector_up, drops", scrape.sum("collector_up", &[("collector", "drops")]), 1.0);
    let counted = |scrape: &Scrape| {
        CASES.map(|(reason, _)| {
            scrape.sum("dropped_packets_total", &[("workload", WORKLOAD), ("reason", reason)])
        })
    };
    let truth = || CASES.iter().map(|(_, name)| kernel::counter("Udp", name)).collect::<Result<Vec<_>>>();
    let (before, earlier) = (counted(&scrape), truth()?);

    let sender = UdpSocket::bind("127.0.0.1:0")?;
    for _ in 0..30 {
        sender.send_to(b"nobody", (Ipv4Addr::LOCALHOST, CLOSED))?;
    }
    let [from, to] = [CLOSED - 1, CLOSED].map(|port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    raw::send(Ipv4Addr::LOCALHOST, &vec![raw::bad_udp(from, to); 9])?;
    let deaf = UdpSocket::bind(("0.0.0.0", DEAF))?;
    set_receive_buffer(&deaf, 4096)?;
    for _ in 0..100 {
        sender.send_to(&[0; 1000], (Ipv4Addr::LOCALHOST, DEAF))?;
    }

    let scrape = exporter.scrape()?;
    let (after, now) = (counted(&scrape), truth()?);
    for (at, least) in [30, 9, 50].into_iter().enumerate() {
        let expected = now[at] - earlier[at];
        let reason = CASES[at].0;
        report.holds(&format!("{reason} happened"), expected >= least, &expected.to_string());
        report.equal(reason, after[at] - before[at], expected as f64);
    }
    println!("{}", scrape.lines("dropped_packets"));
    Ok(())
}

fn set_receive_buffer(socket: &UdpSocket, bytes: libc::c_int) -> Result<()> {
    // SAFETY: the pointer and the size are of the same live value.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            (&raw const bytes).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    ensure!(set == 0, "SO_RCVBUF: {}", std::io::Error::last_os_error());
    Ok(())
}
