// SPDX-License-Identifier: Apache-2.0
//! The flags of `flowgauge top`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::Usage;
pub use target::Target;

mod target;

/// Where the password may stand beside [`TopFlags::password_file`].
const PASSWORD: &str = "FLOWGAUGE_TOP_PASSWORD";

/// Which exporter is asked, for what, and how it is shown.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct TopFlags {
    /// Exporter to ask. The address of its page of flows is taken too, with the filters in it.
    #[arg(
        long,
        env = "FLOWGAUGE_TOP_URL",
        value_name = "URL",
        default_value = "http://localhost:10950",
        help_heading = "Exporter"
    )]
    pub url: Target,

    /// Certificate authorities to trust, a PEM file; without it those of the system.
    #[arg(long, env = "FLOWGAUGE_TOP_CA_FILE", value_name = "FILE", help_heading = "Exporter")]
    pub ca_file: Option<PathBuf>,

    /// Client certificate, and what is between it and its authority, a PEM file.
    #[arg(
        long,
        env = "FLOWGAUGE_TOP_CERT_FILE",
        value_name = "FILE",
        requires = "key_file",
        help_heading = "Exporter"
    )]
    pub cert_file: Option<PathBuf>,

    /// Private key of the client certificate, a PEM file.
    #[arg(
        long,
        env = "FLOWGAUGE_TOP_KEY_FILE",
        value_name = "FILE",
        requires = "cert_file",
        help_heading = "Exporter"
    )]
    pub key_file: Option<PathBuf>,

    /// Trust any server certificate: whoever is in between can read the password.
    #[arg(long, help_heading = "Exporter")]
    pub insecure: bool,

    /// User for basic authentication; the password is in --password-file or in FLOWGAUGE_TOP_PASSWORD.
    #[arg(long, env = "FLOWGAUGE_TOP_USER", value_name = "NAME", help_heading = "Exporter")]
    pub user: Option<String>,

    /// File whose first line is the password.
    #[arg(long, env = "FLOWGAUGE_TOP_PASSWORD_FILE", value_name = "FILE", help_heading = "Exporter")]
    pub password_file: Option<PathBuf>,

    /// What a row is: an edge between services, or one remote address of it.
    #[arg(long, value_name = "ROW", default_value = "edge", ignore_case = true)]
    pub by: RowsBy,

    /// How far back counts go.
    #[arg(long, value_name = "WINDOW", default_value = "5m")]
    pub window: Window,

    /// Column to sort by: a name that /flows takes, such as `bytes`, `retransmit_ratio`, `rtt_max`, `connect_failures`.
    #[arg(long, value_name = "COLUMN", default_value = "bytes", value_parser = column)]
    pub sort: String,

    /// Least first.
    #[arg(long)]
    pub reverse: bool,

    /// Rows to show: `LABEL=VALUE`, an address or network, or text that a name contains; may be repeated.
    #[arg(long = "filter", value_name = "FILTER")]
    pub filters: Vec<String>,

    /// Columns to show.
    #[arg(long, value_name = "VIEW", default_value = "traffic", ignore_case = true)]
    pub view: View,

    /// Most rows.
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,

    /// Time between two requests, 1s to 1h.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = interval)]
    pub interval: Duration,

    /// Print a plain table and end.
    #[arg(long)]
    pub once: bool,

    /// Print what the exporter answers, as JSON, and end.
    #[arg(long, conflicts_with = "once")]
    pub json: bool,
}

/// What a row of the table is.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsBy {
    /// An edge between two services.
    Edge,
    /// A remote address of an edge.
    Address,
}

/// How far back counts go.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    #[value(name = "1m")]
    One,
    #[value(name = "5m")]
    Five,
    #[value(name = "15m")]
    Fifteen,
}

/// A choice of columns.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Rates, connections, round trip, loss.
    Traffic,
    /// Segments, retransmitted and out of order, round trips.
    Loss,
    /// Attempts and failures.
    Connect,
    /// Queries and errors.
    Dns,
    /// Responses and errors.
    Http,
}

impl TopFlags {
    /// User and password, if there is a user.
    ///
    /// # Errors
    /// One line: there is no password, or its file cannot be read.
    pub fn credentials(&self) -> Result<Option<(String, String)>, Usage> {
        const MAX_BYTES: usize = 4096;
        let Some(user) = &self.user else { return Ok(None) };
        if user.contains(':') {
            return Err(Usage::invalid("--user", user, "must not contain a colon"));
        }
        let password = match &self.password_file {
            Some(path) => {
                let wrong =
                    |reason: &str| Usage::invalid("--password-file", &path.display().to_string(), reason);
                let text = std::fs::read_to_string(path).map_err(|error| wrong(&error.to_string()))?;
                let first = text.lines().next().unwrap_or_default().to_owned();
                if first.is_empty() || first.len() > MAX_BYTES {
                    return Err(wrong("must have a password of at most 4096 bytes in its first line"));
                }
                first
            }
            None => {
                std::env::var(PASSWORD).ok().filter(|password| !password.is_empty()).ok_or_else(|| {
                    Usage::invalid("--user", user, "needs --password-file or FLOWGAUGE_TOP_PASSWORD")
                })?
            }
        };
        Ok(Some((user.clone(), password)))
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let parsed =
        humantime::parse_duration(text).map_err(|_| "is not a duration such as 2s or 1m".to_owned())?;
    let allowed = Duration::from_secs(1)..=Duration::from_secs(3600);
    if allowed.contains(&parsed) { Ok(parsed) } else { Err("must be from 1s to 1h".to_owned()) }
}

fn column(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !text.is_empty() && text.len() <= 64 && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    Err("is not a column of /flows: they have lower case letters, digits and _".to_owned())
}

#[cfg(test)]
mod tests;
