// SPDX-License-Identifier: Apache-2.0
//! Command line and environment: the one place where either is read.

mod cloud;
mod collectors;
mod dns;
mod flows;
mod kubernetes;
mod label_names;
mod listen_address;
mod node;
mod sandbox;
mod serving;
mod top;
mod usage;
mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

pub use cloud::CloudFlags;
use collectors::CollectorFlags;
pub use dns::DnsFlags;
pub use flows::{FlowsFlags, FlowsMode};
pub use kubernetes::{ConntrackMode, KubernetesFlags, KubernetesMode, PodsWatched};
#[cfg(test)]
pub use label_names::OPTIONAL_LABELS;
pub use label_names::{AddedLabels, DEFAULT_LABELS, DroppedLabels};
pub use listen_address::{Host, ListenAddress};
pub use node::{InterfacePatterns, NodeFlags};
pub use sandbox::{LandlockMode, SandboxFlags, SeccompMode};
pub use serving::ServingFlags;
pub use top::{RowsBy, Target, TopFlags, View, Window};
pub use usage::Usage;
use values::Ports;

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (revision ", env!("FLOWGAUGE_REVISION"), ")");

/// Tells Prometheus what the network of this node does to its services.
///
/// Each flag has an environment variable; the flag wins. The exporter runs with none of them.
#[derive(Parser, Clone, Debug)]
#[command(name = "flowgauge", version = VERSION, max_term_width = 100, disable_help_subcommand = true)]
pub struct Flags {
    /// Address to serve on, `[HOST]:PORT` or `unix:/PATH[?mode=MODE]`; may be repeated or a comma list. `:PORT` is every address, IPv4 and IPv6.
    #[arg(
        long = "web.listen-address",
        env = "FLOWGAUGE_WEB_LISTEN_ADDRESS",
        value_name = "[HOST]:PORT",
        value_delimiter = ',',
        default_value = ":10950",
        global = true
    )]
    pub listen_addresses: Vec<ListenAddress>,

    /// Path under which the metrics are served.
    #[arg(
        long = "web.telemetry-path",
        env = "FLOWGAUGE_WEB_TELEMETRY_PATH",
        value_name = "PATH",
        default_value = "/metrics",
        value_parser = values::telemetry_path,
        global = true
    )]
    pub telemetry_path: String,

    /// Who may talk to the exporter.
    #[command(flatten)]
    pub serving: ServingFlags,
    /// The drill-down by address.
    #[command(flatten)]
    pub flows: FlowsFlags,

    #[command(flatten)]
    collectors: CollectorFlags,

    /// How DNS is measured.
    #[command(flatten)]
    pub dns: DnsFlags,

    /// What is served of the node.
    #[command(flatten)]
    pub node: NodeFlags,

    /// YAML file that names addresses this node cannot know: CIDRs and ports to workload, namespace, zone.
    #[arg(
        long = "labels.names-file",
        env = "FLOWGAUGE_LABELS_NAMES_FILE",
        value_name = "FILE",
        global = true
    )]
    names_file: Option<PathBuf>,

    /// YAML file that says what to call servers by the names they are asked for in the DNS; else the registrable domain.
    #[arg(
        long = "labels.external-patterns",
        env = "FLOWGAUGE_LABELS_EXTERNAL_PATTERNS",
        value_name = "FILE",
        global = true
    )]
    external_patterns: Option<PathBuf>,

    /// What cloud providers publish.
    #[command(flatten)]
    pub cloud: CloudFlags,

    /// Names from the Kubernetes API.
    #[command(flatten)]
    pub kubernetes: KubernetesFlags,

    /// Optional labels to add to every edge, a comma list, such as `client_process,server_process`.
    #[arg(
        long = "labels.add",
        env = "FLOWGAUGE_LABELS_ADD",
        value_name = "LABELS",
        default_value = "",
        hide_default_value = true,
        global = true
    )]
    pub labels_add: AddedLabels,

    /// Edge labels to leave out, a comma list; sums stay exact.
    #[arg(
        long = "labels.drop",
        env = "FLOWGAUGE_LABELS_DROP",
        value_name = "LABELS",
        default_value = "",
        hide_default_value = true,
        global = true
    )]
    pub labels_drop: DroppedLabels,

    /// Ports inside the dynamic range that keep their number in `server_port`, a comma list.
    #[arg(
        long = "labels.service-ports",
        env = "FLOWGAUGE_LABELS_SERVICE_PORTS",
        value_name = "PORTS",
        default_value = "50051",
        value_parser = values::ports,
        global = true
    )]
    service_ports: Ports,

    /// Most series to expose, at least 200; beyond it the least recently active edges fold into `other`.
    #[arg(
        long = "series.limit",
        env = "FLOWGAUGE_SERIES_LIMIT",
        value_name = "COUNT",
        default_value_t = 20_000,
        value_parser = values::series_limit,
        global = true
    )]
    pub series_limit: u32,

    /// How long an edge without traffic stays exposed.
    #[arg(
        long = "series.idle-timeout",
        env = "FLOWGAUGE_SERIES_IDLE_TIMEOUT",
        value_name = "DURATION",
        default_value = "1h",
        value_parser = values::idle_timeout,
        global = true
    )]
    pub series_idle_timeout: Duration,

    /// Where the host's trees are mounted.
    #[command(flatten)]
    pub paths: Paths,

    /// What the program forbids itself.
    #[command(flatten)]
    pub sandbox: SandboxFlags,

    /// Least important level to log.
    #[arg(
        long = "log.level",
        env = "FLOWGAUGE_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info",
        ignore_case = true,
        global = true
    )]
    pub log_level: LogLevel,

    /// How log lines are written.
    #[arg(
        long = "log.format",
        env = "FLOWGAUGE_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "logfmt",
        ignore_case = true,
        global = true
    )]
    pub log_format: LogFormat,

    /// What to do instead of running the exporter.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program does besides exporting.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Tells what this kernel, these privileges and this cluster allow, and how to mend the rest; exit code 0 or 1.
    Check(CheckFlags),
    /// Shows the edges of a running exporter, or the addresses behind them, as a live table.
    Top(Box<TopFlags>),
    /// Prints the reference of all metrics as Markdown.
    #[command(hide = true)]
    Docs,
}

