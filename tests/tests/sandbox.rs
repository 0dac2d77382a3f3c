// SPDX-License-Identifier: Apache-2.0
//! What the running exporter has left of its privileges, and that it works with that: new namespaces, files that change,
//! another user.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use flowgauge_tests::exporter::{self, binary};
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::{output, run};
use flowgauge_tests::web::{Door, until};

/// The threads of a process by name, each with a field of its status.
fn threads(pid: u32, field: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = std::fs::read_to_string(entry?.path().join("status"))?;
        let value = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
            line.map(str::to_owned).with_context(|| format!("no {field} in {status}"))
        };
        found.entry(value("Name")?).or_default().push(value(field)?);
    }
    Ok(found)
}

/// CAP_DAC_READ_SEARCH, CAP_PERFMON and CAP_BPF.
const READING: u64 = 1 << 2;
const BPF: u64 = 1 << 38 | 1 << 39;

#[test]
fn each_thread_keeps_what_it_needs() -> Result<()> {
    let door = Door::new()?;
    let flag = door.configure("{}")?;
    let exporter = Exporter::start(&[&flag])?;
    for (field, expected) in [
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("CapInh", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
    ] {
        for (thread, values) in threads(exporter.pid(), field)? {
            assert!(values.iter().all(|value| value == expected), "{thread}: {field} {values:?}");
        }
    }
    let effective = threads(exporter.pid(), "CapEff")?;
    for (thread, values) in &effective {
        let expected = match thread.as_str() {
            "probes" => READING | BPF,
            "netstat" | "web-config" => READING,
            _ => 0,
        };
        for value in values {
            assert_eq!(u64::from_str_radix(value, 16)?, expected, "{thread} in {effective:?}");
        }
    }
    for name in ["probes", "netstat", "web-config", "web", "waker"] {
        assert!(effective.contains_key(name), "{name} is not in {effective:?}");
    }
    let metrics = exporter.scrape()?;
    for part in ["capabilities", "landlock", "seccomp"] {
        assert_eq!(
            metrics.sum("flowgauge_sandbox_active", &[("part", part)]),
            1.0,
            "{part}: {}",
            exporter.log()
        );
    }
    let page = exporter.get("/", "text/html")?.body;
    assert!(page.contains("<b>landlock</b> <span class=\"word\">up</span>"), "{page}");
    exporter.stop()?;
    Ok(())
}

#[test]
fn it_can_do_without_and_says_so() -> Result<()> {
    let exporter = Exporter::start(&["--sandbox.landlock=off", "--sandbox.seccomp=off"])?;
    let metrics = exporter.scrape()?;
    let active = |part| metrics.sum("flowgauge_sandbox_active", &[("part", part)]);
    assert_eq!([active("capabilities"), active("landlock"), active("seccomp")], [1.0, 0.0, 0.0]);
    assert!(threads(exporter.pid(), "Seccomp")?.values().flatten().all(|value| value == "0"));
    exporter.stop()?;
    let check = output(Command::new(binary()?).args(["check", "--sandbox.seccomp=off"]))?;
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    for words in
        ["warn seccomp web: switched off by --sandbox.seccomp=off", "ok landlock web: files and ports"]
    {
        let is_said = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ") == words;
        assert!(said.lines().any(is_said), "{words}: {said}");
    }
    Ok(())
}

/// Namespaces that are made while it runs, and a names file in a ConfigMap's way: links of which one is switched over.
#[test]
fn new_namespaces_and_files_are_seen_from_inside() -> Result<()> {
    let world = World::new()?;
    let directory = tempfile::Builder::new().prefix("fgt-map").tempdir_in("/tmp")?;
    let path = directory.path().join("names.yaml");
    let publish = |number: u32, names: &[Name]| -> Result<()> {
        let file = NamesFile::new(names)?;
        let version = directory.path().join(format!("..{number}"));
        std::fs::create_dir(&version)?;
        std::fs::copy(file.path(), version.join("names.yaml"))?;
        let new = directory.path().join("..data_tmp");
        std::os::unix::fs::symlink(format!("..{number}"), &new)?;
        Ok(std::fs::rename(new, directory.path().join("..data"))?)
    };
    publish(1, &[Name::new("nobody", ["192.0.2.1".parse()?])])?;
    std::os::unix::fs::symlink("..data/names.yaml", &path)?;
    let exporter = Exporter::start(&[&format!("--labels.names-file={}", path.display())])?;
    // All of this is younger than the exporter.
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = world.link(&client, &server)?;
    publish(2, &[Name::of(&client), Name::of(&server)])?;
    exporter.reload()?;
    let _server = Server::start(&server, &["--listen", "0.0.0.0:80"])?;
    let report =
        get(&client, &["--to", &link.b.at4(80).to_string(), "--connections", "5", "--receive", "3000"])?;
    let edge = Edge::between(&client, &server, 80);
    flowgauge_tests::stage::expect(
        &exporter,
        &edge,
        &[("received_bytes_total", CLIENT, report.received as f64)],
    )?;
    exporter.stop()?;
    Ok(())
}

/// Where another user may read and run it.
fn copy() -> Result<(tempfile::TempDir, std::path::PathBuf)> {
    let directory = tempfile::Builder::new().prefix("fgt-bin").tempdir_in("/tmp")?;
    let program = directory.path().join("flowgauge");
    std::fs::copy(binary()?, &program)?;
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
    Ok((directory, program))
}

/// Everything works, and what is asked of its own files, which nobody else may read.
fn works(exporter: &Exporter) -> Result<()> {
    let metrics = exporter.scrape()?;
    for collector in ["tcp", "udp", "dns", "http", "node"] {
        let up = metrics.sum("flowgauge_collector_up", &[("collector", collector)]);
        assert_eq!(up, 1.0, "{collector}: {}", exporter.log());
    }
    for part in ["capabilities", "landlock", "seccomp"] {
        assert_eq!(
            metrics.sum("flowgauge_sandbox_active", &[("part", part)]),
            1.0,
            "{part}: {}",
            exporter.log()
        );
    }
    assert!(threads(exporter.pid(), "Uid")?.values().flatten().all(|uids| uids.starts_with("65534\t")));
    Ok(())
}

const NEEDED: &str = "+bpf,+net_admin,+perfmon,+dac_read_search";

#[test]
fn another_user_with_ambient_capabilities() -> Result<()> {
    let _world = World::new()?;
    let (_directory, program) = copy()?;
    let door = Door::new()?;
    let flag = door.configure("http_server_config: {headers: {X-Frame-Options: deny}}")?;
    // Only root may read it, as a private key.
    std::fs::set_permissions(door.path("web.yml"), std::fs::Permissions::from_mode(0o600))?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.args([
        format!("--inh-caps={NEEDED}"),
        format!("--ambient-caps={NEEDED}"),
        "--no-new-privs".to_owned(),
    ]);
    command.arg(&program).args(["--web.listen-address=127.0.0.1:0", &flag]);
    let exporter = Exporter::adopt(exporter::spawn(&mut command)?)?.wait_ready()?;
    works(&exporter)?;
    assert_eq!(exporter.get("/", "*/*")?.header("x-frame-options"), Some("deny"));
    // And again when it changes, which the threads that serve could not do.
    door.configure("http_server_config: {headers: {X-Frame-Options: sameorigin}}")?;
    std::fs::set_permissions(door.path("web.yml"), std::fs::Permissions::from_mode(0o600))?;
    until("the new file is in force", || {
        Ok(exporter.get("/", "*/*")?.header("x-frame-options") == Some("sameorigin"))
    })?;
    exporter.stop()?;
    Ok(())
}

#[test]
fn another_user_with_file_capabilities() -> Result<()> {
    let _world = World::new()?;
    let (_directory, program) = copy()?;
    run(Command::new("setcap")
        .arg("cap_bpf,cap_net_admin,cap_perfmon,cap_dac_read_search=ep")
        .arg(&program))?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(&program).arg("--web.listen-address=127.0.0.1:0");
    let exporter = Exporter::adopt(exporter::spawn(&mut command)?)?.wait_ready()?;
    works(&exporter)?;
    exporter.stop()?;
    Ok(())
}
