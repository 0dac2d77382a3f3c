// SPDX-License-Identifier: Apache-2.0
//! Sends malformed messages, and counts them alone: nobody waits for answers.

use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use flowgauge_tests::dns::client::Report;
use flowgauge_tests::dns::malformed::{KINDS, Random, message};

#[derive(Args)]
pub struct Spray {
    /// Where to.
    #[arg(long)]
    to: SocketAddr,
    /// How many.
    #[arg(long)]
    count: usize,
    /// Where the randomness begins.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One kind only; all in turn otherwise.
    #[arg(long)]
    kind: Option<usize>,
    /// As responses.
    #[arg(long)]
    responses: bool,
    /// The socket's own port: 53 for responses that look real.
    #[arg(long, default_value_t = 0)]
    bind: u16,
}

pub fn run(spray: &Spray) -> Result<Report> {
    let any = if spray.to.is_ipv4() { "0.0.0.0" } else { "::" };
    let socket = UdpSocket::bind((any, spray.bind)).context("binding")?;
    let mut random = Random::new(spray.seed);
    let mut report = Report::default();
    let started = Instant::now();
    for number in 0..spray.count {
        let message = message(spray.kind.unwrap_or(number % KINDS), &mut random, spray.responses);
        match socket.send_to(&message, spray.to) {
            Ok(_) => report.sent += 1,
            Err(error) => *report.errors.entry(error.to_string()).or_default() += 1,
        }
    }
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}
