// SPDX-License-Identifier: Apache-2.0
//! Where the collectors and label sources are put together.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use anyhow::Context as _;
use caps::Capability;
use flowgauge_labels::{Config, Conntrack, Layout, Resolver, SourceStatus, cgroup_layout};
use flowgauge_probes::tcp;
use parking_lot::Mutex;
use prometheus_client::encoding::DescriptorEncoder;

use crate::audit::{self, Audit};
use crate::collectors;
use crate::dns::{Messages, SearchList};
use crate::docs::Group;
use crate::edge::LabelPlan;
use crate::flags::{ConntrackMode, DEFAULT_LABELS, Flags, FlowsMode, KubernetesMode};
use crate::flows::{self, Flows};
use crate::kubernetes::{self, Kubernetes};
use crate::ledger::{Collectors, Ledger, LedgerConfig};
use crate::naming::{Naming, PortNaming};
use crate::new_groups::GroupsState;
use crate::node::{self, Netstat, NetstatSetting, Node};
use crate::pass::{AskError, PassThread, ProbeState, Shared, Sources};
use crate::plan;
use crate::privileges;
use crate::probes::ProbePlan;
use crate::quiet::Quiet;
use crate::sandbox::{Role, Sandbox};
use crate::source::{ComponentStatus, MetricSource, State};
use crate::web::Settings;
use crate::{dns_families, drop_families, http_families, tcp_families, udp_families};

/// The families of the source, for `docs/metrics.md`, in its order.
pub const FAMILY_GROUPS: &[Group] = &[
    Group {
        title: "TCP",
        introduction: "The kernel's own counters of each socket, added up by edge. `sent` is what the watched end sent. What a \
                       connection counted before the exporter started is not included. `docs/architecture.md` tells how they are read.",
        families: tcp_families::FAMILIES,
    },
    Group {
        title: "UDP",
        introduction: "Datagrams as they pass the sockets, added up by edge: the client is who sent first, or who is not the one that \
                       serves on its port. An edge on which anything moved has all four counters.",
        families: udp_families::FAMILIES,
    },
    Group {
        title: "DNS",
        introduction: "Messages on `--dns.ports`, over UDP and TCP, counted one by one in the kernel, from the view of whoever asks and of \
                       whoever answers. A server that asks others is a client there: its upstreams are edges of their own, which shows at \
                       which stage a lookup fails. `NOERROR`, `NXDOMAIN` and `SERVFAIL` are always there; other codes, and types of query, \
                       once they occur.",
        families: dns_families::FAMILIES,
    },
    Group {
        title: "HTTP",
        introduction: "Clear-text HTTP/1.0, HTTP/1.1, HTTP/2 with prior knowledge and gRPC on any port, from the view of whoever asks and of \
                       whoever answers. A connection is HTTP if its first bytes are a request's; of one that is older than the exporter, what \
                       begins a segment. Interim responses (1xx but 101) are no responses. Methods are those of RFC 9110 and PATCH, all others \
                       are `other`. `docs/operations.md` tells what is not seen.",
        families: http_families::FAMILIES,
    },
    Group {
        title: "Kernel drops",
        introduction: "Packets that end in the kernel otherwise than by being used, each counted where it is freed. Reasons have the running \
                       kernel's names without `SKB_DROP_REASON_`; which kernel has which differs, and those of a subsystem (openvswitch, mac80211) \
                       are one, named like it. `docs/operations.md` tells which are left out, and why.",
        families: drop_families::FAMILIES,
    },
    Group {
        title: "Node",
        introduction: "What the operating system counts and limits, read from its files at each scrape. The host's network namespace is that of \
                       process 1 below `--path.procfs`. `docs/operations.md` tells what is seen from a container. What this machine has none of is \
                       not served.",
        families: node::FAMILIES,
    },
    Group {
        title: "Audit",
        introduction: "Flowgauge's own totals held against the kernel's SNMP counters. `docs/operations.md`, section Audit, tells what a \
                       ratio other than 1 means. It takes the collectors `node`, and `tcp` or `udp`.",
        families: audit::FAMILIES,
    },
    Group {
        title: "Collectors and label sources",
        introduction: "Whether the parts work, what they cost, and everything that was lost, folded or not named.",
        families: collectors::FAMILIES,
    },
];

