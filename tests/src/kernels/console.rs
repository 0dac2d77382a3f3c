// SPDX-License-Identifier: Apache-2.0

//! Boots a machine, and reads its results off the serial console.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What to boot, and with how much.
#[derive(Debug)]
pub struct Boot<'a> {
    /// The kernel.
    pub vmlinuz: &'a Path,
    /// Its root file system.
    pub initramfs: &'a Path,
    /// Memory, in MiB.
    pub memory: u32,
    /// How long it may take until it is off again.
    pub limit: Duration,
}

/// What a machine printed. Lines that begin with `CHECK` are results (see `fg-vm-check`).
#[derive(Debug, Default)]
pub struct Outcome {
    /// All of the console, for the reader of a failed test.
    pub console: String,
    /// The results, in order, each `ok …` or `FAIL …`.
    pub checks: Vec<String>,
    /// The machine got to its end: it printed how many checks it made, and that many have arrived.
    pub complete: bool,
    /// From power on to power off.
    pub took: Duration,
}

impl Outcome {
    /// Every check was made, and none failed.
    pub fn passed(&self) -> bool {
        self.complete && !self.checks.is_empty() && self.checks.iter().all(|check| check.starts_with("ok "))
    }

    fn read(&mut self, line: &str) {
        let line = line.trim_end_matches(['\r', '\n']);
        self.console.push_str(line);
        self.console.push('\n');
        // The kernel may print in the middle of a line, hence `find`.
        if let Some(at) = line.find("CHECK ") {
            self.checks.push(line[at + "CHECK ".len()..].to_string());
        } else if let Some(at) = line.find("CHECKS MADE: ") {
            let made = line[at + "CHECKS MADE: ".len()..].trim().parse::<usize>();
            self.complete = made == Ok(self.checks.len());
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            writeln!(f, "  {check}")?;
        }
        write!(f, "  {} checks in {:.0} s", self.checks.len(), self.took.as_secs_f64())
    }
}

impl Boot<'_> {
    /// Runs the machine until it turns itself off. No hardware virtualisation: it is not there on most CI machines.
    pub fn run(&self) -> Result<Outcome> {
        let mut machine = Machine(
            Command::new("qemu-system-x86_64")
                .args([
                    "-accel",
                    "tcg,thread=multi",
                    "-cpu",
                    "max",
                    "-smp",
                    "2",
                    "-m",
                    &self.memory.to_string(),
                ])
                .args(["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"])
                .arg("-kernel")
                .arg(self.vmlinuz)
                .arg("-initrd")
                .arg(self.initramfs)
                .args(["-append", "console=ttyS0 quiet panic=-1 oops=panic lockdown=integrity tsc=unstable"])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .context("qemu-system-x86_64 (Debian package qemu-system-x86)")?,
        );
        let started = Instant::now();
        let console = machine.0.stdout.take().context("qemu has no console")?;
        let (sender, lines) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        let mut outcome = Outcome::default();
        loop {
            let left = self.limit.saturating_sub(started.elapsed());
            match lines.recv_timeout(left) {
                Ok(line) => outcome.read(&line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    bail!("still running after {:?}:\n{}", self.limit, outcome.console)
                }
            }
        }
        let _ = reader.join();
        outcome.took = started.elapsed();
        let status = machine.0.wait()?;
        if !status.success() {
            let mut complaint = String::new();
            if let Some(mut stderr) = machine.0.stderr.take() {
                use std::io::Read;
                stderr.read_to_string(&mut complaint)?;
            }
            bail!("qemu: {status}: {complaint}\n{}", outcome.console);
        }
        Ok(outcome)
    }
}

/// A qemu that does not outlive the test.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(console: &str) -> Outcome {
        let mut outcome = Outcome::default();
        console.lines().for_each(|line| outcome.read(line));
        outcome
    }

    #[test]
    fn passes_only_when_all_checks_arrived_and_none_failed() {
        assert!(
            outcome("[ 1.0] noise\nCHECK ok bytes: 5\r\n[ 2.0] xCHECK ok rtt\nCHECKS MADE: 2\n").passed()
        );
        assert!(!outcome("CHECK ok bytes\nCHECK FAIL rtt: 1, expected 2\nCHECKS MADE: 2\n").passed());
        assert!(!outcome("CHECK ok bytes\nCHECKS MADE: 2\n").passed(), "one is lost");
        assert!(!outcome("CHECK ok bytes\nKernel panic\n").passed(), "it never ended");
        assert!(!outcome("CHECKS MADE: 0\n").passed(), "nothing was checked");
    }
}
