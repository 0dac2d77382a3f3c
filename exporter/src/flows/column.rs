// SPDX-License-Identifier: Apache-2.0
//! What rows can be sorted by.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

use super::counts::{Counts, at};
use super::query::Order;
use super::rows::Sum;

type Count = fn(&Counts) -> u64;
type Measured = fn(&Counts) -> Option<f64>;

/// A column, by its place among the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// One of [`COUNTS`].
    Count(usize),
    /// One of [`MEASURED`].
    Measured(usize),
    /// One of [`OF_ROW`].
    OfRow(usize),
    /// A label, by its place in the plan.
    Label(usize),
}

const COUNTS: &[(&str, Count)] = &[
    ("bytes", Counts::bytes),
    ("sent_bytes", Counts::sent_bytes),
    ("received_bytes", Counts::received_bytes),
    ("segments", Counts::segments),
    ("retransmitted_segments", |counts| counts.get(at::RETRANSMITTED)),
    ("out_of_order_segments", |counts| counts.get(at::OUT_OF_ORDER)),
    ("connections_opened", |counts| counts.get(at::OPENED)),
    ("connect_attempts", |counts| counts.get(at::ATTEMPTS)),
    ("connect_failures", Counts::connect_failures),
    ("syn_retransmits", |counts| counts.get(at::SYN_RETRANSMITS)),
    ("udp_packets", |counts| counts.get(at::UDP_SENT_PACKETS) + counts.get(at::UDP_RECEIVED_PACKETS)),
    ("dns_queries", |counts| counts.get(at::DNS_QUERIES)),
    ("dns_errors", Counts::dns_errors),
    ("http_responses", Counts::http_responses),
    ("http_errors", Counts::http_errors),
    ("grpc_errors", Counts::grpc_errors),
    ("errors", Counts::errors),
];

const MEASURED: &[(&str, Measured)] = &[
    ("retransmit_ratio", Counts::retransmit_ratio),
    ("rtt_mean", Counts::rtt_mean),
    ("rtt_max", Counts::rtt_max),
];

const OF_ROW: &[&str] = &["rtt_last", "connections", "addresses", "first_seen", "last_seen", "address"];

impl Default for Column {
    fn default() -> Self {
        Column::Count(0)
    }
}

impl Column {
    /// The column of this name, where edges have these labels.
    pub fn named(name: &str, labels: &[&str]) -> Option<Self> {
        let count = COUNTS.iter().position(|(known, _)| *known == name).map(Column::Count);
        let measured = || MEASURED.iter().position(|(known, _)| *known == name).map(Column::Measured);
        let of_row = || OF_ROW.iter().position(|known| *known == name).map(Column::OfRow);
        let label = || labels.iter().position(|known| *known == name).map(Column::Label);
        count.or_else(measured).or_else(of_row).or_else(label)
    }

    /// Names of all columns, where edges have these labels.
    pub fn names<'a>(labels: &'a [&'static str]) -> impl Iterator<Item = &'static str> + 'a {
        let counts = COUNTS.iter().map(|(name, _)| *name);
        let measured = MEASURED.iter().map(|(name, _)| *name);
        counts.chain(measured).chain(OF_ROW.iter().copied()).chain(labels.iter().copied())
    }

    /// Its name.
    pub fn name(self, labels: &[&'static str]) -> &'static str {
        let known = match self {
            Column::Count(place) => COUNTS.get(place).map(|(name, _)| *name),
            Column::Measured(place) => MEASURED.get(place).map(|(name, _)| *name),
            Column::OfRow(place) => OF_ROW.get(place).copied(),
            Column::Label(place) => labels.get(place).copied(),
        };
        known.unwrap_or_default()
    }

    /// What a row has in it.
    pub(super) fn value(self, row: &Sum) -> Value {
        let number = |number: Option<f64>| number.map_or(Value::None, Value::Number);
        match self {
            Column::Count(place) => number(COUNTS.get(place).map(|(_, count)| count(&row.counts) as f64)),
            Column::Measured(place) => number(MEASURED.get(place).and_then(|(_, read)| read(&row.counts))),
            Column::OfRow(place) => match OF_ROW.get(place).copied().unwrap_or_default() {
                "rtt_last" => number(row.rtt_last()),
                "connections" => number(row.connections.map(|count| count as f64)),
                "addresses" => number(Some(row.addresses as f64)),
                "first_seen" => number(Some(row.first as f64)),
                "last_seen" => number(Some(row.last as f64)),
                _ => row.address.map_or(Value::None, Value::Address),
            },
            Column::Label(place) => {
                row.end.edge.labels.get(place).map_or(Value::None, |label| Value::Text(Arc::clone(label)))
            }
        }
    }
}

/// What rows are compared by.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Number(f64),
    Text(Arc<str>),
    Address(IpAddr),
    /// Comes last in either order.
    None,
}

impl Value {
    pub fn compare(&self, other: &Value, order: Order) -> Ordering {
        let ascending = match (self, other) {
            (Value::Number(one), Value::Number(other)) => one.total_cmp(other),
            (Value::Text(one), Value::Text(other)) => one.cmp(other),
            (Value::Address(one), Value::Address(other)) => one.cmp(other),
            (Value::None, Value::None) => Ordering::Equal,
            (Value::None, _) => return Ordering::Greater,
            (_, Value::None) => return Ordering::Less,
            // All of a column are alike.
            _ => Ordering::Equal,
        };
        match order {
            Order::Ascending => ascending,
            Order::Descending => ascending.reverse(),
        }
    }
}
