// SPDX-License-Identifier: Apache-2.0
//! Address ranges and device names, each given out once.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU16, Ordering};

static COUNTER: AtomicU16 = AtomicU16::new(1);

/// A number that nothing else in this process has.
pub(crate) fn next_number() -> u16 {
    COUNTER.fetch_add(1, Ordering::Relaxed)
}

/// An address range nobody else in this process has.
#[derive(Debug, Clone)]
pub struct Subnet {
    index: u16,
}

impl Subnet {
    /// The next free range.
    pub fn next() -> Self {
        Subnet { index: next_number() }
    }

    /// A device name that no other link has.
    pub fn device(&self, kind: &str, end: u8) -> String {
        format!("{kind}{}-{end}", self.index)
    }

    /// The number `host` in the IPv4 range.
    pub fn v4(&self, host: u8) -> Ipv4Addr {
        let [high, low] = self.index.to_be_bytes();
        Ipv4Addr::new(10, 180 ^ high, low, host)
    }

    /// The number `host` in the IPv6 range.
    pub fn v6(&self, host: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0xf10, 0x6a6e, self.index, 0, 0, 0, host)
    }
}
