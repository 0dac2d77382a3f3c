// SPDX-License-Identifier: Apache-2.0
//! Connections that dial a Service's address, and the backends they went to.
//!
//! The kernel gives each of them a key of its own ([`Peer::Service`]); here it becomes the key of its backend, which all
//! connections to that backend through that Service share. What was found for a connection is kept while it lives.
//!
//! A Service that comes to be known while connections to it live changes their keys. What such a connection has counted was
//! reported under the key that it had before (`former`), and moves over exactly: until two passes have ended well, a live connection
//! takes what it counted along as reported already, and a closed one that no pass has seen under its new key is entered under
//! the former one.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use libbpf_rs::{MapCore, MapFlags, MapMut};

use super::totals::Totals;
use super::{Backend, Counters, FlowKey, Peer, Sink, Tcp};
use crate::Error;

/// Passes after which no connection is left that still has to move to its new key: the first sees those that live, the
/// second takes over those that closed meanwhile.
const MOVING_PASSES: u32 = 2;

/// One word for an address, as [`Sink::backend`] is given the dialling end's: of two IPv4 addresses never the same. The
/// kernel's `digest` in `bpf/service.h`.
pub fn digest(address: IpAddr) -> u64 {
    digest_of(&mapped(address))
}

fn digest_of(address: &[u8; 16]) -> u64 {
    let bits = u128::from_ne_bytes(*address);
    let [first, second] = if cfg!(target_endian = "little") {
        [bits as u64, (bits >> 64) as u64]
    } else {
        [(bits >> 64) as u64, bits as u64]
    };
    first.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ second
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

struct Pin {
    key: FlowKey,
    pass: u32,
}

/// The Services known, and the keys of the connections to them.
#[derive(Default)]
pub(super) struct Services {
    /// Address and port, and how many passes had ended well when it came.
    known: HashMap<(IpAddr, u16), u32, RandomState>,
    pins: HashMap<FlowKey, Pin, RandomState>,
    ended: u32,
    /// Services that found no room in the kernel, most at a time.
    pub(super) lost: u64,
}

impl Services {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// The key that a live connection is added up by.
    pub(super) fn live<T: Default>(
        &mut self,
        key: FlowKey,
        counters: &Counters,
        totals: &mut Totals<T>,
        sink: &mut impl Sink<T>,
    ) -> FlowKey {
        let Peer::Service { source, port } = key.peer else { return key };
        let told = sink.backend(&key, source, port).map(|backend| at(key, backend));
        let former = former(key, source);
        let pass = self.ended;
        if let Some(pin) = self.pins.get_mut(&key) {
            pin.pass = pass;
            if let Some(told) = told {
                // Known only now; or else another connection from the same port.
                if pin.key == former && told != former {
                    totals.move_live(&former, &told, counters);
                }
                pin.key = told;
            }
            return pin.key;
        }
        let found = told.unwrap_or(former);
        if self.is_moving(&key) && found != former && totals.knows(&former) {
            totals.move_live(&former, &found, counters);
        }
        self.pins.insert(key, Pin { key: found, pass });
        found
    }

    /// The key that a closed connection, or something that happened to one, is added up by. `lives`: it has begun and not
    /// ended, so that it will be asked for again.
    pub(super) fn closed<T: Default>(
        &mut self,
        key: FlowKey,
        lives: bool,
        totals: &Totals<T>,
        sink: &mut impl Sink<T>,
    ) -> FlowKey {
        let Peer::Service { source, port } = key.peer else { return key };
        let former = former(key, source);
        let moving = self.is_moving(&key) && totals.knows(&former);
        let pin = self.pins.get_mut(&key);
        // What it has counted so far was reported as going to the Service.
        if pin.as_ref().map_or(moving, |pin| pin.key == former) {
            return former;
        }
        let told = sink.backend(&key, source, port).map(|backend| at(key, backend));
        match pin {
            Some(pin) => {
                pin.key = told.unwrap_or(pin.key);
                pin.key
            }
            None => {
                let found = told.unwrap_or(former);
                if lives {
                    self.pins.insert(key, Pin { key: found, pass: self.ended });
                }
                found
            }
        }
    }

    /// Ends a pass that saw everything: forgets the connections that have gone and are drained.
    pub(super) fn end_pass(&mut self) {
        let ended = self.ended;
        self.pins.retain(|_, pin| ended.wrapping_sub(pin.pass) <= 1);
        self.ended = ended.wrapping_add(1);
    }

    fn is_moving(&self, key: &FlowKey) -> bool {
        let came = self.known.get(&(key.remote(), key.port));
        came.is_some_and(|came| self.ended.wrapping_sub(*came) < MOVING_PASSES)
    }
}

/// The key that the kernel gives where the Service is not known.
pub(crate) fn former(key: FlowKey, source: u64) -> FlowKey {
    let remote = key.remote();
    let local = digest_of(&key.remote) == source || matches!(remote, IpAddr::V4(v4) if v4.is_loopback());
    FlowKey { peer: if local { Peer::Local } else { Peer::Remote }, ..key }
}

/// The key of a connection that went to this backend.
pub(crate) fn at(key: FlowKey, backend: Backend) -> FlowKey {
    let Backend { address, port, service } = backend;
    FlowKey { remote: mapped(address), port, peer: Peer::Backend { service }, ..key }
}

/// Puts a Service into a program's map of them (`bpf/service.h`).
pub(crate) fn tell_service(map: &MapMut<'_>, (address, port): (IpAddr, u16)) -> Result<(), Error> {
    let mut raw = [0; 20];
    raw[..16].copy_from_slice(&mapped(address));
    raw[16..18].copy_from_slice(&port.to_ne_bytes());
    map.update(&raw, &[1], MapFlags::ANY)
        .map_err(|error| Error::libbpf("telling the kernel a Service's address", error))
}

impl<T: Default> Tcp<'_, T> {
    /// Says at which addresses and ports Services are dialled, for the coming passes: all that there are. Those told before stay. Where the map
    /// has no room for one, its connections are not told apart by backend: counted in [`super::Health::lost`].
    ///
    /// # Errors
    /// When the kernel refuses an entry for another reason than want of room.
    pub fn add_services(&mut self, all: impl IntoIterator<Item = (IpAddr, u16)>) -> Result<(), Error> {
        let map = &self.skeleton.maps.services;
        let capacity = map.max_entries() as usize;
        let mut refused = 0;
        for (address, port) in all {
            let address = address.to_canonical();
            if self.services.known.contains_key(&(address, port)) {
                continue;
            }
            if self.services.known.len() >= capacity {
                refused += 1;
                continue;
            }
            tell_service(map, (address, port))?;
            self.services.known.insert((address, port), self.services.ended);
        }
        self.services.lost = self.services.lost.max(refused);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
