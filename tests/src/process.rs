// SPDX-License-Identifier: Apache-2.0
//! Child processes that cannot outlive the test that started them.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::sys;

/// Which Debian package brings a program; used to tell how to mend a machine where it is missing.
const PACKAGE_OF: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("ss", "iproute2"),
    ("nstat", "iproute2"),
    ("iptables", "iptables"),
    ("ip6tables", "iptables"),
    ("chromedriver", "chromium-driver"),
    ("dig", "bind9-dnsutils"),
    ("dnsmasq", "dnsmasq-base"),
    ("nginx", "nginx-light"),
    ("prometheus", "prometheus"),
    ("promtool", "prometheus"),
    ("amtool", "prometheus-alertmanager"),
    ("prometheus-alertmanager", "prometheus-alertmanager"),
    ("openssl", "openssl"),
    ("setcap", "libcap2-bin"),
    ("setpriv", "util-linux"),
    ("systemd-socket-activate", "systemd"),
    ("unbound-checkconf", "unbound"),
];

/// Says what to do about a failed start of `program`.
pub fn start_error(program: &str, error: std::io::Error) -> anyhow::Error {
    if error.kind() == std::io::ErrorKind::NotFound {
        let base = program.rsplit('/').next().unwrap_or(program);
        let package = PACKAGE_OF.iter().find(|(tool, _)| *tool == base).map_or(base, |(_, package)| package);
        return anyhow!("{program} is missing: apt-get install {package} (tests/PACKAGES lists all)");
    }
    anyhow::Error::new(error).context(format!("starting {program}"))
}

/// Runs `command` to its end and returns its standard output; a failure carries what it said.
pub fn run(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).with_context(|| format!("output of {command:?}"))
}

/// Runs `command` to its end, whatever its exit status.
pub fn output(command: &mut Command) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).output().map_err(|error| start_error(&program, error))
}

/// A running child; killed and reaped when dropped.
#[derive(Debug)]
pub struct Process {
    what: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// Starts `command`. `what` names it in errors.
    pub fn spawn(what: impl Into<String>, command: &mut Command) -> Result<Self> {
        let what = what.into();
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child =
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(|error| start_error(&program, error).context(format!("{what} did not start")))?;
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = channel();
        let stdin = child.stdin.take();
        if let Some(stdout) = child.stdout.take() {
            read_lines(stdout, move |line| sender.send(line).is_ok());
        }
        if let Some(stderr) = child.stderr.take() {
            let log = Arc::clone(&log);
            read_lines(stderr, move |line| {
                let mut log = lock(&log);
                log.push_str(&line);
                log.push('\n');
                true
            });
        }
        Ok(Process { what, child, stdin, lines, log })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error so far.
    pub fn log(&self) -> String {
        lock(&self.log).clone()
    }

    /// The next line of its standard output, at most `patience` from now.
    pub fn line(&mut self, patience: Duration) -> Result<String> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => {
                bail!("{}: no line within {patience:?}; its log:\n{}", self.what, self.log())
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.wait(Duration::from_secs(5));
                bail!("{}: ended ({status:?}) without a line; its log:\n{}", self.what, self.log())
            }
        }
    }

    /// The next line of its standard output, if there is one.
    pub fn next_line(&self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// Writes one line to its standard input.
    pub fn send(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().with_context(|| format!("{}: input is closed", self.what))?;
        writeln!(stdin, "{line}")
            .and_then(|()| stdin.flush())
            .with_context(|| format!("telling {}", self.what))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) -> Result<()> {
        sys::kill(self.pid(), signal).with_context(|| format!("signalling {}", self.what))
    }

    /// Waits until it ends by itself, at most `patience`.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) =
                self.child.try_wait().with_context(|| format!("waiting for {}", self.what))?
            {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("{}: still running after {patience:?}; its log:\n{}", self.what, self.log());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends SIGTERM and waits for its end.
    pub fn terminate(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.signal(libc::SIGTERM)?;
        self.wait(patience)
    }

    /// Kills it the hard way and reaps it.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("killing {}", self.what))?;
        self.child.wait().with_context(|| format!("reaping {}", self.what))?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already reaped children make both calls no-ops; nothing can be done about other errors here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(from: impl Read + Send + 'static, mut take: impl FnMut(String) -> bool + Send + 'static) {
    thread::spawn(move || {
        let lines = BufReader::new(from).lines().map_while(|line| line.ok());
        for line in lines {
            if !take(line) {
                break;
            }
        }
    });
}

fn lock(log: &Mutex<String>) -> MutexGuard<'_, String> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
