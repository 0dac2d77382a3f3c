// SPDX-License-Identifier: Apache-2.0
//! The way from the kernel to the table: events, dumps, and what to do when either fails.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::host::{Host, Place};
use super::message::{Message, messages};
use super::socket::{DATAGRAM, Received, Sockets};
use super::table::{CAPACITY, Table};
use crate::status::SourceStatus;

const RETRY: Duration = Duration::from_secs(60);
/// What one call of drain may take, about.
pub(super) const STEP: Duration = Duration::from_millis(20);
/// Events between two looks at the clock.
const BATCH: usize = 64;
/// A dump that took long is repeated more rarely, so that it costs at most one part in this of a processor.
const COST_DIVISOR: u32 = 50;
const LEAST_BETWEEN_DUMPS: Duration = Duration::from_secs(1);

/// A dump that is being read.
#[derive(Clone, Copy)]
struct Dump {
    sequence: u32,
    /// Time that reading has taken so far.
    spent: Duration,
}

pub(super) struct Link {
    host: Host,
    sockets: Option<Sockets>,
    /// Why nothing is heard.
    down: Option<String>,
    /// What limits the answers all the same.
    limited: Option<String>,
    dump: Option<Dump>,
    /// The table is to be listed, when no event waits: the kernel drops events until the queue was empty once.
    dump_wanted: bool,
    dump_error: Option<Errno>,
    dump_due: Instant,
    sequence: u32,
    retry_due: Instant,
    buffer: Vec<u8>,
    pub table: Table,
    pub events: u64,
    pub overruns: u64,
    dumps: u64,
    dumps_failed: u64,
}

impl Link {
    pub fn new(host: Host) -> Link {
        let now = Instant::now();
        Link {
            host,
            sockets: None,
            down: None,
            limited: None,
            dump: None,
            dump_wanted: false,
            dump_error: None,
            dump_due: now,
            sequence: 0,
            retry_due: now,
            buffer: vec![0; DATAGRAM],
            table: Table::new(CAPACITY),
            events: 0,
            overruns: 0,
            dumps: 0,
            dumps_failed: 0,
        }
    }

    /// Opens the sockets, and listens.
    pub fn connect(&mut self, now: Instant) {
        self.retry_due = now + RETRY;
        match listen(&self.host) {
            Ok((sockets, limited)) => {
                if self.down.take().is_some() {
                    tracing::info!("translated connections are known again");
                }
                self.sockets = Some(sockets);
                self.limited = limited;
                self.dump_wanted = true;
                self.dump_due = now;
            }
            Err(why) => self.fail(why),
        }
    }

    fn fail(&mut self, why: String) {
        if self.down.as_ref() != Some(&why) {
            tracing::warn!("no NAT on this host is known: {why}");
        }
        self.down = Some(why);
        self.sockets = None;
        self.dump = None;
        self.dump_wanted = false;
    }

    /// Once a minute: connects if nothing is heard, lists the table if that failed.
    pub fn retry(&mut self, now: Instant) {
        if now < self.retry_due {
            return;
        }
        self.retry_due = now + RETRY;
        if self.sockets.is_none() {
            self.connect(now);
        } else if self.dump_error.is_some() {
            self.dump_wanted = true;
        }
    }

    /// Reads events, then a part of the dump, for about as long as `limit`. True if there is more to read at once.
    pub fn drain(&mut self, digest: fn(IpAddr) -> u64, limit: Duration) -> bool {
        let start = Instant::now();
        let Some(sockets) = self.sockets.take() else { return false };
        match self.read(&sockets, digest, start, limit) {
            Ok(more) => {
                self.sockets = Some(sockets);
                more
            }
            Err(error) => {
                self.fail(format!("reading events: {error}"));
                false
            }
        }
    }

    fn read(
        &mut self,
        sockets: &Sockets,
        digest: fn(IpAddr) -> u64,
        start: Instant,
        limit: Duration,
    ) -> Result<bool, Errno> {
        while !self.read_events(sockets, digest)? {
            if start.elapsed() >= limit {
                return Ok(true);
            }
        }
        if self.dump_wanted && self.dump.is_none() && start >= self.dump_due {
            self.begin_dump(sockets);
        }
        while let Some(Dump { sequence, spent }) = self.dump {
            let before = Instant::now();
            let end = self.read_part(sockets, sequence, digest);
            let spent = spent + before.elapsed();
            self.dump = Some(Dump { sequence, spent });
            if let Some(result) = end {
                self.end_dump(result, spent);
            }
            if start.elapsed() >= limit {
                break;
            }
        }
        Ok(self.dump.is_some())
    }

