// SPDX-License-Identifier: Apache-2.0
//! What every network interface counts.

use std::sync::Arc;

use parking_lot::Mutex;
use procfs::FromBufRead as _;
use procfs::net::{DeviceStatus, InterfaceDeviceStatus};

use super::host::{Absent, Host};
use super::samples::{Samples, bytes, plain};
use super::{Item, Name};
use crate::flags::InterfacePatterns;
use crate::source::Family;
use crate::source::FamilyKind::Counter;

/// Most interfaces that are served. A node has some; thousands would be pods' whose names no pattern matches.
const MOST: usize = 128;

const fn counter(name: &'static str, help: &'static str, source: &'static str) -> Family {
    plain(name, Counter, &["device"], help, source)
}

static RECEIVED_BYTES: Family = bytes(counter(
    "node_interface_received_bytes",
    "Bytes that the interface received.",
    "/proc/1/net/dev, receive bytes",
));
static RECEIVED_PACKETS: Family = counter(
    "node_interface_received_packets",
    "Packets that the interface received.",
    "/proc/1/net/dev, receive packets",
);
static RECEIVED_ERRORS: Family = counter(
    "node_interface_received_errors",
    "Packets that arrived damaged or otherwise unusable.",
    "/proc/1/net/dev, receive errs",
);
static RECEIVED_DROPS: Family = counter(
    "node_interface_received_drops",
    "Packets that arrived and were dropped: nobody wanted them, no memory, or the interface had no buffer left for them.",
    "/proc/1/net/dev, receive drop (rx_dropped and rx_missed_errors)",
);
static RECEIVED_OVERRUNS: Family = counter(
    "node_interface_received_overruns",
    "Packets that the interface lost because its queue was full.",
    "/proc/1/net/dev, receive fifo",
);
static SENT_BYTES: Family = bytes(counter(
    "node_interface_sent_bytes",
    "Bytes that the interface sent.",
    "/proc/1/net/dev, transmit bytes",
));
static SENT_PACKETS: Family = counter(
    "node_interface_sent_packets",
    "Packets that the interface sent.",
    "/proc/1/net/dev, transmit packets",
);
static SENT_ERRORS: Family = counter(
    "node_interface_sent_errors",
    "Packets that the interface could not send.",
    "/proc/1/net/dev, transmit errs",
);
static SENT_DROPS: Family = counter(
    "node_interface_sent_drops",
    "Packets that the interface's driver dropped instead of sending; what its queueing discipline drops is not included.",
    "/proc/1/net/dev, transmit drop",
);

/// A number of an interface.
type Number = fn(&DeviceStatus) -> u64;

const COUNTERS: [(&Family, Number); 9] = [
    (&RECEIVED_BYTES, |device| device.recv_bytes),
    (&RECEIVED_PACKETS, |device| device.recv_packets),
    (&RECEIVED_ERRORS, |device| device.recv_errs),
    (&RECEIVED_DROPS, |device| device.recv_drop),
    (&RECEIVED_OVERRUNS, |device| device.recv_fifo),
    (&SENT_BYTES, |device| device.sent_bytes),
    (&SENT_PACKETS, |device| device.sent_packets),
    (&SENT_ERRORS, |device| device.sent_errs),
    (&SENT_DROPS, |device| device.sent_drop),
];

/// In the order in which they are served.
pub const FAMILIES: &[&Family] = &{
    let mut families = [COUNTERS[0].0; COUNTERS.len()];
    let mut at = 0;
    while at < COUNTERS.len() {
        families[at] = COUNTERS[at].0;
        at += 1;
    }
    families
};

/// The names of the interfaces served, for the items that tell more of them.
#[derive(Clone, Default)]
pub struct Devices(Arc<Mutex<Option<Vec<String>>>>);

impl Devices {
    /// Those of the last reading.
    ///
    /// # Errors
    /// If there was none.
    pub fn names(&self) -> Result<Vec<String>, Absent> {
        self.0.lock().clone().ok_or_else(|| Absent::OutOfSight("without a list of interfaces".to_owned()))
    }
}

/// Reads `net/dev`.
pub struct Interfaces {
    exclude: InterfacePatterns,
    devices: Devices,
    too_many: bool,
}

impl Interfaces {
    /// Leaves out those with such names; tells `devices` which are served.
    pub fn new(exclude: InterfacePatterns, devices: Devices) -> Self {
        Self { exclude, devices, too_many: false }
    }
}

impl Item for Interfaces {
    fn name(&self) -> Name {
        "interfaces"
    }

    fn read(&mut self, host: &Host, out: &mut Samples) -> Result<(), Absent> {
        *self.devices.0.lock() = None;
        let text = host.net("dev")?;
        let InterfaceDeviceStatus(devices) = InterfaceDeviceStatus::from_buf_read(text.as_bytes())
            .map_err(|_| text.odd("not as net/dev is"))?;
        let mut devices: Vec<_> =
            devices.into_values().filter(|device| !self.exclude.matches(&device.name)).collect();
        devices.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        if devices.len() > MOST && !self.too_many {
            let (interfaces, served) = (devices.len(), MOST);
            tracing::warn!(
                interfaces,
                served,
                "more interfaces than are served: see --node.interfaces-exclude"
            );
            self.too_many = true;
        }
        devices.truncate(MOST);
        for (family, number) in COUNTERS {
            out.each(family, devices.iter().map(|device| (device.name.clone(), number(device) as f64)));
        }
        *self.devices.0.lock() = Some(devices.into_iter().map(|device| device.name).collect());
        Ok(())
    }
}
