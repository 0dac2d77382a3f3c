// SPDX-License-Identifier: Apache-2.0
//! Where the collectors and label sources are put together.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use caps::Capability;
use flowgauge_labels::{Config, Layout, Mode, ProcessHierarchy, Resolver, cgroup_layout};
use flowgauge_probes::Facts;
use flowgauge_probes::tcp::{self, Storage, Tcp, TcpOptions};
use parking_lot::Mutex;
use prometheus_client::encoding::DescriptorEncoder;

use crate::collectors;
use crate::docs::Group;
use crate::edge::LabelPlan;
use crate::flags::{DEFAULT_LABELS, Flags};
use crate::ledger::{Ledger, LedgerConfig};
use crate::naming::{Naming, PortNaming};
use crate::pass::{AskError, PassThread, ProbeState, Shared};
use crate::privileges;
use crate::quiet::Quiet;
use crate::source::{ComponentStatus, MetricSource, State};
use crate::tcp_families;

/// The families of the source, for `docs/metrics.md`, in its order.
pub const FAMILY_GROUPS: &[Group] = &[
    Group {
        title: "TCP",
        introduction: "The kernel's own counters of each socket, added up by edge. `sent` is what the watched end sent. What a \
                       connection counted before the exporter started is not included. `docs/architecture.md` tells how they are read.",
        families: tcp_families::FAMILIES,
    },
    Group {
        title: "Collectors and label sources",
        introduction: "Whether the parts work, what they cost, and everything that was lost, folded or not named.",
        families: collectors::FAMILIES,
    },
];

/// What tells whether a collector would load here, by the name in its flag.
pub const COLLECTOR_CHECKS: &[(&str, CollectorCheck)] = &[("tcp", check_tcp)];

/// Says what would be observed and how, or why nothing can be.
pub type CollectorCheck = fn(&Flags) -> Result<String, String>;

/// What the threads that serve HTTP keep; the threads that a source starts keep what they need themselves.
pub const SERVING_CAPABILITIES: &[Capability] = &[];

/// What the probes thread keeps: to run programs and read maps (BPF, PERFMON), and to read names files and container
/// descriptions that belong to others (DAC_READ_SEARCH).
pub const PROBES_CAPABILITIES: &[Capability] =
    &[Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_DAC_READ_SEARCH];

/// Starts what the flags ask for. Runs once, with every privilege that the program was given, before it serves.
///
/// # Errors
/// When nothing can run at all; a part that cannot start is told by its [`ComponentStatus`] instead.
pub fn build_source(flags: &Flags) -> anyhow::Result<Arc<dyn MetricSource>> {
    flowgauge_probes::forward_libbpf_messages();
    let layout = cgroup_layout(&flags.paths.cgroup, &flags.paths.procfs);
    let config = Config {
        cgroup_root: flags.paths.cgroup.clone(),
        procfs: flags.paths.procfs.clone(),
        sysfs: flags.paths.sysfs.clone(),
        rootfs: flags.paths.rootfs.clone(),
        names_file: flags.names_file().map(Path::to_owned),
    };
    let resolver =
        Arc::new(Resolver::new(config, layout.process_hierarchy(), None).context("--labels.names-file")?);
    let plan = LabelPlan::new(DEFAULT_LABELS, &flags.labels_add.0, &flags.labels_drop.0);
    let ledger = Ledger::new(LedgerConfig {
        plan,
        series_limit: flags.series_limit as usize,
        idle_timeout: flags.series_idle_timeout,
    });
    let shared = Arc::new(Shared { ledger: Mutex::new(ledger), state: Mutex::new(ProbeState::default()) });
    let tcp = if flags.collector_tcp() {
        match start_tcp(flags, tcp_options(flags, &layout), &resolver, &shared) {
            Ok(thread) => Collector::Running(thread),
            Err(error) => Collector::Failed(format!("{error:#}")),
        }
    } else {
        Collector::Disabled
    };
    Ok(Arc::new(Source { resolver, shared, tcp, failures: Quiet::default() }))
}

fn start_tcp(
    flags: &Flags,
    options: TcpOptions,
    resolver: &Arc<Resolver>,
    shared: &Arc<Shared>,
) -> anyhow::Result<PassThread> {
    let facts = Facts::read()?;
    let ports = PortNaming {
        dynamic: dynamic_ports(&flags.paths.procfs),
        service_ports: flags.service_ports().to_vec(),
    };
    let netns = std::fs::metadata("/proc/self/ns/net").map_or(0, |namespace| namespace.ino() as u32);
    let naming = Naming::new(Arc::clone(resolver), ports, netns);
    PassThread::start(facts, options, Arc::clone(resolver), naming, Arc::clone(shared), || {
        if let Err(error) = privileges::confine(PROBES_CAPABILITIES) {
            tracing::warn!(%error, "the probes thread cannot give up privileges");
        }
    })
}

