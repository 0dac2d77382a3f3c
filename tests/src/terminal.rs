// SPDX-License-Identifier: Apache-2.0
//! A real terminal for a program that wants one: a window of tmux, of a server of its own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::process::{output, run};

/// A shell in a window. The server ends with it.
#[derive(Debug)]
pub struct Terminal {
    socket: String,
    directory: TempDir,
}

impl Terminal {
    /// A window of this size in which `script` runs, with its parameters.
    ///
    /// The script says `ended CODE` when the program in it has ended; see [`Self::around`].
    pub fn start(width: u16, height: u16, script: &str, parameters: &[&str]) -> Result<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let socket = format!("fgt-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let terminal = Terminal { socket, directory: tempfile::tempdir().context("making a directory")? };
        let mut start = terminal.tmux(&["-f", "/dev/null", "new-session", "-d"]);
        start.args(["-x", &width.to_string(), "-y", &height.to_string()]);
        // Whatever this test runs in, the program is in a terminal of 256 colours.
        start.args(["-e", "TERM=screen-256color", "sh", "-c", script, "terminal"]);
        run(start.arg(terminal.directory.path()).args(parameters))?;
        Ok(terminal)
    }

    /// The same with a program, and what the terminal is like before and after it.
    pub fn around(width: u16, height: u16, program: &[&str]) -> Result<Self> {
        let script = "d=$1; shift; echo before; stty -a >$d/before; \
                      sh -c 'echo $$ >$0/pid; exec \"$@\"' $d \"$@\" 2>$d/stderr; echo ended $?; \
                      stty -a >$d/after; exec sleep 1000";
        Self::start(width, height, script, program)
    }

    fn tmux(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.socket]).args(arguments).env_remove("TMUX");
        command
    }

    /// What is on the screen, a line each, without spaces at their ends.
    pub fn screen(&self) -> Result<String> {
        run(&mut self.tmux(&["capture-pane", "-p"]))
    }

    /// Types keys, by the names that tmux has for them.
    pub fn press(&self, keys: &[&str]) -> Result<()> {
        run(self.tmux(&["send-keys"]).args(keys)).map(drop)
    }

    /// Types text as it is.
    pub fn write(&self, text: &str) -> Result<()> {
        run(self.tmux(&["send-keys", "-l", "--"]).arg(text)).map(drop)
    }

    /// Makes the window another size.
    pub fn resize(&self, width: u16, height: u16) -> Result<()> {
        let (width, height) = (width.to_string(), height.to_string());
        run(&mut self.tmux(&["resize-window", "-x", &width, "-y", &height])).map(drop)
    }

    /// What tmux knows of the window, in its formats.
    pub fn tell(&self, format: &str) -> Result<String> {
        Ok(run(&mut self.tmux(&["display-message", "-p", format]))?.trim_end().to_owned())
    }

    /// A file that the script of [`Self::around`] writes: `before`, `after`, `pid` or `stderr`.
    pub fn file(&self, name: &str) -> Result<String> {
        let path: PathBuf = self.directory.path().join(name);
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// Waits until something is on the screen.
    pub fn wait_for(&self, text: &str) -> Result<String> {
        self.wait_until(&format!("{text:?}"), |screen| screen.contains(text))
    }

    /// Waits until the screen is as wanted.
    pub fn wait_until(&self, wanted: &str, condition: impl Fn(&str) -> bool) -> Result<String> {
        const PATIENCE: Duration = Duration::from_secs(30);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen()?;
            if condition(&screen) {
                return Ok(screen);
            }
            if Instant::now() > deadline {
                let stderr = self.file("stderr").unwrap_or_default();
                bail!("wanted {wanted} on the screen, but after {PATIENCE:?}:\n{screen}\n{stderr}");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A server that has ended already is none that is left behind.
        let _ = output(&mut self.tmux(&["kill-server"]));
    }
}
