// SPDX-License-Identifier: Apache-2.0
//! UDP and DNS: what passes the sockets, by flow key (`bpf/packets.bpf.c`).

mod counts;
mod dns;
mod drain;
mod health;
mod http;
mod http_counts;
mod key;
mod root;
mod sample;
mod udp;

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, MapCore, OpenObject};

pub use counts::{DNS_BUCKETS, DNS_POWERS, DnsCounts, NXDOMAIN, QTYPES, RCODES, UdpCounts};
pub use health::{Health, LOST_REASONS};
pub use http_counts::{
    HTTP_BUCKETS, HTTP_FAILURES, HTTP_POWERS, Http2Part, Http2Record, HttpGrowth, HttpOutcome, METHODS,
};
pub use sample::DnsSample;

use crate::maps::{BatchReader, Plain, run_iterator};
use crate::processes::{ProcessTable, mute_cgroups};
use crate::skeleton::packets::{OpenPacketsMaps, PacketsSkel, PacketsSkelBuilder, types};
use crate::tcp::services::tell_service;
use crate::tcp::{Backend, Listener, ProcessHierarchy, Processes};
use crate::{Error, FlowKey};

/// Most ports that can be said to be for DNS.
pub const MOST_DNS_PORTS: usize = 8;

/// For how long after the start a socket's first packet may not have been the first of its life.
const START_UNSEEN: Duration = Duration::from_secs(10);

/// How DNS is to be observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsOptions {
    /// Ports of DNS servers, at most [`MOST_DNS_PORTS`].
    pub ports: Vec<u16>,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// Hand out the head of every first answer to clients, to count by domain.
    pub domains: bool,
}

/// How the probe is to be loaded.
#[derive(Debug, Clone)]
pub struct PacketOptions {
    /// Count datagrams.
    pub udp: bool,
    /// Count DNS messages.
    pub dns: Option<DnsOptions>,
    /// Count HTTP requests and responses.
    pub http: bool,
    /// There may be Services ([`Packets::add_services`]).
    pub services: bool,
    /// Where the version 2 hierarchy of control groups is mounted; None if nowhere.
    pub cgroup_root: Option<PathBuf>,
    /// cgroup v2 ids that tell nothing about a socket's owner, as for TCP.
    pub mute_cgroups: Vec<u64>,
    /// Where a process's cgroup is read.
    pub process_hierarchy: ProcessHierarchy,
    /// Note the process of every socket, whatever its cgroup.
    pub want_process: bool,
}

