// SPDX-License-Identifier: Apache-2.0
//! Ends of connections that ordinary clients do not make.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use flowgauge_tests::sys;
use flowgauge_tests::traffic::{After, ClientReport, HEADER};
use socket2::Socket;

use crate::open::{Options, error_name, socket};

#[derive(Args)]
pub struct Reuse {
    #[arg(long)]
    to: SocketAddr,
    /// Connections made one after the other with one socket.
    #[arg(long)]
    rounds: usize,
    /// Bytes of request and response bodies of the first round; each round has one more.
    #[arg(long)]
    bytes: u64,
    #[command(flatten)]
    options: Options,
}

/// Connects the same socket again and again, dissolving the connection in between.
pub fn reuse(step: &Reuse) -> Result<()> {
    let mut report = ClientReport::default();
    let mut socket = socket(step.to, &step.options)?;
    for round in 0..step.rounds {
        socket.connect(&step.to.into()).with_context(|| format!("connection {round}"))?;
        report.connected += 1;
        exchange(&mut socket, step.bytes + round as u64, &mut report)?;
        sys::disconnect(&socket).with_context(|| format!("dissolving connection {round}"))?;
    }
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

#[derive(Args)]
pub struct UserTimeout {
    #[arg(long)]
    to: SocketAddr,
    /// TCP_USER_TIMEOUT, milliseconds.
    #[arg(long)]
    milliseconds: u64,
    #[command(flatten)]
    options: Options,
}

/// Connects, exchanges, reports, waits for a line, writes into the void, and reports the error.
pub fn user_timeout(step: &UserTimeout) -> Result<()> {
    let mut report = ClientReport::default();
    let mut socket = socket(step.to, &step.options)?;
    socket.connect(&step.to.into())?;
    report.connected += 1;
    exchange(&mut socket, 1000, &mut report)?;
    socket.set_tcp_user_timeout(Some(Duration::from_millis(step.milliseconds)))?;
    println!("{}", serde_json::to_string(&report)?);
    io::stdin().read_line(&mut String::new())?;
    match exchange(&mut socket, 1000, &mut report) {
        Ok(()) => {}
        Err(error) => *report.errors.entry(error_name(&error)).or_default() += 1,
    }
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

fn exchange(socket: &mut Socket, bytes: u64, report: &mut ClientReport) -> io::Result<()> {
    let mut request = Vec::with_capacity(HEADER);
    request.extend(bytes.to_be_bytes());
    request.extend(bytes.to_be_bytes());
    request.push(After::Stay as u8);
    request.resize(HEADER + bytes as usize, 0x5a);
    socket.write_all(&request)?;
    report.sent += request.len() as u64;
    let mut response = vec![0; bytes as usize];
    socket.read_exact(&mut response)?;
    report.received += bytes;
    report.answered += 1;
    Ok(())
}
