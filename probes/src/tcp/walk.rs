// SPDX-License-Identifier: Apache-2.0
//! Walking the kernel's socket tables, a stretch at a time.

use std::time::{Duration, Instant};

use libbpf_rs::ProgramInput;

use super::{Backend, Counter, Counters, Events, FlowKey, Listener, PassReport, Processes, Sink, Tcp};
use crate::Error;
use crate::skeleton::tcp::types;

const SYN_SENT: u8 = 2;
const SYN_RECV: u8 = 3;

/// Handed-on listeners remembered as looked for.
const LOOKED_FOR: usize = 4096;

/// Service managers by name: `systemd` and its helpers, and a service between fork and exec, which systemd calls
/// `(name)`.
fn makes_for_others(process: &str) -> bool {
    process.starts_with("systemd")
        || process.starts_with('(')
        || ["inetd", "xinetd", "launchd"].contains(&process)
}

/// An array of hash chains: the address of the first bucket, the number of the last one.
type Buckets = (u64, u32);

/// The distinct socket tables of the kernel. A namespace with an established table of its own shares everybody's
/// listening table.
#[derive(Default)]
pub(super) struct Tables {
    established: Vec<Buckets>,
    listening: Vec<Buckets>,
}

/// A sink that keeps nothing: for the first walk, which only takes the baseline, and for trials.
pub struct Discard;

impl<T> Sink<T> for Discard {
    fn catch_up(&mut self) {}
    fn backend(&mut self, _: &FlowKey, _: u64, _: u16) -> Option<Backend> {
        None
    }
    fn listeners(&mut self, _: &[Listener], _: &Processes) {}
    fn accept_queues(&mut self, _: &[Listener], _: &Processes) {}
    fn growth(&mut self, _: &FlowKey, _: &mut T, _: &Counters, _: u32, _: &Processes) {}
    fn events(&mut self, _: &FlowKey, _: &mut T, _: &Events, _: &Processes) {}
    fn rtt(&mut self, _: &FlowKey, _: &mut T, _: Duration, _: &Processes) {}
}

