// SPDX-License-Identifier: Apache-2.0

//! The network namespace the traffic is made in, its faults, and the kernel's own account of it.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// The namespace that the machine booted with, where the exporter runs; this process lives in another.
pub struct Namespaces {
    first: File,
}

impl Namespaces {
    /// Moves this process (which has one thread yet) into a new network namespace, with loopback up. Loopback gets an
    /// Ethernet's MTU: with its own of 64 KiB a transfer has too few segments for a loss of some per cent to hit one.
    pub fn enter_new() -> Result<Self> {
        let first = File::open("/proc/self/ns/net")?;
        // SAFETY: no memory is involved.
        ensure!(
            unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0,
            "unshare: {}",
            std::io::Error::last_os_error()
        );
        run("ip", &["link", "set", "lo", "up", "mtu", "1500"])?;
        Ok(Self { first })
    }

    /// Runs `work` in the first namespace.
    pub fn in_first<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: no memory is involved; the thread ends right after `work`.
                let moved = unsafe { libc::setns(self.first.as_raw_fd(), libc::CLONE_NEWNET) };
                ensure!(moved == 0, "setns: {}", std::io::Error::last_os_error());
                Ok(work())
            });
            thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?
        })
    }
}

/// Loss or delay on everything that loopback sends, until dropped.
pub struct Netem;

impl Netem {
    /// As `tc qdisc add dev lo root netem` takes it.
    pub fn new(what: &str) -> Result<Self> {
        let arguments = format!("qdisc add dev lo root netem limit 100000 {what}");
        run("tc", &arguments.split_whitespace().collect::<Vec<_>>())?;
        Ok(Self)
    }
}

impl Drop for Netem {
    fn drop(&mut self) {
        if let Err(error) = run("tc", &["qdisc", "del", "dev", "lo", "root"]) {
            println!("CHECK FAIL netem: it stays: {error:#}");
        }
    }
}

/// Sets a sysctl of this namespace.
pub fn sysctl(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    fs::write(&path, value).with_context(|| path)
}

/// A counter of `/proc/net/snmp` or `/proc/net/netstat`, say `Tcp`, `RetransSegs`.
pub fn counter(group: &str, name: &str) -> Result<u64> {
    let prefix = format!("{group}:");
    for file in ["/proc/thread-self/net/snmp", "/proc/thread-self/net/netstat"] {
        let text = fs::read_to_string(file)?;
        let mut lines = text.lines().filter(|line| line.starts_with(&prefix));
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            let mut pairs = names.split_whitespace().zip(values.split_whitespace());
            if let Some((_, value)) = pairs.find(|pair| pair.0 == name) {
                return value.parse().with_context(|| format!("{group} {name} is {value}"));
            }
        }
    }
    bail!("this kernel has no counter {group} {name}")
}

/// Waits until nothing is on its way: no connection half closed, nothing sent that is not acknowledged, no
/// retransmission timer running.
pub fn settle() -> Result<()> {
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let mut busy = Vec::new();
        for file in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
            let text = fs::read_to_string(file)?;
            busy.extend(text.lines().skip(1).filter(|line| is_busy(line)).map(str::to_string));
        }
        if busy.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < limit, "connections that do not settle:\n{}", busy.join("\n"));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A line of `/proc/net/tcp`: `sl local remote st tx_queue:rx_queue tr:tm->when …`.
fn is_busy(line: &str) -> bool {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (Some(&state), Some(&queues), Some(&timer)) = (fields.get(3), fields.get(4), fields.get(5)) else {
        return true;
    };
    match state {
        "06" | "07" | "0A" => false, // TIME_WAIT, CLOSE, LISTEN
        "01" => !queues.starts_with("00000000:") || matches!(timer.get(..2), Some("01" | "04")),
        _ => true,
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.to_string())?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), complaint.trim());
    Ok(())
}
