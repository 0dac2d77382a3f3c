// SPDX-License-Identifier: Apache-2.0
//! TCP: what the kernel's sockets count themselves, by flow key (`bpf/tcp.bpf.c`).

mod closed;
mod key;
mod local_owners;
mod processes;
mod programs;
pub(crate) mod services;
mod totals;
mod walk;

use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, MapCore, OpenObject};

pub use crate::processes::{MUTE_CGROUPS, Process, Processes};
pub use key::{FlowKey, Peer, Role, Transport};
pub use services::digest;
pub use totals::{Counter, Counters};
pub use walk::Discard;

use crate::maps::{BatchReader, Plain, Shared, read};
use crate::processes::{ProcessTable, mute_cgroups};
use crate::skeleton::tcp::{TcpSkel, TcpSkelBuilder, types};
use crate::{Error, Facts};
use services::Services;
use totals::Totals;

/// Number of [`CloseReason`](Events::closed)s.
pub const CLOSE_REASONS: [&str; 4] = ["fin", "reset_received", "reset_sent", "timeout"];

/// Reasons for which a connection attempt fails, in the order of [`Events::failed`].
pub const FAILURES: [&str; 8] = [
    "refused",
    "timeout",
    "host_unreachable",
    "net_unreachable",
    "reset",
    "abandoned",
    "no_local_port",
    "other",
];

/// Where `no_local_port` is among [`FAILURES`]: no SYN was sent.
pub const NO_LOCAL_PORT: usize = 6;

/// Where `reset_sent` is among [`CLOSE_REASONS`].
pub const RESET_SENT: usize = 2;

/// Why something was not counted, in the order of [`Health::lost`].
pub const LOST_REASONS: [&str; 8] = [
    "flow_map_full",
    "parked_map_full",
    "process_map_full",
    "process_names_full",
    "live_sockets",
    "socket_tables",
    "local_owners_full",
    "services_full",
];

/// Upper bounds of the RTT histogram, as powers of two of a microsecond: 64 µs to 4.2 s.
pub const RTT_POWERS: std::ops::RangeInclusive<u32> = 6..=22;

/// Upper bounds of the connect histogram, as powers of two of a microsecond: 128 µs to 34 s.
pub const CONNECT_POWERS: std::ops::RangeInclusive<u32> = 7..=25;

/// Things that happened once, as opposed to counters that sockets carry.
pub use types::fg_sums as Events;

/// The hierarchy whose cgroup ids name processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessHierarchy {
    /// cgroup v2.
    Unified,
    /// The v1 `memory` controller.
    V1Memory,
    /// The v1 `pids` controller.
    V1Pids,
}

impl ProcessHierarchy {
    /// The running kernel's number for the controller; None for v2, or if the kernel lacks the controller.
    pub(crate) fn subsystem(self) -> Option<u32> {
        match self {
            ProcessHierarchy::Unified => None,
            ProcessHierarchy::V1Memory => crate::kernel::subsystem("memory_cgrp_id"),
            ProcessHierarchy::V1Pids => crate::kernel::subsystem("pids_cgrp_id"),
        }
    }
}

/// How the probe is to be loaded.
#[derive(Debug, Clone)]
pub struct TcpOptions {
    /// cgroup v2 ids that tell nothing about a socket's owner: none, the root's, `init.scope`'s. At most
    /// [`MUTE_CGROUPS`] different ones count.
    pub mute_cgroups: Vec<u64>,
    /// Where a process's cgroup is read.
    pub process_hierarchy: ProcessHierarchy,
    /// Note the process of every socket, whatever its cgroup.
    pub want_process: bool,
    /// There may be Services ([`Tcp::add_services`]).
    pub services: bool,
}

/// Where a connection to a Service really went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend {
    /// Its address.
    pub address: IpAddr,
    /// The port that it listens on.
    pub port: u16,
    /// The Service, by any number that stays the same for it.
    pub service: u32,
}

/// A listening socket, as the walk sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Namespace, port and owner.
    pub key: FlowKey,
    /// Connections waiting to be accepted (`sk_ack_backlog`).
    pub queue_length: u32,
    /// Most that may wait (`sk_max_ack_backlog`).
    pub queue_limit: u32,
    /// Connection requests that are answered and wait for the last acknowledgement (`icsk_accept_queue.qlen`).
    pub half_open: u32,
}

