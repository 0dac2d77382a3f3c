// SPDX-License-Identifier: Apache-2.0

//! Checks the exporter inside a machine of the kernel matrix: makes known TCP, UDP and DNS traffic in a network namespace of its own,
//! and compares `/metrics` with what the two ends and the kernel's own counters say.
//!
//! Prints one `CHECK ok|FAIL …` line for each check, and how many it made. `fg-vm-check serve ADDRESS…` is the server.

mod datagrams;
mod drops;
mod exporter;
mod http;
mod kernel;
mod report;
mod scenarios;
mod traffic;

use std::process::ExitCode;

use anyhow::Result;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((command, addresses)) if command == "serve" => traffic::serve(addresses),
        Some((command, _)) => Err(anyhow::anyhow!("{command}: not a command; run it bare, or with `serve`")),
        None => check(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("CHECK FAIL the checks themselves: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<()> {
    let mut report = report::Report::default();
    let namespaces = kernel::Namespaces::enter_new()?;
    let outcome = scenarios::run(&namespaces, &mut report);
    if let Err(error) = outcome {
        report.fail("the checks themselves", &format!("{error:#}"));
    }
    report.finish();
    Ok(())
}
