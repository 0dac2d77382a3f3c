// SPDX-License-Identifier: Apache-2.0
//! A small shop on this machine: clients, a proxy, an API, a database and a DNS server on two nodes in two zones, three
//! providers and a provider's DNS server beyond; steady load; an exporter on each node, Prometheus with the project's rules,
//! Alertmanager with its example routes, and somebody who is told. Then things break.
//!
//! ```text
//!  zone-a: node-a                 zone-b: node-b
//!   shop-client ─┐                 ┌─ shop-api
//!   shop-proxy ──┼─ node-a ─ core ─ node-b ─┴─ shop-db
//!   shop-dns ────┘             │
//!            isp-dns, payments.example (6 addresses), objects.example, mail.example
//! ```

mod conntrack;
mod faults;
mod haproxy;
mod load;
mod network;
mod node;
mod services;
mod watch;

use std::fs::File;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

pub use faults::{FAULTS, Fault, Made};
pub use load::Load;
use network::Network;
use node::Node;
use services::Services;
pub use watch::{SPEED, Watch};

use crate::netns::World;

/// Workloads here have plain names: two shops on a machine would be taken for one.
const LOCK: &str = "/run/flowgauge-tests-shop.lock";

/// All of it. Dropped in this order: who watches first, then those who make load, then those who serve.
#[derive(Debug)]
pub struct Shop {
    /// Prometheus, Alertmanager and who is told.
    pub watch: Watch,
    /// Exporters, of `node-a` and `node-b`.
    nodes: [Node; 2],
    /// Who makes load.
    pub loads: Vec<Load>,
    services: Services,
    network: Network,
    _world: World,
    _lock: File,
}

impl Shop {
    /// Opens the shop; waits so long for another one on this machine to close.
    pub fn open(patience: Duration) -> Result<Self> {
        let lock = lock(patience)?;
        let world = World::new()?;
        let network = Network::new(&world)?;
        let services = Services::start(&network)?;
        let nodes = Node::start_all(&network)?;
        let loads = Load::start_all(&network)?;
        let watch = Watch::start(&nodes)?;
        Ok(Shop { watch, nodes, loads, services, network, _world: world, _lock: lock })
    }

    /// The exporters' addresses with the names of their nodes.
    pub fn exporters(&self) -> [(&str, std::net::SocketAddr); 2] {
        [0, 1].map(|index| (self.nodes[index].name(), self.nodes[index].exporter().address()))
    }

    /// Makes a fault, until what is returned is dropped.
    pub fn make(&self, fault: Fault) -> Result<Made<'_>> {
        Made::new(&self.network, &self.services, fault)
    }
}

fn lock(patience: Duration) -> Result<File> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(Path::new(LOCK))
        .with_context(|| format!("opening {LOCK}"))?;
    let deadline = Instant::now() + patience;
    while let Err(error) = file.try_lock() {
        match error {
            std::fs::TryLockError::Error(error) => bail!("locking {LOCK}: {error}"),
            std::fs::TryLockError::WouldBlock if Instant::now() > deadline => {
                bail!("another such world is open on this machine: it holds {LOCK}")
            }
            std::fs::TryLockError::WouldBlock => thread::sleep(Duration::from_millis(500)),
        }
    }
    Ok(file)
}
