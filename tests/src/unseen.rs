// SPDX-License-Identifier: Apache-2.0
//! Events that this machine's kernel hides from BPF.
//!
//! There are kernels, built for sandboxes, that run no tracing program while a thread of process 1 is the current one; and
//! a softirq interrupts whoever is running. There a timer's SYN-ACK or a segment's end of a connection is now and then told
//! to nobody: of 16,000 `tcp_retransmit_synack` 42 did not reach a program, not even by the kernel's own count of its runs,
//! and ftrace saw just 42 of them in a thread of process 1. A test that wants exact numbers cannot have them in such
//! a run, and is made again; but only if ftrace says that this is what happened.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

use crate::netns::PREFIX;
use crate::process::run;

const TRACEFS: &str = "/sys/kernel/tracing";
/// Where instances of ftrace are.
pub(crate) const INSTANCES: &str = "/sys/kernel/tracing/instances";
const EVENTS: [&str; 3] = ["tcp/tcp_retransmit_synack", "sock/inet_sock_set_state", "tcp/tcp_destroy_sock"];
const ATTEMPTS: u32 = 5;

/// Makes a test that wants exact numbers, and makes it again if it fails in a run of which the kernel hid something.
///
/// # Errors
/// The test's, if nothing was hidden, or something was in each run.
pub fn but_for_unseen(test: impl Fn() -> Result<()>) -> Result<()> {
    let mut attempt = 1;
    loop {
        let witness = Witness::new();
        let Err(error) = test() else { return Ok(()) };
        let hidden = witness.and_then(|witness| witness.count()).context("asking ftrace what was hidden");
        match hidden {
            Ok(hidden) if hidden > 0 && attempt < ATTEMPTS => {
                eprintln!("attempt {attempt}, with {hidden} events in process 1, failed: {error:#}");
            }
            Ok(hidden) => return Err(error.context(format!("{hidden} events in process 1"))),
            Err(without) => return Err(error.context(format!("{without:#}"))),
        }
        attempt += 1;
    }
}

/// An instance of ftrace that records what happens while process 1 is the current one.
struct Witness(PathBuf);

impl Witness {
    fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let instances = Path::new(INSTANCES);
        if !instances.exists() {
            // Where it belongs, and where it may stay.
            run(Command::new("mount").args(["-t", "tracefs", "tracefs", TRACEFS]))?;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let witness = Self(instances.join(format!("{PREFIX}{}-{number}", std::process::id())));
        fs::create_dir(&witness.0).with_context(|| format!("creating {}", witness.0.display()))?;
        let threads = fs::read_dir("/proc/1/task")?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<Vec<_>>>()?;
        witness.set("set_event_pid", &threads.join(" "))?;
        for event in EVENTS {
            witness.set(&format!("events/{event}/enable"), "1")?;
        }
        Ok(witness)
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        let path = self.0.join(file);
        fs::write(&path, value).with_context(|| format!("writing {value} to {}", path.display()))
    }

    fn count(&self) -> Result<usize> {
        let trace = fs::read_to_string(self.0.join("trace"))?;
        let header = trace.lines().any(|line| line.starts_with("# tracer: nop"));
        ensure!(header, "this is no trace: {trace}");
        Ok(trace.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