    /// A batch of events. True if none is left.
    fn read_events(&mut self, sockets: &Sockets, digest: fn(IpAddr) -> u64) -> Result<bool, Errno> {
        for _ in 0..BATCH {
            let datagram = match sockets.event(&mut self.buffer)? {
                Received::Datagram(datagram) => datagram,
                Received::Nothing => return Ok(true),
                Received::Overrun => {
                    self.overruns += 1;
                    self.dump_wanted = true;
                    continue;
                }
            };
            for (_, message) in messages(datagram) {
                if let Message::Entry(entry) = message {
                    self.events += 1;
                    self.table.insert(digest(entry.source.0), &entry);
                }
            }
        }
        Ok(false)
    }

    fn begin_dump(&mut self, sockets: &Sockets) {
        self.dump_wanted = false;
        self.sequence = self.sequence.wrapping_add(1);
        match sockets.ask(self.sequence, !self.host.has_ipvs()) {
            Ok(()) => {
                self.table.begin_dump();
                self.dump = Some(Dump { sequence: self.sequence, spent: Duration::ZERO });
            }
            Err(error) => self.end_dump(Err(error), Duration::ZERO),
        }
    }

    /// One part of the dump. Its result if that was the last.
    fn read_part(
        &mut self,
        sockets: &Sockets,
        expected: u32,
        digest: fn(IpAddr) -> u64,
    ) -> Option<Result<(), Errno>> {
        let datagram = match sockets.part(&mut self.buffer) {
            Ok(Received::Datagram(datagram)) => datagram,
            // A part is composed before the one in front of it is handed over: there is always one.
            Ok(Received::Nothing) => return Some(Err(Errno::NODATA)),
            Ok(Received::Overrun) => return Some(Err(Errno::NOBUFS)),
            Err(error) => return Some(Err(error)),
        };
        for (_, message) in messages(datagram).filter(|(sequence, _)| *sequence == expected) {
            match message {
                Message::Entry(entry) => self.table.insert_listed(digest(entry.source.0), &entry),
                Message::Done => return Some(Ok(())),
                Message::Failed(errno) => return Some(Err(Errno::from_raw_os_error(errno))),
                Message::Other => {}
            }
        }
        None
    }

    fn end_dump(&mut self, result: Result<(), Errno>, spent: Duration) {
        self.dump = None;
        self.dump_due = Instant::now() + LEAST_BETWEEN_DUMPS.max(spent * COST_DIVISOR);
        self.dump_error = result.err();
        match result {
            Ok(()) => self.dumps += 1,
            Err(error) => {
                self.dumps_failed += 1;
                tracing::warn!(%error, "the conntrack table cannot be listed; older connections' backends are unknown");
            }
        }
    }

    pub fn status(&self) -> SourceStatus {
        let entries = self.table.len();
        let mut detail = match &self.down {
            Some(why) => format!("no NAT on this host is known: {why}"),
            None => format!("{entries} translated connections"),
        };
        if self.down.is_none() {
            if let Some(limited) = &self.limited {
                detail += &format!("; {limited}");
            }
            if let Some(error) = self.dump_error {
                detail +=
                    &format!("; older ones are unknown, the table cannot be listed: {}", describe(error));
            }
            if self.dump.is_some() || self.dump_wanted {
                detail += "; the table is being listed";
            }
        }
        SourceStatus {
            entries: entries as u64,
            reloads: self.dumps,
            reloads_failed: self.dumps_failed,
            ..SourceStatus::new("conntrack", self.down.is_none(), detail)
        }
    }
}

/// Sockets in the host's network namespace that hear of new connections, and what limits what they hear; else why not.
fn listen(host: &Host) -> Result<(Sockets, Option<String>), String> {
    if !host.tracks_connections() {
        return Err("nf_conntrack is not loaded".to_owned());
    }
    let ((sockets, has_events), place) = host
        .enter(|| (Sockets::open(), host.has_events()))
        .map_err(|error| format!("its network namespace cannot be entered: {error}"))?;
    let refused = |error| format!("the kernel refuses a netfilter netlink socket: {}", describe(error));
    let sockets = sockets.map_err(refused)?;
    if !has_events {
        return Err("its net.netfilter.nf_conntrack_events is 0".to_owned());
    }
    sockets.listen().map_err(refused)?;
    let limited = match place {
        Place::Host => None,
        Place::Unknown(why) => {
            Some(format!("in the exporter's own network namespace, the host's is unknown: {why}"))
        }
    };
    Ok((sockets, limited))
}

fn describe(error: Errno) -> String {
    let need = if error == Errno::PERM { " (CAP_NET_ADMIN)" } else { "" };
    format!("{error}{need}")
}

#[cfg(test)]
mod tests;
