// SPDX-License-Identifier: Apache-2.0

//! How long single runs of the exporter's walk take: each is one `BPF_PROG_TEST_RUN`, so strace sees it from outside.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// A trace of a running process.
pub struct Trace {
    strace: Child,
    file: PathBuf,
}

impl Trace {
    /// Follows all threads of a process; returns when it does.
    pub fn of(pid: u32) -> Result<Self> {
        let file = std::env::temp_dir().join(format!("fg-bench-{}.trace", std::process::id()));
        let mut strace = Command::new("strace")
            .args(["-f", "-T", "-e", "trace=bpf", "-e", "signal=none", "-o"])
            .arg(&file)
            .args(["-p", &pid.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .context("strace (Debian package strace)")?;
        let mut said = String::new();
        let errors = strace.stderr.take().context("strace says nothing")?;
        BufReader::new(errors).read_line(&mut said)?;
        ensure!(said.contains("attached"), "strace: {said}");
        Ok(Self { strace, file })
    }

    /// Ends it. Returns how long each run took, which is a little more than the program itself did.
    pub fn runs(mut self) -> Result<Vec<Duration>> {
        let pid = libc::pid_t::try_from(self.strace.id())?;
        // SAFETY: no memory is involved; the child has not been waited for, so the pid is its own.
        unsafe { libc::kill(pid, libc::SIGINT) };
        self.strace.wait()?;
        let text = fs::read_to_string(&self.file)?;
        Ok(text.lines().filter_map(run).collect())
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
        let _ = fs::remove_file(&self.file);
    }
}

/// The time at the end of a line such as `812 bpf(BPF_PROG_TEST_RUN, {test={…}}, 80) = 0 <0.000731>`. A call in the
/// middle of which another thread made one is told in two lines; the second says `resumed`, and has the time.
fn run(line: &str) -> Option<Duration> {
    let is_run =
        line.contains("BPF_PROG_TEST_RUN") || line.contains("BPF_PROG_RUN") || line.contains("bpf resumed");
    let seconds = line.rsplit_once('<')?.1.strip_suffix('>')?.parse().ok()?;
    is_run.then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_time_of_runs_alone() {
        let line = "812 bpf(BPF_PROG_TEST_RUN, {test={prog_fd=7, retval=0}}, 80) = 0 <0.000731>";
        assert_eq!(run(line), Some(Duration::from_micros(731)));
        assert_eq!(run("812 bpf(BPF_MAP_LOOKUP_ELEM, {map_fd=4}, 32) = 0 <0.000010>"), None);
        assert_eq!(run("812 bpf(BPF_PROG_TEST_RUN, {test={prog_fd=7}} <unfinished ...>"), None);
    }
}
