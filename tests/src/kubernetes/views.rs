// SPDX-License-Identifier: Apache-2.0
//! What both ends of an edge say of it: all its labels, and how much went each way.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::exporter::Exporter;
use crate::metrics::{Metrics, Sample, Selector};
use crate::stage::CLIENT;
use crate::traffic::{HEADER, ServerReport};

/// The default edge labels but `observer`, in the order of the exposition.
pub const LABELS: [&str; 9] = [
    "client_namespace",
    "client_workload",
    "client_zone",
    "server_namespace",
    "server_workload",
    "server_zone",
    "server_service",
    "server_kind",
    "server_port",
];

/// Their values.
pub type Labels = [String; 9];

/// What went over an edge.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moved {
    /// Payload bytes from the client.
    pub from_client: f64,
    /// Payload bytes to the client.
    pub to_client: f64,
    /// Connections established.
    pub opened: f64,
    /// Connections ended.
    pub closed: f64,
}

impl Moved {
    /// What so many connections move, with one request each that is answered by so many bytes.
    pub fn by(connections: u64, answer: u64) -> Self {
        let count = connections as f64;
        Moved {
            from_client: count * HEADER as f64,
            to_client: count * answer as f64,
            opened: count,
            closed: count,
        }
    }

    /// What a server has counted since an earlier report, if all its connections are over.
    pub fn since(earlier: &ServerReport, report: &ServerReport) -> Self {
        let accepted = (report.accepted - earlier.accepted) as f64;
        Moved {
            from_client: (report.received - earlier.received) as f64,
            to_client: (report.sent - earlier.sent) as f64,
            opened: accepted,
            closed: accepted,
        }
    }

    /// Whether nothing moved.
    fn is_nothing(&self) -> bool {
        *self == Moved::default()
    }
}

/// Edges with what went over them.
pub type Edges = BTreeMap<Labels, Moved>;

/// The values of all labels; of both ends namespace, workload and zone.
pub fn labels(client: [&str; 3], server: [&str; 3], service: &str, kind: &str, port: &str) -> Labels {
    let [[a, b, c], [d, e, f]] = [client, server];
    [a, b, c, d, e, f, service, kind, port].map(str::to_owned)
}

fn of_sample(sample: &Sample) -> Labels {
    LABELS.map(|label| sample.labels.get(label).cloned().unwrap_or_default())
}

/// The edges that an observer tells of and that match, but those on which nothing has moved.
pub fn edges(metrics: &Metrics, observer: &str, selector: &Selector) -> Edges {
    let mut edges = Edges::new();
    let selector = [&[("observer", observer)], selector].concat();
    let opened = observer.starts_with(CLIENT);
    type Field = fn(&mut Moved) -> &mut f64;
    let (sent, received): (Field, Field) = (|moved| &mut moved.from_client, |moved| &mut moved.to_client);
    let (sent, received) = if opened { (sent, received) } else { (received, sent) };
    let families: [(&str, Field); 4] = [
        ("sent_bytes_total", sent),
        ("received_bytes_total", received),
        ("connections_opened_total", |moved| &mut moved.opened),
        ("connections_closed_total", |moved| &mut moved.closed),
    ];
    for (family, field) in families {
        for sample in metrics.select(&format!("flowgauge_tcp_{family}"), &selector) {
            *field(edges.entry(of_sample(sample)).or_default()) += sample.value;
        }
    }
    edges.retain(|_, moved| !moved.is_nothing());
    edges
}

/// Scrapes until an observer's edges that match are exactly these, at most `patience`.
pub fn expect_edges(
    exporter: &Exporter,
    observer: &str,
    selector: &Selector,
    expected: &Edges,
    patience: Duration,
) -> Result<Metrics> {
    let deadline = Instant::now() + patience;
    loop {
        let metrics = exporter.scrape()?;
        let found = edges(&metrics, observer, selector);
        if found == *expected {
            return Ok(metrics);
        }
        ensure!(
            Instant::now() < deadline,
            "the {observer} with {selector:?} should tell of\n{}but tells of\n{}",
            lines(expected),
            lines(&found)
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn lines(edges: &Edges) -> String {
    edges.iter().map(|(labels, moved)| format!("  {} {moved:?}\n", labels.join("|"))).collect()
}
