// SPDX-License-Identifier: Apache-2.0
//! `flowgauge check`: what this kernel and these privileges allow, and how to mend the rest.

mod cloud;
mod host;
mod kubernetes;

use std::fmt;

use crate::app;
use crate::flags::Flags;
use crate::privileges;
use crate::sandbox::Sandbox;
use crate::source::{ComponentStatus, State};
use crate::web;

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

/// All items, in the order of the ground they stand on.
#[derive(Clone, Debug)]
pub struct Report(Vec<Item>);

impl Report {
    /// Whether nothing failed.
    pub fn passed(&self) -> bool {
        self.0.iter().all(|item| item.verdict != Verdict::Fail)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for item in &self.0 {
            let verdict = match item.verdict {
                Verdict::Ok => "ok",
                Verdict::Warn => "warn",
                Verdict::Fail => "fail",
            };
            writeln!(f, "{verdict:<4}  {}: {}", item.name, one_line(&item.finding))?;
            if !item.remedy.is_empty() {
                writeln!(f, "      remedy: {}", one_line(&item.remedy))?;
            }
        }
        Ok(())
    }
}

/// Findings carry text of the kernel and of files: whatever it is, it stays one line.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Looks at everything that these flags need. Leaves nothing behind.
pub fn run(flags: &Flags) -> Report {
    let mut items = vec![host::kernel(&flags.paths), host::btf(&flags.paths)];
    match privileges::effective() {
        Ok(effective) => {
            items.extend([host::bpf(&effective), host::reading(&effective)]);
            if flags.collector_udp() || flags.collector_dns() || flags.collector_http() {
                items.push(host::attaching(&effective));
            }
        }
        Err(error) => items.push(Item::fail("capabilities", error.to_string(), "run on Linux 6.1 or newer")),
    }
    items.extend([
        host::lockdown(&flags.paths),
        host::cgroup(&flags.paths),
        host::memory(&flags.paths),
        host::procfs(&flags.paths),
    ]);
    if let Some(path) = flags.names_file() {
        items.push(match app::check_names_file(path) {
            Ok(finding) => Item::ok("names file", finding),
            Err(reason) => Item::fail("names file", reason, "mend the file; --labels.names-file names it"),
        });
    }
    if let Some(path) = flags.external_patterns() {
        items.push(match app::check_external_patterns(path) {
            Ok(finding) => Item::ok("external patterns", finding),
            Err(reason) => {
                Item::fail("external patterns", reason, "mend the file; --labels.external-patterns names it")
            }
        });
    }
    if let Some(path) = flags.serving.config_file() {
        items.push(match web::WebConfig::load(path, |_| ()) {
            Ok(config) if config.ignored.is_empty() => Item::ok("web config", config.summary()),
            Ok(config) => {
                let finding = format!("{}; {}", config.summary(), config.ignored.join("; "));
                Item::warn(
                    "web config",
                    finding,
                    "none if you can do without; docs/web.md tells what is not done",
                )
            }
            Err(error) => {
                Item::fail("web config", error.to_string(), "mend the file; --web.config.file names it")
            }
        });
    }
    items.extend(cloud::items(flags));
    items.extend(kubernetes::items(flags));
    if !flags.serving.systemd_socket {
        items.extend(flags.listen_addresses.iter().map(listen));
    }
    items.extend(Sandbox::check(flags).into_iter().map(sandbox));
    let wanted = [
        flags.collector_tcp(),
        flags.collector_udp(),
        flags.collector_dns(),
        flags.collector_http(),
        flags.collector_node(),
    ];
    for ((name, check), _) in app::COLLECTOR_CHECKS.iter().zip(wanted).filter(|(_, wanted)| *wanted) {
        items.push(collector(name, check(flags)));
    }
    Report(items)
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
    let name = format!("sandbox {}", component.name);
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
    let item = format!("collector {name}");
    match result {
        Ok(finding) => Item::ok(&item, finding),
        Err(reason) => Item::fail(
            &item,
            reason,
            format!("mend what fails above; --no-collector.{name} runs the exporter without it"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{Item, Report, collector};

    #[test]
    fn a_report_is_a_line_an_item_and_a_line_a_remedy() {
        let report = Report(vec![
            Item::ok("kernel", "6.12"),
            Item::warn("cgroup", "v1", "none"),
            collector("tcp", Err("load:\nEPERM".to_owned())),
        ]);
        let expected = "ok    kernel: 6.12\n\
                        warn  cgroup: v1\n      remedy: none\n\
                        fail  collector tcp: load: EPERM\n      \
                        remedy: mend what fails above; --no-collector.tcp runs the exporter without it\n";
        assert_eq!(report.to_string(), expected);
        assert!(!report.passed());
        assert!(Report(vec![Item::warn("cgroup", "v1", "none")]).passed());
    }
}
