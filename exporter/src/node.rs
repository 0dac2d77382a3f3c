// SPDX-License-Identifier: Apache-2.0
//! The node: what its operating system counts and limits, read from files when scraped, an item for each matter.
//!
//! Each item fails alone: it is absent then, `node_item_up` tells, and the log says why once.

mod conntrack;
mod file_handles;
mod host;
mod interfaces;
mod limits;
mod links;
mod neighbours;
mod netstat;
mod nic;
mod per_cpu;
mod ports;
mod pressure;
mod queues;
mod samples;
mod sockets;
mod softirqs;
mod softnet;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::encoding::DescriptorEncoder;

use self::host::{Absent, Host};
use self::samples::seconds;
use crate::flags::{Flags, InterfacePatterns};
use crate::source::Family;
use crate::source::FamilyKind::Gauge;

static ITEM_UP: Family = plain(
    "node_item_up",
    Gauge,
    &["item"],
    "Whether the item of the node collector could be read: 0 where the kernel has no such file, it is not as expected, or it is not to be seen from here; the log says which.",
    "The exporter itself.",
);
static READ_SECONDS: Family = seconds(plain(
    "node_read_seconds",
    Gauge,
    &[],
    "Time that the last reading of all items of the node collector took.",
    "The exporter's monotonic clock.",
));

pub use netstat::{Netstat, Setting as NetstatSetting};
pub use samples::{Samples, plain};

/// An item's name, for the label and the log.
type Name = &'static str;

/// One matter of the node. Keeps what it needs from one reading to the next.
trait Item: Send {
    /// For the label `item`.
    fn name(&self) -> Name;

    /// Reads it anew. What is in `out` when it fails is not served.
    ///
    /// # Errors
    /// Why it has nothing to tell.
    fn read(&mut self, host: &Host, out: &mut Samples) -> Result<(), Absent>;
}

/// The items, in the order in which they are served.
fn items(exclude: &InterfacePatterns) -> Vec<Box<dyn Item>> {
    let devices = interfaces::Devices::default();
    vec![
        Box::new(conntrack::Conntrack::default()),
        Box::new(limits::CONNTRACK_LIMIT),
        Box::new(softnet::Softnet::default()),
        Box::new(softirqs::Runs::default()),
        Box::new(softirqs::Time),
        Box::new(interfaces::Interfaces::new(exclude.clone(), devices.clone())),
        Box::new(links::Links::new(exclude.clone(), devices.clone())),
        Box::new(nic::Nics::new(devices.clone())),
        Box::new(queues::Queues::new(devices)),
        Box::new(neighbours::Neighbours),
        Box::new(limits::NEIGHBOUR_LIMITS),
        Box::new(sockets::Sockets),
        Box::new(limits::MEMORY_LIMITS),
        Box::new(limits::NAMESPACE_LIMITS),
        Box::new(ports::Ports),
        Box::new(pressure::Pressure),
        Box::new(file_handles::FileHandles),
    ]
}

const PARTS: &[&[&Family]] = &[
    &[&ITEM_UP, &READ_SECONDS],
    conntrack::FAMILIES,
    limits::CONNTRACK_FAMILIES,
    softnet::FAMILIES,
    softirqs::FAMILIES,
    interfaces::FAMILIES,
    links::FAMILIES,
    nic::FAMILIES,
    queues::FAMILIES,
    neighbours::FAMILIES,
    limits::NEIGHBOUR_FAMILIES,
    sockets::FAMILIES,
    limits::SOCKET_FAMILIES,
    ports::FAMILIES,
    pressure::FAMILIES,
    file_handles::FAMILIES,
    netstat::FAMILIES,
    netstat::COUNTER_FAMILIES,
];

const COUNT: usize = {
    let (mut count, mut part) = (0, 0);
    while part < PARTS.len() {
        count += PARTS[part].len();
        part += 1;
    }
    count
};

/// All of them, in the order in which they are served and documented.
pub static FAMILIES: &[&Family] = &{
    let mut all = [&ITEM_UP; COUNT];
    let (mut at, mut part) = (0, 0);
    while part < PARTS.len() {
        let mut of_part = 0;
        while of_part < PARTS[part].len() {
            all[at] = PARTS[part][of_part];
            (at, of_part) = (at + 1, of_part + 1);
        }
        part += 1;
    }
    all
};

