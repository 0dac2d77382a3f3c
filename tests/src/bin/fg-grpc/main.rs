// SPDX-License-Identifier: Apache-2.0
//! A gRPC server and a client (tonic) without generated code: messages are bytes, and the first one is the status to answer with.

mod ask;
mod raw;
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
    /// Answer calls until standard input ends; answer `report` there.
    Serve(serve::Serve),
    /// Make calls, and say what came of them.
    Ask(ask::Ask),
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match Arguments::parse().step {
        Step::Serve(step) => runtime.block_on(serve::run(step)),
        Step::Ask(step) => runtime.block_on(ask::run(step)),
    }
}