impl<T: Default> Tcp<'_, T> {
    /// The socket tables of all network namespaces, and the kernel's jiffies.
    pub(super) fn find_tables(&mut self) -> Result<(Tables, u64), Error> {
        let mut nothing = [0u8; 40];
        let input = ProgramInput { context_in: Some(&mut nothing), ..Default::default() };
        self.skeleton
            .progs
            .tcp_tables
            .test_run(input)
            .map_err(|error| Error::libbpf("looking for the kernel's socket tables", error))?;
        let mut tables = Tables::default();
        let Some(bss) = self.bss() else { return Ok((tables, 0)) };
        let found = (bss.fg_answer.tables as usize).min(bss.fg_tables.len());
        for table in &bss.fg_tables[..found] {
            add_once(&mut tables.established, (table.established, table.established_mask));
            add_once(&mut tables.listening, (table.listening, table.listening_mask));
        }
        Ok((tables, bss.fg_answer.jiffies))
    }

    /// Walks the established sockets into the books; their RTTs go to the sink.
    pub(super) fn walk_established(
        &mut self,
        tables: &Tables,
        sink: &mut impl Sink<T>,
        report: &mut PassReport,
    ) -> Result<(), Error> {
        // What moves during this pass is for the next one as well: better a sample twice than none.
        let begun = self.bss().map_or(0, |bss| bss.fg_answer.jiffies);
        for &table in &tables.established {
            let mut first = 0;
            while first <= u64::from(table.1) {
                let answer = self.run(table, first, false, report)?;
                sink.catch_up();
                first = u64::from(answer.next).max(first + 1);
                report.sockets += u64::from(answer.sockets);
                for index in 0..answer.sockets as usize {
                    let record = self.live.get(index);
                    let Some(key) = FlowKey::decode(&record.key) else {
                        self.undecodable += 1;
                        continue;
                    };
                    // Began since the names were read.
                    if key.process != 0 && !self.processes.known().contains_key(&key.process) {
                        self.learn_processes()?;
                    }
                    let connection = record.state != SYN_SENT && record.state != SYN_RECV;
                    let counters = counters_of(&record);
                    let key = self.services.live(key, &counters, &mut self.totals, sink);
                    let tag = self.totals.live(&key, &counters, connection);
                    if record.rtt > 0 {
                        let rtt = Duration::from_micros(u64::from(record.rtt));
                        sink.rtt(&key, tag, rtt, self.processes.known());
                    }
                }
            }
        }
        self.last_pass = begun;
        Ok(())
    }

    /// The listening sockets, with the processes behind those that were handed on.
    pub(super) fn find_listeners(
        &mut self,
        tables: &Tables,
        report: &mut PassReport,
    ) -> Result<Vec<Listener>, Error> {
        let mut listeners = self.read_listeners(tables, report)?;
        if self.are_handed_on(&listeners) {
            self.find_holders()?;
            listeners = self.read_listeners(tables, report)?;
        }
        Ok(listeners.into_iter().map(|(listener, _)| listener).collect())
    }

    /// Walks the listening sockets into the books.
    pub(super) fn walk_listeners(
        &mut self,
        tables: &Tables,
        report: &mut PassReport,
    ) -> Result<Vec<Listener>, Error> {
        let mut counters = Counters::default();
        let listeners = self.read_listeners(tables, report)?;
        for (listener, drops) in &listeners {
            counters[Counter::ListenDrops] = u64::from(*drops);
            self.totals.live(&listener.key.without_holder(), &counters, false);
        }
        Ok(listeners.into_iter().map(|(listener, _)| listener).collect())
    }

    /// The listening sockets and what each has dropped.
    fn read_listeners(
        &mut self,
        tables: &Tables,
        report: &mut PassReport,
    ) -> Result<Vec<(Listener, u32)>, Error> {
        let mut listeners = Vec::new();
        for &table in &tables.listening {
            let mut first = 0;
            while first <= u64::from(table.1) {
                let answer = self.run(table, first, true, report)?;
                first = u64::from(answer.next).max(first + 1);
                for index in 0..answer.sockets as usize {
                    let record = self.live.get(index);
                    let Some(key) = FlowKey::decode(&record.key) else {
                        self.undecodable += 1;
                        continue;
                    };
                    let types::fg_live {
                        queue_length,
                        queue_limit,
                        listen_drops,
                        sent_segments: half_open,
                        ..
                    } = record;
                    listeners.push((Listener { key, queue_length, queue_limit, half_open }, listen_drops));
                }
            }
        }
        Ok(listeners)
    }

    /// Whether a listener is there that was made by one process for another one (socket activation), and for which
    /// nobody has looked yet who that is.
    fn are_handed_on(&mut self, listeners: &[(Listener, u32)]) -> bool {
        if self.looked_for.len() > LOOKED_FOR {
            self.looked_for.clear();
        }
        let mut found = false;
        for (Listener { key, .. }, _) in listeners {
            let maker = self.processes.known().get(&key.process).map(|process| &*process.name);
            if maker.is_some_and(makes_for_others) {
                found |= self.looked_for.insert((key.netns, key.port, key.process));
            }
        }
        found
    }

    /// One run of the walk, from a bucket on.
    fn run(
        &mut self,
        (address, mask): (u64, u32),
        first: u64,
        listening: bool,
        report: &mut PassReport,
    ) -> Result<types::fg_walk_answer, Error> {
        let mut context = [0u8; 40];
        let request = [address, first, u64::from(mask), u64::from(listening), self.last_pass];
        for (bytes, word) in context.chunks_exact_mut(8).zip(request) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        let input = ProgramInput { context_in: Some(&mut context), ..Default::default() };
        let begin = Instant::now();
        self.skeleton
            .progs
            .tcp_walk
            .test_run(input)
            .map_err(|error| Error::libbpf("walking the kernel's socket table", error))?;
        report.longest_run = report.longest_run.max(begin.elapsed());
        report.runs += 1;
        let answer = self.bss().map_or(EMPTY, |bss| bss.fg_answer);
        report.moved_chains += u64::from(answer.moved);
        Ok(answer)
    }
}

fn add_once(tables: &mut Vec<Buckets>, table: Buckets) {
    if !tables.contains(&table) {
        tables.push(table);
    }
}

const EMPTY: types::fg_walk_answer =
    types::fg_walk_answer { next: u32::MAX, sockets: 0, moved: 0, steps: 0, jiffies: 0, tables: 0 };

fn counters_of(record: &types::fg_live) -> Counters {
    let established = record.state != SYN_SENT && record.state != SYN_RECV;
    let client = record.key.role == 1;
    let mut counters = Counters::default();
    counters[Counter::SentBytes] = record.sent_bytes;
    counters[Counter::ReceivedBytes] = record.received_bytes;
    counters[Counter::SentSegments] = u64::from(record.sent_segments);
    counters[Counter::ReceivedSegments] = u64::from(record.received_segments);
    counters[Counter::RetransmittedSegments] = u64::from(record.retransmitted);
    counters[Counter::OutOfOrderSegments] = u64::from(record.out_of_order);
    counters[Counter::LimitedBusy] = u64::from(record.limited[0]);
    counters[Counter::LimitedReceiveWindow] = u64::from(record.limited[1]);
    counters[Counter::LimitedSendBuffer] = u64::from(record.limited[2]);
    counters[Counter::Opened] = u64::from(established);
    counters[Counter::Attempts] = u64::from(client);
    if record.state == SYN_SENT {
        counters[Counter::SynRetransmits] = u64::from(record.retransmitted);
    }
    counters
}