/// `net.ipv4.ip_local_port_range`, as far as it is above the well-known and registered ports that hosts use for services
/// whatever the range says: nodes with `1024 65535` must name an edge as their peers do.
fn dynamic_ports(procfs: &Path) -> std::ops::RangeInclusive<u16> {
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
fn tcp_options(flags: &Flags, layout: &Layout) -> TcpOptions {
    TcpOptions {
        mute_cgroups: layout.silent_ids(),
        process_hierarchy: match layout.process_hierarchy() {
            ProcessHierarchy::Unified => tcp::ProcessHierarchy::Unified,
            ProcessHierarchy::V1("memory") => tcp::ProcessHierarchy::V1Memory,
            ProcessHierarchy::V1(_) => tcp::ProcessHierarchy::V1Pids,
        },
        // Beside v1, a v2 cgroup is at best systemd's mirror: a container's socket may carry its runtime's unit.
        want_process: layout.mode != Mode::Unified
            || flags.labels_add.0.iter().any(|label| label.ends_with("_process")),
    }
}

/// Says what the names file holds, without using it.
///
/// # Errors
/// Why it cannot be used.
pub fn check_names_file(path: &Path) -> Result<String, String> {
    let entries = flowgauge_labels::check_names_file(path).map_err(|error| error.to_string())?;
    Ok(format!("{}: {entries} entries", path.display()))
}

/// Loads the collector, makes one pass and detaches it again.
fn check_tcp(flags: &Flags) -> Result<String, String> {
    let facts = Facts::read().map_err(|error| error.to_string())?;
    let layout = cgroup_layout(&flags.paths.cgroup, &flags.paths.procfs);
    let mut storage = Storage::default();
    let mut probe = Tcp::<()>::load(&mut storage, &facts, &tcp_options(flags, &layout))
        .map_err(|error| error.to_string())?;
    let report = probe.pass(&mut tcp::Discard).map_err(|error| error.to_string())?;
    Ok(format!(
        "loads; a pass sees {} sockets, its longest run took {:?}",
        report.sockets, report.longest_run
    ))
}

enum Collector {
    Running(PassThread),
    Disabled,
    Failed(String),
}

/// All collectors and label sources of this run.
struct Source {
    resolver: Arc<Resolver>,
    shared: Arc<Shared>,
    tcp: Collector,
    /// Of passes for scrapes.
    failures: Quiet,
}

/// Ends the program, which can measure nothing any more: whoever started it starts it again.
fn end_without_probes() -> ! {
    // Whoever comes second waits here for the end.
    static ENDING: Mutex<()> = Mutex::new(());
    let _ending = ENDING.lock();
    tracing::error!("the probes thread has died: nothing is measured any more, so flowgauge ends");
    std::process::exit(1)
}

impl Source {
    fn tcp_up(&self) -> bool {
        matches!(self.tcp, Collector::Running(_)) && self.shared.state.lock().error.is_none()
    }
}

impl MetricSource for Source {
    fn refresh(&self) -> Result<(), anyhow::Error> {
        // A pass that fails is told by collector_up; the rest is served.
        let Collector::Running(thread) = &self.tcp else { return Ok(()) };
        match thread.pass() {
            Ok(()) => {
                if self.failures.reset() {
                    tracing::info!(collector = "tcp", "passes succeed again");
                }
            }
            Err(AskError::Failed(error)) => {
                if let Some(silenced) = self.failures.speak() {
                    tracing::error!(collector = "tcp", error, silenced, "pass failed");
                }
            }
            Err(AskError::Dead) => end_without_probes(),
        }
        Ok(())
    }

    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let up = [("tcp", self.tcp_up())];
        let up = if matches!(self.tcp, Collector::Disabled) { &[] } else { &up[..] };
        let sources = self.resolver.sources();
        let state = self.shared.state.lock().clone();
        let ledger = self.shared.ledger.lock();
        if !up.is_empty() {
            ledger.encode(&mut encoder)?;
        }
        collectors::encode(&mut encoder, up, &state, &ledger, &sources)
    }

    fn status(&self) -> Vec<ComponentStatus> {
        let state = self.shared.state.lock();
        let (tcp, detail) = match &self.tcp {
            Collector::Disabled => (State::Disabled, "switched off by --no-collector.tcp".to_owned()),
            Collector::Failed(reason) => (State::Failed, reason.clone()),
            Collector::Running(_) => match &state.error {
                Some(error) => (State::Failed, error.clone()),
                None => (
                    State::Up,
                    format!(
                        "TCP sockets of all network namespaces, read at each scrape; {} at the last pass",
                        state.last.sockets
                    ),
                ),
            },
        };
        let collector = ComponentStatus { kind: "collector", name: "tcp".to_owned(), state: tcp, detail };
        let sources = self.resolver.sources().into_iter().map(|source| ComponentStatus {
            kind: "label source",
            name: source.source.to_owned(),
            state: if source.up { State::Up } else { State::Failed },
            detail: source.detail,
        });
        std::iter::once(collector).chain(sources).collect()
    }

    fn ready(&self) -> bool {
        match self.tcp {
            Collector::Running(_) => self.shared.state.lock().passes > 0,
            Collector::Disabled | Collector::Failed(_) => true,
        }
    }

    fn reload(&self) -> Result<(), anyhow::Error> {
        match &self.tcp {
            Collector::Running(thread) => match thread.reload() {
                Err(AskError::Dead) => end_without_probes(),
                result => Ok(result?),
            },
            Collector::Disabled | Collector::Failed(_) => {
                self.resolver.reload();
                Ok(())
            }
        }
    }
}
