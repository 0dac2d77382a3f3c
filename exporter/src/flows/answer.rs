// SPDX-License-Identifier: Apache-2.0
//! The answer to a question, as it is written in JSON (`docs/flows.schema.json`) and shown on the page.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use super::column::Column;
use super::counts::{Counts, at};
use super::entry::FlowEdge;
use super::query::Query;
use super::rows::Sum;
use super::shares::Share;
use super::store::Flows;

/// Grows when something is told in another way; what is only told in addition does not count.
const VERSION: u32 = 1;

/// The whole answer.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    pub version: u32,
    pub node: String,
    pub generated_at: f64,
    pub window_seconds: u32,
    pub covered_seconds: f64,
    pub slot_seconds: u32,
    pub by: &'static str,
    pub tracked: usize,
    pub capacity: usize,
    pub evicted_total: u64,
    pub refused_total: u64,
    pub matched: usize,
    pub returned: usize,
    pub labels: Vec<&'static str>,
    pub columns: Vec<&'static str>,
    pub rows: Vec<Row>,
    /// For people.
    #[serde(skip)]
    pub shares: Vec<Share>,
}

/// One address of an edge, or one edge. What is not known is None.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub edge: EdgeLabels,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<u64>,
    pub process: Option<Arc<str>>,
    pub container: Option<Arc<str>>,
    pub pod: Option<Arc<str>>,
    pub first_seen: f64,
    pub last_seen: f64,
    pub tcp: Option<Tcp>,
    pub udp: Option<Udp>,
    pub dns: Option<Dns>,
    pub http: Option<Http>,
    pub history: History,
}

type ByName = BTreeMap<&'static str, u64>;

