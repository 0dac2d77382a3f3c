// SPDX-License-Identifier: Apache-2.0
//! The sources of names, started as the exporter starts them, and asked how they are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flowgauge_labels::{Config, Conntrack, MetadataMode, Resolver, SourceStatus, cgroup_layout};
use flowgauge_probes::tcp;

use super::Item;
use crate::flags::{Flags, KubernetesMode};
use crate::sandbox::Sandbox;
use crate::{app, kubernetes, new_groups, plan};

/// Time for the watches to deliver a first list, or to fail.
const LISTS: Duration = Duration::from_secs(15);
/// Time for a watch to be refused after its list was granted.
const WATCHES: Duration = Duration::from_millis(500);
/// Long enough to list the host's translations.
const LISTING: Duration = Duration::from_millis(500);

/// How each would fare.
pub fn items(flags: &Flags) -> Vec<Item> {
    let sandbox = Sandbox::prepare(flags, Arc::default());
    let start = |connection| kubernetes::start(flags, connection, &sandbox);
    let started = kubernetes::connection(flags).and_then(|connection| connection.map(start).transpose());
    let (kubernetes, failed) = match started {
        Ok(kubernetes) => (kubernetes, None),
        Err(error) => (None, Some(SourceStatus::failed("kubernetes", format!("{error:#}")))),
    };
    let cluster = kubernetes.as_ref().map(|kubernetes| Arc::clone(&kubernetes.cluster));
    let layout = cgroup_layout(&flags.paths.cgroup, &flags.paths.procfs);
    let config = app::resolver_config(flags);
    let new = |config| Resolver::new(config, layout.process_hierarchy(), cluster.clone());
    // With a bad file of the operator's the exporter does not start; the rest can be told all the same.
    let without = || Config { names_file: None, external_patterns: None, ..config.clone() };
    let resolver = match new(config.clone()).or_else(|_| new(without())) {
        Ok(resolver) => Arc::new(resolver),
        Err(error) => return vec![Item::fail("names", error.to_string(), "mend the file")],
    };
    resolver.ask_metadata(|| ());
    resolver.refresh();
    wait(&resolver);
    let mut sources = resolver.sources();
    if kubernetes.is_some() && plan::dials_services(flags) {
        let conntrack = Conntrack::open(&flags.paths.procfs, tcp::digest);
        conntrack.settle(LISTING);
        sources.push(conntrack.status());
    }
    sources.extend(failed);
    sources.extend(plan::check_cgroup_events(flags));
    sources.iter().map(|source| item(source, flags)).collect()
}

/// Waits until every source that has to ask somebody has an answer.
fn wait(resolver: &Resolver) {
    let begun = Instant::now();
    let waits = |source: &SourceStatus| !source.up && source.reloads_failed == 0 && asks(source);
    while resolver.sources().iter().any(waits) && begun.elapsed() < LISTS {
        std::thread::sleep(Duration::from_millis(20));
    }
    if resolver.sources().iter().any(|source| source.source.starts_with("kubernetes")) {
        std::thread::sleep(WATCHES);
    }
}

fn asks(source: &SourceStatus) -> bool {
    match source.source {
        "cloud_metadata" => source.detail.starts_with("asking "),
        name => name.starts_with("kubernetes"),
    }
}

fn item(source: &SourceStatus, flags: &Flags) -> Item {
    let SourceStatus { source: name, up, detail, .. } = source;
    if *up {
        return Item::ok(name, detail);
    }
    let remedy = remedy(name);
    let asked_for = match *name {
        "names_file" | "external_patterns" | "cloud_ranges" => true,
        "cloud_metadata" => flags.cloud.metadata().mode != MetadataMode::Auto,
        name if name.starts_with("kubernetes") => flags.kubernetes.mode == KubernetesMode::Required,
        _ => false,
    };
    if asked_for { Item::fail(name, detail, remedy) } else { Item::warn(name, detail, remedy) }
}

fn remedy(source: &str) -> &'static str {
    match source {
        "names_file" | "external_patterns" => "mend the file; the configuration above tells what is wrong",
        "cloud_ranges" => super::cloud::FETCH,
        "cloud_metadata" => super::cloud::REACH,
        "cgroup" => {
            "mount the host's control groups and set --path.cgroup; without them sockets are named by process"
        }
        "host_addresses" => {
            "mount the host's /proc and set --path.procfs; without it its own addresses have no name"
        }
        "network_namespaces" => {
            "give CAP_SYS_PTRACE and the host's /proc; without them pods whose control group says nothing have no name"
        }
        "conntrack" => {
            "run in the host's network namespace with CAP_NET_ADMIN; without it connections to a Service have no backend"
        }
        new_groups::SOURCE => {
            "mend the capabilities and features above; without it control groups that live for less than 10 s may have no name"
        }
        _ => "mend what the Kubernetes API above says; without it only these names are missing",
    }
}

#[cfg(test)]
mod tests {
    use super::items;
    use crate::check::Verdict;
    use crate::flags::Flags;

    #[test]
    fn a_source_that_was_asked_for_fails_and_another_warns() {
        let dir = tempfile::tempdir().unwrap();
        let names = dir.path().join("names.yaml");
        std::fs::write(&names, "names: []\n").unwrap();
        // Nobody listens on a port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let arguments = [
            "flowgauge".to_owned(),
            "--labels.kubernetes=off".to_owned(),
            "--labels.cloud-metadata=azure".to_owned(),
            format!("--labels.cloud-metadata.endpoint=http://127.0.0.1:{port}"),
            format!("--labels.names-file={}", names.display()),
            // No mounts are told of there, so that no hierarchy is found.
            format!("--path.cgroup={}", dir.path().display()),
            format!("--path.procfs={}", dir.path().display()),
            "--no-collector.tcp".to_owned(),
            "--no-collector.udp".to_owned(),
            "--no-collector.dns".to_owned(),
            "--no-collector.http".to_owned(),
            "--no-collector.drops".to_owned(),
        ];
        let flags = Flags::parse_from(arguments.map(std::ffi::OsString::from)).unwrap();
        let items = items(&flags);
        let verdict = |name: &str| items.iter().find(|item| item.name == name).map(|item| item.verdict);
        assert_eq!(verdict("names_file"), Some(Verdict::Ok), "{items:?}");
        assert_eq!(verdict("cloud_metadata"), Some(Verdict::Fail), "{items:?}");
        assert_eq!(verdict("cgroup"), Some(Verdict::Warn), "{items:?}");
        assert_eq!((verdict("conntrack"), verdict("cgroup_events")), (None, None), "nobody needs them");
    }
}
