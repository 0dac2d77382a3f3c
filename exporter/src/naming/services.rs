// SPDX-License-Identifier: Apache-2.0
//! Services that were dialled, and the backends that address translation sent their connections to.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use flowgauge_labels::Conntrack;
use flowgauge_probes::FlowKey;
use flowgauge_probes::tcp::Backend;
use foldhash::fast::RandomState;
use lru::LruCache;

/// By number, the Services that keys speak of. No more come than the kernel has room for.
pub struct Services {
    translations: Option<Arc<Conntrack>>,
    dialled: Vec<(IpAddr, u16)>,
    numbers: HashMap<(IpAddr, u16), u32, RandomState>,
    /// Answers given lately.
    given: Answers,
    /// Those that were asked for by [`Services::backend_again`] before they were given.
    ahead: Answers,
}

/// By digest of the client's address, its port, and what it dialled.
type Connection = (u64, u16, (IpAddr, u16));

type Answers = LruCache<Connection, Backend, RandomState>;

/// Most answers that are kept of either kind.
const MOST_ANSWERS: usize = 65_536;

/// Keeps an answer, for the oldest one if there are too many. (A cache made with a bound takes its memory at once.)
fn put(answers: &mut Answers, connection: Connection, backend: Backend) {
    if answers.len() >= MOST_ANSWERS {
        answers.pop_lru();
    }
    answers.put(connection, backend);
}

impl Services {
    /// None dialled yet.
    pub fn new(translations: Option<Arc<Conntrack>>) -> Self {
        let answers = || LruCache::unbounded_with_hasher(RandomState::default());
        let (given, ahead) = (answers(), answers());
        Self { translations, dialled: Vec::new(), numbers: HashMap::default(), given, ahead }
    }

    /// Where a connection from `port` of the address with digest `source` went. Told once for each connection.
    pub fn backend(&mut self, key: &FlowKey, source: u64, port: u16) -> Option<Backend> {
        let connection = (source, port, (key.remote(), key.port));
        let backend = self.ahead.pop(&connection).or_else(|| self.take(connection))?;
        put(&mut self.given, connection, backend);
        Some(backend)
    }

    /// The same for whoever watches the same connections by other means, as often as it asks: the answer given last, which is
    /// that of the newest connection. One that was not given yet still will be.
    pub fn backend_again(&mut self, key: &FlowKey, source: u64, port: u16) -> Option<Backend> {
        let connection = (source, port, (key.remote(), key.port));
        if let Some(backend) = self.given.get(&connection) {
            return Some(*backend);
        }
        let backend = self.take(connection)?;
        put(&mut self.given, connection, backend);
        put(&mut self.ahead, connection, backend);
        Some(backend)
    }

    fn take(&mut self, (source, port, dialled): Connection) -> Option<Backend> {
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
