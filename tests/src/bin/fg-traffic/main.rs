// SPDX-License-Identifier: Apache-2.0
//! Makes TCP traffic for the end-to-end tests: servers, clients, and connections that end in every possible way. It
//! counts what it does itself, byte by byte. The protocol is described in `flowgauge_tests::traffic`.

mod connect;
mod get;
mod open;
mod serve;
mod special;

use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use flowgauge_tests::{delay, sys};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    step: Step,
}

#[derive(Subcommand)]
enum Step {
    /// Serve requests until killed; answer `report` on standard input.
    Serve(serve::Serve),
    /// Open connections and make requests.
    Get(get::Get),
    /// Only connect, and say what came of it.
    Connect(connect::Connect),
    /// Connect, exchange, dissolve by connect(AF_UNSPEC), and again with the same socket.
    Reuse(special::Reuse),
    /// Lose the peer on an open connection with TCP_USER_TIMEOUT set.
    UserTimeout(special::UserTimeout),
    /// Forward packets between two namespaces after a delay.
    Delay {
        #[arg(long, required = true)]
        end: Vec<String>,
        #[arg(long)]
        microseconds: u64,
        /// Every so many packets, one overtakes the one before; 0: none does.
        #[arg(long, default_value_t = 0)]
        overtaking: u64,
        /// Every so many packets, one is delivered twice; 0: none is.
        #[arg(long, default_value_t = 0)]
        doubled: u64,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().step {
        Step::Serve(step) => runtime()?.block_on(serve::run(step)),
        Step::Get(step) => runtime()?.block_on(get::run(step)),
        Step::Connect(step) => connect::run(&step),
        Step::Reuse(step) => special::reuse(&step),
        Step::UserTimeout(step) => special::user_timeout(&step),
        Step::Delay { end, microseconds, overtaking, doubled } => match end.as_slice() {
            [a, b] => delay::forward(
                [a, b],
                delay::Manners { one_way: Duration::from_micros(microseconds), overtaking, doubled },
            ),
            ends => anyhow::bail!("a link has two ends, not {}", ends.len()),
        },
    }
}

/// One thread: the process's name is then the name of whoever makes the system calls.
fn runtime() -> Result<tokio::runtime::Runtime> {
    sys::raise_open_files()?;
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