/// Takes what the probe hands out. `T` is kept with each key from one pass to the next.
pub trait Sink<T> {
    /// What comes next is about connections that exist now: what is known of where they went must be as new.
    fn catch_up(&mut self);
    /// Where a connection went that dialled the Service at `key`'s address and port, from the address with [`digest`]
    /// `source` and from `port`. None if it is not known to have gone elsewhere. To be told once for a connection: another answer is
    /// taken for another connection from the same port.
    fn backend(&mut self, key: &FlowKey, source: u64, port: u16) -> Option<Backend>;
    /// All listening sockets, to name those by whom connections were accepted: at the begin of a pass, and again before
    /// what grew is reported, for those that came meanwhile.
    fn listeners(&mut self, listeners: &[Listener], processes: &Processes);
    /// The state of all accept queues; once in a pass.
    fn accept_queues(&mut self, listeners: &[Listener], processes: &Processes);
    /// How much the counters of a key grew, and its connections open now.
    fn growth(
        &mut self,
        key: &FlowKey,
        tag: &mut T,
        growth: &Counters,
        connections: u32,
        processes: &Processes,
    );
    /// What happened on a key since the last time: histograms, failures, closes. Counters that
    /// sockets carry are in here as well and are reported by `growth`: they are not for this.
    fn events(&mut self, key: &FlowKey, tag: &mut T, events: &Events, processes: &Processes);
    /// The smoothed RTT of a connection that moved data since the last pass.
    fn rtt(&mut self, key: &FlowKey, tag: &mut T, rtt: Duration, processes: &Processes);
}

/// How a pass went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PassReport {
    /// Established sockets seen.
    pub sockets: u64,
    /// Sums of closed sockets taken over.
    pub closed_keys: u64,
    /// Runs of the walk.
    pub runs: u64,
    /// Chains that moved and were walked again.
    pub moved_chains: u64,
    /// Longest single run of the walk.
    pub longest_run: Duration,
}

/// What went wrong in the kernel so far, and how full things are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// In the order of [`LOST_REASONS`].
    pub lost: [u64; LOST_REASONS.len()],
    /// Chains that moved under the walk (walked again, nothing lost).
    pub moved_chains: u64,
    /// Keys that could not be decoded (a bug, if ever).
    pub undecodable: u64,
    /// Cost and misses of each program.
    pub programs: Vec<crate::ProgramUse>,
    /// Use of each map.
    pub maps: Vec<crate::MapUse>,
}

/// Memory in which libbpf keeps the object; outlives the probe.
#[derive(Default)]
pub struct Storage(Option<Box<MaybeUninit<OpenObject>>>);

/// The loaded and attached TCP probe. `T` is what the sink keeps with each key.
pub struct Tcp<'o, T> {
    skeleton: TcpSkel<'o>,
    /// Detach when dropped.
    _links: Vec<Link>,
    live: Shared<types::fg_live>,
    closed: BatchReader<types::fg_key, types::fg_sums>,
    totals: Totals<T>,
    services: Services,
    processes: ProcessTable,
    owner_reader: BatchReader<types::local_pair, types::local_owner>,
    /// Handed-on listeners (namespace, port, maker) whose holders were looked for.
    looked_for: HashSet<(u32, u16, u32), foldhash::fast::RandomState>,
    writing_b: bool,
    last_pass: u64,
    clock: (u64, Instant),
    frequency: Option<u32>,
    moved_chains: u64,
    undecodable: u64,
}

// SAFETY: structures of integers, generated from the C ones.
unsafe impl Plain for types::fg_key {}
// SAFETY: as above.
unsafe impl Plain for types::fg_sums {}
// SAFETY: as above.
unsafe impl Plain for types::fg_live {}
// SAFETY: as above.
unsafe impl Plain for types::local_pair {}
// SAFETY: as above.
unsafe impl Plain for types::local_owner {}
// SAFETY: an integer.
unsafe impl Plain for u32 {}
// SAFETY: an integer.
unsafe impl Plain for u64 {}

