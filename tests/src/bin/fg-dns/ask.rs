// SPDX-License-Identifier: Apache-2.0
//! The client. Each socket is a thread that keeps a number of queries under way.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use flowgauge_tests::dns::client::Report;
use flowgauge_tests::dns::message::type_number;

use crate::pending::Pending;
use crate::stream;

#[derive(Args, Clone)]
pub struct Ask {
    /// Servers, taken in turn by the sockets.
    #[arg(long, required = true)]
    pub to: Vec<SocketAddr>,
    /// Names, taken in turn; `{}` becomes a number that no other query has.
    #[arg(long, required = true)]
    pub name: Vec<String>,
    /// Types, taken in turn for each name: `A`, `TYPE99`.
    #[arg(long, default_value = "A", value_delimiter = ',')]
    pub types: Vec<String>,
    /// How many queries in all.
    #[arg(long, default_value_t = 1)]
    pub count: u64,
    /// How many sockets.
    #[arg(long, default_value_t = 1)]
    sockets: u64,
    /// How many queries are under way on each socket.
    #[arg(long, default_value_t = 1)]
    pub outstanding: usize,
    /// How many milliseconds to wait for an answer.
    #[arg(long, default_value_t = 3000)]
    patience: u64,
    /// Send each query that often at once, with the same id.
    #[arg(long, default_value_t = 1)]
    copies: u64,
    /// Milliseconds to wait before each query.
    #[arg(long, default_value_t = 0)]
    pub pause: u64,
    /// Ask with EDNS.
    #[arg(long)]
    pub edns: bool,
    /// Do not connect the sockets: sendto and recvfrom.
    #[arg(long)]
    unconnected: bool,
    /// The sockets' own port.
    #[arg(long, default_value_t = 0)]
    bind: u16,
    /// Send two queries at once from two threads, and nothing until both are answered or given up.
    #[arg(long)]
    together: bool,
    /// Ask over TCP: all queries of a socket on one connection.
    #[arg(long)]
    tcp: bool,
    /// Over TCP, cut what is sent into segments of that many bytes.
    #[arg(long)]
    pub split: Option<usize>,
}

impl Ask {
    pub fn patience(&self) -> Duration {
        Duration::from_millis(self.patience)
    }

    /// The name and type of a query by its number.
    pub fn question(&self, number: u64) -> Result<(String, u16)> {
        let types = self.types.len() as u64;
        let name = &self.name[(number / types) as usize % self.name.len()];
        let name = name.replace("{}", &(number / types).to_string());
        let qtype = &self.types[(number % types) as usize];
        Ok((name, type_number(qtype).with_context(|| format!("type {qtype:?}"))?))
    }
}

pub fn run(ask: &Ask) -> Result<Report> {
    let started = Instant::now();
    let mut report = Report::default();
    if ask.together {
        // One socket after the other: both processors are for one pair.
        for socket in 0..ask.sockets {
            report.add(&one(ask, socket)?);
        }
        report.seconds = started.elapsed().as_secs_f64();
        return Ok(report);
    }
    thread::scope(|scope| {
        let threads: Vec<_> = (0..ask.sockets).map(|socket| scope.spawn(move || one(ask, socket))).collect();
        for thread in threads {
            report.add(&thread.join().map_err(|_| anyhow!("a client thread panicked"))??);
        }
        Ok::<_, anyhow::Error>(())
    })?;
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// Asks two questions at a time, each sent by a thread of its own, from one socket.
fn together(ask: &Ask, to: SocketAddr, mut numbers: std::ops::Range<u64>) -> Result<Report> {
    let socket = UdpSocket::bind(("0.0.0.0", ask.bind)).context("binding")?;
    socket.connect(to).with_context(|| format!("connecting to {to}"))?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    let mut pending = Pending::new(numbers.start as u16);
    let mut buffer = vec![0; 65_536];
    while let (Some(one), Some(other)) = (numbers.next(), numbers.next()) {
        let mut query = |number| {
            let (name, qtype) = ask.question(number)?;
            Ok::<_, anyhow::Error>(pending.query(name, qtype, ask.edns, 1))
        };
        let (one, other) = (query(one)?, query(other)?);
        let ready = AtomicUsize::new(0);
        let send = |message: &[u8]| {
            // Both spin: whoever sleeps comes too late.
            ready.fetch_add(1, Ordering::SeqCst);
            while ready.load(Ordering::SeqCst) < 2 {
                std::hint::spin_loop();
            }
            socket.send(message)
        };
        let (mine, theirs) = thread::scope(|scope| {
            let thread = scope.spawn(|| send(&other));
            (send(&one), thread.join())
        });
        mine.context("sending")?;
        theirs.map_err(|_| anyhow!("a sending thread panicked"))?.context("sending")?;
        while pending.len() > 0 {
            match socket.recv(&mut buffer) {
                Ok(length) => pending.take(&buffer[..length]),
                Err(_) => pending.expire(ask.patience()),
            }
        }
    }
    Ok(pending.report)
}

/// Asks the questions of one socket: those whose number is the socket's modulo the number of sockets.
fn one(ask: &Ask, socket: u64) -> Result<Report> {
    let to = ask.to[socket as usize % ask.to.len()];
    let share = ask.count / ask.sockets + u64::from(socket < ask.count % ask.sockets);
    let first = socket * (ask.count / ask.sockets) + socket.min(ask.count % ask.sockets);
    let numbers = first..first + share;
    if ask.together {
        return together(ask, to, numbers);
    }
    if ask.tcp { stream::ask(ask, to, numbers) } else { datagrams(ask, to, numbers) }
}

fn datagrams(ask: &Ask, to: SocketAddr, mut numbers: std::ops::Range<u64>) -> Result<Report> {
    let any = if to.is_ipv4() { "0.0.0.0" } else { "::" };
    let socket = UdpSocket::bind((any, ask.bind)).context("binding")?;
    if !ask.unconnected {
        socket.connect(to).with_context(|| format!("connecting to {to}"))?;
    }
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    let mut pending = Pending::new(numbers.start as u16);
    let mut buffer = vec![0; 65_536];
    while !numbers.is_empty() || pending.len() > 0 {
        while pending.len() < ask.outstanding
            && let Some(number) = numbers.next()
        {
            if ask.pause > 0 {
                thread::sleep(Duration::from_millis(ask.pause));
            }
            let (name, qtype) = ask.question(number)?;
            let query = pending.query(name, qtype, ask.edns, ask.copies);
            for _ in 0..ask.copies {
                let sent = if ask.unconnected { socket.send_to(&query, to) } else { socket.send(&query) };
                if let Err(error) = sent {
                    pending.error(&error);
                }
            }
        }
        match socket.recv(&mut buffer) {
            Ok(length) => pending.take(&buffer[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                pending.expire(ask.patience());
            }
            Err(error) => pending.error(&error),
        }
    }
    // What comes late or twice comes soon after.
    let end = Instant::now() + Duration::from_millis(30);
    while Instant::now() < end {
        if let Ok(length) = socket.recv(&mut buffer) {
            pending.take(&buffer[..length]);
        }
    }
    Ok(pending.report)
}
