// SPDX-License-Identifier: Apache-2.0
//! `flowgauge check`: what this kernel, these privileges and this cluster allow, and how to mend the rest.
//!
//! Collectors and label sources are tried as the exporter starts them, with the same code, so that its
//! `collector_up` and `label_source_up` say the same. What comes before them explains them.

mod capabilities;
mod cloud;
mod files;
mod kernel;
mod kubernetes;
mod mounts;
mod report;
mod sources;
#[cfg(test)]
mod testing;

use crate::app;
use crate::flags::Flags;
use crate::plan;
use crate::sandbox::Sandbox;
use crate::source::{ComponentStatus, State};
use crate::web;

pub use report::{Report, one_line};

/// How one item of the report fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Works, with less to tell.
    Warn,
    /// Something asked for cannot work.
    Fail,
}

/// What an item is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The kernel, and what it says of itself.
    Kernel,
    /// What the probes use of it, tried one by one.
    Feature,
    /// A capability of this process.
    Capability,
    /// A tree of the host's.
    Mount,
    /// A file or an address that a flag names.
    Configuration,
    /// A wall around the threads of the exporter, tried.
    Sandbox,
    /// A request to the API server.
    Kubernetes,
    /// A source of names; `ok` where the exporter serves `flowgauge_label_source_up` 1, and only there.
    LabelSource,
    /// A collector; `ok` where the exporter serves `flowgauge_collector_up` 1, and only there.
    Collector,
}

/// One item of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    verdict: Verdict,
    name: String,
    finding: String,
    /// Empty where there is nothing to mend.
    remedy: String,
}

impl Item {
    fn ok(name: &str, finding: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, name: name.to_owned(), finding: finding.into(), remedy: String::new() }
    }

    fn warn(name: &str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, name: name.to_owned(), finding: finding.into(), remedy: remedy.into() }
    }

    fn fail(name: &str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, name: name.to_owned(), finding: finding.into(), remedy: remedy.into() }
    }
}

/// Looks at everything that these flags need. Leaves nothing behind.
pub fn run(flags: &Flags) -> Report {
    // What libbpf says of a refusal is in the findings.
    flowgauge_probes::forward_libbpf_messages();
    let mut report = Report::default();
    report.add(Group::Kernel, kernel::items(&flags.paths));
    report.add(Group::Feature, kernel::features(flags));
    report.add(Group::Capability, capabilities::items(flags));
    report.add(Group::Mount, mounts::items(&flags.paths));
    report.add(Group::Configuration, files::items(flags));
    if !flags.serving.systemd_socket {
        report.add(Group::Configuration, flags.listen_addresses.iter().map(listen).collect());
    }
    report.add(Group::Sandbox, Sandbox::check(flags).into_iter().map(sandbox).collect());
    report.add(Group::Kubernetes, kubernetes::items(flags));
    report.add(Group::LabelSource, sources::items(flags));
    report.add(Group::Collector, collectors(flags));
    report
}

fn collectors(flags: &Flags) -> Vec<Item> {
    let wanted = [
        flags.collector_tcp(),
        flags.collector_udp(),
        flags.collector_dns(),
        flags.collector_http(),
        flags.collector_drops(),
        flags.collector_node(),
    ];
    let tried = plan::Tried::default();
    let checks = app::COLLECTOR_CHECKS.iter().zip(wanted).filter(|(_, wanted)| *wanted);
    checks.map(|((name, check), _)| collector(name, check(flags, &tried))).collect()
}

fn listen(address: &crate::flags::ListenAddress) -> Item {
    let name = format!("listen address {address}");
    match web::listen(std::slice::from_ref(address)) {
        Ok(_) => Item::ok(&name, "free"),
        Err(error) => Item::warn(
            &name,
            error.to_string(),
            "none if it is Flowgauge that listens there; else choose another --web.listen-address",
        ),
    }
}

/// As it would be around the threads that serve.
fn sandbox(component: ComponentStatus) -> Item {
    let name = component.name;
    match component.state {
        State::Up => Item::ok(&name, component.detail),
        State::Disabled => Item::warn(
            &name,
            component.detail,
            "none needed; the exporter does without, and what it may read or call is less confined",
        ),
        State::Failed => Item::warn(
            &name,
            component.detail,
            "none needed; a container runtime's or a service manager's own filter may forbid it",
        ),
    }
}

fn collector(name: &str, result: Result<String, String>) -> Item {
    match result {
        Ok(finding) => Item::ok(name, finding),
        Err(reason) => Item::fail(
            name,
            reason,
            format!("mend what fails above; --no-collector.{name} runs the exporter without it"),
        ),
    }
}
