// SPDX-License-Identifier: Apache-2.0
//! What an exporter answers to a question for its flows, as far as it is shown. `docs/flows.schema.json` describes all of it.
//!
//! Counts are floating point numbers here: they are only shown, and whatever writes them may write 1.0 for 1.

mod bounded;

use serde::Deserialize;

pub use bounded::{List, Table, Text};

/// The version of the format that is understood.
const VERSION: u32 = 1;

/// More rows than these are no answer: it is what a request may ask for.
const MOST_ROWS: usize = 1000;

/// The flows of a node.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Answer {
    version: u32,
    #[serde(default)]
    pub node: Text,
    #[serde(default)]
    pub generated_at: f64,
    #[serde(default)]
    pub window_seconds: f64,
    /// How much of the window has been observed: less than the window if the exporter is younger.
    #[serde(default)]
    pub covered_seconds: f64,
    #[serde(default)]
    pub tracked: f64,
    #[serde(default)]
    pub evicted_total: f64,
    /// Rows that the filters let through, more than are returned if there is a limit.
    #[serde(default)]
    pub matched: f64,
    pub rows: List<Row, MOST_ROWS>,
}

/// An edge, or an address behind one.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Row {
    pub edge: Table<Text>,
    pub address: Option<Text>,
    pub addresses: Option<f64>,
    pub process: Option<Text>,
    pub container: Option<Text>,
    pub pod: Option<Text>,
    pub first_seen: Option<f64>,
    pub last_seen: Option<f64>,
    pub tcp: Option<Tcp>,
    pub udp: Option<Udp>,
    pub dns: Option<Dns>,
    pub http: Option<Http>,
}

/// What TCP did in the window.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Tcp {
    pub sent_bytes: f64,
    pub received_bytes: f64,
    pub sent_segments: f64,
    pub received_segments: f64,
    pub retransmitted_segments: f64,
    pub retransmit_ratio: Option<f64>,
    pub out_of_order_segments: f64,
    pub rtt_seconds: Option<Rtt>,
    pub connections: f64,
    pub connections_opened: f64,
    pub connections_closed: Table<f64>,
    pub connect_attempts: f64,
    pub connect_failures: Table<f64>,
    pub syn_retransmits: f64,
    pub synack_retransmits: f64,
}

/// Smoothed round-trip times of connections.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Rtt {
    pub last: Option<f64>,
    pub mean: Option<f64>,
    pub max: Option<f64>,
}

/// What UDP did.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Udp {
    pub sent_bytes: f64,
    pub received_bytes: f64,
    pub sent_packets: f64,
    pub received_packets: f64,
}

/// What was asked in the DNS.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Dns {
    pub queries: f64,
    pub responses: Table<f64>,
    pub timeouts: f64,
    pub errors: f64,
    pub mean_seconds: Option<f64>,
}

/// What HTTP answered.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Http {
    pub responses: Table<f64>,
    pub errors: f64,
    pub failed: Table<f64>,
    pub grpc: Table<f64>,
    pub grpc_errors: f64,
    pub mean_seconds: Option<f64>,
}

impl Answer {
    /// Reads an answer's body.
    ///
    /// # Errors
    /// It is no such answer: why not.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let answer: Self =
            serde_json::from_slice(body).map_err(|error| format!("not an answer of /flows: {error}"))?;
        if answer.version != VERSION {
            return Err(format!(
                "the exporter answers in version {} of the format, this program knows version {VERSION}",
                answer.version
            ));
        }
        Ok(answer)
    }

    /// The rows, in the order asked for.
    pub fn rows(&self) -> &[Row] {
        &self.rows.0
    }
}

impl Row {
    /// A label of the edge; empty if it has none.
    pub fn label(&self, name: &str) -> &str {
        self.edge.0.get(name).map_or("", |value| value)
    }

    /// Whether it is the same edge, or the same address of it, as another of the same question.
    pub fn is_same(&self, other: &Self) -> bool {
        self.edge == other.edge && self.address == other.address
    }

    /// Whether `text` is in one of the names. Expects lower case.
    pub fn mentions(&self, text: &str) -> bool {
        let own = [&self.address, &self.process, &self.container, &self.pod];
        let names = self.edge.0.values().chain(own.into_iter().flatten());
        names.map(|name| name.to_lowercase()).any(|name| name.contains(text))
    }
}

impl Table<f64> {
    /// All values together.
    pub fn sum(&self) -> f64 {
        // The sum of nothing is -0.0.
        self.0.values().sum::<f64>() + 0.0
    }
}

#[cfg(test)]
mod tests;