impl<'o, T: Default> Tcp<'o, T> {
    /// Loads and attaches the programs and takes the baseline: what sockets counted before is not
    /// reported.
    ///
    /// # Errors
    /// When the kernel refuses a program, a map or an attachment; nothing stays attached then.
    pub fn load(storage: &'o mut Storage, facts: &Facts, options: &TcpOptions) -> Result<Self, Error> {
        let place = storage.0.insert(Box::new(MaybeUninit::uninit()));
        let mut open = TcpSkelBuilder::default()
            .open(place)
            .map_err(|error| Error::libbpf("opening the tcp programs", error))?;
        if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
            rodata.fg_mute_cgroups = mute_cgroups(&options.mute_cgroups);
            rodata.fg_want_process = options.want_process;
            rodata.fg_services = options.services;
            rodata.fg_typed_walk = facts.typed_casts;
            let subsystem = options.process_hierarchy.subsystem();
            rodata.fg_process_subsys = subsystem.and_then(|number| i32::try_from(number).ok()).unwrap_or(-1);
        }
        let skeleton = open.load().map_err(|error| Error::libbpf("loading the tcp programs", error))?;
        let live_entries = skeleton.maps.live.max_entries() as usize;
        let live = Shared::map(skeleton.maps.live.as_fd(), live_entries, "the live map")?;
        let mut probe = Self {
            skeleton,
            _links: Vec::new(),
            live,
            closed: BatchReader::new(),
            totals: Totals::new(),
            services: Services::default(),
            processes: ProcessTable::new(),
            owner_reader: BatchReader::new(),
            looked_for: HashSet::default(),
            writing_b: false,
            last_pass: 0,
            clock: (0, Instant::now()),
            frequency: None,
            moved_chains: 0,
            undecodable: 0,
        };
        probe.clock = (probe.find_tables()?.1, Instant::now());
        probe.attach()?;
        probe.find_holders()?;
        probe.take_baseline()?;
        Ok(probe)
    }

    fn attach(&mut self) -> Result<(), Error> {
        let programs = &self.skeleton.progs;
        for (program, name) in [
            (&programs.tcp_destroy, "tcp_destroy_sock"),
            (&programs.tcp_state, "inet_sock_set_state"),
            (&programs.tcp_synack, "tcp_retransmit_synack"),
        ] {
            let link = program
                .attach()
                .map_err(|error| Error::libbpf(format!("attaching to the tracepoint {name}"), error))?;
            self._links.push(link);
        }
        Ok(())
    }

    /// Sums of closed sockets that wait in the kernel, and how many fit.
    pub fn waiting(&self) -> (u64, u64) {
        let waiting = self.bss().map_or(0, |bss| read(&bss.fg_pending));
        (waiting, u64::from(self.skeleton.maps.flows_a.max_entries()))
    }

    /// Whether so much waits in the kernel that it should be drained before the next pass.
    pub fn is_filling(&self) -> bool {
        let (waiting, capacity) = self.waiting();
        waiting > capacity / 4
    }

    /// The map of who opened a socket, by its address, for a probe that sees sockets too.
    pub fn openers(&self) -> BorrowedFd<'_> {
        self.skeleton.maps.sock_process.as_fd()
    }

    /// The processes behind the ids in keys, as of the last pass.
    pub fn processes(&self) -> &Processes {
        self.processes.known()
    }

    /// Keys that have live sockets or something not yet reported.
    pub fn keys(&self) -> usize {
        self.totals.len()
    }

    /// Ticks of the kernel's timer in a second, in which the `Limited…` counters are.
    pub fn timer_frequency(&self) -> Option<u32> {
        self.frequency
    }

    /// One pass: what every key grew since the last one goes to the sink.
    ///
    /// # Errors
    /// When the kernel refuses a run or a map; the next pass reports what this one did not.
    pub fn pass(&mut self, sink: &mut impl Sink<T>) -> Result<PassReport, Error> {
        self.measure_frequency()?;
        let (tables, _) = self.find_tables()?;
        self.learn_processes()?;
        let mut report = PassReport::default();
        self.totals.begin();
        self.count_pass();
        let listeners = self.find_listeners(&tables, &mut report)?;
        sink.listeners(&listeners, self.processes.known());
        // Closed before live: a socket that dies in between is missed for one pass, never doubled.
        report.closed_keys = self.drain_closed(sink)?;
        self.walk_established(&tables, sink, &mut report)?;
        self.sweep_local_owners()?;
        let listeners = self.walk_listeners(&tables, &mut report)?;
        self.learn_processes()?;
        sink.listeners(&listeners, self.processes.known());
        sink.accept_queues(&listeners, self.processes.known());
        let processes = self.processes.known();
        self.totals
            .finish(|key, tag, growth, connections| sink.growth(key, tag, growth, connections, processes));
        self.services.end_pass();
        self.moved_chains += report.moved_chains;
        Ok(report)
    }

    fn take_baseline(&mut self) -> Result<(), Error> {
        let (tables, _) = self.find_tables()?;
        let mut report = PassReport::default();
        self.totals.begin();
        self.walk_established(&tables, &mut Discard, &mut report)?;
        self.walk_listeners(&tables, &mut report)?;
        self.totals.set_baseline();
        if let Some(data) = self.skeleton.maps.data_data.as_deref_mut() {
            data.fg_baseline = 0;
        }
        Ok(())
    }

    fn bss(&self) -> Option<&types::bss> {
        self.skeleton.maps.bss_data.as_deref()
    }

    /// Jiffies are turned into seconds by measuring them: CONFIG_HZ is not to be had everywhere.
    fn measure_frequency(&mut self) -> Result<(), Error> {
        while self.frequency.is_none() {
            if let Some(rest) = Duration::from_millis(100).checked_sub(self.clock.1.elapsed()) {
                std::thread::sleep(rest);
            }
            let (_, jiffies) = self.find_tables()?;
            self.frequency =
                crate::kernel::timer_frequency(jiffies.wrapping_sub(self.clock.0), self.clock.1.elapsed());
        }
        Ok(())
    }
}
