// SPDX-License-Identifier: Apache-2.0
//! Connection attempts and what becomes of them.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clap::Args;
use flowgauge_tests::traffic::ClientReport;

use crate::open::{Options, error_name, socket};

#[derive(Args)]
pub struct Connect {
    #[arg(long)]
    to: SocketAddr,
    /// Attempts, all at once.
    #[arg(long, default_value_t = 1)]
    count: usize,
    /// Give up after this many milliseconds by closing the socket.
    #[arg(long)]
    give_up: Option<u64>,
    /// Keep the connections that came about open until all attempts are over.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    options: Options,
}

/// Makes the attempts and prints a report.
pub fn run(step: &Connect) -> Result<()> {
    let start = Instant::now();
    let mut report = ClientReport::default();
    let mut kept = Vec::new();
    thread::scope(|scope| {
        let attempts: Vec<_> = (0..step.count).map(|_| scope.spawn(|| attempt(step))).collect();
        for thread in attempts {
            match thread.join().map_err(|_| anyhow!("an attempt panicked"))? {
                Ok(socket) => {
                    report.connected += 1;
                    kept.extend(step.keep.then_some(socket));
                }
                Err(error) => *report.errors.entry(error_name(&error)).or_default() += 1,
            }
        }
        anyhow::Ok(())
    })?;
    report.seconds = start.elapsed().as_secs_f64();
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

fn attempt(step: &Connect) -> std::io::Result<socket2::Socket> {
    let socket = socket(step.to, &step.options)?;
    match step.give_up {
        Some(after) => socket.connect_timeout(&step.to.into(), Duration::from_millis(after))?,
        None => socket.connect(&step.to.into())?,
    }
    Ok(socket)
}
