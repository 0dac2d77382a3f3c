// SPDX-License-Identifier: Apache-2.0
//! What the flags and the host make of the probes, for the exporter and for its check alike.

use std::cell::OnceCell;
use std::path::Path;

use flowgauge_labels::{Layout, Mode, ProcessHierarchy, SourceStatus, cgroup_layout};
use flowgauge_probes::Facts;
use flowgauge_probes::cgroups::{self, Cgroups};
use flowgauge_probes::drops::{self, DropOptions, Drops};
use flowgauge_probes::packets::{self, DnsOptions, PacketOptions, Packets};
use flowgauge_probes::tcp::{self, Tcp, TcpOptions};

use crate::flags::{ConntrackMode, Flags};
use crate::kubernetes;
use crate::new_groups;
use crate::probes::ProbePlan;

/// What is to be loaded on a host with these control groups. `services`: Services may be dialled.
pub fn probe_plan(flags: &Flags, layout: &Layout, services: bool) -> ProbePlan {
    let wanted = wanted_packets(flags);
    ProbePlan {
        tcp: flags.collector_tcp().then(|| tcp_options(flags, layout, services)),
        packets: wanted.any().then(|| packet_options(flags, layout, services, wanted)),
        drops: flags.collector_drops().then(|| drop_options(flags, layout)),
        hierarchy: hierarchy(layout),
    }
}

/// `net.ipv4.ip_local_port_range`, as far as it is above the well-known and registered ports that hosts use for services
/// whatever the range says: nodes with `1024 65535` must name an edge as their peers do.
pub fn dynamic_ports(procfs: &Path) -> std::ops::RangeInclusive<u16> {
    const KERNEL_DEFAULT: (u16, u16) = (32768, 60999);
    let text = std::fs::read_to_string(procfs.join("sys/net/ipv4/ip_local_port_range")).unwrap_or_default();
    let mut ports = text.split_whitespace().map(str::parse);
    let (first, last) = match (ports.next(), ports.next()) {
        (Some(Ok(first)), Some(Ok(last))) => (first, last),
        _ => KERNEL_DEFAULT,
    };
    KERNEL_DEFAULT.0.max(first)..=last
}

/// How the TCP probe is loaded on a host with these cgroups, by the exporter and by its check alike.
fn tcp_options(flags: &Flags, layout: &Layout, services: bool) -> TcpOptions {
    TcpOptions {
        mute_cgroups: layout.silent_ids(),
        process_hierarchy: hierarchy(layout),
        want_process: wants_processes(flags, layout),
        services,
    }
}

/// What the packet probe is wanted for.
#[derive(Clone, Copy, Default)]
struct Packet {
    udp: bool,
    dns: bool,
    http: bool,
}

impl Packet {
    const fn any(self) -> bool {
        self.udp || self.dns || self.http
    }
}

fn wanted_packets(flags: &Flags) -> Packet {
    Packet { udp: flags.collector_udp(), dns: flags.collector_dns(), http: flags.collector_http() }
}

/// How the packet probe is loaded.
fn packet_options(flags: &Flags, layout: &Layout, services: bool, wanted: Packet) -> PacketOptions {
    PacketOptions {
        udp: wanted.udp,
        dns: wanted.dns.then(|| DnsOptions {
            ports: flags.dns.ports().to_vec(),
            timeout: flags.dns.timeout,
            domains: flags.dns.names > 0,
        }),
        http: wanted.http,
        services: wanted.http && services,
        cgroup_root: layout.unified.clone(),
        mute_cgroups: layout.silent_ids(),
        process_hierarchy: hierarchy(layout),
        want_process: wants_processes(flags, layout),
    }
}

/// How the drops probe is loaded.
fn drop_options(flags: &Flags, layout: &Layout) -> DropOptions {
    DropOptions {
        mute_cgroups: layout.silent_ids(),
        process_hierarchy: hierarchy(layout),
        want_process: wants_processes(flags, layout),
    }
}

fn hierarchy(layout: &Layout) -> tcp::ProcessHierarchy {
    match layout.process_hierarchy() {
        ProcessHierarchy::Unified => tcp::ProcessHierarchy::Unified,
        ProcessHierarchy::V1("memory") => tcp::ProcessHierarchy::V1Memory,
        ProcessHierarchy::V1(_) => tcp::ProcessHierarchy::V1Pids,
    }
}

