// SPDX-License-Identifier: Apache-2.0
//! What `flowgauge check` says beforehand is what the exporter does then, whatever it is allowed.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use flowgauge_tests::api_server::{ApiServer, Resource, Role, TOKEN, Verb};
use flowgauge_tests::exporter::{self, binary};
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::output;
use serde_json::Value;

/// Whether each collector, and each source of names, works.
type Answers = BTreeMap<(&'static str, String), bool>;

/// What takes a while to load, and says nothing about names.
const WITHOUT_PROBES: [&str; 5] = [
    "--no-collector.tcp",
    "--no-collector.udp",
    "--no-collector.dns",
    "--no-collector.http",
    "--no-collector.drops",
];

/// Everything that needs BPF.
const PROBES: [&str; 5] = ["tcp", "udp", "dns", "http", "drops"];

/// A way to run the program with fewer privileges.
struct Confined {
    /// What comes before the program.
    before: Vec<String>,
    program: PathBuf,
    /// Flags for both.
    flags: Vec<String>,
}

impl Confined {
    fn by(before: &[&str], flags: &[&str]) -> Result<Self> {
        let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        Ok(Self { before: owned(before), program: binary()?, flags: owned(flags) })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut words = self.before.iter().map(AsRef::as_ref).chain([self.program.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).args(arguments).args(&self.flags).env_remove("KUBECONFIG");
        command
    }

    /// The report, and the exit code.
    fn check(&self) -> Result<(Value, Option<i32>)> {
        let checked = output(&mut self.command(&["check", "--json", "--web.listen-address=127.0.0.1:0"]))?;
        let said = String::from_utf8_lossy(&checked.stdout);
        let report = serde_json::from_str(&said).with_context(|| format!("{said}\n{checked:?}"))?;
        Ok((report, checked.status.code()))
    }

    /// Compares what the check says with what the exporter does. `down` are the collectors that cannot work.
    fn compare(&self, what: &str, down: &[&str]) -> Result<Value> {
        let (report, code) = self.check()?;
        let checked = answers_of(&report)?;
        for ((_, name), up) in checked.iter().filter(|((kind, _), _)| *kind == "collector") {
            assert_eq!(*up, !down.contains(&name.as_str()), "{what}: {name}: {report:#}");
        }
        assert_eq!(code, Some(i32::from(report["passed"] != true)), "{what}");
        assert_eq!(report["passed"] == true, verdicts(&report, "fail").is_empty(), "{what}: {report:#}");
        let mut command = self.command(&["--web.listen-address=127.0.0.1:0"]);
        let exporter = Exporter::adopt(exporter::spawn(&mut command)?)?;
        // Watches and metadata services answer when they do.
        let deadline = Instant::now() + SOON * 3;
        loop {
            let served = answers_in(&exporter.scrape()?);
            if served == checked {
                return Ok(report);
            }
            ensure!(
                Instant::now() < deadline,
                "{what}: checked {checked:#?}\nserved {served:#?}\n{report:#}\n{}",
                exporter.log()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

fn answers_of(report: &Value) -> Result<Answers> {
    let items = report["items"].as_array().context("no items")?;
    let of = |item: &Value, kind| {
        let name = item["name"].as_str().unwrap_or_default().to_owned();
        (item["group"] == kind).then(|| ((kind, name), item["verdict"] == "ok"))
    };
    Ok(items
        .iter()
        .flat_map(|item| ["collector", "label_source"].into_iter().filter_map(move |kind| of(item, kind)))
        .collect())
}

fn answers_in(metrics: &Metrics) -> Answers {
    let of = |kind: &'static str, family: &'static str, label: &'static str| {
        let samples = metrics.select(family, &[]);
        samples.map(move |sample| ((kind, sample.labels[label].clone()), sample.value == 1.0))
    };
    let collectors = of("collector", "flowgauge_collector_up", "collector");
    collectors.chain(of("label_source", "flowgauge_label_source_up", "source")).collect()
}

/// The names of the items with this verdict.
fn verdicts<'a>(report: &'a Value, verdict: &str) -> Vec<&'a str> {
    let items = report["items"].as_array().into_iter().flatten();
    items.filter(|item| item["verdict"] == verdict).filter_map(|item| item["name"].as_str()).collect()
}

#[test]
fn with_all_privileges_all_works() -> Result<()> {
    let _world = World::new()?;
    let report = Confined::by(&[], &[])?.compare("all", &[])?;
    assert_eq!(report["passed"], true, "{report:#}");
    let without =
        Confined::by(&[], &["--no-collector.udp", "--no-collector.http"])?.compare("two of them", &[])?;
    assert!(!without.to_string().contains("\"udp\""), "{without:#}");
    Ok(())
}

#[test]
fn what_is_missing_is_named_and_its_collectors_fail_in_both() -> Result<()> {
    let _world = World::new()?;
    for (dropped, down, named) in [
        ("-net_admin,-sys_admin", &["udp", "dns", "http"][..], &["CAP_NET_ADMIN"][..]),
        // CAP_SYS_ADMIN stands for it.
        ("-net_admin", &[], &[]),
        ("-bpf,-sys_admin", &PROBES, &["CAP_BPF"]),
        ("-perfmon,-sys_admin", &PROBES, &["CAP_PERFMON"]),
        ("-dac_read_search,-sys_ptrace", &[], &[]),
    ] {
        let before = ["setpriv", &format!("--bounding-set={dropped}"), &format!("--inh-caps={dropped}")];
        let report = Confined::by(&before, &[])?.compare(dropped, down)?;
        let failed = verdicts(&report, "fail");
        for name in named.iter().chain(down) {
            assert!(failed.contains(name), "{dropped}: {name} is not among {failed:?}");
        }
        let mended = report["items"].as_array().into_iter().flatten().filter(|item| item["verdict"] != "ok");
        for item in mended {
            assert!(item["remedy"].is_string(), "{dropped}: {item}");
        }
    }
    Ok(())
}

/// Another user, with capabilities of its own or none.
#[test]
fn another_user_than_root() -> Result<()> {
    let _world = World::new()?;
    // The build directory may be closed to others: they get a copy.
    let directory = tempfile::Builder::new().prefix("fgt-bin").tempdir_in("/tmp")?;
    let copy = directory.path().join("flowgauge");
    std::fs::copy(binary()?, &copy)?;
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755))?;
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let needed = "+bpf,+perfmon,+net_admin,+dac_read_search";
    let (inheritable, ambient) = (format!("--inh-caps={needed}"), format!("--ambient-caps={needed}"));
    let mut with = nobody.to_vec();
    with.extend([inheritable.as_str(), &ambient]);
    let unit = Confined { program: copy.clone(), ..Confined::by(&with, &[])? };
    let report = unit.compare("as the unit runs it", &[])?;
    assert_eq!(report["passed"], true, "{report:#}");
    let none = Confined { program: copy, ..Confined::by(&nobody, &[])? };
    let report = none.compare("nothing", &PROBES)?;
    let failed = verdicts(&report, "fail");
    assert!(
        ["CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"].iter().all(|name| failed.contains(name)),
        "{failed:?}"
    );
    Ok(())
}

#[test]
fn hosts_that_show_less() -> Result<()> {
    let _world = World::new()?;
    let hidden = "mount -t tmpfs none /sys/kernel/btf && exec \"$0\" \"$@\"";
    let report =
        Confined::by(&["unshare", "--mount", "sh", "-c", hidden], &[])?.compare("no BTF", &PROBES)?;
    assert!(verdicts(&report, "fail").contains(&"BTF"), "{report:#}");
    // The probes do not read it where --path.sysfs says.
    let empty = tempfile::tempdir()?;
    let flag = |name: &str, path: &Path| format!("--path.{name}={}", path.display());
    let report = Confined::by(&[], &[&flag("sysfs", empty.path())])?.compare("no sysfs", &[])?;
    assert_eq!(
        (report["passed"] == true, verdicts(&report, "warn").contains(&"sysfs")),
        (true, true),
        "{report:#}"
    );
    // Hierarchies are found where they are mounted, if not where --path.cgroup says.
    Confined::by(&[], &[&flag("cgroup", empty.path())])?.compare("no control groups there", &[])?;
    // A container's own processes.
    let pid = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let report = Confined::by(&pid, &[])?.compare("a PID namespace", &[])?;
    assert!(verdicts(&report, "warn").contains(&"PID namespace"), "{report:#}");
    Ok(())
}

#[test]
fn the_api_server_and_its_roles_one_by_one() -> Result<()> {
    let _world = World::new()?;
    let api = ApiServer::start()?;
    let kubeconfig = api.kubeconfig(TOKEN)?;
    let flags = [kubeconfig.flag(), "--labels.kubernetes.node=node-1".to_owned()];
    let flags: Vec<_> = flags.iter().map(String::as_str).chain(WITHOUT_PROBES).collect();
    let confined = Confined::by(&[], &flags)?;
    confined.compare("all roles", &[])?;
    for (resource, name) in [
        (Resource::Pods, "pods"),
        (Resource::Services, "services"),
        (Resource::EndpointSlices, "endpointslices"),
        (Resource::Nodes, "nodes"),
    ] {
        api.grant(TOKEN, Role::reader().without(resource));
        let report = confined.compare(name, &[])?;
        let warned = verdicts(&report, "warn");
        let source = format!("kubernetes_{name}");
        assert!(warned.contains(&name) && warned.contains(&source.as_str()), "{name}: {report:#}");
        assert_eq!(report["passed"], true, "without {name} the rest works: {report:#}");
        let required = [&flags[..], &["--labels.kubernetes=required"]].concat();
        let (report, code) = Confined::by(&[], &required)?.check()?;
        assert_eq!(code, Some(1), "{report:#}");
        assert!(verdicts(&report, "fail").contains(&name), "{name}: {report:#}");
    }
    // To list is not to watch.
    api.grant(TOKEN, Role::reader().without_verb(Resource::Nodes, Verb::Watch));
    let report = confined.compare("no watch of nodes", &[])?;
    assert!(verdicts(&report, "warn").contains(&"kubernetes_nodes"), "{report:#}");
    drop(api);
    let report = confined.compare("no API server", &[])?;
    assert!(verdicts(&report, "warn").contains(&"api server"), "{report:#}");
    Ok(())
}

#[test]
fn files_that_cannot_be_used() -> Result<()> {
    let _world = World::new()?;
    let directory = tempfile::tempdir()?;
    let bad = directory.path().join("bad");
    std::fs::write(&bad, "{")?;
    for flag in ["--labels.names-file", "--labels.external-patterns", "--labels.cloud-ranges"] {
        let file = format!("{flag}={}", bad.display());
        let confined = Confined::by(&[], &[&[file.as_str()], &WITHOUT_PROBES[1..]].concat())?;
        let (report, code) = confined.check()?;
        assert_eq!(code, Some(1), "{flag}: {report:#}");
        // Collectors are tried all the same.
        assert!(
            answers_of(&report)?.get(&("collector", "tcp".to_owned())) == Some(&true),
            "{flag}: {report:#}"
        );
    }
    // The exporter runs with a file of ranges that cannot be used, and its source is down.
    let ranges = format!("--labels.cloud-ranges={}", bad.display());
    Confined::by(&[], &[&[ranges.as_str()], &WITHOUT_PROBES[..]].concat())?.compare("cloud ranges", &[])?;
    Ok(())
}
