// SPDX-License-Identifier: Apache-2.0
//! What the collectors and label sources tell of themselves.

use std::fmt;

use flowgauge_labels::{Instance, SourceStatus};
use flowgauge_probes::{MapUse, ProgramUse, cgroups, drops, packets, tcp};
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};

use crate::flows::FlowsUse;
use crate::ledger::Ledger;
use crate::new_groups;
use crate::pass::{PacketState, ProbeState};
use crate::source::{Family, FamilyKind, Unit};

const fn family(
    name: &'static str,
    kind: FamilyKind,
    unit: Option<Unit>,
    labels: &'static [&'static str],
    help: &'static str,
    source: &'static str,
) -> Family {
    Family { name, kind, unit, help, labels, edge: false, source, buckets: "" }
}

use FamilyKind::{Counter, Gauge, Info};

static UP: Family = family(
    "collector_up",
    Gauge,
    None,
    &["collector"],
    "Whether the collector works: 1, or 0 when it could not start or its last pass failed; its gauges are not served then.",
    "The exporter itself.",
);
static RUN_SECONDS: Family = family(
    "bpf_program_run_seconds",
    Counter,
    Some(Unit::Seconds),
    &["program"],
    "Time spent in the BPF program, estimated from one run in 64; each run of the walk and of cgroup_mkdir is timed.",
    "bpf_ktime_get_ns in the programs",
);
static RUNS: Family = family(
    "bpf_program_runs",
    Counter,
    None,
    &["program"],
    "Runs of the BPF program that had something to do.",
    "per-CPU counters in the programs",
);
static MISSES: Family = family(
    "bpf_program_recursion_misses",
    Counter,
    None,
    &["program"],
    "Runs that the kernel skipped because the same program was running on that CPU already.",
    "bpf_prog_info.recursion_misses",
);
static MAP_ENTRIES: Family = family(
    "map_entries",
    Gauge,
    None,
    &["map"],
    "Entries in the BPF map; of http2_connections, connections whose header tables are kept.",
    "counters in the programs",
);
static MAP_CAPACITY: Family = family(
    "map_capacity",
    Gauge,
    None,
    &["map"],
    "Most entries that the map can hold.",
    "bpf_map_info.max_entries",
);
static LOST: Family = family(
    "lost_events",
    Counter,
    None,
    &["reason"],
    "What could not be counted where it belongs, or told in time: a map or ring was full, a socket chain or cgroup path too long to report, the kernel skipped a program (recursion), or conntrack events came faster than they were read (conntrack_overrun, by the number of times).",
    "counters in the programs, bpf_prog_info.recursion_misses, ENOBUFS",
);
static MOVED: Family = family(
    "walk_moved_chains",
    Counter,
    None,
    &[],
    "Socket hash chains that changed while they were walked, and were walked again.",
    "nulls value at the end of a chain",
);
static PASSES: Family = family(
    "passes",
    Counter,
    None,
    &[],
    "Passes over the kernel's sockets, those without a scrape included.",
    "The exporter itself.",
);
static PASS_FAILURES: Family = family(
    "pass_failures",
    Counter,
    None,
    &[],
    "Passes that failed, those without a scrape included: until one succeeds, scrapes show no gauges, and the next counts what this one did not.",
    "The exporter itself.",
);
static WALKED: Family = family(
    "walked_sockets",
    Gauge,
    None,
    &[],
    "Sockets that the last pass read that did not fail.",
    "kernel's established-sockets hash",
);
static LONGEST: Family = family(
    "walk_longest_run_seconds",
    Gauge,
    Some(Unit::Seconds),
    &[],
    "Longest single run of the walk in the last pass that did not fail: how long it held a CPU.",
    "The exporter's monotonic clock.",
);
static KEYS: Family = family(
    "flow_keys",
    Gauge,
    None,
    &[],
    "Flow keys of TCP (end, remote address, port) that have open sockets or something not yet reported.",
    "The exporter itself.",
);
static SERIES: Family = family(
    "series",
    Gauge,
    None,
    &[],
    "Series of edges, listeners and dropped packets served.",
    "The exporter itself.",
);
static SERIES_LIMIT: Family = family(
    "series_limit",
    Gauge,
    None,
    &[],
    "Most series of edges, listeners and dropped packets that may be served (--series.limit).",
    "The exporter itself.",
);
static FOLDED: Family = family(
    "folded_edges",
    Counter,
    None,
    &[],
    "Times that an edge was folded into other: the budget of series was used up, or more idle or new edges were held than memory is meant for.",
    "The exporter itself.",
);
static FLOW_ADDRESSES: Family = family(
    "flow_addresses",
    Gauge,
    None,
    &[],
    "Remote addresses of edges kept for /flows, each edge's counted by themselves; not served with --web.flows=off.",
    "The exporter itself.",
);
static FLOW_ADDRESSES_LIMIT: Family = family(
    "flow_addresses_limit",
    Gauge,
    None,
    &[],
    "Most remote addresses of edges kept for /flows (--web.flows.addresses).",
    "The exporter itself.",
);
static FLOW_ADDRESSES_LOST: Family = family(
    "flow_addresses_lost",
    Counter,
    None,
    &["reason"],
    "What /flows does not know for want of room: addresses that made room for newer ones (evicted), and times that something of an address was not entered because all the kept ones were busy (refused). No other metric lacks anything.",
    "The exporter itself.",
);
static UNATTRIBUTED: Family = family(
    "unattributed_bytes",
    Counter,
    Some(Unit::Bytes),
    &["end"],
    "Payload bytes of flows whose client or server has no name (workload unknown).",
    "The exporter itself.",
);
static WITHIN_PODS: Family = family(
    "proxy_pod_bytes",
    Counter,
    Some(Unit::Bytes),
    &[],
    "Payload bytes between sidecar proxies and containers of their own pods, as the proxies saw them; no edge has them, since the containers' ends tell the same.",
    "The exporter itself.",
);
static SOURCE_UP: Family = family(
    "label_source_up",
    Gauge,
    None,
    &["source"],
    "Whether the source of names works: 0 while it cannot be read or what it says is refused and the last good state is used.",
    "The exporter itself.",
);
static SOURCE_ENTRIES: Family = family(
    "label_source_entries",
    Gauge,
    None,
    &["source"],
    "What the source of names knows: entries of the names file, cgroups, addresses, objects of the Kubernetes API, translations.",
    "The exporter itself.",
);
static SOURCE_FAILURES: Family = family(
    "label_source_reload_failures",
    Counter,
    None,
    &["source"],
    "Times that a source of names could not be read again.",
    "The exporter itself.",
);
static SOURCE_MISSES: Family = family(
    "label_source_misses",
    Counter,
    None,
    &["source"],
    "Questions that the source of names should have answered and could not.",
    "The exporter itself.",
);
static INSTANCE: Family = family(
    "instance",
    Info,
    None,
    &["provider", "instance_id", "zone", "region"],
    "What the metadata service of the cloud provider told of this machine at the start; not served if none was asked or none answered.",
    "Metadata service of aws, gcp or azure.",
);

