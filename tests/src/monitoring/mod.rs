// SPDX-License-Identifier: Apache-2.0
//! Debian's Alertmanager, somebody whom it notifies, and what Prometheus needs as well.

mod alertmanager;
mod webhook;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;

pub use alertmanager::{Alertmanager, Known};
pub use webhook::{Notification, Webhook};

use crate::exporter::get;
use crate::process::{Process, run};
use crate::sys::{self, Placement};

/// Names and values, of labels or annotations.
pub type Labels = BTreeMap<String, String>;

/// How long either may take to be ready.
const START: Duration = Duration::from_secs(60);

/// Renders the project's rules for a clock that runs `speed` times as fast, with these other values (`NAME=VALUE`), into
/// `directory`.
pub fn render_rules(directory: &Path, speed: u32, values: &[&str]) -> Result<()> {
    let generator = Path::new(env!("CARGO_MANIFEST_DIR")).join("../alerts/generate.py");
    let mut command = Command::new("python3");
    command.arg(generator).arg("--output").arg(directory).arg("--speed").arg(speed.to_string());
    command.args(values.iter().flat_map(|value| ["--set", value]));
    run(&mut command).map(drop)
}

/// A server that was told to listen on a loopback port, ready to be asked.
pub(crate) fn start(
    what: &str,
    command: impl FnOnce(SocketAddr) -> Command,
) -> Result<(Process, SocketAddr)> {
    // Free now, and asked for at once.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = command(address);
    // One busy thread at a time: neither has much to do, and others may have.
    command.env("GOMAXPROCS", "1");
    sys::place(&mut command, Placement { first: true, ..Placement::default() });
    let mut process = Process::spawn(what, &mut command)?;
    let deadline = Instant::now() + START;
    while !get(address, "/-/ready", "*/*").is_ok_and(|response| response.status == 200) {
        ensure!(process.is_running(), "{what} ended: {}", process.log());
        ensure!(Instant::now() < deadline, "{what} is not ready: {}", process.log());
        thread::sleep(Duration::from_millis(100));
    }
    Ok((process, address))
}

/// A GET that is answered with JSON.
fn ask<T: DeserializeOwned>(address: SocketAddr, path: &str) -> Result<T> {
    let answer = get(address, path, "application/json")?;
    serde_json::from_str(&answer.body).with_context(|| format!("{path} answered {}", answer.body))
}