#[derive(Debug, Clone, Serialize)]
pub struct Tcp {
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub sent_segments: u64,
    pub received_segments: u64,
    pub retransmitted_segments: u64,
    pub retransmit_ratio: Option<f64>,
    pub out_of_order_segments: u64,
    pub rtt_seconds: Option<Rtt>,
    pub connections: Option<u64>,
    pub connections_opened: u64,
    pub connections_closed: ByName,
    pub connect_attempts: u64,
    pub connect_failures: ByName,
    pub syn_retransmits: u64,
    pub synack_retransmits: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Rtt {
    pub last: f64,
    pub mean: f64,
    pub max: f64,
    pub samples: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Udp {
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub sent_packets: u64,
    pub received_packets: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Dns {
    pub queries: u64,
    pub responses: ByName,
    pub timeouts: u64,
    pub errors: u64,
    pub mean_seconds: Option<f64>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Http {
    pub responses: ByName,
    pub errors: u64,
    pub failed: ByName,
    pub grpc: ByName,
    pub grpc_errors: u64,
    pub mean_seconds: Option<f64>,
}

/// Points of the window, oldest first.
#[derive(Debug, Clone, Default, Serialize)]
pub struct History {
    pub bytes: Vec<u64>,
    pub retransmitted_segments: Vec<u64>,
    pub errors: Vec<u64>,
}

/// The labels of an edge with their names.
#[derive(Debug, Clone)]
pub struct EdgeLabels {
    names: Arc<[&'static str]>,
    edge: Arc<FlowEdge>,
}

impl EdgeLabels {
    /// A label's value; empty if there is no such label.
    pub fn get(&self, name: &str) -> &str {
        self.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.names.iter().copied().zip(self.edge.labels.iter().map(|value| &**value))
    }
}

impl Serialize for EdgeLabels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.names.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Row {
    fn new(sum: Sum, history: History, names: &Arc<[&'static str]>, wall: impl Fn(u64) -> f64) -> Self {
        let [process, container, pod] = std::array::from_fn(|which| sum.local(which));
        Self {
            process,
            container,
            pod,
            address: sum.address,
            addresses: sum.address.is_none().then_some(sum.addresses),
            first_seen: wall(sum.first),
            last_seen: wall(sum.last),
            tcp: tcp(&sum),
            udp: udp(&sum.counts),
            dns: dns(&sum.counts),
            http: http(&sum.counts),
            history,
            edge: EdgeLabels { names: Arc::clone(names), edge: sum.end.edge.clone() },
        }
    }
}

fn by_name(named: Vec<(&'static str, u64)>) -> ByName {
    named.into_iter().collect()
}

fn tcp(sum: &Sum) -> Option<Tcp> {
    let counts = &sum.counts;
    let open = sum.connections.is_some_and(|connections| connections > 0);
    let rtt = sum.rtt_last().zip(counts.rtt_mean()).zip(counts.rtt_max());
    (counts.has_tcp() || open).then(|| Tcp {
        sent_bytes: counts.get(at::SENT_BYTES),
        received_bytes: counts.get(at::RECEIVED_BYTES),
        sent_segments: counts.get(at::SENT_SEGMENTS),
        received_segments: counts.get(at::RECEIVED_SEGMENTS),
        retransmitted_segments: counts.get(at::RETRANSMITTED),
        retransmit_ratio: counts.retransmit_ratio(),
        out_of_order_segments: counts.get(at::OUT_OF_ORDER),
        rtt_seconds: rtt.map(|((last, mean), max)| Rtt {
            last,
            mean,
            max,
            samples: counts.get(at::RTT_SAMPLES),
        }),
        connections: sum.connections,
        connections_opened: counts.get(at::OPENED),
        connections_closed: by_name(counts.closed_by_reason()),
        connect_attempts: counts.get(at::ATTEMPTS),
        connect_failures: by_name(counts.connect_failures_by_reason()),
        syn_retransmits: counts.get(at::SYN_RETRANSMITS),
        synack_retransmits: counts.get(at::SYNACK_RETRANSMITS),
    })
}

fn udp(counts: &Counts) -> Option<Udp> {
    counts.has_udp().then(|| Udp {
        sent_bytes: counts.get(at::UDP_SENT_BYTES),
        received_bytes: counts.get(at::UDP_RECEIVED_BYTES),
        sent_packets: counts.get(at::UDP_SENT_PACKETS),
        received_packets: counts.get(at::UDP_RECEIVED_PACKETS),
    })
}

fn dns(counts: &Counts) -> Option<Dns> {
    counts.has_dns().then(|| Dns {
        queries: counts.get(at::DNS_QUERIES),
        responses: by_name(counts.dns_responses()),
        timeouts: counts.get(at::DNS_TIMEOUTS),
        errors: counts.dns_errors(),
        mean_seconds: counts.dns_mean(),
    })
}

fn http(counts: &Counts) -> Option<Http> {
    counts.has_http().then(|| Http {
        responses: by_name(counts.http_responses_by_class()),
        errors: counts.http_errors(),
        failed: by_name(counts.http_failed_by_reason()),
        grpc: by_name(counts.grpc()),
        grpc_errors: counts.grpc_errors(),
        mean_seconds: counts.http_mean(),
    })
}

impl Flows {
    /// Answers a question, as of the last pass. `wall` is the time of day, for what is told in it.
    pub fn answer(&self, query: &Query, node: &str, wall: SystemTime) -> Answer {
        let found = self.matching(query);
        let wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let at = |then: u64| wall - self.now.saturating_sub(then) as f64 / 1e3;
        let names: Arc<[&'static str]> = self.labels().into();
        let histories = self.histories(query, &found.rows);
        let rows = found.rows.into_iter().zip(histories);
        let rows: Vec<Row> = rows.map(|(sum, history)| Row::new(sum, history, &names, at)).collect();
        let usage = self.usage();
        Answer {
            version: VERSION,
            node: node.to_owned(),
            generated_at: wall,
            window_seconds: query.window.seconds(),
            covered_seconds: self.passes.covered(self.first_slot(query)).as_secs_f64(),
            slot_seconds: query.window.slots_in_point() * super::window::SLOT.as_secs() as u32,
            by: query.by.as_str(),
            tracked: usage.tracked,
            capacity: usage.capacity,
            evicted_total: usage.evicted,
            refused_total: usage.refused,
            matched: found.matched,
            returned: rows.len(),
            columns: Column::names(&names).collect(),
            shares: self.shares(query),
            labels: names.to_vec(),
            rows,
        }
    }
}
