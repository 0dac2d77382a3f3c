// SPDX-License-Identifier: Apache-2.0
//! Flowgauge: per-node Prometheus exporter of what the network does to services.
//!
//! Parse, build, serve, drain.

mod app;
mod audit;
mod check;
mod collectors;
mod dns;
mod dns_families;
mod docs;
mod drop_families;
mod edge;
mod exposition;
mod families;
mod flags;
mod flows;
mod http2;
mod http_families;
mod kubernetes;
mod ledger;
mod logging;
mod naming;
mod new_groups;
mod node;
mod pass;
mod plan;
mod post;
mod privileges;
mod probes;
mod quiet;
mod sandbox;
mod self_metrics;
mod source;
mod tcp_families;
mod top;
mod udp_families;
mod waker;
mod web;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use signal_hook::consts::SIGHUP;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::app::Own;
use crate::exposition::Exposition;
use crate::flags::{Command, Flags, Usage};
use crate::sandbox::{Role, Sandbox};
use crate::self_metrics::{ProcessCollector, SelfMetrics};
use crate::source::{ComponentStatus, MetricSource, State};
use crate::web::{Listener, Settings, Site};

/// `EX_USAGE` of sysexits.h: the command line or the environment is wrong, nothing was started.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    // First of all: until something else is asked for, SIGHUP ends a program.
    let hangup = Arc::<AtomicBool>::default();
    if let Err(error) = signal_hook::flag::register(SIGHUP, Arc::clone(&hangup)) {
        return failure(&format!("flowgauge: listening for SIGHUP: {error}"), ExitCode::FAILURE);
    }
    let flags = match Flags::parse() {
        Ok(flags) => flags,
        Err(Usage::Show(text)) => return print(&text),
        Err(Usage::Mistake(line)) => return mistake(&line),
    };
    match &flags.command {
        Some(Command::Docs) => print(&docs::reference()),
        Some(Command::Top(top)) => show(top),
        Some(Command::Check(how)) => {
            let report = check::run(&flags);
            print(&if how.json { report.json() } else { report.to_string() });
            if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        None => match file_mistake(&flags).or_else(|| kubeconfig_mistake(&flags)) {
            Some(line) => mistake(&line),
            None => {
                let metrics = Arc::<SelfMetrics>::default();
                match Settings::open(flags.serving.config_file(), Arc::clone(metrics.web())) {
                    Ok(settings) => start(&flags, &hangup, metrics, settings),
                    Err(error) => mistake(&format!(
                        "flowgauge: --web.config.file: {}",
                        check::one_line(&error.to_string())
                    )),
                }
            }
        },
    }
}

/// `flowgauge top`.
fn show(flags: &flags::TopFlags) -> ExitCode {
    match top::run(flags) {
        Ok(top::End::Print(text)) => print(&text),
        Ok(top::End::Quit) => ExitCode::SUCCESS,
        Err(top::Failure::Usage(Usage::Mistake(line) | Usage::Show(line))) => mistake(&line),
        Err(top::Failure::Other(error)) => failure(&format!("flowgauge: top: {error:#}"), ExitCode::FAILURE),
    }
}

fn mistake(line: &str) -> ExitCode {
    failure(line, ExitCode::from(EXIT_USAGE))
}

fn failure(line: &str, code: ExitCode) -> ExitCode {
    // Nothing else can be told when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
    code
}

/// What is wrong with the files that the operator names addresses by, as a mistake on the command line is told: nothing is
/// started with half of the operator's names.
fn file_mistake(flags: &Flags) -> Option<String> {
    let line = |flag, reason: String| format!("flowgauge: {flag}: {}", check::one_line(&reason));
    let names = flags.names_file().and_then(|path| app::check_names_file(path).err());
    let names = names.map(|reason| line("--labels.names-file", reason));
    names.or_else(|| {
        let reason = app::check_external_patterns(flags.external_patterns()?).err()?;
        Some(line("--labels.external-patterns", reason))
    })
}

/// What is wrong with the kubeconfig that a flag names. One that the environment names is a source of names that fails.
fn kubeconfig_mistake(flags: &Flags) -> Option<String> {
    flags.kubernetes.kubeconfig.as_ref()?;
    let reason = kubernetes::connection(flags).err()?;
    Some(format!("flowgauge: --labels.kubernetes.kubeconfig: {}", check::one_line(&format!("{reason:#}"))))
}

