// SPDX-License-Identifier: Apache-2.0
//! Makes HTTP traffic for the end-to-end tests: two ends of conversations that are written down to the segment, and a real
//! client and a real server that count. See `flowgauge_tests::http`.

mod ask;
mod payload;
mod player;
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
    /// Play the client's part of a script.
    Client(player::Play),
    /// Play the server's part of a script.
    Server(player::Play),
    /// Answer requests as their paths say until standard input ends; answer `report` there.
    Serve(serve::Serve),
    /// Make requests one after the other on some connections, and say what came of them.
    Ask(ask::Ask),
}

fn main() -> Result<()> {
    match Arguments::parse().step {
        Step::Client(step) => player::client(&step),
        Step::Server(step) => player::server(&step),
        Step::Serve(step) => serve::main(step),
        Step::Ask(step) => ask::main(step),
    }
}
