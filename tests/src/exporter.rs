// SPDX-License-Identifier: Apache-2.0
//! The real exporter, started as an operator would start it, and scraped over HTTP.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::metrics::{Format, Metrics, Selector};
use crate::process::Process;
use crate::sys::{self, Placement};

/// What Prometheus asks for when it wants classic text.
const ACCEPT_CLASSIC: &str = "text/plain;version=0.0.4";
const ACCEPT_OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";

/// How long the exporter may take from its start to being ready. The budget is 2 s on a machine of its own.
const START: Duration = Duration::from_secs(20);

/// The exporter's binary: `FLOWGAUGE_BIN`, else the one built beside this test. A binary older than its sources is
/// refused, because `cargo test` of this crate alone does not rebuild it.
pub fn binary() -> Result<PathBuf> {
    const BUILD: &str = "cargo build -p flowgauge";
    if let Some(path) = env::var_os("FLOWGAUGE_BIN").map(PathBuf::from) {
        ensure!(path.is_file(), "FLOWGAUGE_BIN={}: no such file; build it with `{BUILD}`", path.display());
        return Ok(path);
    }
    let path = beside_test("flowgauge")?;
    let built = fs::metadata(&path).and_then(|data| data.modified());
    let built = built.with_context(|| format!("{} is missing; build it with `{BUILD}`", path.display()))?;
    let listing = path.with_extension("d");
    let listing = fs::read_to_string(&listing).with_context(|| format!("reading {}", listing.display()))?;
    let sources = listing.split_once(": ").map_or("", |(_, sources)| sources).split_whitespace();
    let code = |file: &&str| [".rs", ".c", ".h"].iter().any(|end| file.ends_with(end));
    for source in sources.filter(code) {
        if let Ok(changed) = fs::metadata(source).and_then(|data| data.modified()) {
            ensure!(changed <= built, "{} is older than {source}; build it with `{BUILD}`", path.display());
        }
    }
    Ok(path)
}

/// A binary of the profile that the running test or program was built with.
pub fn beside_test(name: &str) -> Result<PathBuf> {
    let itself = env::current_exe().context("finding this test's own binary")?;
    // Tests are in `deps`, programs beside it.
    let mut above = itself.ancestors().skip(1).skip_while(|directory| directory.ends_with("deps"));
    Ok(above.next().context("this test's binary has no target directory")?.join(name))
}

/// A running exporter on a loopback port of its own.
#[derive(Debug)]
pub struct Exporter {
    process: Process,
    address: SocketAddr,
}

impl Exporter {
    /// Starts it with `--web.listen-address=127.0.0.1:0` and `flags`, and waits until it is ready.
    pub fn start(flags: &[&str]) -> Result<Self> {
        Self::start_unready(flags)?.wait_ready()
    }

