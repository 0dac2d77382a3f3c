// SPDX-License-Identifier: Apache-2.0

//! A flood of small packets to a port where nobody listens: what counting dropped packets costs whoever drops them.
//!
//! The packets cross a veth pair, for over loopback the kernel would answer each of them, which costs several times what
//! dropping one does.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Barrier;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::account;
use super::machine::{self, Cgroup};
use super::rig::Exporter;
use super::spread::{Shuffler, Spread};
use super::table::Table;
use crate::metrics::{Format, Metrics};
use crate::netns::{Host, World};
use crate::truth::Snmp;

/// Datagrams of each sender.
const DATAGRAMS: usize = 400_000;
/// Handed to the kernel at a time.
const BATCH: usize = 64;
const PAYLOAD: &[u8] = b"small";
const PORT: u16 = 9;

/// What runs beside the flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Arm {
    Without,
    WithoutAgain,
    DropsAlone,
    With,
}

impl Arm {
    const ALL: [Self; 4] = [Self::Without, Self::WithoutAgain, Self::DropsAlone, Self::With];

    fn describe(self) -> &'static str {
        match self {
            Self::Without => "without",
            Self::WithoutAgain => "without, once more: the noise",
            Self::DropsAlone => "with the drops collector alone",
            Self::With => "with the default collectors",
        }
    }

    fn exporter(self) -> Result<Option<Exporter>> {
        let flags: &[&str] = match self {
            Self::Without | Self::WithoutAgain => return Ok(None),
            Self::DropsAlone => &[
                "--no-collector.tcp",
                "--no-collector.udp",
                "--no-collector.dns",
                "--no-collector.http",
                "--no-collector.node",
            ],
            Self::With => &[],
        };
        Exporter::start(&Cgroup::root()?, flags).map(Some)
    }
}

/// From where to where.
struct Road {
    sender: Host,
    receiver: Host,
    to: SocketAddr,
}

/// One flood.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Packets in a second.
    rate: f64,
    /// Nanoseconds of the senders' processor time for each; they receive and drop it as well.
    cost: f64,
    /// Nanoseconds of the program for each, as the exporter says; 0 without.
    program: f64,
}

/// Runs each arm once in each repetition, in a new order; ratios are taken within a repetition.
pub fn per_dropped_packet(repetitions: u32) -> Result<Table> {
    let world = World::new()?;
    let [sender, receiver] = [world.host("sender")?, world.host("receiver")?];
    let to = world.link(&sender, &receiver)?.b.at4(PORT);
    // As it is by default: a thousand packets answered in a second, the rest dropped and no more.
    receiver.sysctl("net.ipv4.icmp_ratelimit", "1000")?;
    let road = Road { sender, receiver, to };
    let mut shuffler = Shuffler::new(0x0d20_2026);
    let mut runs = BTreeMap::<Arm, Vec<Run>>::new();
    for repetition in 1..=repetitions {
        eprint!("\rflood: {repetition} of {repetitions} ");
        let mut arms = Arm::ALL;
        shuffler.shuffle(&mut arms);
        for arm in arms {
            let exporter = arm.exporter()?;
            runs.entry(arm).or_default().push(run(&road, exporter.as_ref())?);
        }
    }
    eprintln!();
    let mut table = Table::new(&[
        "packets of 5 bytes to a closed port, a sender on each processor",
        "packets/s",
        "CPU per packet, ns",
        "against without",
        "added, ns",
        "of it in the program, ns",
    ]);
    let of = |arm: Arm| runs.get(&arm).map_or(&[][..], Vec::as_slice);
    for arm in Arm::ALL {
        let figures = |figure: fn(&Run, &Run) -> f64| {
            let pairs = of(arm).iter().zip(of(Arm::Without));
            Spread::of(&pairs.map(|(run, without)| figure(run, without)).collect::<Vec<_>>())
        };
        let program = figures(|run, _| run.program);
        table.row(&[
            arm.describe(),
            &format!("{:.0}", figures(|run, _| run.rate)),
            &format!("{:.0}", figures(|run, _| run.cost)),
            &format!("{:.3}", figures(|run, without| run.cost / without.cost)),
            &format!("{:.0}", figures(|run, without| run.cost - without.cost)),
            &if program.median > 0.0 { format!("{program:.0}") } else { String::new() },
        ]);
    }
    Ok(table)
}