/// What tells whether a collector would load here, by the name in its flag.
pub const COLLECTOR_CHECKS: &[(&str, CollectorCheck)] = &[
    ("tcp", plan::check_tcp),
    ("udp", plan::check_udp),
    ("dns", plan::check_dns),
    ("http", plan::check_http),
    ("drops", plan::check_drops),
    ("node", node::check),
];

/// Says what would be observed and how, or why nothing can be. What several collectors share is tried once.
pub type CollectorCheck = fn(&Flags, &plan::Tried) -> Result<String, String>;

/// What the threads that serve HTTP keep; the threads that a source starts keep what they need themselves.
pub const SERVING_CAPABILITIES: &[Capability] = &[];

/// What the probes thread keeps: to run programs and read maps (BPF, PERFMON), and to read names files and container
/// descriptions that belong to others (DAC_READ_SEARCH).
pub const PROBES_CAPABILITIES: &[Capability] =
    &[Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_DAC_READ_SEARCH];

/// What it keeps besides where there is a cluster: to list the host's translations anew when events were lost
/// (NET_ADMIN), and to see which network namespace a process of another user is in (SYS_PTRACE).
pub const CLUSTER_CAPABILITIES: &[Capability] = &[Capability::CAP_NET_ADMIN, Capability::CAP_SYS_PTRACE];

/// What belongs to the program itself, and is shown and reloaded with its source.
pub struct Own {
    /// What the threads forbid themselves.
    pub sandbox: Arc<Sandbox>,
    /// `--web.config.file`
    pub settings: Arc<Settings>,
}

/// Starts what the flags ask for. Runs once, with every privilege that the program was given, before it serves.
///
/// # Errors
/// When nothing can run at all; a part that cannot start is told by its [`ComponentStatus`] instead.
pub fn build_source(flags: &Flags, own: Own) -> anyhow::Result<Arc<dyn MetricSource>> {
    let sandbox = &own.sandbox;
    flowgauge_probes::forward_libbpf_messages();
    let layout = cgroup_layout(&flags.paths.cgroup, &flags.paths.procfs);
    let config = resolver_config(flags);
    let kubernetes = start_kubernetes(flags, sandbox)?;
    let cluster = match &kubernetes {
        Part::Running(kubernetes) => Some(Arc::clone(&kubernetes.cluster)),
        Part::Disabled | Part::Failed(_) => None,
    };
    // Only where Services are dialled is it worth listening to what becomes of connections.
    let in_cluster = cluster.is_some();
    let wanted = in_cluster && flags.kubernetes.conntrack == ConntrackMode::Auto;
    let conntrack = wanted.then(|| Arc::new(Conntrack::open(&flags.paths.procfs, tcp::digest)));
    let resolver = Resolver::new(config, layout.process_hierarchy(), cluster)
        .context("--labels.names-file, --labels.external-patterns")?;
    let resolver = Arc::new(resolver);
    let entering = Arc::clone(sandbox);
    resolver.ask_metadata(move || entering.enter(Role::CloudMetadata, &[]));
    let labels = LabelPlan::new(DEFAULT_LABELS, &flags.labels_add.0, &flags.labels_drop.0);
    let collectors = Collectors {
        tcp: flags.collector_tcp(),
        udp: flags.collector_udp(),
        dns: flags.collector_dns(),
        http: flags.collector_http(),
        drops: flags.collector_drops(),
    };
    let flows = (flags.flows.flows_mode == FlowsMode::On)
        .then(|| Mutex::new(Flows::new(labels.clone(), flags.flows.flow_addresses as usize, Instant::now())));
    let ledger = Ledger::new(LedgerConfig {
        plan: labels,
        collectors,
        dns_names: if collectors.dns { flags.dns.names } else { 0 },
        series_limit: flags.series_limit as usize,
        idle_timeout: flags.series_idle_timeout,
    });
    let shared = Arc::new(Shared { ledger: Mutex::new(ledger), flows, state: Mutex::default() });
    let sources = Sources { resolver: Arc::clone(&resolver), conntrack: conntrack.clone(), in_cluster };
    let plan = plan::probe_plan(flags, &layout, conntrack.is_some());
    let probes = if plan.tcp.is_some() || plan.packets.is_some() || plan.drops.is_some() {
        Part::of(start_probes(flags, plan, sources, &shared, sandbox))
    } else {
        Part::Disabled
    };
    let host = host_name(flags);
    let audit = Arc::new(Audit::default());
    let node = flags.collector_node().then(|| {
        let counts = matches!(probes, Part::Running(_)) && (collectors.tcp || collectors.udp);
        start_node(flags, &resolver, layout, host.clone(), counts.then(|| Arc::clone(&audit)), sandbox)
    });
    let required = flags.kubernetes.mode == KubernetesMode::Required;
    Ok(Arc::new(Source {
        host,
        resolver,
        conntrack,
        kubernetes,
        required,
        shared,
        collectors,
        probes,
        node,
        audit,
        failures: Quiet::default(),
        own,
    }))
}