    /// Waits until it is ready.
    pub fn wait_ready(self) -> Result<Self> {
        let deadline = Instant::now() + START;
        loop {
            match self.get("/-/ready", "*/*") {
                Ok(response) if response.status == 200 => return Ok(self),
                state => ensure!(
                    Instant::now() < deadline,
                    "not ready after {START:?}: {state:?}; its log:\n{}",
                    self.log()
                ),
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts it and waits only until it listens.
    pub fn start_unready(flags: &[&str]) -> Result<Self> {
        let process = spawn(Command::new(binary()?).arg("--web.listen-address=127.0.0.1:0").args(flags))?;
        Self::adopt(process)
    }

    /// Waits until a process started by [`spawn`] says in its log on which loopback port it listens.
    pub fn adopt(mut process: Process) -> Result<Self> {
        let deadline = Instant::now() + START;
        loop {
            if let Some(port) = listening_port(&process.log()) {
                let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
                return Ok(Exporter { process, address });
            }
            if !process.is_running() {
                let status = process.wait(Duration::from_secs(1))?;
                bail!("the exporter ended at once: {status}; its log:\n{}", process.log());
            }
            ensure!(Instant::now() < deadline, "no port in the exporter's log:\n{}", process.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Has it read its names file again, and waits a little until it has.
    pub fn reload(&self) -> Result<()> {
        self.process.signal(libc::SIGHUP)?;
        thread::sleep(Duration::from_millis(500));
        Ok(())
    }

    /// One GET.
    pub fn get(&self, path: &str, accept: &str) -> Result<Response> {
        get(self.address, path, accept)
    }

    /// One scrape of classic text.
    pub fn scrape(&self) -> Result<Metrics> {
        self.scrape_as(Format::Classic)
    }

    /// One scrape in the given format.
    pub fn scrape_as(&self, format: Format) -> Result<Metrics> {
        let accept = match format {
            Format::Classic => ACCEPT_CLASSIC,
            Format::OpenMetrics => ACCEPT_OPENMETRICS,
        };
        let response = self.get("/metrics", accept)?;
        ensure!(response.status == 200, "/metrics answered {}: {}", response.status, response.body);
        let media_type = response.header("content-type").unwrap_or_default();
        ensure!(media_type.starts_with(&accept[..10]), "asked for {accept}, got {media_type:?}");
        Metrics::parse(&response.body, format)
    }

    /// Scrapes until the sum is `expected`, at most `patience`, and fails with the edges seen otherwise. A sum that
    /// has overshot never comes back, so this cannot pass by chance on a counter.
    pub fn wait_for(
        &self,
        name: &str,
        selector: &Selector,
        expected: f64,
        patience: Duration,
    ) -> Result<Metrics> {
        let wanted = format!("{name}{selector:?} = {expected}");
        // Everything on that port explains a failure best: who else was it charged to?
        let port: Vec<_> = selector.iter().copied().filter(|(label, _)| label.ends_with("port")).collect();
        self.wait_until(&wanted, &port, patience, |metrics| metrics.sum(name, selector) == expected)
    }

    /// Scrapes until `condition` holds, at most `patience`; `wanted` and the series that match `selector` explain a
    /// failure.
    pub fn wait_until(
        &self,
        wanted: &str,
        selector: &Selector,
        patience: Duration,
        condition: impl Fn(&Metrics) -> bool,
    ) -> Result<Metrics> {
        let deadline = Instant::now() + patience;
        loop {
            let metrics = self.scrape()?;
            if condition(&metrics) {
                return Ok(metrics);
            }
            if Instant::now() > deadline {
                let edge: Vec<_> = selector.iter().copied().filter(|(label, _)| *label != "reason").collect();
                bail!("wanted {wanted}, but after {patience:?}:\n{}", metrics.describe("flowgauge_", &edge));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends it by SIGTERM: it must exit with 0. Returns its log.
    pub fn stop(mut self) -> Result<String> {
        let status = self.process.terminate(Duration::from_secs(10))?;
        ensure!(
            status.code() == Some(0),
            "SIGTERM ended the exporter with {status}; its log:\n{}",
            self.log()
        );
        Ok(self.log())
    }
}

/// Starts an exporter's command, to die with the calling test.
pub fn spawn(command: &mut Command) -> Result<Process> {
    sys::place(command, Placement::default());
    Process::spawn("exporter", command)
}

fn listening_port(log: &str) -> Option<u16> {
    // Other lines tell of other addresses, such as the API server's.
    let serving = log.lines().filter(|line| line.contains("serving"));
    let after = serving.flat_map(|line| line.split("127.0.0.1:").skip(1));
    let numbers = after.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
    numbers.filter_map(|digits| digits.parse().ok()).find(|port| *port != 0)
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header lines, without the status line.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Response {
    /// A header's value, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// One GET without keep-alive, answered with a plain body.
pub fn get(address: SocketAddr, path: &str, accept: &str) -> Result<Response> {
    let patience = Some(Duration::from_secs(30));
    let mut stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(patience)?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).with_context(|| format!("reading {path} of {address}"))?;
    parse_response(&answer).with_context(|| format!("{path} of {address}"))
}

fn parse_response(answer: &[u8]) -> Result<Response> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("no end of the head")?;
    let head = std::str::from_utf8(&answer[..end]).context("head")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut response = Response { status: status.context("no status")?, headers, body: String::new() };
    let body = &answer[end + 4..];
    let body =
        if response.header("transfer-encoding") == Some("chunked") { unchunk(body)? } else { body.to_vec() };
    if let Some(length) = response.header("content-length") {
        ensure!(length.parse() == Ok(body.len()), "content-length {length}, body of {}", body.len());
    }
    response.body = String::from_utf8(body).context("body")?;
    Ok(response)
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").context("no chunk size")?;
        let size = std::str::from_utf8(&rest[..end])?;
        let size = usize::from_str_radix(size, 16).with_context(|| format!("chunk size {size:?}"))?;
        let chunk = rest.get(end + 2..end + 2 + size).context("a chunk is cut off")?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(chunk);
        rest = rest.get(end + 4 + size..).context("a chunk is cut off")?;
    }
}
