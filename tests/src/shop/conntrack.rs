// SPDX-License-Identifier: Apache-2.0
//! A connection tracking table that is full, of one network namespace and without a packet.
//!
//! The limit (`net.netfilter.nf_conntrack_max`) is one for the whole machine, but each namespace has a table's worth of entries
//! of its own. So the limit stays as it is, for others' sake, and the table is filled up to it: with entries that are told to the
//! kernel as `conntrack --create` does, hundreds in a message. They count as connections that were answered, which the kernel
//! never gives up to make room.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::netns::Host;
use crate::process::run;

const LIMIT: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
/// A table of this size takes about 300 MB.
const LARGEST: u32 = 1 << 20;
/// How long an entry stays, seconds; longer than any fault lasts.
const LIFETIME: u32 = 3600;
/// Entries in one message.
const BATCH: u32 = 100;

/// A table that is kept full; emptied when dropped.
#[derive(Debug)]
pub(super) struct FullTable<'a> {
    host: &'a Host,
    done: Arc<AtomicBool>,
    filler: Option<JoinHandle<()>>,
}

impl<'a> FullTable<'a> {
    pub fn new(host: &'a Host) -> Result<Self> {
        let limit: u32 = fs::read_to_string(LIMIT)
            .with_context(|| format!("reading {LIMIT}"))?
            .trim()
            .parse()
            .with_context(|| format!("the number in {LIMIT}"))?;
        ensure!(
            limit <= LARGEST,
            "{LIMIT} is {limit}: to fill a table of more than {LARGEST} takes too much memory"
        );
        // The socket stays in the namespace it was made in.
        let netlink = host.enter(|| {
            Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, netfilter()).map_err(Into::into)
        })?;
        netlink.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut table = FullTable { host, done: Arc::default(), filler: None };
        let mut filler = Filler::new(netlink);
        let mut batches = 0;
        while filler.add()? {
            batches += 1;
            ensure!(batches <= limit / BATCH + 10, "{batches} times {BATCH} entries do not fill the table");
        }
        let done = Arc::clone(&table.done);
        table.filler = Some(thread::spawn(move || {
            // Entries of others end; their places are taken at once.
            while !done.load(Ordering::Relaxed) {
                if let Err(error) = filler.add() {
                    return eprintln!("the table does not stay full: {error:#}");
                }
                thread::sleep(Duration::from_millis(50));
            }
        }));
        Ok(table)
    }
}

impl Drop for FullTable<'_> {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        // A thread that panicked fills no more either.
        let _ = self.filler.take().map(JoinHandle::join);
        if let Err(error) = run(self.host.command("conntrack").arg("--flush")) {
            eprintln!("the connection tracking table stays full: {error:#}");
        }
    }
}

fn netfilter() -> Option<Protocol> {
    Some(Protocol::from(libc::NETLINK_NETFILTER))
}

/// A client that every entry is told to have until it gets its own.
const SOMEBODY: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 0);

struct Filler {
    netlink: Socket,
    next: u32,
    /// The messages of a batch. A quarter of a million of them are made: this is done once, the rest is filled in.
    batch: Vec<u8>,
    /// How long each is.
    length: usize,
    /// Where in it the client's address is.
    clients: Vec<usize>,
}

impl Filler {
    fn new(netlink: Socket) -> Self {
        let entry = entry(false);
        let clients = (0..entry.len()).filter(|at| entry[*at..].starts_with(&SOMEBODY.octets())).collect();
        let batch = (1..=BATCH).flat_map(|number| self::entry(number == BATCH)).collect();
        Filler { netlink, next: 0, batch, length: entry.len(), clients }
    }

    /// Adds some entries; false if there was no room for one of them.
    fn add(&mut self) -> Result<bool> {
        for entry in self.batch.chunks_exact_mut(self.length) {
            // Shared address space (RFC 6598): 4 million addresses that nobody here has.
            let client = Ipv4Addr::from(u32::from(SOMEBODY) | self.next & 0x003f_ffff).octets();
            for at in &self.clients {
                entry[*at..*at + 4].copy_from_slice(&client);
            }
            entry[8..12].copy_from_slice(&self.next.to_ne_bytes());
            self.next += 1;
        }
        self.netlink.send(&self.batch).context("telling the kernel of entries")?;
        // Each entry that is refused is answered, and the last one anyway.
        let mut answers = BTreeMap::<i32, u32>::new();
        let mut buffer = [0; 16 << 10];
        loop {
            let length = match std::io::Read::read(&mut (&self.netlink), &mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("hearing of entries"),
            };
            let mut rest = &buffer[..length];
            while let Some((sequence, error, after)) = answer(rest) {
                *answers.entry(error).or_default() += u32::from(error != 0);
                rest = after;
                if sequence + 1 == self.next {
                    return match answers
                        .keys()
                        .find(|error| ![0, -libc::ENOMEM, -libc::EEXIST].contains(error))
                    {
                        Some(error) => {
                            bail!("the kernel refuses entries: {}", std::io::Error::from_raw_os_error(-error))
                        }
                        None => Ok(!answers.contains_key(&-libc::ENOMEM)),
                    };
                }
            }
        }
    }
}

/// The first of some netlink messages (struct nlmsghdr, then struct nlmsgerr's error): its sequence number, its error, and what
/// comes after it.
fn answer(message: &[u8]) -> Option<(u32, i32, &[u8])> {
    let number = |at: usize| Some(u32::from_ne_bytes(message.get(at..at + 4)?.try_into().ok()?));
    let length = usize::try_from(number(0)?).ok()?;
    let error = number(16)?.cast_signed();
    Some((number(8)?, error, message.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// One message of ctnetlink (linux/netfilter/nfnetlink_conntrack.h), number 0: a UDP connection of [`SOMEBODY`] that was answered.
fn entry(acknowledge: bool) -> Vec<u8> {
    const NEW: u16 = 1 << 8; // NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_NEW
    const SEEN_REPLY_ASSURED_CONFIRMED: u32 = 0x2 | 0x4 | 0x8;
    let [a, b] = [SOMEBODY, Ipv4Addr::new(192, 0, 0, 1)];
    let mut body = vec![u8::try_from(libc::AF_INET).unwrap_or_default(), 0, 0, 0];
    body.extend(nested(1, &tuple(a, b)));
    body.extend(nested(2, &tuple(b, a)));
    body.extend(attribute(3, &SEEN_REPLY_ASSURED_CONFIRMED.to_be_bytes()));
    body.extend(attribute(7, &LIFETIME.to_be_bytes()));
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let flags = if acknowledge { flags | libc::NLM_F_ACK } else { flags };
    let mut message = Vec::with_capacity(16 + body.len());
    message.extend(u32::try_from(16 + body.len()).unwrap_or_default().to_ne_bytes());
    message.extend(NEW.to_ne_bytes());
    message.extend(u16::try_from(flags).unwrap_or_default().to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

fn tuple(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    const UDP: u8 = 17;
    const DISCARD: u16 = 9;
    let addresses = [attribute(1, &from.octets()), attribute(2, &to.octets())].concat();
    let port = DISCARD.to_be_bytes();
    let ports = [attribute(1, &[UDP]), attribute(2, &port), attribute(3, &port)].concat();
    [nested(1, &addresses), nested(2, &ports)].concat()
}

fn nested(kind: u16, content: &[u8]) -> Vec<u8> {
    const NESTED: u16 = 1 << 15;
    attribute(kind | NESTED, content)
}

fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(4 + content.len()).unwrap_or_default().to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
