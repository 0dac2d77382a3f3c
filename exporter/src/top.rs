// SPDX-License-Identifier: Apache-2.0
//! `flowgauge top`: the edges of a running exporter, or the addresses behind them, in a terminal.
//!
//! [`fetch`] asks for `/flows` and [`answer`] reads it: both expect the worst of whoever answers. [`model`] is what is
//! shown and changes with [`keys`] and answers, [`view`] draws it, [`live`] connects them to a terminal. [`plain`] is the
//! same table for a pipe.

mod answer;
mod columns;
mod fetch;
#[cfg(test)]
mod fixture;
mod format;
mod keys;
mod live;
mod model;
mod plain;
mod query;
mod text;
mod tls;
mod view;

use std::io::IsTerminal as _;
use std::time::Instant;

use anyhow::Context as _;

use crate::flags::{TopFlags, Usage};
use answer::Answer;
use fetch::{Client, Limits};
use model::Model;

/// How it ended.
pub enum End {
    /// This is to be printed.
    Print(String),
    /// Somebody ended the live table.
    Quit,
}

/// Why it cannot do what was asked for.
pub enum Failure {
    /// The command line is wrong.
    Usage(Usage),
    /// There is no answer, or no terminal.
    Other(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// Does what the flags ask for.
///
/// # Errors
/// What went wrong.
pub fn run(flags: &TopFlags) -> Result<End, Failure> {
    let mut client = Client::new(flags, Limits::default()).map_err(Failure::Usage)?;
    let mut model = Model::new(flags);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    if flags.once || flags.json {
        let query = model.query.clone();
        let body = runtime.block_on(client.get(&query.encode())).map_err(anyhow::Error::msg)?;
        if flags.json {
            return Ok(End::Print(json(&body)?));
        }
        let answer = Answer::parse(&body).map_err(|error| anyhow::Error::msg(text::clean(&error)))?;
        model.take(&query, Ok(answer), Instant::now());
        return Ok(End::Print(plain::table(&model)));
    }
    if !std::io::stdout().is_terminal() {
        let reason = "standard output is no terminal: --once prints a plain table, --json prints JSON";
        return Err(Failure::Usage(Usage::Mistake(format!("flowgauge: top: {reason}"))));
    }
    runtime.block_on(live::show(client, model)).context("using the terminal")?;
    // A look-up of a name may still be running, on a thread that nobody waits for.
    runtime.shutdown_background();
    Ok(End::Quit)
}

/// What the exporter answered, harmless in a terminal.
fn json(body: &[u8]) -> anyhow::Result<String> {
    let not = |reason: String| anyhow::Error::msg(text::clean(&format!("the answer is no JSON: {reason}")));
    let json = std::str::from_utf8(body).map_err(|error| not(error.to_string()))?;
    serde_json::from_str::<serde::de::IgnoredAny>(json).map_err(|error| not(error.to_string()))?;
    Ok(format!("{}\n", text::escape_json(json).trim_end()))
}

#[cfg(test)]
mod tests {
    use super::json;

    #[test]
    fn only_json_is_printed() {
        assert_eq!(json(b"{\"a\": \"\xc2\x9b\"}\n\n").unwrap(), "{\"a\": \"\\u009b\"}\n");
        for body in [&b"<html>"[..], b"{\"a\": \"\x1b\"}", b"\xff", b""] {
            let error = json(body).unwrap_err().to_string();
            assert!(error.starts_with("the answer is no JSON: ") && !error.contains('\u{1b}'), "{error}");
        }
    }
}
