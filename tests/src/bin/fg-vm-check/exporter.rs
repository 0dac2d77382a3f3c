// SPDX-License-Identifier: Apache-2.0

//! The exporter under test, and what it says.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::kernel::Namespaces;

const ADDRESS: &str = "127.0.0.1:10950";

/// A running exporter, in the first network namespace.
pub struct Exporter<'a> {
    process: Child,
    namespaces: &'a Namespaces,
}

impl<'a> Exporter<'a> {
    /// Starts it and waits until it is ready.
    pub fn start(namespaces: &'a Namespaces) -> Result<Self> {
        let process = namespaces.in_first(|| {
            Command::new("/bin/flowgauge").arg(format!("--web.listen-address={ADDRESS}")).spawn()
        })??;
        let mut exporter = Self { process, namespaces };
        let limit = Instant::now() + Duration::from_secs(180);
        loop {
            if let Some(status) = exporter.process.try_wait()? {
                bail!("the exporter ended: {status}");
            }
            match exporter.get("/-/ready") {
                Ok(_) => return Ok(exporter),
                Err(error) => ensure!(Instant::now() < limit, "the exporter is not ready: {error:#}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What `/metrics` says now.
    pub fn scrape(&self) -> Result<Scrape> {
        self.get("/metrics").map(Scrape)
    }

    /// SIGTERM, and how it ended.
    pub fn stop(mut self) -> Result<String> {
        let pid = libc::pid_t::try_from(self.process.id())?;
        // SAFETY: no memory is involved; the child has not been waited for, so the pid is its own.
        ensure!(unsafe { libc::kill(pid, libc::SIGTERM) } == 0, "kill: {}", std::io::Error::last_os_error());
        let limit = Instant::now() + Duration::from_secs(20);
        while Instant::now() < limit {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status.to_string());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok("still running after 20 s".to_string())
    }

    fn get(&self, path: &str) -> Result<String> {
        self.namespaces.in_first(|| {
            let mut stream = TcpStream::connect(ADDRESS)?;
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: matrix\r\n\r\n").as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            let (head, body) = answer.split_once("\r\n\r\n").context("not an HTTP answer")?;
            let status = head.lines().next().unwrap_or_default();
            ensure!(status.split(' ').nth(1) == Some("200"), "{path}: {status}: {}", body.trim());
            Ok(body.to_string())
        })?
    }
}

impl Drop for Exporter<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One answer of `/metrics`.
pub struct Scrape(String);

impl Scrape {
    /// The sum of all series of a family (without `flowgauge_`) that have these labels.
    pub fn sum(&self, family: &str, labels: &[(&str, &str)]) -> f64 {
        self.series(family, labels).fold(0.0, |sum, (_, value)| sum + value)
    }

    /// How many observations of a histogram were at most `seconds`, and how many there were.
    pub fn at_most(&self, histogram: &str, seconds: f64, labels: &[(&str, &str)]) -> (f64, f64) {
        let bucket = format!("{histogram}_bucket");
        let mut bounds: Vec<(f64, f64)> = Vec::new();
        for (text, value) in self.series(&bucket, labels) {
            let bound = text.split("le=\"").nth(1).and_then(|rest| rest.split('"').next());
            if let Some(bound) =
                bound.and_then(|bound| bound.parse::<f64>().ok()).filter(|bound| *bound <= seconds)
            {
                bounds.push((bound, value));
            }
        }
        let highest = bounds.iter().map(|(bound, _)| *bound).fold(0.0, f64::max);
        let below =
            bounds.iter().filter(|(bound, _)| *bound == highest).fold(0.0, |sum, (_, value)| sum + value);
        (below, self.sum(&format!("{histogram}_count"), labels))
    }

    /// The lines of a family, as they are.
    pub fn lines(&self, family: &str) -> String {
        let name = format!("flowgauge_{family}");
        self.0.lines().filter(|line| line.starts_with(&name)).collect::<Vec<_>>().join("\n")
    }

    fn series<'s>(&'s self, family: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = (&'s str, f64)> {
        let name = format!("flowgauge_{family}");
        let wanted: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        self.0.lines().filter_map(move |line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, rest) = series.split_once('{').unwrap_or((series, ""));
            let matches = found == name && wanted.iter().all(|label| has_label(rest, label));
            matches.then(|| value.parse().ok().map(|value| (series, value))).flatten()
        })
    }
}

/// Whether `name="value"` is one of the labels, and not the end of a longer name.
fn has_label(labels: &str, label: &str) -> bool {
    labels.match_indices(label).any(|(at, _)| at == 0 || labels.as_bytes()[at - 1] == b',')
}
