// SPDX-License-Identifier: Apache-2.0
//! The real program: what it says, what it serves, how it ends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The program without the environment of the tests.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowgauge"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A running exporter without collectors; ended with the test.
struct Exporter {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Exporter {
    fn start(arguments: &[&str]) -> Self {
        let mut child =
            program(&["--no-collector.tcp"]).args(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| {
                let _ = sender.send(line);
            });
        });
        Self { child, lines }
    }

    /// Waits for a log line.
    fn line(&self, containing: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut seen = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if line.contains(containing) {
                return line;
            }
            seen.push(line);
        }
        panic!("no line with {containing:?} in {seen:#?}");
    }

    fn address(&self) -> String {
        let line = self.line("msg=serving");
        line.split(' ').find_map(|field| field.strip_prefix("address=")).unwrap().to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("still runs");
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn mistakes_are_one_line_and_exit_64() {
    for (arguments, environment, expected) in [
        (
            &["--series.limit=199"][..],
            None,
            "flowgauge: --series.limit: \"199\": must be a whole number from 200",
        ),
        (&["--nonsense"], None, "flowgauge: --nonsense: no such flag"),
        (
            &[],
            Some(("FLOWGAUGE_SERIES_LIMIT", "many")),
            "flowgauge: --series.limit (from the environment variable FLOWGAUGE_SERIES_LIMIT): \"many\": must be",
        ),
        (
            &[],
            Some(("FLOWGAUGE_WEB_LISTEN_ADDRESS", "127.0.0.1:0,nowhere")),
            "flowgauge: --web.listen-address (from the environment variable FLOWGAUGE_WEB_LISTEN_ADDRESS): \"nowhere\": must be [HOST]:PORT",
        ),
        (
            &["check"],
            Some(("FLOWGAUGE_LABELS_DROP", "observer")),
            "flowgauge: --labels.drop (from the environment variable FLOWGAUGE_LABELS_DROP): \"observer\":",
        ),
        // The flag is what counts, so it is what is named.
        (
            &["--series.limit", "x"],
            Some(("FLOWGAUGE_SERIES_LIMIT", "many")),
            "flowgauge: --series.limit: \"x\": must be",
        ),
    ] {
        let output = output(program(arguments).envs(environment));
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(64), "{arguments:?} {environment:?}: {err}");
        assert!(err.starts_with(expected), "{arguments:?} {environment:?}: {err}");
        assert_eq!((err.lines().count(), out.as_str()), (1, ""), "{err}");
    }
}

#[test]
fn an_environment_variable_that_is_no_text_is_named() {
    use std::os::unix::ffi::OsStrExt as _;
    let value = std::ffi::OsStr::from_bytes(b"info\xff");
    let output = output(program(&[]).env("FLOWGAUGE_LOG_LEVEL", value));
    assert_eq!(output.status.code(), Some(64));
    let line = text(&output.stderr);
    assert!(line.contains("--log.level (from the environment variable FLOWGAUGE_LOG_LEVEL)"), "{line}");
}

#[test]
fn an_empty_environment_variable_means_the_default() {
    let output = output(program(&["--version"]).env("FLOWGAUGE_SERIES_LIMIT", ""));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let output = program(&["docs"]).env("FLOWGAUGE_SERIES_LIMIT", "").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn docs_and_check_print_and_end() {
    let docs = output(&mut program(&["docs"]));
    assert_eq!(docs.status.code(), Some(0));
    assert!(text(&docs.stdout).contains("`flowgauge_build_info`"));

    let check = output(&mut program(&["check", "--no-collector.tcp", "--web.listen-address=127.0.0.1:0"]));
    let report = text(&check.stdout);
    let failed = report.lines().any(|line| line.starts_with("  fail  "));
    assert_eq!(check.status.code(), Some(i32::from(failed)), "{report}");
    for item in ["release", "BTF", "CAP_BPF", "lockdown", "cgroup", "procfs", "listen address 127.0.0.1:0"] {
        let about = |line: &str| line.get(8..).is_some_and(|rest| rest.starts_with(&format!("{item}  ")));
        assert!(report.lines().any(about), "{item}: {report}");
    }
}

#[test]
fn check_fails_where_a_host_is_unfit() {
    let empty = tempfile::tempdir().unwrap();
    let path = empty.path().display();
    let check =
        output(&mut program(&["check", &format!("--path.sysfs={path}"), &format!("--path.procfs={path}")]));
    let report = text(&check.stdout);
    assert_eq!(check.status.code(), Some(1), "{report}");
    assert!(report.contains("  fail  release  ") && report.contains("    remedy: "), "{report}");
}

#[test]
fn serves_on_every_address_and_ends_on_sigterm() {
    let mut exporter = Exporter::start(&["--web.listen-address=127.0.0.1:0", "--web.listen-address=[::1]:0"]);
    let addresses = [exporter.address(), exporter.address()];
    for address in &addresses {
        assert!(!address.ends_with(":0"), "{address} is where it really listens");
        assert!(get(address, "/-/healthy").starts_with("HTTP/1.1 200 OK"));
        assert!(get(address, "/metrics").contains("flowgauge_build_info{"));
    }
    // Ready without a scrape, once the first pass is done.
    let deadline = Instant::now() + Duration::from_secs(5);
    while !get(&addresses[0], "/-/ready").starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < deadline, "never ready");
        std::thread::sleep(Duration::from_millis(20));
    }
    exporter.signal(Signal::HUP);
    exporter.line("read again what can change");
    exporter.signal(Signal::TERM);
    assert_eq!(exporter.exit_code(), Some(0));
    assert!(TcpStream::connect(&addresses[0]).is_err());
}

#[test]
fn sighup_while_it_starts_does_no_harm() {
    for _ in 0..10 {
        let mut exporter = Exporter::start(&["--web.listen-address=127.0.0.1:0"]);
        // The first line is written before anything is built, and long before anybody could reload.
        exporter.line("flowgauge starts");
        exporter.signal(Signal::HUP);
        exporter.line("read again");
        exporter.signal(Signal::TERM);
        assert_eq!(exporter.exit_code(), Some(0));
    }
}

#[test]
fn sigint_ends_too_and_json_lines_are_json() {
    let mut exporter = Exporter::start(&["--web.listen-address=127.0.0.1:0", "--log.format=json"]);
    exporter.line("\"msg\":\"serving\"");
    exporter.signal(Signal::INT);
    assert_eq!(exporter.exit_code(), Some(0));
    let line = exporter.line("flowgauge ends");
    let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(parsed["level"], "info");
}

#[test]
fn a_port_in_use_is_one_line_and_exit_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = output(&mut program(&[
        "--log.level=error",
        "--no-collector.tcp",
        &format!("--web.listen-address={address}"),
    ]));
    let line = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(
        line.contains(&format!("--web.listen-address {address}: port {} is in use", address.port())),
        "{line}"
    );
}

#[test]
fn the_threads_that_serve_have_no_capabilities() {
    let exporter = Exporter::start(&["--web.listen-address=127.0.0.1:0"]);
    get(&exporter.address(), "/metrics");
    let tasks = format!("/proc/{}/task", exporter.child.id());
    let mut serving = 0;
    for task in std::fs::read_dir(tasks).unwrap().flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap();
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        if matches!(field("Name:").as_str(), "web" | "flowgauge") {
            serving += 1;
            for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
                assert_eq!(field(set), "0000000000000000", "{set} {status}");
            }
            assert_eq!(field("NoNewPrivs:"), "1", "{status}");
        }
    }
    assert!(serving >= 3, "main and two workers, not {serving}");
}