/// Where the resolver finds what it reads, for the exporter and for its check alike.
pub fn resolver_config(flags: &Flags) -> Config {
    Config {
        cgroup_root: flags.paths.cgroup.clone(),
        procfs: flags.paths.procfs.clone(),
        sysfs: flags.paths.sysfs.clone(),
        rootfs: flags.paths.rootfs.clone(),
        names_file: flags.names_file().map(Path::to_owned),
        external_patterns: flags.external_patterns().map(Path::to_owned),
        cloud_ranges: flags.cloud.ranges.clone(),
        cloud_metadata: flags.cloud.metadata(),
    }
}

/// Where the API is only welcome, the exporter runs without it whatever is wrong with what says where it is.
fn start_kubernetes(flags: &Flags, sandbox: &Arc<Sandbox>) -> anyhow::Result<Part<Kubernetes>> {
    let started = match kubernetes::connection(flags) {
        Ok(None) => return Ok(Part::Disabled),
        Ok(Some(connection)) => kubernetes::start(flags, connection, sandbox),
        Err(error) => Err(error),
    };
    match started {
        Err(error) if flags.kubernetes.mode == KubernetesMode::Required => Err(error),
        started => Ok(Part::of(started)),
    }
}

/// What this host and its own network namespace are called.
fn host_name(flags: &Flags) -> String {
    flowgauge_labels::host_name(&flags.paths.procfs, &flags.paths.rootfs).unwrap_or_else(|| "host".to_owned())
}

/// The node collector, and with it the thread that reads the network namespaces.
fn start_node(
    flags: &Flags,
    resolver: &Arc<Resolver>,
    layout: Layout,
    host: String,
    audit: Option<Arc<Audit>>,
    sandbox: &Arc<Sandbox>,
) -> Node {
    let setting = NetstatSetting {
        procfs: flags.paths.procfs.clone(),
        resolver: Arc::clone(resolver),
        layout,
        host,
        most: flags.series_limit as usize / 50,
        audit,
    };
    let sandbox = Arc::clone(sandbox);
    let netstat = Netstat::start(setting, move || sandbox.enter(Role::Netstat, privileges::READING));
    let netstat =
        netstat.inspect_err(|error| tracing::warn!(%error, "without counters of network namespaces"));
    Node::start(flags, netstat.ok())
}

fn start_probes(
    flags: &Flags,
    plan: ProbePlan,
    sources: Sources,
    shared: &Arc<Shared>,
    sandbox: &Arc<Sandbox>,
) -> anyhow::Result<PassThread> {
    let ports = PortNaming {
        dynamic: plan::dynamic_ports(&flags.paths.procfs),
        service_ports: flags.service_ports().to_vec(),
    };
    // The namespace whose addresses are the host's; our own, where that of the first process is not to be seen.
    let namespace = |path: &Path| std::fs::metadata(path).map(|namespace| namespace.ino() as u32);
    let netns = namespace(&flags.paths.procfs.join("1/ns/net"));
    let netns = netns.or_else(|_| namespace(Path::new("/proc/self/ns/net"))).unwrap_or_default();
    let conntrack = sources.conntrack.clone();
    let mut keep = PROBES_CAPABILITIES.to_vec();
    let role = Role::Probes { in_cluster: sources.in_cluster };
    if sources.in_cluster {
        keep.extend(CLUSTER_CAPABILITIES);
    }
    let resolver = Arc::clone(&sources.resolver);
    let note_answer = Box::new(move |netns, message: &[u8]| resolver.note_answer(netns, message));
    let messages = Messages::new(SearchList::of_host(&flags.paths.rootfs)).with_answers(note_answer);
    let naming =
        Naming::new(Arc::clone(&sources.resolver), ports, (netns, host_name(flags).into()), conntrack);
    let (probes, waker) = (Arc::clone(sandbox), Arc::clone(sandbox));
    let (confine, confine_waker) = (move || probes.enter(role, &keep), move || waker.enter(Role::Waker, &[]));
    PassThread::start(plan, sources, naming, messages, Arc::clone(shared), confine, confine_waker)
}