/// Takes what the probe hands out. `T` is kept with each key from one pass to the next.
pub trait Sink<T> {
    /// The UDP sockets that serve: `key` has role [`crate::Role::Listener`], their own address as remote and their own port.
    fn servers(&mut self, servers: &[Listener], processes: &Processes);
    /// A DNS message that tells something besides the counts. All of those that the counts handed out later in this pass
    /// include come before them.
    fn sample(&mut self, sample: &DnsSample<'_>, processes: &Processes);
    /// How much a UDP flow grew.
    fn udp(&mut self, key: &FlowKey, tag: &mut T, growth: &UdpCounts, processes: &Processes);
    /// How much the DNS messages of a flow grew.
    fn dns(&mut self, key: &FlowKey, tag: &mut T, growth: &DnsCounts, processes: &Processes);
    /// Where a connection went that dialled a Service, as [`crate::tcp::Sink::backend`]; it is asked for as often as something of
    /// the connection is handed out, after a pass over TCP if there is one.
    fn backend(&mut self, key: &FlowKey, source: u64, port: u16) -> Option<Backend>;
    /// How many requests of one kind came to one end on an HTTP flow.
    fn http(&mut self, key: &FlowKey, tag: &mut T, growth: &HttpGrowth, processes: &Processes);
    /// A part of an HTTP/2 connection, in the order in which they passed. All of those that passed before this pass come in it.
    fn http2(&mut self, record: &Http2Record<'_>, tag: &mut T, processes: &Processes);
    /// Datagrams that a UDP socket's receive buffer had no room for. `key` has role [`crate::Role::Listener`].
    fn receive_drops(&mut self, key: &FlowKey, drops: u64, processes: &Processes);
}

/// A sink that takes nothing, to try whether the probe works.
#[derive(Debug, Clone, Copy)]
pub struct Discard;

impl Sink<()> for Discard {
    fn servers(&mut self, _: &[Listener], _: &Processes) {}
    fn sample(&mut self, _: &DnsSample<'_>, _: &Processes) {}
    fn udp(&mut self, _: &FlowKey, (): &mut (), _: &UdpCounts, _: &Processes) {}
    fn dns(&mut self, _: &FlowKey, (): &mut (), _: &DnsCounts, _: &Processes) {}
    fn backend(&mut self, _: &FlowKey, _: u64, _: u16) -> Option<Backend> {
        None
    }
    fn http(&mut self, _: &FlowKey, (): &mut (), _: &HttpGrowth, _: &Processes) {}
    fn http2(&mut self, _: &Http2Record<'_>, (): &mut (), _: &Processes) {}
    fn receive_drops(&mut self, _: &FlowKey, _: u64, _: &Processes) {}
}

/// Memory in which libbpf keeps the object; outlives the probe.
#[derive(Default)]
pub struct Storage(Option<Box<MaybeUninit<OpenObject>>>);

/// The loaded and attached probe. `T` is what the sink keeps with each key.
pub struct Packets<'o, T> {
    skeleton: PacketsSkel<'o>,
    /// Detach when dropped.
    _links: Vec<Link>,
    options: PacketOptions,
    flows: udp::Flows<T>,
    tags: dns::Tags<T>,
    dns: BatchReader<types::fg_key, types::fg_dns>,
    queries: BatchReader<types::fg_dns_id, types::fg_dns_query>,
    http: BatchReader<types::fg_http_key, types::fg_http>,
    server_reader: BatchReader<types::fg_server, types::fg_serving>,
    servers: Vec<Listener>,
    /// Changes of the servers, when they were read last.
    noted: u64,
    /// Servers (namespace, port, cgroup) whose processes were looked for.
    looked_for: HashSet<(u32, u16, u64), foldhash::fast::RandomState>,
    processes: ProcessTable,
    writing_b: bool,
    /// Records in the ring when it was emptied last, of all that were ever written.
    sampled: u64,
    /// The same of the ring of HTTP/2 frames.
    http2_written: u64,
    /// Addresses and ports of Services that the programs know.
    services: HashSet<(IpAddr, u16), foldhash::fast::RandomState>,
    undecodable: u64,
}

// SAFETY: a structure of integers, generated from the C one.
unsafe impl Plain for types::fg_server {}
// SAFETY: as above.
unsafe impl Plain for types::fg_serving {}

/// What HTTP needs takes no memory where it is not wanted.
fn shrink_http(maps: &mut OpenPacketsMaps<'_>) -> Result<(), Error> {
    const PAGE: u32 = 4096;
    let entries = |error| Error::libbpf("shrinking the maps of HTTP", error);
    maps.http2_records.set_max_entries(PAGE).map_err(entries)?;
    maps.http_early.set_max_entries(64).map_err(entries)
}

impl<'o, T: Default> Packets<'o, T> {
    /// Loads and attaches the programs: counts what passes from now on.
    ///
    /// # Errors
    /// When the kernel refuses a program, a map or an attachment, or the control groups' root is not to be found;
    /// nothing stays attached then.
    pub fn load(storage: &'o mut Storage, options: PacketOptions) -> Result<Self, Error> {
        let root = root::open(options.cgroup_root.as_deref())?;
        let place = storage.0.insert(Box::new(MaybeUninit::uninit()));
        let mut open = PacketsSkelBuilder::default()
            .open(place)
            .map_err(|error| Error::libbpf("opening the packet programs", error))?;
        if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
            rodata.fg_mute_cgroups = mute_cgroups(&options.mute_cgroups);
            rodata.fg_want_process = options.want_process;
            let subsystem = options.process_hierarchy.subsystem();
            rodata.fg_process_subsys = subsystem.and_then(|number| i32::try_from(number).ok()).unwrap_or(-1);
            rodata.fg_udp = options.udp;
            rodata.fg_http = options.http;
            rodata.fg_services = options.services;
            rodata.fg_start_unseen = crate::kernel::monotonic() + START_UNSEEN.as_nanos() as u64;
            rodata.fg_seed = foldhash::quality::RandomState::default().hash_one(0u8);
            if let Some(dns) = &options.dns {
                rodata.fg_dns = true;
                rodata.fg_dns_domains = dns.domains;
                rodata.fg_dns_timeout = u64::try_from(dns.timeout.as_nanos()).unwrap_or(u64::MAX);
                for (place, port) in rodata.fg_dns_ports.iter_mut().zip(&dns.ports) {
                    *place = *port;
                }
            }
        }
        open.progs.udp_drop.set_autoload(options.udp);
        open.progs.http_end.set_autoload(options.http);
        open.progs.http_older.set_autoload(options.http);
        if !options.http {
            shrink_http(&mut open.maps)?;
        }
        let skeleton = open.load().map_err(|error| Error::libbpf("loading the packet programs", error))?;
        let slots = skeleton.maps.udp_sums.max_entries() as usize;
        let flows = udp::Flows::new(skeleton.maps.udp_sums.as_fd(), slots)?;
        let mut probe = Self {
            skeleton,
            _links: Vec::new(),
            options,
            flows,
            tags: dns::Tags::new(),
            dns: BatchReader::new(),
            queries: BatchReader::new(),
            http: BatchReader::new(),
            server_reader: BatchReader::new(),
            servers: Vec::new(),
            noted: 0,
            looked_for: HashSet::default(),
            processes: ProcessTable::new(),
            writing_b: false,
            sampled: 0,
            http2_written: 0,
            services: HashSet::default(),
            undecodable: 0,
        };
        probe.attach(root.as_raw_fd())?;
        Ok(probe)
    }

    fn attach(&mut self, root: i32) -> Result<(), Error> {
        let programs = &self.skeleton.progs;
        for (program, name) in [(&programs.packet_in, "ingress"), (&programs.packet_out, "egress")] {
            let link = program.attach_cgroup(root).map_err(|error| {
                Error::libbpf(format!("attaching to the {name} of the root control group"), error)
            })?;
            self._links.push(link);
        }
        if self.options.udp {
            let step = "attaching to the tracepoint udp_fail_queue_rcv_skb";
            self._links.push(programs.udp_drop.attach().map_err(|error| Error::libbpf(step, error))?);
        }
        if self.options.http {
            let step = "attaching to the tracepoint tcp_destroy_sock";
            self._links.push(programs.http_end.attach().map_err(|error| Error::libbpf(step, error))?);
            run_iterator(&programs.http_older, "looking for connections that are there already")?;
        }
        Ok(())
    }

    fn bss(&self) -> Option<&types::bss> {
        self.skeleton.maps.bss_data.as_deref()
    }

    /// One pass: what every flow grew since the last one goes to the sink.
    ///
    /// # Errors
    /// When the kernel refuses a map; the next pass reports what this one did not.
    pub fn pass(&mut self, sink: &mut impl Sink<T>) -> Result<(), Error> {
        let now = Instant::now();
        self.swap()?;
        self.learn_processes()?;
        self.tell_servers(sink)?;
        self.drain_samples(sink)?;
        self.drain_dns(sink, now)?;
        self.drain_http2(sink, now)?;
        self.drain_http(sink, now)?;
        self.time_out(sink, now)?;
        self.drain_udp(sink, now)?;
        self.tags.forget(now);
        Ok(())
    }

    /// Hands out the DNS messages that wait, and nothing else.
    ///
    /// # Errors
    /// When the ring cannot be read; the next time hands out what it holds.
    pub fn hand_out_samples(&mut self, sink: &mut impl Sink<T>) -> Result<(), Error> {
        self.learn_processes()?;
        self.drain_samples(sink)
    }

    /// What cannot wait for the next pass: samples and timeouts; and all the rest if something fills up.
    ///
    /// # Errors
    /// As [`Self::pass`].
    pub fn tend(&mut self, sink: &mut impl Sink<T>) -> Result<(), Error> {
        let (assigned, slots) = (self.flows_unread(), self.flows.usage().1);
        let filling = [self.dns_pending(), self.http_pending()];
        let filling = filling.iter().any(|(pending, capacity)| *pending > capacity / 4);
        if assigned > slots / 4 || filling || self.flows.usage().0 > slots / 4 * 3 {
            return self.pass(sink);
        }
        self.hand_out_samples(sink)?;
        self.drain_http2(sink, Instant::now())?;
        self.time_out(sink, Instant::now())
    }

    /// Says at which addresses and ports Services are dialled, as [`crate::tcp::Tcp::add_services`]. Connections that are open
    /// already keep the keys they have.
    ///
    /// # Errors
    /// When the kernel refuses an entry for another reason than want of room.
    pub fn add_services(&mut self, all: impl IntoIterator<Item = (IpAddr, u16)>) -> Result<(), Error> {
        let map = &self.skeleton.maps.services;
        let capacity = map.max_entries() as usize;
        for (address, port) in all {
            let service = (address.to_canonical(), port);
            if self.services.len() >= capacity || self.services.contains(&service) {
                continue;
            }
            tell_service(map, service)?;
            self.services.insert(service);
        }
        Ok(())
    }
}