/// All of them, in the order in which they are served and documented.
pub static FAMILIES: &[&Family] = &[
    &UP,
    &RUN_SECONDS,
    &RUNS,
    &MISSES,
    &MAP_ENTRIES,
    &MAP_CAPACITY,
    &LOST,
    &MOVED,
    &PASSES,
    &PASS_FAILURES,
    &WALKED,
    &LONGEST,
    &KEYS,
    &SERIES,
    &SERIES_LIMIT,
    &FOLDED,
    &UNATTRIBUTED,
    &WITHIN_PODS,
    &SOURCE_UP,
    &SOURCE_ENTRIES,
    &SOURCE_FAILURES,
    &SOURCE_MISSES,
    &FLOW_ADDRESSES,
    &FLOW_ADDRESSES_LIMIT,
    &FLOW_ADDRESSES_LOST,
    &INSTANCE,
];

struct Writer<'a, 'e>(&'a mut DescriptorEncoder<'e>);

impl Writer<'_, '_> {
    /// Samples of a family, each by the value of its one label.
    fn samples<'v>(
        &mut self,
        family: &'static Family,
        samples: impl Iterator<Item = (&'v str, f64)>,
    ) -> fmt::Result {
        let mut metric = family.describe(self.0)?;
        for (label, value) in samples {
            let labels: Vec<(&str, &str)> = family.labels.iter().map(|name| (*name, label)).collect();
            let mut sample = metric.encode_family(&labels)?;
            match family.kind {
                FamilyKind::Counter => sample.encode_counter::<NoLabelSet, _, f64>(&value, None)?,
                _ => sample.encode_gauge(&value)?,
            }
        }
        Ok(())
    }

