// SPDX-License-Identifier: Apache-2.0
//! The client over TCP: a two-byte length before each message (RFC 1035, 4.2.2), several under way (RFC 7766, 6.2.1.1).

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use flowgauge_tests::dns::client::Report;

use crate::ask::Ask;
use crate::pending::Pending;

pub fn ask(ask: &Ask, to: SocketAddr, mut numbers: Range<u64>) -> Result<Report> {
    let mut stream = TcpStream::connect(to).with_context(|| format!("connecting to {to}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    let mut pending = Pending::new(numbers.start as u16);
    let mut waiting = Vec::new();
    let mut buffer = vec![0; 65_536];
    while !numbers.is_empty() || pending.len() > 0 {
        // All that may be under way goes out in one piece: that is what pipelining looks like.
        let mut out = Vec::new();
        while pending.len() < ask.outstanding
            && let Some(number) = numbers.next()
        {
            let (name, qtype) = ask.question(number)?;
            let query = pending.query(name, qtype, ask.edns, 1);
            out.extend((query.len() as u16).to_be_bytes());
            out.extend(query);
        }
        send(&mut stream, &out, ask)?;
        match stream.read(&mut buffer) {
            Ok(length) => {
                ensure!(length > 0, "{to} closed the connection with {} queries unanswered", pending.len());
                waiting.extend_from_slice(&buffer[..length]);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                pending.expire(ask.patience());
            }
            Err(error) => return Err(error).context("reading answers"),
        }
        let mut at = 0;
        while let Some(length) = waiting.get(at..at + 2) {
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            let Some(message) = waiting.get(at + 2..at + 2 + length) else { break };
            pending.take(message);
            at += 2 + length;
        }
        waiting.drain(..at);
    }
    Ok(pending.report)
}

fn send(stream: &mut TcpStream, out: &[u8], ask: &Ask) -> Result<()> {
    for piece in out.chunks(ask.split.unwrap_or(usize::MAX).max(1)) {
        stream.write_all(piece).context("sending queries")?;
        if ask.split.is_some() {
            // Long enough that the kernel does not put two pieces into one segment.
            thread::sleep(Duration::from_micros(300));
        }
    }
    Ok(())
}
