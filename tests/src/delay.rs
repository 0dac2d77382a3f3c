// SPDX-License-Identifier: Apache-2.0
//! A link that takes its time: two TUN devices and a forwarder between them, for kernels without netem.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::netns::{Host, Interface, Subnet, World};
use crate::process::Process;
use crate::sys;
use crate::traffic;

/// Packets larger than this do not exist on the link.
const MTU: usize = 1500;
/// Packets that may be on their way in one direction; more are dropped, as a router would.
const QUEUE: usize = 20_000;
/// How long a packet waits at most for one that overtakes it.
const OVERTAKING: Duration = Duration::from_millis(3);

/// What a link does to packets, in each direction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manners {
    /// How long each of them takes.
    pub one_way: Duration,
    /// Every so many packets, one overtakes the one before; 0: none does.
    pub overtaking: u64,
    /// Every so many packets, one is delivered twice; 0: none is.
    pub doubled: u64,
}

/// Two hosts joined by a link that delays every packet, both ways.
#[derive(Debug)]
pub struct SlowLink {
    /// The end at the first host.
    pub a: Interface,
    /// The end at the second host.
    pub b: Interface,
    _forwarder: Process,
}

impl SlowLink {
    /// Joins two hosts; each direction takes `one_way`, so a round trip takes twice that.
    pub fn new(world: &World, a: &Host, b: &Host, one_way: Duration) -> Result<Self> {
        Self::with_manners(world, a, b, Manners { one_way, ..Manners::default() })
    }

    /// Joins two hosts by a link with such manners.
    pub fn with_manners(_world: &World, a: &Host, b: &Host, manners: Manners) -> Result<Self> {
        let net = Subnet::next();
        let (device_a, device_b) = (net.device("t", 1), net.device("t", 2));
        let mut command = traffic::command_outside();
        command.args(["delay", "--microseconds", &manners.one_way.as_micros().to_string()]);
        command.args(["--overtaking", &manners.overtaking.to_string()]);
        command.args(["--doubled", &manners.doubled.to_string()]);
        for (host, device) in [(a, &device_a), (b, &device_b)] {
            command.args(["--end", &format!("{}:{device}", host.workload)]);
        }
        let mut forwarder = Process::spawn("delay forwarder", &mut command)?;
        let ready = forwarder.line(Duration::from_secs(10))?;
        ensure!(ready == "ready", "the forwarder said {ready:?}");
        Ok(SlowLink {
            a: a.adopt(&device_a, &net, 1)?,
            b: b.adopt(&device_b, &net, 2)?,
            _forwarder: forwarder,
        })
    }
}

/// Forwards packets between two TUN devices until the process is killed. Ends are given as `<namespace>:<device>`.
pub fn forward(ends: [&str; 2], manners: Manners) -> Result<()> {
    let [a, b] = ends.map(open_end);
    let (a, b) = (a?, b?);
    println!("ready");
    let there = direction(a.try_clone()?, b.try_clone()?, manners);
    let back = direction(b, a, manners);
    for thread in [there, back] {
        thread.join().map_err(|_| anyhow::anyhow!("a forwarding thread panicked"))??;
    }
    Ok(())
}

fn open_end(end: &str) -> Result<File> {
    let (namespace, device) = end.split_once(':').with_context(|| format!("{end:?}: no device"))?;
    let path = format!("/run/netns/{namespace}");
    let handle = File::open(&path).with_context(|| format!("opening {path}"))?;
    sys::enter_netns(&handle).with_context(|| format!("entering {path}"))?;
    Ok(sys::open_tun(device)?.into())
}

fn direction(mut from: File, to: File, manners: Manners) -> thread::JoinHandle<Result<()>> {
    let (sender, packets) = channel();
    thread::spawn(move || {
        let writer = thread::spawn(move || deliver(&packets, to, manners));
        let mut packet = [0; MTU];
        loop {
            let length = from.read(&mut packet).context("reading from the TUN device")?;
            if sender.send((Instant::now() + manners.one_way, packet[..length].to_vec())).is_err() {
                return writer.join().map_err(|_| anyhow::anyhow!("the delivering thread panicked"))?;
            }
        }
    })
}

/// Writes each packet when it is due. A device that is not up yet refuses packets: those are lost, as on a wire.
fn deliver(packets: &Receiver<(Instant, Vec<u8>)>, mut to: File, manners: Manners) -> Result<()> {
    let mut waiting: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut overtaken: Option<(Instant, Vec<u8>)> = None;
    let mut number = 0_u64;
    let is_turn = |number: u64, every: u64| every > 0 && number.is_multiple_of(every);
    loop {
        let next = [waiting.front(), overtaken.as_ref()].into_iter().flatten().map(|(due, _)| *due).min();
        let patience =
            next.map_or(Duration::from_secs(3600), |due| due.saturating_duration_since(Instant::now()));
        match packets.recv_timeout(patience) {
            Ok(packet) if waiting.len() < QUEUE => waiting.push_back(packet),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        while waiting.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            let Some((_, packet)) = waiting.pop_front() else { break };
            number += 1;
            if overtaken.is_none() && is_turn(number, manners.overtaking) {
                overtaken = Some((Instant::now() + OVERTAKING, packet));
                continue;
            }
            let _ = to.write(&packet);
            if is_turn(number, manners.doubled) {
                let _ = to.write(&packet);
            }
            if let Some((_, packet)) = overtaken.take() {
                let _ = to.write(&packet);
            }
        }
        if let Some((_, packet)) = overtaken.take_if(|(due, _)| *due <= Instant::now()) {
            let _ = to.write(&packet);
        }
    }
}
