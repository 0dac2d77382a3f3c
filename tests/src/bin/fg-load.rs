// SPDX-License-Identifier: Apache-2.0
//! Steady load for worlds that are watched for a while: connections at a fixed rate, whatever becomes of them. Each second it
//! prints how many requests were answered and how many failed since the start.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use flowgauge_tests::traffic::{After, HEADER};

/// Connections at a time; a fault that holds more of them up makes the load less, not the machine's.
const MOST: usize = 100;

#[derive(Parser)]
struct Arguments {
    /// Server, `name:port`. The name is looked up before each connection, and its addresses are taken in turn; while it
    /// cannot be, those last known are used.
    #[arg(long)]
    to: String,
    /// Connections a second.
    #[arg(long, default_value_t = 1.0)]
    rate: f64,
    /// Path to GET by HTTP, one request on a connection. Without it, the protocol of `flowgauge_tests::traffic` is spoken.
    #[arg(long)]
    path: Option<String>,
    /// Requests on each connection.
    #[arg(long, default_value_t = 1)]
    requests: u32,
    /// Pause after each request but the last, milliseconds.
    #[arg(long, default_value_t = 0)]
    gap: u64,
    /// Bytes of a response.
    #[arg(long, default_value_t = 2_000)]
    bytes: u64,
    /// How long to wait for a connection, and for the next part of a response, milliseconds.
    #[arg(long, default_value_t = 2_500)]
    patience: u64,
}

struct Load {
    arguments: Arguments,
    known: Mutex<Vec<SocketAddr>>,
    turn: AtomicUsize,
    answered: AtomicU64,
    failed: AtomicU64,
    open: AtomicUsize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let pause = Duration::from_secs_f64(1.0 / arguments.rate.max(0.01));
    let load = Arc::new(Load {
        arguments,
        known: Mutex::default(),
        turn: AtomicUsize::new(0),
        answered: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        open: AtomicUsize::new(0),
    });
    let counts = Arc::clone(&load);
    thread::spawn(move || report(&counts));
    let mut next = Instant::now();
    loop {
        next += pause;
        thread::sleep(next.saturating_duration_since(Instant::now()));
        if load.open.fetch_add(1, Ordering::Relaxed) >= MOST {
            load.open.fetch_sub(1, Ordering::Relaxed);
            load.failed.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let load = Arc::clone(&load);
        thread::spawn(move || {
            if load.connection().is_err() {
                load.failed.fetch_add(1, Ordering::Relaxed);
            }
            load.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn report(load: &Load) {
    loop {
        thread::sleep(Duration::from_secs(1));
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let line = format!("{} {}\n", count(&load.answered), count(&load.failed));
        if io::stdout().write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}

impl Load {
    fn connection(&self) -> io::Result<()> {
        let patience = Duration::from_millis(self.arguments.patience);
        let mut stream = TcpStream::connect_timeout(&self.address()?, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        if let Some(path) = &self.arguments.path {
            self.get(&mut stream, path)?;
            self.answered.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        for left in (0..self.arguments.requests).rev() {
            self.fetch(&mut stream)?;
            self.answered.fetch_add(1, Ordering::Relaxed);
            if left > 0 {
                thread::sleep(Duration::from_millis(self.arguments.gap));
            }
        }
        Ok(())
    }

    fn address(&self) -> io::Result<SocketAddr> {
        let mut known = match self.arguments.to.to_socket_addrs() {
            Ok(found) => {
                let mut found: Vec<_> = found.collect();
                found.sort();
                self.lock().clone_from(&found);
                found
            }
            Err(error) => match self.lock().clone() {
                known if known.is_empty() => return Err(error),
                known => known,
            },
        };
        known.dedup();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        known.get(turn % known.len().max(1)).copied().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<SocketAddr>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, stream: &mut TcpStream, path: &str) -> io::Result<()> {
        let host = &self.arguments.to;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        if answer.starts_with(b"HTTP/1.1 200 ") { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    fn fetch(&self, stream: &mut TcpStream) -> io::Result<()> {
        let mut request = [0; HEADER];
        request[8..16].copy_from_slice(&self.arguments.bytes.to_be_bytes());
        request[16] = After::Stay as u8;
        stream.write_all(&request)?;
        let read = io::copy(&mut stream.take(self.arguments.bytes), &mut io::sink())?;
        if read == self.arguments.bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}