/// How `flowgauge check` reports.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckFlags {
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Where the host's trees are mounted, for running inside a container.
#[derive(Args, Clone, Debug)]
pub struct Paths {
    /// The host's procfs.
    #[arg(long = "path.procfs", env = "FLOWGAUGE_PATH_PROCFS", value_name = "DIR", default_value = PROCFS, global = true)]
    pub procfs: PathBuf,
    /// The host's sysfs.
    #[arg(long = "path.sysfs", env = "FLOWGAUGE_PATH_SYSFS", value_name = "DIR", default_value = SYSFS, global = true)]
    pub sysfs: PathBuf,
    /// The host's cgroup tree.
    #[arg(long = "path.cgroup", env = "FLOWGAUGE_PATH_CGROUP", value_name = "DIR", default_value = CGROUP, global = true)]
    pub cgroup: PathBuf,
    /// The host's root directory.
    #[arg(long = "path.rootfs", env = "FLOWGAUGE_PATH_ROOTFS", value_name = "DIR", default_value = ROOTFS, global = true)]
    pub rootfs: PathBuf,
}

const PROCFS: &str = "/proc";
const SYSFS: &str = "/sys";
const CGROUP: &str = "/sys/fs/cgroup";
const ROOTFS: &str = "/";

/// Least important level to log.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

/// How log lines are written.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Logfmt,
    Json,
}

impl Flags {
    /// Reads the process's arguments and environment.
    ///
    /// # Errors
    /// One line that names the flag, or what `--help` and `--version` print.
    pub fn parse() -> Result<Self, Usage> {
        Self::parse_from(std::env::args_os())
    }

    pub(crate) fn parse_from(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Self, Usage> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        // A variable set to nothing (an unset value in a unit file or a chart) means the default.
        let set = |argument: clap::Arg| match argument.get_env().and_then(std::env::var_os) {
            Some(value) if value.is_empty() => argument.env(None::<&str>),
            _ => argument,
        };
        let command = Self::command().mut_args(set).mut_subcommands(|of| of.mut_args(set));
        // What an exporter is started with says nothing to whoever asks one: the help of `top` does without.
        let exporters = command.get_arguments().filter(|argument| argument.is_global_set()).cloned();
        let hidden: Vec<_> = exporters.map(|argument| argument.hide(true)).collect();
        let command = command.mut_subcommand("top", |top| top.args(hidden));
        usage::require_unicode(&command)?;
        let flags = command
            .try_get_matches_from(&arguments)
            .and_then(|matches| Self::from_arg_matches(&matches))
            .map_err(|error| Usage::from_clap(&error, &Self::command(), &arguments))?;
        flags.require_directories()?;
        Ok(flags)
    }

    /// Whether the TCP collector is wanted.
    pub const fn collector_tcp(&self) -> bool {
        self.collectors.tcp()
    }

    /// Whether the UDP collector is wanted.
    pub const fn collector_udp(&self) -> bool {
        self.collectors.udp()
    }

    /// Whether the DNS collector is wanted.
    pub const fn collector_dns(&self) -> bool {
        self.collectors.dns()
    }

    /// Whether the HTTP collector is wanted.
    pub const fn collector_http(&self) -> bool {
        self.collectors.http()
    }

    /// Whether the drops collector is wanted.
    pub const fn collector_drops(&self) -> bool {
        self.collectors.drops()
    }

    /// Whether the node collector is wanted.
    pub const fn collector_node(&self) -> bool {
        self.collectors.node()
    }

    /// The operator's names file.
    pub fn names_file(&self) -> Option<&Path> {
        self.names_file.as_deref()
    }

    /// The operator's patterns of names in the DNS.
    pub fn external_patterns(&self) -> Option<&Path> {
        self.external_patterns.as_deref()
    }

    /// Ports inside the dynamic range that keep their number.
    pub fn service_ports(&self) -> &[u16] {
        &self.service_ports.0
    }

    /// A directory that was asked for must exist. A default that does not is for the part that needs it to tell.
    fn require_directories(&self) -> Result<(), Usage> {
        let Paths { procfs, sysfs, cgroup, rootfs } = &self.paths;
        for (flag, path, default) in [
            ("--path.procfs", procfs, PROCFS),
            ("--path.sysfs", sysfs, SYSFS),
            ("--path.cgroup", cgroup, CGROUP),
            ("--path.rootfs", rootfs, ROOTFS),
        ] {
            if path != Path::new(default) && !path.is_dir() {
                return Err(Usage::invalid(flag, &path.display().to_string(), "is not a directory"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
