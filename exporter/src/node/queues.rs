// SPDX-License-Identifier: Apache-2.0
//! Queueing disciplines, in which packets wait to be sent and some are dropped.

mod message;

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netdevice::name_to_index;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

use self::message::{Part, Queue, REQUEST};
use super::host::{Absent, Host};
use super::interfaces::Devices;
use super::per_cpu::PerCpu;
use super::samples::{Samples, bytes, plain};
use super::{Item, Name};
use crate::source::Family;
use crate::source::FamilyKind::{Counter, Gauge};

static DROPS: Family = plain(
    "node_interface_queue_drops",
    Counter,
    &["device"],
    "Packets that the queueing discipline of the interface dropped instead of passing them to the driver.",
    "drops of the root qdisc (RTM_GETQDISC), as `tc -s qdisc` shows them",
);
static BACKLOG: Family = bytes(plain(
    "node_interface_queue_backlog_bytes",
    Gauge,
    &["device"],
    "Bytes that wait in the queueing discipline of the interface.",
    "backlog of the root qdisc (RTM_GETQDISC)",
));

/// In the order in which they are served.
pub const FAMILIES: &[&Family] = &[&DROPS, &BACKLOG];

/// The kernel answers at once; a part of the answer is at most 32 KiB.
const PATIENCE: Duration = Duration::from_secs(1);
const LARGEST_PART: usize = 32 << 10;

/// Asks the kernel for the queueing disciplines in this process's network namespace.
pub struct Queues {
    devices: Devices,
    socket: Option<OwnedFd>,
    drops: HashMap<String, PerCpu>,
}

impl Queues {
    /// Of the interfaces served.
    pub fn new(devices: Devices) -> Self {
        Self { devices, socket: None, drops: HashMap::new() }
    }
}

impl Item for Queues {
    fn name(&self) -> Name {
        "queues"
    }

    fn read(&mut self, host: &Host, out: &mut Samples) -> Result<(), Absent> {
        let devices = self.devices.names()?;
        host.require_inside()?;
        let failed =
            |error: io::Error| Absent::OutOfSight(format!("asking for queueing disciplines: {error}"));
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => open().map_err(failed)?,
        };
        let queues = ask(&socket).map_err(failed)?;
        let (mut drops, mut backlogs) = (Vec::new(), Vec::new());
        self.drops.retain(|device, _| devices.contains(device));
        for device in devices {
            let index = name_to_index(&socket, &device).ok();
            let Some(queue) = index.and_then(|index| queues.get(&index)) else { continue };
            let dropped = self.drops.entry(device.clone()).or_default();
            dropped.note(0, queue.drops);
            drops.push((device.clone(), dropped.total()));
            backlogs.push((device, f64::from(queue.backlog)));
        }
        // One that failed may have an answer waiting that belongs to no question.
        self.socket = Some(socket);
        out.each(&DROPS, drops);
        out.each(&BACKLOG, backlogs);
        Ok(())
    }
}

fn open() -> io::Result<OwnedFd> {
    // No protocol is that of routes, interfaces and queues.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    Ok(socket)
}

/// The root queue of each interface, by its index.
fn ask(socket: &OwnedFd) -> io::Result<HashMap<u32, Queue>> {
    sendto(socket, &REQUEST, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut queues = HashMap::new();
    let mut buffer = vec![0; LARGEST_PART];
    loop {
        let (length, _) = recv(socket, &mut buffer[..], RecvFlags::empty())?;
        let part = message::decode(buffer.get(..length).unwrap_or_default(), &mut queues);
        match part {
            Part::More => {}
            Part::Last => return Ok(queues),
            Part::Refused(error) => return Err(io::Error::from_raw_os_error(error)),
            Part::Odd => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer that is cut short"));
            }
        }
    }
}