/// An item, and what is known of its failing.
struct Tracked {
    item: Box<dyn Item>,
    /// Why it was absent the last time; empty if it was not.
    reason: String,
}

/// What was read at one time.
#[derive(Default)]
struct Snapshot {
    samples: Samples,
    /// Of each item, why it is absent.
    items: Vec<(Name, Option<String>)>,
    took: Duration,
}

/// The collector. Reading needs no privilege.
pub struct Node {
    host: Host,
    items: Mutex<Vec<Tracked>>,
    snapshot: Mutex<Arc<Snapshot>>,
}

impl Node {
    /// Reads everything for the first time; `netstat` is of the network namespaces, where they are wanted.
    pub fn start(flags: &Flags, netstat: Option<Netstat>) -> Self {
        let host = Host::new(&flags.paths.procfs, &flags.paths.sysfs);
        let mut items = items(&flags.node.interfaces_exclude);
        items.extend(netstat.map(|netstat| Box::new(netstat) as Box<dyn Item>));
        let items = items.into_iter().map(|item| Tracked { item, reason: String::new() }).collect();
        let node = Self { host, items: Mutex::new(items), snapshot: Mutex::default() };
        node.read();
        node
    }

    /// Reads everything anew.
    pub fn read(&self) {
        let mut items = self.items.lock();
        let begun = Instant::now();
        let mut snapshot = Snapshot::default();
        for Tracked { item, reason } in items.iter_mut() {
            let mut samples = Samples::default();
            let absent = item.read(&self.host, &mut samples).err();
            let absent = absent.map(|absent| (absent.is_missing(), absent.to_string()));
            tell(item.name(), reason, absent.as_ref());
            if absent.is_none() {
                snapshot.samples.append(samples);
            }
            snapshot.items.push((item.name(), absent.map(|(_, reason)| reason)));
        }
        snapshot.took = begun.elapsed();
        // Before the items are free, so that no later reading is overtaken.
        *self.snapshot.lock() = Arc::new(snapshot);
    }

    /// What it sees, or why it sees nothing.
    pub fn fares(&self) -> Result<String, String> {
        let snapshot = Arc::clone(&self.snapshot.lock());
        let (absent, here): (Vec<_>, Vec<_>) =
            snapshot.items.iter().partition(|(_, absent)| absent.is_some());
        let list = |items: &[&(Name, Option<String>)]| {
            items.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
        };
        match (&here[..], &absent[..]) {
            ([], [(_, reason), ..]) => Err(reason.clone().unwrap_or_default()),
            (here, []) => Ok(list(here)),
            (here, absent) => Ok(format!("{}; without {}", list(here), list(absent))),
        }
    }

    /// Writes what was read last.
    ///
    /// # Errors
    /// What the encoder returns.
    pub fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = Arc::clone(&self.snapshot.lock());
        let mut own = Samples::default();
        own.each(&ITEM_UP, snapshot.items.iter().map(|(name, absent)| (*name, f64::from(absent.is_none()))));
        own.one(&READ_SECONDS, snapshot.took.as_secs_f64());
        own.encode(encoder)?;
        snapshot.samples.encode(encoder)
    }
}

/// Says why an item is absent, when it becomes so or for another reason than before, and when it is back.
fn tell(item: Name, known: &mut String, absent: Option<&(bool, String)>) {
    let now = absent.map_or("", |(_, reason)| reason);
    if now == known {
        return;
    }
    match absent {
        None => tracing::info!(item, "this item of the node can be read again"),
        Some((true, reason)) => tracing::info!(item, reason, "this item of the node is not here"),
        Some((false, reason)) => tracing::warn!(item, reason, "this item of the node cannot be read"),
    }
    now.clone_into(known);
}

/// As [`crate::app::CollectorCheck`].
pub fn check(flags: &Flags, _: &crate::plan::Tried) -> Result<String, String> {
    Node::start(flags, None).fares()
}

#[cfg(test)]
mod tests;