    /// The one sample of a family without labels.
    fn one(&mut self, family: &'static Family, value: f64) -> fmt::Result {
        let mut metric = family.describe(self.0)?;
        match family.kind {
            FamilyKind::Counter => metric.encode_counter::<NoLabelSet, _, f64>(&value, None),
            _ => metric.encode_gauge(&value),
        }
    }
}

/// What a probe tells of its programs and maps, whichever it is.
struct ProbeHealth<'a> {
    programs: &'a [ProgramUse],
    maps: &'a [MapUse],
    /// Why things were lost, and how often.
    lost: Vec<(&'static str, u64)>,
    /// What could not be decoded.
    undecodable: u64,
}

impl<'a> ProbeHealth<'a> {
    fn of_tcp(health: &'a tcp::Health) -> Self {
        let tcp::Health { lost, moved_chains: _, undecodable, programs, maps } = health;
        let lost = tcp::LOST_REASONS.into_iter().zip(*lost).collect();
        Self { programs, maps, lost, undecodable: *undecodable }
    }

    fn of_cgroups(health: &'a cgroups::Health) -> Self {
        let cgroups::Health { made: _, lost, undecodable, program } = health;
        let lost = cgroups::LOST_REASONS.into_iter().zip(*lost).collect();
        Self { programs: std::slice::from_ref(program), maps: &[], lost, undecodable: *undecodable }
    }

    fn of_packets(state: &'a PacketState) -> Self {
        let packets::Health { lost, lost_udp_bytes: _, undecodable, programs, maps } = &state.health;
        let lost = packets::LOST_REASONS.into_iter().zip(*lost).chain(state.http2.lost.reasons()).collect();
        Self { programs, maps, lost, undecodable: *undecodable }
    }

    fn of_drops(health: &'a drops::Health) -> Self {
        let drops::Health { lost, left_out: _, program, map } = health;
        let lost = drops::LOST_REASONS.into_iter().zip(*lost).collect();
        Self {
            programs: std::slice::from_ref(program),
            maps: std::slice::from_ref(map),
            lost,
            undecodable: 0,
        }
    }

    /// Of all probes. Those that do not run have counted nothing.
    fn all(state: &'a ProbeState) -> Vec<Self> {
        let groups = state.groups.as_ref().and_then(|groups| groups.health.as_ref());
        let packets = state.packets.as_ref().map(Self::of_packets);
        let tcp = std::iter::once(Self::of_tcp(&state.health));
        let drops = state.drops.as_ref().map(|drops| Self::of_drops(&drops.health));
        tcp.chain(packets).chain(drops).chain(groups.map(Self::of_cgroups)).collect()
    }
}