fn run(road: &Road, exporter: Option<&Exporter>) -> Result<Run> {
    let program = |exporter: &Exporter| -> Result<[f64; 2]> {
        let (_, body) = exporter.scrape("identity")?;
        let metrics = Metrics::parse(&String::from_utf8(body)?, Format::Classic)?;
        let of =
            |name: &str| metrics.sum(&format!("flowgauge_bpf_program_{name}_total"), &[("program", "drop")]);
        Ok([of("runs"), of("run_seconds")])
    };
    flood(road, DATAGRAMS / 20)?;
    let (before, earlier) = (exporter.map(program).transpose()?, Snmp::of(&road.receiver)?);
    let started = Instant::now();
    let cpu = account::own_cpu()?;
    let sent = flood(road, DATAGRAMS)?;
    let cpu = account::own_cpu()?.saturating_sub(cpu);
    let took = started.elapsed();
    let after = exporter.map(program).transpose()?;
    let dropped = Snmp::of(&road.receiver)?.since(&earlier, "UdpNoPorts")?;
    // The rest did not get that far: dropped as well, for want of room in a CPU's backlog.
    ensure!(dropped > 0.5 * sent, "{dropped} of {sent} packets found no socket");
    let program = match before.zip(after) {
        Some(([runs, _], [runs_after, _])) if runs_after == runs => 0.0,
        Some(([runs, seconds], [runs_after, seconds_after])) => {
            (seconds_after - seconds) * 1e9 / (runs_after - runs)
        }
        None => 0.0,
    };
    Ok(Run { rate: sent / took.as_secs_f64(), cost: cpu.as_nanos() as f64 / sent, program })
}

/// Sends so many from each processor; returns how many in all.
fn flood(road: &Road, datagrams: usize) -> Result<f64> {
    let senders = machine::processors();
    let barrier = Barrier::new(senders);
    let sockets = road.sender.enter(|| {
        let socket = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("binding a sender");
        (0..senders).map(|_| socket()).collect::<Result<Vec<_>>>()
    })?;
    std::thread::scope(|scope| {
        let (barrier, to) = (&barrier, road.to);
        let send = |(processor, socket): (usize, UdpSocket)| {
            scope.spawn(move || -> Result<usize> {
                machine::pin(processor)?;
                barrier.wait();
                (0..datagrams / BATCH).try_fold(0, |sent, _| Ok(sent + send_batch(&socket, to)?))
            })
        };
        let threads: Vec<_> = sockets.into_iter().enumerate().map(send).collect();
        let mut sent = 0;
        for thread in threads {
            sent += thread.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??;
        }
        Ok(sent as f64)
    })
}

fn send_batch(socket: &UdpSocket, to: SocketAddr) -> Result<usize> {
    let to = socket2::SockAddr::from(to);
    let mut part = libc::iovec { iov_base: PAYLOAD.as_ptr().cast_mut().cast(), iov_len: PAYLOAD.len() };
    // SAFETY: plain structures of integers and pointers, for which zero is a value.
    let mut messages: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
    for message in &mut messages {
        message.msg_hdr.msg_name = to.as_ptr().cast_mut().cast();
        message.msg_hdr.msg_namelen = to.len();
        message.msg_hdr.msg_iov = &raw mut part;
        message.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: all that the messages point to lives until the call returns, and is only read.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), BATCH as u32, 0) };
    ensure!(sent > 0, "sendmmsg: {}", std::io::Error::last_os_error());
    Ok(sent as usize)
}
