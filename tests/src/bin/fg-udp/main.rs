// SPDX-License-Identifier: Apache-2.0
//! Makes UDP traffic for the end-to-end tests: servers and senders of every shape, which count what they do themselves.

mod send;
mod serve;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    step: Step,
}

#[derive(Subcommand)]
enum Step {
    /// Read datagrams, and answer them, until standard input ends; answer `report` there.
    Serve(serve::Serve),
    /// Send datagrams, and say how many.
    Send(send::Send),
}

fn main() -> Result<()> {
    match Arguments::parse().step {
        Step::Serve(step) => serve::run(step),
        Step::Send(step) => send::run(&step),
    }
}