/// Beside v1, a v2 cgroup is at best systemd's mirror: a container's socket may carry its runtime's unit.
fn wants_processes(flags: &Flags, layout: &Layout) -> bool {
    layout.mode != Mode::Unified || flags.labels_add.0.iter().any(|label| label.ends_with("_process"))
}

/// What collectors share, and has been tried for one of them.
#[derive(Default)]
pub struct Tried {
    packets: OnceCell<Result<(), String>>,
}

impl Tried {
    fn packets(&self, flags: &Flags) -> Result<(), String> {
        self.packets.get_or_init(|| check_packets(flags)).clone()
    }
}

/// Loads the collector, makes one pass and detaches it again.
pub fn check_tcp(flags: &Flags, _: &Tried) -> Result<String, String> {
    let facts = Facts::read().map_err(|error| error.to_string())?;
    let layout = cgroup_layout(&flags.paths.cgroup, &flags.paths.procfs);
    let options = tcp_options(flags, &layout, dials_services(flags));
    let mut storage = tcp::Storage::default();
    let mut probe = Tcp::<()>::load(&mut storage, &facts, &options).map_err(|error| error.to_string())?;
    let report = probe.pass(&mut tcp::Discard).map_err(|error| error.to_string())?;
    Ok(format!(
        "loads; a pass sees {} sockets, its longest run took {:?}",
        report.sockets, report.longest_run
    ))
}

/// As [`check_tcp`], of UDP.
pub fn check_udp(flags: &Flags, tried: &Tried) -> Result<String, String> {
    tried.packets(flags).map(|()| "loads; the programs are attached to the root control group".to_owned())
}

/// As [`check_tcp`], of DNS.
pub fn check_dns(flags: &Flags, tried: &Tried) -> Result<String, String> {
    tried.packets(flags)?;
    let ports: Vec<String> = flags.dns.ports().iter().map(u16::to_string).collect();
    let timeout = flags.dns.timeout;
    Ok(format!("loads; looks at port {}, an answer may take {timeout:?}", ports.join(", ")))
}

/// As [`check_tcp`], of HTTP.
pub fn check_http(flags: &Flags, tried: &Tried) -> Result<String, String> {
    tried.packets(flags)?;
    Ok("loads; the programs are attached to the root control group".to_owned())
}

/// As [`check_tcp`], of dropped packets.
pub fn check_drops(flags: &Flags, _: &Tried) -> Result<String, String> {
    let layout = cgroup_layout(&flags.paths.cgroup, &flags.paths.procfs);
    let mut storage = drops::Storage::default();
    let mut probe =
        Drops::load(&mut storage, &drop_options(flags, &layout), None).map_err(|error| error.to_string())?;
    probe.take().map_err(|error| error.to_string())?;
    let left_out = probe.health().left_out.len();
    Ok(format!(
        "loads; {} reasons of this kernel are told apart, {left_out} more are no loss",
        probe.reasons() - left_out
    ))
}

/// The packet probe, with all that is wanted of it: its programs are loaded together, so one that the kernel refuses
/// takes the others with it.
fn check_packets(flags: &Flags) -> Result<(), String> {
    let layout = cgroup_layout(&flags.paths.cgroup, &flags.paths.procfs);
    let options = packet_options(flags, &layout, dials_services(flags), wanted_packets(flags));
    let mut storage = packets::Storage::default();
    let mut probe = Packets::<()>::load(&mut storage, options).map_err(|error| error.to_string())?;
    probe.pass(&mut packets::Discard).map_err(|error| error.to_string())
}

/// Whether the kernel tells of new control groups, as a source of names; None if no probe runs that would ask.
pub fn check_cgroup_events(flags: &Flags) -> Option<SourceStatus> {
    if !flags.collector_tcp() && !flags.collector_drops() && !wanted_packets(flags).any() {
        return None;
    }
    let layout = cgroup_layout(&flags.paths.cgroup, &flags.paths.procfs);
    let mut storage = cgroups::Storage::default();
    let loaded = Cgroups::load(&mut storage, hierarchy(&layout)).map(|_| ());
    Some(match loaded {
        Ok(()) => SourceStatus::working(
            new_groups::SOURCE,
            "new control groups are known as they are made".to_owned(),
        ),
        Err(error) => SourceStatus::failed(new_groups::SOURCE, error.to_string()),
    })
}

/// Whether Services may be dialled and translations told: where there is a cluster, and unless it is switched off.
pub fn dials_services(flags: &Flags) -> bool {
    flags.kubernetes.conntrack == ConntrackMode::Auto && matches!(kubernetes::connection(flags), Ok(Some(_)))
}
