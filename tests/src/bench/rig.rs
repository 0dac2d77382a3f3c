// SPDX-License-Identifier: Apache-2.0

//! The exporter and the traffic makers, as processes.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::machine::{self, Cgroup};

/// The exporter that ships, bound to the first processor.
pub struct Exporter {
    process: Child,
    address: SocketAddr,
    log: PathBuf,
    /// From its start to the end of the first scrape.
    pub started_in: Duration,
}

impl Exporter {
    /// Starts it on the host that the group stands for, and scrapes it once.
    pub fn start(cgroup: &Cgroup, flags: &[&str]) -> Result<Self> {
        let binary =
            std::env::var_os("FLOWGAUGE_BIN").context("FLOWGAUGE_BIN names no exporter: use `make bench`")?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = std::env::temp_dir().join(format!("fg-bench-{}.log", std::process::id()));
        let mut command = Command::new(binary);
        command
            .arg(format!("--web.listen-address={address}"))
            .args(cgroup.flags())
            .args(flags)
            .stderr(File::create(&log)?);
        // SAFETY: one system call, no lock, no allocation.
        unsafe { command.pre_exec(|| machine::pin(0)) };
        let started = Instant::now();
        let process = command.spawn().context("the exporter does not start")?;
        let mut exporter = Self { process, address, log, started_in: Duration::ZERO };
        while exporter.get("/-/ready", "identity").is_err() {
            let ended = exporter.process.try_wait()?.is_some();
            if ended || started.elapsed() > Duration::from_secs(20) {
                bail!("the exporter is not ready:\n{}", fs::read_to_string(&exporter.log)?);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        exporter.scrape("identity")?;
        exporter.started_in = started.elapsed();
        Ok(exporter)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// One scrape: how long it took, and the body as it came.
    pub fn scrape(&self, encoding: &str) -> Result<(Duration, Vec<u8>)> {
        let started = Instant::now();
        let body = self.get("/metrics", encoding)?;
        Ok((started.elapsed(), body))
    }

    fn get(&self, path: &str, encoding: &str) -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let request = format!(
            "GET {path} HTTP/1.0\r\nHost: {}\r\nAccept: text/plain;version=0.0.4\r\nAccept-Encoding: {encoding}\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("not an HTTP answer")?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        ensure!(head.split(' ').nth(1) == Some("200"), "{path}: {head}");
        Ok(answer.split_off(end + 4))
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Ok(pid) = libc::pid_t::try_from(self.process.id()) {
            // SAFETY: no memory is involved; the child has not been waited for, so the pid is its own.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        if let Err(error) = self.process.wait() {
            eprintln!("the exporter: {error}");
        }
        let _ = fs::remove_file(&self.log);
    }
}

/// A traffic maker: this program once more, in a control group. Killed when dropped.
pub struct Maker {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Maker {
    /// Starts it with these arguments.
    pub fn start(cgroup: &Cgroup, arguments: &[&str]) -> Result<Self> {
        let mut process = in_cgroup(&cgroup.procs(), arguments)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("in {cgroup:?}"))?;
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().context("the traffic maker has no output")?);
        Ok(Self { process, input, output })
    }

    /// Its next line.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(!line.is_empty(), "the traffic maker ended: {}", self.process.wait()?);
        Ok(line.trim_end().to_string())
    }

    /// Tells it to do something; `line` then says that it is done.
    pub fn tell(&mut self, command: &str) -> Result<()> {
        let input = self.input.as_mut().context("the traffic maker takes no commands")?;
        writeln!(input, "{command}")?;
        Ok(())
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        drop(self.input.take());
        // It ends by itself at the end of its input; killing it then does nothing.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn in_cgroup(procs: &Path, arguments: &[&str]) -> Result<Command> {
    let procs = std::ffi::CString::new(procs.to_string_lossy().as_bytes())?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments);
    // SAFETY: three system calls on a string made before; no lock, no allocation.
    unsafe {
        command.pre_exec(move || {
            let file = libc::open(procs.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            let written = if file < 0 { -1 } else { libc::write(file, c"0".as_ptr().cast(), 1) };
            if written == 1 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
    Ok(command)
}
