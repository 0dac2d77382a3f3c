// SPDX-License-Identifier: Apache-2.0
//! Two pods that talk, and whether an exporter counts each byte of it where it belongs.

use std::cell::Cell;
use std::process;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::cluster::Cluster;
use super::node::Node;
use super::pod::{Place, Pod};
use crate::api_server::objects;
use crate::exporter::Exporter;
use crate::metrics::{Metrics, Selector};
use crate::traffic::{Server, get};

/// Payload as the client got it. Each exchange has it once at each observer.
const RECEIVED: &str = "flowgauge_tcp_received_bytes_total";

/// How long an exporter may take to show what has just happened.
const SOON: Duration = Duration::from_secs(10);

/// A port that other test processes on this machine are not likely to use: whatever is counted on it, is this one's.
pub fn own_port() -> u16 {
    10_000 + (process::id() % 20_000) as u16
}

/// A pod of Deployment `front` that asks a pod of Deployment `web`, both in namespace `shop`.
#[derive(Debug)]
pub struct Talk {
    /// Who asks.
    pub client: Pod,
    /// Who answers on [`own_port`].
    pub server: Pod,
    _serving: Server,
    exchanges: Cell<u64>,
}

impl Talk {
    /// Starts both and tells the API server of them.
    pub fn new(cluster: &Cluster, from: &Node, to: &Node) -> Result<Self> {
        let client = cluster.run(from, objects::Pod::of_deployment("shop", "front"), Place::default())?;
        let server = cluster.run(to, objects::Pod::of_deployment("shop", "web"), Place::default())?;
        let serving = Server::start(server.main()?, &["--listen", &format!("[::]:{}", own_port())])?;
        Ok(Talk { client, server, _serving: serving, exchanges: Cell::new(0) })
    }

    /// Asks for some bytes over IPv4 and IPv6, another number each time, and returns how many came.
    pub fn exchange(&self) -> Result<f64> {
        let port = own_port();
        Ok(self.ask(&self.server.at4(port))? + self.ask(&self.server.at6(port))?)
    }

    /// The same over one way to the server.
    pub fn ask(&self, to: &str) -> Result<f64> {
        self.exchanges.set(self.exchanges.get() + 1);
        let receive = (1000 + self.exchanges.get()).to_string();
        let report = get(self.client.main()?, &["--to", to, "--connections", "3", "--receive", &receive])?;
        ensure!(report.answered == 3 && report.errors.is_empty(), "{to}: {report:?}");
        Ok(report.received as f64)
    }

    /// Has bytes exchanged, and waits until each of these exporters has counted them, seen by the client, under the
    /// edge with these labels and nowhere else.
    pub fn prove(&self, exporters: &[&Exporter], edge: &Selector) -> Result<()> {
        let before = exporters.iter().map(|exporter| exporter.scrape()).collect::<Result<Vec<_>>>()?;
        let bytes = self.exchange()?;
        exporters.iter().zip(&before).try_for_each(|(exporter, before)| grown(exporter, before, edge, bytes))
    }

    /// The labels of this edge when all of it is known.
    pub fn named() -> [(&'static str, &'static str); 4] {
        [
            ("client_namespace", "shop"),
            ("client_workload", "front"),
            ("server_namespace", "shop"),
            ("server_workload", "web"),
        ]
    }
}

/// Waits until what clients received on [`own_port`] has grown by so many bytes since, all of it under `edge`.
pub fn grown(exporter: &Exporter, before: &Metrics, edge: &Selector, bytes: f64) -> Result<()> {
    let port = own_port().to_string();
    let all = [("observer", "client"), ("server_port", port.as_str())];
    let of_edge = [&all[..], edge].concat();
    let growth =
        |now: &Metrics, selector: &Selector| now.sum(RECEIVED, selector) - before.sum(RECEIVED, selector);
    let deadline = Instant::now() + SOON;
    loop {
        let now = exporter.scrape()?;
        let (on_port, on_edge) = (growth(&now, &all), growth(&now, &of_edge));
        if on_port == bytes && on_edge == bytes {
            return now.ensure_monotone_since(before, true);
        }
        ensure!(
            Instant::now() < deadline && on_port <= bytes,
            "wanted {bytes} more for {edge:?}, got {on_edge} there and {on_port} in all; now:\n{}\nits log:\n{}",
            now.describe(RECEIVED, &all),
            exporter.log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
