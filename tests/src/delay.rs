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
    pub fn new(_world: &World, a: &Host, b: &Host, one_way: Duration) -> Result<Self> {
        let net = Subnet::next();
        let (device_a, device_b) = (net.device("t", 1), net.device("t", 2));
        let mut command = traffic::command_outside();
        command.args(["delay", "--microseconds", &one_way.as_micros().to_string()]);
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
pub fn forward(ends: [&str; 2], one_way: Duration) -> Result<()> {
    let [a, b] = ends.map(open_end);
    let (a, b) = (a?, b?);
    println!("ready");
    let there = direction(a.try_clone()?, b.try_clone()?, one_way);
    let back = direction(b, a, one_way);
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

fn direction(mut from: File, to: File, one_way: Duration) -> thread::JoinHandle<Result<()>> {
    let (sender, packets) = channel();
    thread::spawn(move || {
        let writer = thread::spawn(move || deliver(&packets, to));
        let mut packet = [0; MTU];
        loop {
            let length = from.read(&mut packet).context("reading from the TUN device")?;
            if sender.send((Instant::now() + one_way, packet[..length].to_vec())).is_err() {
                return writer.join().map_err(|_| anyhow::anyhow!("the delivering thread panicked"))?;
            }
        }
    })
}

/// Writes each packet when it is due. A device that is not up yet refuses packets: those are lost, as on a wire.
fn deliver(packets: &Receiver<(Instant, Vec<u8>)>, mut to: File) -> Result<()> {
    let mut waiting: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    loop {
        let patience = waiting
            .front()
            .map_or(Duration::from_secs(3600), |(due, _)| due.saturating_duration_since(Instant::now()));
        match packets.recv_timeout(patience) {
            Ok(packet) if waiting.len() < QUEUE => waiting.push_back(packet),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        while waiting.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            if let Some((_, packet)) = waiting.pop_front() {
                let _ = to.write(&packet);
            }
        }
    }
}
