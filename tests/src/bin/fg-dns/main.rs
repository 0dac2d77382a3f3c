// SPDX-License-Identifier: Apache-2.0
//! Makes DNS traffic for the end-to-end tests: a client that counts, a server that answers as the name asked for says,
//! and senders of malformed messages. See `flowgauge_tests::dns`.

mod ask;
mod pending;
mod serve;
mod spray;
mod stream;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    step: Step,
}

#[derive(Subcommand)]
enum Step {
    /// Answer queries until standard input ends; answer `report` there.
    Serve(serve::Serve),
    /// Ask, and say what came of it.
    Ask(ask::Ask),
    /// Send malformed messages at full speed.
    Spray(spray::Spray),
}

fn main() -> Result<()> {
    let report = match Arguments::parse().step {
        Step::Serve(step) => return serve::main(step),
        Step::Ask(step) => ask::run(&step)?,
        Step::Spray(step) => spray::run(&step)?,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