fn start(flags: &Flags, hangup: &AtomicBool, metrics: Arc<SelfMetrics>, settings: Settings) -> ExitCode {
    match run(flags, hangup, metrics, Arc::new(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error = %format_args!("{error:#}"), "flowgauge cannot run");
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output; a reader that went away (`| head`) is no failure.
fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// The exporter, from start to the end of its last response. `hangup` is set when SIGHUP comes.
fn run(
    flags: &Flags,
    hangup: &AtomicBool,
    metrics: Arc<SelfMetrics>,
    settings: Arc<Settings>,
) -> anyhow::Result<()> {
    logging::init(flags.log_level, flags.log_format)?;
    info!(version = env!("CARGO_PKG_VERSION"), revision = env!("FLOWGAUGE_REVISION"), "flowgauge starts");
    // The sockets first: a port in use is found out before anything is attached, and a low one may need a privilege.
    let listeners = web::open(flags)?;
    let sandbox = Sandbox::prepare(flags, Arc::clone(metrics.sandbox()));
    let own = Own { sandbox: Arc::clone(&sandbox), settings: Arc::clone(&settings) };
    let source = app::build_source(flags, own)?;
    report(source.as_ref());
    let entering = Arc::clone(&sandbox);
    settings.start(move || entering.enter(Role::WebConfig, privileges::READING))?;
    // What is taken is taken from threads: the runtime's inherit what is left to this one.
    sandbox.enter(Role::Serving, app::SERVING_CAPABILITIES);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .thread_name("web")
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let served = runtime.block_on(serve(flags, hangup, listeners, Arc::clone(&source), metrics, settings));
    runtime.shutdown_timeout(web::DRAIN_TIMEOUT);
    // Detaches what the source attached.
    drop(source);
    served?;
    info!("flowgauge ends");
    Ok(())
}

async fn serve(
    flags: &Flags,
    hangup: &AtomicBool,
    listeners: Vec<Listener>,
    source: Arc<dyn MetricSource>,
    metrics: Arc<SelfMetrics>,
    settings: Arc<Settings>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let reload = reload_on_hangup(Arc::clone(&source), hangup).context("listening for SIGHUP")?;
    tokio::spawn(reload);
    for listener in &listeners {
        info!(address = %listener, path = flags.telemetry_path, "serving");
    }
    let process = ProcessCollector::new(&flags.paths.procfs);
    let exposition = Exposition::new(Arc::clone(&source), Arc::clone(&metrics), process);
    let site = Site::new(source, Arc::clone(&metrics), exposition, flags.telemetry_path.clone());
    let site = Arc::new(site);
    tokio::spawn({
        let site = Arc::clone(&site);
        async move { site.warm_up().await }
    });
    let ended = async {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!(signal = name, "ending: no more connections are accepted, running scrapes finish");
    };
    web::serve(listeners, site, settings, metrics, web::Limits::default(), ended).await.context("serving")
}

/// Reloads at each SIGHUP from now on, and at once if one came while the program started.
fn reload_on_hangup(
    source: Arc<dyn MetricSource>,
    earlier: &AtomicBool,
) -> std::io::Result<impl Future<Output = ()> + use<>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut earlier = earlier.load(Ordering::SeqCst);
    Ok(async move {
        while std::mem::take(&mut earlier) || hangup.recv().await.is_some() {
            let reloading = Arc::clone(&source);
            match tokio::task::spawn_blocking(move || reloading.reload()).await {
                Ok(Ok(())) => {
                    info!("read again what can change while the exporter runs");
                    report_failures(source.as_ref());
                }
                Ok(Err(error)) => {
                    error!(error = %format_args!("{error:#}"), "cannot reload; what was in force stays")
                }
                Err(_) => error!("reloading panicked; what was in force stays"),
            }
        }
    })
}

/// Tells what does not work after a reload.
fn report_failures(source: &dyn MetricSource) {
    for ComponentStatus { kind, name, detail, .. } in
        source.status().into_iter().filter(|component| component.state == State::Failed)
    {
        warn!(kind, name, detail, "failed; the rest goes on");
    }
}

/// Tells at start what is observed and how, a line for each part.
fn report(source: &dyn MetricSource) {
    for component in source.status() {
        let (kind, name, detail) = (component.kind, component.name, component.detail);
        match component.state {
            State::Up => info!(kind, name, detail, "up"),
            State::Disabled => info!(kind, name, detail, "disabled"),
            State::Failed => warn!(kind, name, detail, "failed; the rest goes on"),
        }
    }
}