/// Writes what the probes' programs and maps cost and lost. `overrun` are the conntrack events known to be lost.
fn encode_probes(
    out: &mut Writer<'_, '_>,
    probes: &[ProbeHealth<'_>],
    http2: Option<&MapUse>,
    overrun: u64,
) -> fmt::Result {
    let programs = || probes.iter().flat_map(|probe| probe.programs);
    let maps = || probes.iter().flat_map(|probe| probe.maps).chain(http2);
    out.samples(&RUN_SECONDS, programs().map(|used| (used.program, used.run_ns as f64 / 1e9)))?;
    out.samples(&RUNS, programs().map(|used| (used.program, used.runs as f64)))?;
    out.samples(&MISSES, programs().map(|used| (used.program, used.recursion_misses as f64)))?;
    out.samples(&MAP_ENTRIES, maps().map(|used| (used.map, used.entries as f64)))?;
    out.samples(&MAP_CAPACITY, maps().map(|used| (used.map, used.capacity as f64)))?;
    let recursion: u64 = programs().map(|used| used.recursion_misses).sum();
    let undecodable: u64 = probes.iter().map(|probe| probe.undecodable).sum();
    let lost = probes.iter().flat_map(|probe| probe.lost.iter().copied());
    let lost =
        lost.chain([("recursion", recursion), ("undecodable", undecodable), ("conntrack_overrun", overrun)]);
    out.samples(&LOST, lost.map(|(reason, lost)| (reason, lost as f64)))
}

/// Writes [`FAMILIES`]. `overrun` are the conntrack events known to be lost. `probe` is None when the collector is switched off.
///
/// # Errors
/// What the encoder returns.
pub fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    up: &[(&'static str, bool)],
    probe: &ProbeState,
    ledger: &Ledger,
    sources: &[SourceStatus],
    overrun: u64,
) -> fmt::Result {
    let mut out = Writer(encoder);
    out.samples(&UP, up.iter().map(|(name, up)| (*name, f64::from(u8::from(*up)))))?;
    let http2 = probe.packets.as_ref().map(|packets| {
        let (entries, capacity) = packets.http2.connections;
        MapUse { map: "http2_connections", entries: entries as u64, capacity: capacity as u64 }
    });
    encode_probes(&mut out, &ProbeHealth::all(probe), http2.as_ref(), overrun)?;
    out.one(&MOVED, probe.health.moved_chains as f64)?;
    out.one(&PASSES, probe.passes as f64)?;
    out.one(&PASS_FAILURES, probe.failures as f64)?;
    out.one(&WALKED, probe.last.sockets as f64)?;
    out.one(&LONGEST, probe.last.longest_run.as_secs_f64())?;
    out.one(&KEYS, probe.keys as f64)?;
    out.one(&SERIES, ledger.series() as f64)?;
    out.one(&SERIES_LIMIT, ledger.series_limit() as f64)?;
    out.one(&FOLDED, ledger.folded_edges() as f64)?;
    let unattributed = ["client", "server"].into_iter().zip(ledger.unattributed_bytes());
    out.samples(&UNATTRIBUTED, unattributed.map(|(end, bytes)| (end, bytes as f64)))?;
    out.one(&WITHIN_PODS, ledger.bytes_within_pods() as f64)?;
    let sources_up = sources.iter().map(|source| (source.source, source.up));
    let of_groups = probe.groups.as_ref().map(|groups| (new_groups::SOURCE, groups.error.is_none()));
    out.samples(
        &SOURCE_UP,
        sources_up.chain(of_groups).map(|(source, up)| (source, f64::from(u8::from(up)))),
    )?;
    out.samples(&SOURCE_ENTRIES, sources.iter().map(|source| (source.source, source.entries as f64)))?;
    out.samples(
        &SOURCE_FAILURES,
        sources.iter().map(|source| (source.source, source.reloads_failed as f64)),
    )?;
    out.samples(&SOURCE_MISSES, sources.iter().map(|source| (source.source, source.misses as f64)))
}

/// Writes what the drill-down by address tells of itself, where there is one.
///
/// # Errors
/// What the encoder returns.
pub fn encode_flows(encoder: &mut DescriptorEncoder<'_>, flows: Option<&FlowsUse>) -> fmt::Result {
    let Some(FlowsUse { tracked, capacity, evicted, refused }) = flows else { return Ok(()) };
    let mut out = Writer(encoder);
    out.one(&FLOW_ADDRESSES, *tracked as f64)?;
    out.one(&FLOW_ADDRESSES_LIMIT, *capacity as f64)?;
    let lost = [("evicted", *evicted), ("refused", *refused)];
    out.samples(&FLOW_ADDRESSES_LOST, lost.into_iter().map(|(reason, lost)| (reason, lost as f64)))
}

/// Writes `instance_info`, if there is something to tell.
///
/// # Errors
/// What the encoder returns.
pub fn encode_instance(encoder: &mut DescriptorEncoder<'_>, instance: Option<&Instance>) -> fmt::Result {
    let Some(Instance { provider, id, zone, region }) = instance else { return Ok(()) };
    let labels: [&str; 4] = [provider.as_str(), id, zone, region];
    let labels: Vec<(&str, &str)> = INSTANCE.labels.iter().copied().zip(labels).collect();
    INSTANCE.describe(encoder)?.encode_info(&labels)
}
