// SPDX-License-Identifier: Apache-2.0
//! Whether interfaces have a link, and how fast it is.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::time::{Duration, Instant};

use super::host::{Absent, Host};
use super::interfaces::Devices;
use super::samples::{Samples, bytes, plain};
use super::{Item, Name};
use crate::flags::InterfacePatterns;
use crate::source::Family;
use crate::source::FamilyKind::{Counter, Gauge};

static CARRIER: Family = plain(
    "node_interface_carrier",
    Gauge,
    &["device"],
    "Whether the interface has a link: 1 or 0; not served for one that is switched off.",
    "/sys/class/net/*/carrier",
);
static CARRIER_CHANGES: Family = plain(
    "node_interface_carrier_changes",
    Counter,
    &["device"],
    "Times that the interface lost or got its link.",
    "/sys/class/net/*/carrier_changes",
);
static SPEED: Family = bytes(plain(
    "node_interface_speed_bytes",
    Gauge,
    &["device"],
    "Speed of the link in bytes per second, each direction; not served where the driver does not know it, as on most virtual machines.",
    "/sys/class/net/*/speed",
));

/// In the order in which they are served.
pub const FAMILIES: &[&Family] = &[&CARRIER, &CARRIER_CHANGES, &SPEED];

/// To read a speed takes a lock that the making of pods holds for long, so it is read when the link changed, and now
/// and then for those whose speed changes otherwise.
const SPEED_KEPT: Duration = Duration::from_secs(300);

struct Speed {
    changes: f64,
    read: Instant,
    bytes: Option<f64>,
}

/// Reads `/sys/class/net`.
pub struct Links {
    exclude: InterfacePatterns,
    devices: Devices,
    speeds: HashMap<String, Speed>,
}

impl Links {
    /// Of the interfaces served.
    pub fn new(exclude: InterfacePatterns, devices: Devices) -> Self {
        Self { exclude, devices, speeds: HashMap::new() }
    }

    /// That the sysfs shows the interfaces of the host's network namespace, not those of the namespace it was mounted in.
    fn require_same(&self, host: &Host, devices: &[String]) -> Result<(), Absent> {
        let path = host.interfaces();
        let listed = fs::read_dir(&path).map_err(|error| Absent::Unreadable { path: path.clone(), error })?;
        // Interfaces are links to directories; `bonding_masters` is a file.
        let links = listed.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_file()));
        let names = links.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let there: BTreeSet<String> = names.filter(|name| !self.exclude.matches(name)).collect();
        if devices.iter().all(|device| there.contains(device)) && there.len() >= devices.len() {
            return Ok(());
        }
        Err(Absent::OutOfSight(format!(
            "{}: shows the interfaces of another network namespace; --path.sysfs says where the host's sysfs is",
            path.display()
        )))
    }

    fn speed(&mut self, host: &Host, device: &str, changes: f64) -> Option<f64> {
        let now = Instant::now();
        let known = self.speeds.get(device);
        let fresh =
            known.filter(|known| known.changes == changes && now.duration_since(known.read) < SPEED_KEPT);
        if let Some(known) = fresh {
            return known.bytes;
        }
        // -1 or EINVAL where it is not known.
        let megabits = host.interface(device, "speed").and_then(|text| text.number(0)).ok();
        let bytes =
            megabits.filter(|speed| *speed > 0.0 && *speed < f64::from(u32::MAX)).map(|speed| speed * 125e3);
        self.speeds.insert(device.to_owned(), Speed { changes, read: now, bytes });
        bytes
    }
}

impl Item for Links {
    fn name(&self) -> Name {
        "links"
    }

    fn read(&mut self, host: &Host, out: &mut Samples) -> Result<(), Absent> {
        let devices = self.devices.names()?;
        self.require_same(host, &devices)?;
        self.speeds.retain(|device, _| devices.contains(device));
        let number =
            |device: &String, file| host.interface(device, file).and_then(|text| text.number(0)).ok();
        let (mut carriers, mut changes, mut speeds) = (Vec::new(), Vec::new(), Vec::new());
        for device in devices {
            let carrier = number(&device, "carrier");
            let changed = number(&device, "carrier_changes");
            carriers.extend(carrier.map(|carrier| (device.clone(), carrier)));
            changes.extend(changed.map(|changes| (device.clone(), changes)));
            if let (Some(1.0), Some(changed)) = (carrier, changed) {
                speeds.extend(self.speed(host, &device, changed).map(|speed| (device, speed)));
            }
        }
        out.each(&CARRIER, carriers);
        out.each(&CARRIER_CHANGES, changes);
        out.each(&SPEED, speeds);
        Ok(())
    }
}
