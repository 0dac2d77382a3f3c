// SPDX-License-Identifier: Apache-2.0
//! nghttp2's load generator: many streams on few connections.

use anyhow::{Result, ensure};

use crate::netns::Host;
use crate::process::run;

/// Runs `h2load` in `host`; an error when a request failed, other than by its status code.
pub fn h2load(host: &Host, arguments: &[&str], urls: &[String]) -> Result<()> {
    let output = run(host.command("h2load").args(arguments).args(urls))?;
    // What it calls failed are codes other than 2xx.
    ensure!(output.contains(" 0 errored, 0 timeout"), "{output}");
    Ok(())
}