/// Says what the names file holds, without using it.
///
/// # Errors
/// Why it cannot be used.
pub fn check_names_file(path: &Path) -> Result<String, String> {
    let entries = flowgauge_labels::check_names_file(path).map_err(|error| error.to_string())?;
    Ok(format!("{}: {entries} entries", path.display()))
}

/// Says what the file of patterns holds, without using it.
///
/// # Errors
/// Why it cannot be used.
pub fn check_external_patterns(path: &Path) -> Result<String, String> {
    let entries = flowgauge_labels::check_external_patterns(path).map_err(|error| error.to_string())?;
    Ok(format!("{}: {entries} entries", path.display()))
}

/// A collector or a source of names with a thread of its own.
enum Part<T> {
    Running(T),
    Disabled,
    Failed(String),
}

impl<T> Part<T> {
    fn of(started: anyhow::Result<T>) -> Self {
        started.map_or_else(|error| Part::Failed(format!("{error:#}")), Part::Running)
    }
}

/// All collectors and label sources of this run.
struct Source {
    /// The name of this host.
    host: String,
    resolver: Arc<Resolver>,
    conntrack: Option<Arc<Conntrack>>,
    kubernetes: Part<Kubernetes>,
    /// Without names from the cluster, nobody shall think that all is well.
    required: bool,
    shared: Arc<Shared>,
    collectors: Collectors,
    probes: Part<PassThread>,
    node: Option<Node>,
    audit: Arc<Audit>,
    /// Of passes for scrapes.
    failures: Quiet,
    own: Own,
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
    fn label_sources(&self) -> Vec<SourceStatus> {
        let mut sources = self.resolver.sources();
        sources.extend(self.conntrack.as_ref().map(|conntrack| conntrack.status()));
        if let Part::Failed(reason) = &self.kubernetes {
            sources.push(SourceStatus::failed("kubernetes", reason.clone()));
        }
        sources
    }

