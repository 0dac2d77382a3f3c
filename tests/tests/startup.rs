// SPDX-License-Identifier: Apache-2.0
//! What the exporter says when it starts, when it cannot, and when it ends.

use std::os::unix::process::CommandExt;
use std::process::Command;

use flowgauge_tests::exporter::{self, binary};
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::output;

#[test]
fn a_stopped_exporter_leaves_nothing_behind() -> Result<()> {
    let _world = World::new()?;
    let exporter = Exporter::start(&[])?;
    for (path, status) in
        [("/", 200), ("/-/healthy", 200), ("/-/ready", 200), ("/metrics", 200), ("/nowhere", 404)]
    {
        assert_eq!(exporter.get(path, "*/*")?.status, status, "{path}");
    }
    let log = exporter.stop()?;
    assert!(log.lines().count() < 40, "a few lines at start, nothing per flow:\n{log}");
    Ok(())
}

/// Runs the exporter to its end with these flags and variables: exit code and standard error.
fn refused(flags: &[&str], variables: &[(&str, &str)]) -> Result<(Option<i32>, String)> {
    let output =
        output(Command::new("timeout").arg("20").arg(binary()?).args(flags).envs(variables.iter().copied()))?;
    Ok((output.status.code(), String::from_utf8(output.stderr)?))
}

#[test]
fn bad_flags_end_it_with_64_and_one_line() -> Result<()> {
    let no_file: &[(&str, &str)] = &[];
    for (flags, variables, named) in [
        (vec!["--series.limit=many"], no_file, "--series.limit"),
        (vec!["--labels.drop=observer"], no_file, "--labels.drop"),
        (vec!["--labels.add=colour"], no_file, "--labels.add"),
        (vec!["--web.listen-address=nowhere:port"], no_file, "--web.listen-address"),
        (vec!["--log.format=prose"], no_file, "--log.format"),
        (vec!["--no-such-flag"], no_file, "--no-such-flag"),
        (vec![], &[("FLOWGAUGE_SERIES_LIMIT", "many")], "FLOWGAUGE_SERIES_LIMIT"),
    ] {
        let (code, said) = refused(&flags, variables)?;
        assert_eq!(code, Some(64), "{flags:?} {variables:?}: {said}");
        assert!(said.contains(named) && said.trim().lines().count() == 1, "{flags:?} {variables:?}: {said}");
    }
    Ok(())
}

#[test]
fn a_bad_names_file_is_refused_at_the_start() -> Result<()> {
    let file = NamesFile::new(&[])?;
    file.write_text("names:\n  - cidrs: [10.0.0.0/33]\n    workload: x\n")?;
    let (code, said) = refused(&[&file.flag(), "--web.listen-address=127.0.0.1:0"], &[])?;
    assert_eq!(code, Some(64), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    for part in ["--labels.names-file", "names.yaml:2", "10.0.0.0/33"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    Ok(())
}

#[test]
fn a_port_in_use_is_named() -> Result<()> {
    let _world = World::new()?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let (code, said) = refused(&[&format!("--web.listen-address={address}")], &[])?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("--web.listen-address"), "{said}");
    Ok(())
}

#[test]
fn without_privileges_it_says_what_it_needs() -> Result<()> {
    let _world = World::new()?;
    // The build directory may be closed to others: they get a copy.
    let directory = tempfile::Builder::new().prefix("fgt-bin").tempdir_in("/tmp")?;
    let copy = directory.path().join("flowgauge");
    std::fs::copy(binary()?, &copy)?;
    let open = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open)?;
    let mut command = Command::new(&copy);
    let exporter = Exporter::adopt(exporter::spawn(
        command.arg("--web.listen-address=127.0.0.1:0").uid(65534).gid(65534),
    )?)?;
    let metrics = exporter.scrape()?;
    assert_eq!(metrics.sum("flowgauge_collector_up", &[("collector", "tcp")]), 0.0);
    assert_eq!(metrics.select("flowgauge_collector_up", &[("collector", "tcp")]).count(), 1);
    let log = exporter.log();
    assert!(log.contains("CAP_BPF"), "the log does not say which capability is missing:\n{log}");
    let mut command = Command::new(&copy);
    let check = output(command.arg("check").uid(65534).gid(65534))?;
    let said = String::from_utf8_lossy(&check.stdout);
    assert_eq!(check.status.code(), Some(1), "{said}");
    assert!(said.contains("fail") && said.contains("CAP_BPF"), "{said}");
    Ok(())
}

#[test]
fn check_finds_nothing_wrong_here() -> Result<()> {
    let _world = World::new()?;
    let check = output(Command::new(binary()?).arg("check"))?;
    let said = String::from_utf8_lossy(&check.stdout);
    assert_eq!(check.status.code(), Some(0), "{said}");
    assert!(said.lines().any(|line| line.starts_with("  ok    tcp ")), "{said}");
    Ok(())
}
