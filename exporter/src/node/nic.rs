// SPDX-License-Identifier: Apache-2.0
//! What the drivers of cloud providers' network cards count.

mod counters;

use std::collections::HashMap;
use std::io;

use flowgauge_probes::ethtool::Ethtool;

use self::counters::{Kind, Selection};
use super::host::{Absent, Host};
use super::interfaces::Devices;
use super::samples::{Samples, plain};
use super::{Item, Name};
use crate::source::Family;
use crate::source::FamilyKind::{Counter, Gauge};

static EXCEEDED: Family = plain(
    "node_interface_allowance_exceeded",
    Counter,
    &["device", "allowance"],
    "Packets that the provider queued or dropped because the instance had used up an allowance: bytes in or out (bw_in, bw_out), packets (pps), tracked connections (conntrack), requests to link-local services (linklocal).",
    "statistics `*_allowance_exceeded` of the driver ena (AWS), as `ethtool --statistics` shows them",
);
static AVAILABLE: Family = plain(
    "node_interface_allowance_available",
    Gauge,
    &["device", "allowance"],
    "What is left of an allowance: connections that the provider can still track for this instance (conntrack).",
    "statistic `conntrack_allowance_available` of the driver ena (AWS)",
);
static EVENTS: Family = plain(
    "node_interface_driver_events",
    Counter,
    &["device", "event"],
    "Events that cost packets or time, as the driver names and counts them, of all queues of the interface together: packets dropped, no buffers, queues full, timeouts.",
    "statistics of the drivers ena, gve, hv_netvsc, mana, mlx5_core, virtio_net and others with the same names, as `ethtool --statistics` shows them",
);

/// In the order in which they are served.
pub const FAMILIES: &[&Family] = &[&EXCEEDED, &AVAILABLE, &EVENTS];

/// What is asked of one interface.
struct Driver {
    /// How many counters the driver had when it was asked for their names.
    count: usize,
    selection: Selection,
}

/// Asks the drivers of the interfaces in this process's network namespace.
pub struct Nics {
    devices: Devices,
    known: Vec<String>,
    drivers: HashMap<String, Driver>,
    ethtool: Option<Ethtool>,
}

impl Nics {
    /// Of the interfaces served.
    pub fn new(devices: Devices) -> Self {
        Self { devices, known: Vec::new(), drivers: HashMap::new(), ethtool: None }
    }
}

impl Item for Nics {
    fn name(&self) -> Name {
        "driver_statistics"
    }

    fn read(&mut self, host: &Host, out: &mut Samples) -> Result<(), Absent> {
        let devices = self.devices.names()?;
        host.require_inside()?;
        let ethtool = match &mut self.ethtool {
            Some(ethtool) => ethtool,
            none => none.insert(Ethtool::open().map_err(|error| unreadable(&error))?),
        };
        if devices != self.known {
            // Another interface may have an old one's name.
            self.drivers.clear();
            self.known.clone_from(&devices);
        }
        let mut samples: [Vec<(String, &'static str, f64)>; 3] = Default::default();
        for device in devices {
            // An interface may go away at any time.
            let Some(values) = values(ethtool, &mut self.drivers, &device) else { continue };
            for (kind, label, value) in values {
                samples[kind as usize].push((device.clone(), label, value));
            }
        }
        for (family, samples) in [&EXCEEDED, &AVAILABLE, &EVENTS].into_iter().zip(samples) {
            out.each_pair(family, samples);
        }
        Ok(())
    }
}

/// Of what was selected of the device's counters. None if it does not answer.
fn values(
    ethtool: &Ethtool,
    drivers: &mut HashMap<String, Driver>,
    device: &str,
) -> Option<Vec<(Kind, &'static str, f64)>> {
    // The number of counters changes with that of queues.
    for _ in 0..2 {
        let driver = match drivers.get(device) {
            Some(driver) => driver,
            None => {
                let names = ethtool.names(device).ok()?;
                let driver = Driver { count: names.len(), selection: Selection::of(&names) };
                drivers.entry(device.to_owned()).or_insert(driver)
            }
        };
        if driver.selection.is_empty() {
            return None;
        }
        if let Some(values) = ethtool.values(device, driver.count).ok()? {
            return Some(driver.selection.sums(&values));
        }
        drivers.remove(device);
    }
    None
}

fn unreadable(error: &io::Error) -> Absent {
    Absent::OutOfSight(format!("no socket to ask drivers through: {error}"))
}
