// SPDX-License-Identifier: Apache-2.0
//! The usual scene: a client host, a server host, a link between them, and an exporter that knows both by name.

use std::time::Duration;

use anyhow::Result;

use crate::exporter::Exporter;
use crate::metrics::{Histogram, Metrics, Selector};
use crate::names::{Name, NamesFile};
use crate::netns::{Host, Link, World};

/// Which end was watched.
pub const CLIENT: &str = "client";
/// Which end was watched.
pub const SERVER: &str = "server";

/// Client, server, link, exporter. Dropped in this order: the exporter first.
#[derive(Debug)]
pub struct Stage {
    /// The exporter, in the machine's own namespace.
    pub exporter: Exporter,
    /// Its names file: both hosts' addresses.
    pub names: NamesFile,
    /// The link between both hosts; the client is at its `a` end.
    pub link: Link,
    /// Where connections are opened.
    pub client: Host,
    /// Where connections are accepted.
    pub server: Host,
    /// The world of all hosts.
    pub world: World,
}

impl Stage {
    /// Sets the scene and starts an exporter with these flags besides the names file's.
    pub fn new(flags: &[&str]) -> Result<Self> {
        let world = World::new()?;
        let (client, server) = (world.host("client")?, world.host("server")?);
        let link = world.link(&client, &server)?;
        let names = NamesFile::new(&[Name::of(&client), Name::of(&server)])?;
        let exporter = Exporter::start(&[&[names.flag().as_str()], flags].concat())?;
        Ok(Stage { exporter, names, link, client, server, world })
    }

    /// Keeps both hosts' processes on one CPU: see [`Host::pin`].
    pub fn pin(&self) {
        self.client.pin(0);
        self.server.pin(0);
    }

    /// Replaces the names file and has it read.
    pub fn rename(&self, names: &[Name]) -> Result<()> {
        self.names.write(names)?;
        self.exporter.reload()
    }

    /// The edge from the client to one port of the server.
    pub fn edge(&self, port: u16) -> Edge {
        Edge::between(&self.client, &self.server, port)
    }

    /// `address:port` of the server over IPv4.
    pub fn to(&self, port: u16) -> String {
        self.link.b.at4(port).to_string()
    }

    /// `address:port` of the server over IPv6.
    pub fn to6(&self, port: u16) -> String {
        self.link.b.at6(port).to_string()
    }

    /// Waits until all of `sums` (metric without prefix, observer, value) of an edge are as said.
    pub fn expect(&self, edge: &Edge, sums: &[(&str, &str, f64)]) -> Result<Metrics> {
        expect(&self.exporter, edge, sums)
    }
}

/// Waits until all of `sums` (metric without `flowgauge_tcp_`, observer, value) of an edge are as said.
pub fn expect(exporter: &Exporter, edge: &Edge, sums: &[(&str, &str, f64)]) -> Result<Metrics> {
    let wanted = format!("{sums:?} of {edge:?}");
    // Everything on that port explains a failure best: who else was it charged to?
    let port = [("server_port", edge.port.as_str())];
    exporter.wait_until(&wanted, &port, Duration::from_secs(10), |metrics| {
        sums.iter().all(|(metric, observer, value)| edge.sum(metrics, metric, observer) == *value)
    })
}

/// A sum that is expected: metric without `flowgauge_`, observer, further labels, value.
pub type Wanted<'a> = (&'a str, &'a str, &'a Selector<'a>, f64);

/// Waits until all sums of an edge, of any protocol, are as said.
pub fn expect_totals(exporter: &Exporter, edge: &Edge, sums: &[Wanted]) -> Result<Metrics> {
    let port = [("server_port", edge.port.as_str())];
    let holds = |metrics: &Metrics, (metric, observer, more, value): &Wanted| {
        edge.total(metrics, metric, observer, more) == *value
    };
    let wanted = format!("{sums:?} of {edge:?}");
    let found = exporter.wait_until(&wanted, &port, Duration::from_secs(10), |metrics| {
        sums.iter().all(|sum| holds(metrics, sum))
    });
    found.or_else(|error| {
        let metrics = exporter.scrape()?;
        let wrong = sums.iter().filter(|sum| !holds(&metrics, sum));
        let wrong = wrong.map(|sum| format!("{sum:?} is {}", edge.total(&metrics, sum.0, sum.1, sum.2)));
        let lost = metrics.describe("flowgauge_lost", &[]);
        Err(error.context(format!("wrong: {}\nlost:\n{lost}", wrong.collect::<Vec<_>>().join("; "))))
    })
}

/// One edge: who opened connections to which port of whom.
#[derive(Debug, Clone)]
pub struct Edge {
    client: String,
    server: String,
    port: String,
}

impl Edge {
    /// The edge from `client` to `port` of `server`.
    pub fn between(client: &Host, server: &Host, port: u16) -> Self {
        Self::named(&client.workload, &server.workload, &port.to_string())
    }

    /// The edge with these label values.
    pub fn named(client: &str, server: &str, port: &str) -> Self {
        Edge { client: client.to_owned(), server: server.to_owned(), port: port.to_owned() }
    }

    /// Labels to select it by, as seen by one observer.
    pub fn selector<'a>(&'a self, observer: &'a str) -> [(&'a str, &'a str); 4] {
        [
            ("observer", observer),
            ("client_workload", &self.client),
            ("server_workload", &self.server),
            ("server_port", &self.port),
        ]
    }

    /// The sum of `flowgauge_tcp_<metric>` as seen by one observer.
    pub fn sum(&self, metrics: &Metrics, metric: &str, observer: &str) -> f64 {
        metrics.sum(&format!("flowgauge_tcp_{metric}"), &self.selector(observer))
    }

    /// The same, of one `reason` or `limit` only.
    pub fn sum_of(
        &self,
        metrics: &Metrics,
        metric: &str,
        observer: &str,
        (label, value): (&str, &str),
    ) -> f64 {
        let mut selector = self.selector(observer).to_vec();
        selector.push((label, value));
        metrics.sum(&format!("flowgauge_tcp_{metric}"), &selector)
    }

    /// The sum of `flowgauge_<metric>`, of any protocol, as seen by one observer, with these labels besides the edge's.
    pub fn total(&self, metrics: &Metrics, metric: &str, observer: &str, more: &Selector) -> f64 {
        metrics.sum(&format!("flowgauge_{metric}"), &[&self.selector(observer)[..], more].concat())
    }

    /// The histogram `flowgauge_dns_response_duration_seconds` as seen by one observer.
    pub fn dns_durations(&self, metrics: &Metrics, observer: &str) -> Histogram {
        metrics.histogram("flowgauge_dns_response_duration_seconds", &self.selector(observer))
    }

    /// The histogram `flowgauge_tcp_<metric>` as seen by one observer.
    pub fn histogram(&self, metrics: &Metrics, metric: &str, observer: &str) -> Histogram {
        metrics.histogram(&format!("flowgauge_tcp_{metric}"), &self.selector(observer))
    }
}