    /// How each collector fares: its name, and what it sees or why it sees nothing; None if it is switched off.
    fn collector_states(&self, state: &ProbeState) -> [(&'static str, Option<Result<String, String>>); 5] {
        let running = |failed: &Option<String>, error: Option<&String>, sees: String| match &self.probes {
            Part::Failed(reason) => Err(reason.clone()),
            _ => match failed.as_ref().or(error) {
                Some(error) => Err(error.clone()),
                None => Ok(sees),
            },
        };
        let packets = |sees: &str| {
            let error = state.packets.as_ref().and_then(|packets| packets.error.as_ref());
            running(&state.packets_failed, error, sees.to_owned())
        };
        let sockets = state.last.sockets;
        let tcp =
            format!("TCP sockets of all network namespaces, read at each scrape; {sockets} at the last pass");
        let dropping = || {
            let error = state.drops.as_ref().and_then(|drops| drops.error.as_ref());
            running(
                &state.drops_failed,
                error,
                "packets that the kernel drops in all network namespaces".to_owned(),
            )
        };
        let Collectors { tcp: want_tcp, udp, dns, http, drops } = self.collectors;
        [
            ("tcp", want_tcp.then(|| running(&state.tcp_failed, state.error.as_ref(), tcp))),
            ("udp", udp.then(|| packets("datagrams of all sockets, as they pass"))),
            ("dns", dns.then(|| packets("DNS messages of all sockets, as they pass"))),
            ("http", http.then(|| packets("clear-text HTTP and gRPC of all sockets, as they pass"))),
            ("drops", drops.then(dropping)),
        ]
    }
}

impl MetricSource for Source {
    fn refresh(&self) -> Result<(), anyhow::Error> {
        let begun = Instant::now();
        if let Some(node) = &self.node {
            node.read();
        }
        let read = Instant::now();
        // A pass that fails is told by collector_up; the rest is served.
        let Part::Running(thread) = &self.probes else { return Ok(()) };
        match thread.pass() {
            Ok(()) => {
                self.audit.compare(self.shared.ledger.lock().counted(), begun, read);
                if self.failures.reset() {
                    tracing::info!("passes succeed again");
                }
            }
            Err(AskError::Failed(error)) => {
                if let Some(silenced) = self.failures.speak() {
                    tracing::error!(error, silenced, "pass failed");
                }
            }
            Err(AskError::Dead) => end_without_probes(),
        }
        Ok(())
    }

    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let sources = self.label_sources();
        let overrun = self.conntrack.as_ref().map_or(0, |conntrack| conntrack.lost());
        let state = self.shared.state.lock().clone();
        let states = self.collector_states(&state);
        let node = ("node", self.node.as_ref().map(Node::fares));
        let states = states.iter().chain([&node]);
        let flows = self.shared.flows.as_ref().map(|flows| flows.lock().usage());
        let up: Vec<_> = states.filter_map(|(name, state)| Some((*name, state.as_ref()?.is_ok()))).collect();
        let ledger = self.shared.ledger.lock();
        ledger.encode(&mut encoder)?;
        if let Some(drops) = &state.drops {
            drop_families::encode_left_out(&mut encoder, &drops.health)?;
        }
        if let Some(node) = &self.node {
            node.encode(&mut encoder)?;
            let counts = |name| up.iter().any(|(of, up)| *of == name && *up);
            self.audit.encode(&mut encoder, counts("tcp"), counts("udp"))?;
        }
        collectors::encode(&mut encoder, &up, &state, &ledger, &sources, overrun)?;
        collectors::encode_flows(&mut encoder, flows.as_ref())?;
        collectors::encode_instance(&mut encoder, self.resolver.instance().as_ref())
    }

    fn status(&self) -> Vec<ComponentStatus> {
        let state = self.shared.state.lock();
        let node = ("node", self.node.as_ref().map(Node::fares));
        let collectors = self.collector_states(&state).into_iter().chain([node]).map(|(name, fares)| {
            let (state, detail) = match fares {
                None => (State::Disabled, format!("switched off by --no-collector.{name}")),
                Some(Ok(detail)) => (State::Up, detail),
                Some(Err(reason)) => (State::Failed, reason),
            };
            ComponentStatus { kind: "collector", name: name.to_owned(), state, detail }
        });
        let sources = self.label_sources().into_iter().map(|source| ComponentStatus {
            kind: "label source",
            name: source.source.to_owned(),
            state: if source.up { State::Up } else { State::Failed },
            detail: source.detail,
        });
        let groups = state.groups.as_ref().map(GroupsState::status);
        let own = self.own.settings.status().into_iter().chain(self.own.sandbox.status());
        collectors.chain(sources).chain(groups).chain(own).collect()
    }

    fn ready(&self) -> bool {
        let named = !self.required || self.resolver.complete();
        named
            && match self.probes {
                Part::Running(_) => self.shared.state.lock().passes > 0,
                Part::Disabled | Part::Failed(_) => true,
            }
    }

    fn node(&self) -> String {
        self.host.clone()
    }

    fn flow_labels(&self) -> Option<Vec<&'static str>> {
        Some(self.shared.flows.as_ref()?.lock().labels())
    }

    fn flows(&self, query: &flows::Query) -> Option<flows::Answer> {
        Some(self.shared.flows.as_ref()?.lock().answer(query, &self.host, SystemTime::now()))
    }

    fn reload(&self) -> Result<(), anyhow::Error> {
        self.own.settings.reload();
        match &self.probes {
            Part::Running(thread) => match thread.reload() {
                Err(AskError::Dead) => end_without_probes(),
                result => Ok(result?),
            },
            Part::Disabled | Part::Failed(_) => {
                self.resolver.reload();
                Ok(())
            }
        }
    }
}
