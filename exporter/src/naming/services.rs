// SPDX-License-Identifier: Apache-2.0
//! Services that were dialled, and the backends that address translation sent their connections to.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use flowgauge_labels::Conntrack;
use flowgauge_probes::FlowKey;
use flowgauge_probes::tcp::Backend;
use foldhash::fast::RandomState;

/// By number, the Services that keys speak of. No more come than the kernel has room for.
pub struct Services {
    translations: Option<Arc<Conntrack>>,
    dialled: Vec<(IpAddr, u16)>,
    numbers: HashMap<(IpAddr, u16), u32, RandomState>,
}

impl Services {
    /// None dialled yet.
    pub fn new(translations: Option<Arc<Conntrack>>) -> Self {
        Self { translations, dialled: Vec::new(), numbers: HashMap::default() }
    }

    /// Where a connection from `port` of the address with digest `source` went.
    pub fn backend(&mut self, key: &FlowKey, source: u64, port: u16) -> Option<Backend> {
        let dialled = (key.remote(), key.port);
        let (address, to) = self.translations.as_ref()?.take(source, port, dialled)?;
        let service = *self.numbers.entry(dialled).or_insert_with(|| {
            self.dialled.push(dialled);
            (self.dialled.len() - 1) as u32
        });
        Some(Backend { address, port: to, service })
    }

    /// Hears of the translations made until now.
    pub fn catch_up(&self) {
        if let Some(translations) = &self.translations {
            translations.drain();
        }
    }

    /// The address and port of the Service with this number.
    pub fn dialled(&self, service: u32) -> Option<(IpAddr, u16)> {
        self.dialled.get(service as usize).copied()
    }
}
