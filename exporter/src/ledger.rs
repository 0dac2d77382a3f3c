// SPDX-License-Identifier: Apache-2.0
//! The ledger: what was counted, by edge, within a budget of series.
//!
//! Totals stay exact whatever the budget: an edge that is folded adds what it had to `other`, and what its flows count
//! from then on goes there too. An edge that was idle for long leaves the exposition but keeps its totals, so that no
//! counter falls should it come back.

mod budget;
mod dns;
mod encode;
mod entry;
mod http;
mod listeners;
mod ports;
mod tcp;
mod udp;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use crate::audit::Counted;
use crate::dns::Domains;
use crate::edge::{Edge, LabelPlan, LabelValues, Observer};
use dns::DnsPart;
pub use entry::Entry;
use listeners::{Kind, Listeners};
pub use listeners::{ListenerEntry, ListenerLabels};
use ports::Ports;

/// Where a flow key's numbers go, kept with the key: valid until the edge is folded, or until its ends have other names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    index: u32,
    tenant: u32,
    /// Whether the client and the server have no name. Not the entry's: where labels are dropped, many keys share one.
    unattributed: [bool; 2],
}

impl Place {
    /// Says whether the client and the server have no name.
    pub fn with_unattributed(self, client: bool, server: bool) -> Self {
        Self { unattributed: [client, server], ..self }
    }
}

/// Which families are served.
#[derive(Debug, Clone, Copy)]
pub struct Collectors {
    /// Connections and accept queues.
    pub tcp: bool,
    /// Datagrams and receive buffers.
    pub udp: bool,
    /// DNS messages.
    pub dns: bool,
    /// HTTP requests.
    pub http: bool,
    /// Dropped packets.
    pub drops: bool,
}

/// How the ledger is kept.
pub struct LedgerConfig {
    /// The labels of edges.
    pub plan: LabelPlan,
    /// What is served.
    pub collectors: Collectors,
    /// Domains whose DNS answers are counted by name; 0 for none. Their series are not of the budget.
    pub dns_names: usize,
    /// Most series of edges and listeners.
    pub series_limit: usize,
    /// How long an edge stays exposed after it was last active.
    pub idle_timeout: Duration,
}

/// The totals of all edges.
pub struct Ledger {
    config: LedgerConfig,
    entries: Vec<Entry>,
    by_labels: HashMap<LabelValues, u32, RandomState>,
    free: Vec<u32>,
    listeners: Listeners,
    udp_sockets: Listeners,
    dropped: Listeners,
    domains: Domains,
    counted: Counted,
    ports: Ports,
    now: Instant,
    folded: u64,
    /// Whether edges were folded on arrival since the last `finish`.
    overflowed: bool,
    /// Whether the gauges are those of a whole pass; they are not served otherwise.
    gauges: bool,
    /// Bytes of ends without a name: client, server.
    unattributed: [u64; 2],
    /// Bytes between sidecar proxies and their own pods.
    within_pods: u64,
    /// Ticks of the kernel's timer in a second.
    frequency: u32,
}

/// The entries that take what is folded, always at these places.
const OTHER: [Observer; 4] = Observer::ALL;

impl Ledger {
    /// An empty ledger.
    pub fn new(config: LedgerConfig) -> Self {
        let now = Instant::now();
        let mut ledger = Self {
            entries: Vec::new(),
            by_labels: HashMap::default(),
            free: Vec::new(),
            listeners: Listeners::new(Kind::TCP, config.series_limit, now),
            udp_sockets: Listeners::new(Kind::UDP, config.series_limit, now),
            dropped: Listeners::new(Kind::DROPS, config.series_limit, now),
            domains: Domains::new(config.dns_names),
            counted: Counted::default(),
            ports: Ports::default(),
            now,
            folded: 0,
            overflowed: false,
            gauges: false,
            unattributed: [0; 2],
            within_pods: 0,
            frequency: 250,
            config,
        };
        for observer in OTHER {
            let labels = ledger.config.plan.folded(observer);
            ledger.insert(labels, observer);
        }
        ledger
    }

    /// The kernel's timer frequency, in which limited time is counted.
    pub fn set_frequency(&mut self, frequency: u32) {
        self.frequency = frequency;
    }

    /// Begins a pass: gauges are counted afresh, and not served unless it turns out [`whole`](Self::whole).
    pub fn begin(&mut self, now: Instant) {
        self.now = now;
        self.gauges = false;
        for part in self.entries.iter_mut().filter_map(|entry| entry.tcp.as_mut()) {
            part.connections = 0;
        }
        self.ports.begin();
        self.listeners.begin();
        self.udp_sockets.begin();
        self.dropped.begin();
    }

    /// Says that the pass saw everything: its gauges are served until the next one begins.
    pub fn whole(&mut self) {
        self.gauges = true;
    }

    /// Ends a pass: idle edges and listeners leave the exposition, and those beyond the budget are folded.
    pub fn finish(&mut self) {
        self.retire_idle();
        self.listeners.finish(self.now, self.config.idle_timeout);
        self.udp_sockets.finish(self.now, self.config.idle_timeout);
        self.dropped.finish(self.now, self.config.idle_timeout);
        self.keep_budget();
        self.recall_overflow();
    }

    /// Whether a place is still what it was given out as.
    pub fn is_current(&self, place: Place) -> bool {
        self.entries.get(place.index as usize).is_some_and(|entry| entry.tenant == place.tenant)
    }

    /// The place of an edge's numbers. New edges beyond what memory is meant for are folded into `other` on arrival.
    pub fn place(&mut self, edge: &Edge) -> Place {
        let labels = self.config.plan.values(edge);
        let index = match self.by_labels.get(&labels) {
            Some(index) => *index,
            None if self.is_full() => {
                self.folded += 1;
                self.overflowed = true;
                budget::other_of(edge.observer)
            }
            None => self.insert(labels, edge.observer),
        };
        let tenant = self.entries[index as usize].tenant;
        Place { index, tenant, unattributed: [false; 2] }
    }

    /// The numbers at a place. Marks them as active now and exposed.
    pub fn active(&mut self, place: Place) -> &mut Entry {
        let now = self.now;
        // A place is only used while it is current; the first entry always exists.
        let index = (place.index as usize).min(self.entries.len() - 1);
        let entry = &mut self.entries[index];
        entry.last_active = now;
        entry.exposed = true;
        entry
    }

    /// The numbers of a listener, by namespace, workload and port.
    pub fn listener(&mut self, labels: ListenerLabels) -> &mut ListenerEntry {
        self.listeners.entry(labels, self.now)
    }

    /// The numbers of a UDP socket, by namespace, workload and port: those that serve, and others that dropped something.
    pub fn udp_socket(&mut self, labels: ListenerLabels) -> &mut ListenerEntry {
        self.udp_sockets.entry(labels, self.now)
    }

    /// The count of dropped packets, by namespace, workload and reason.
    pub fn dropped(&mut self, labels: ListenerLabels) -> &mut ListenerEntry {
        self.dropped.entry(labels, self.now)
    }

    /// DNS answers by domain.
    pub fn domains(&mut self) -> &mut Domains {
        &mut self.domains
    }

    /// Local ports that clients occupy.
    pub fn ports(&mut self) -> &mut Ports {
        &mut self.ports
    }

    /// What all families grew by, for the audit: whatever is named, folded or served.
    pub fn counted(&mut self) -> &mut Counted {
        &mut self.counted
    }

    /// Takes what became of NXDOMAIN answers, once in each pass over DNS messages, after all that they grew by; they are not
    /// served before. For each place,
    /// how many were made up by a search list since the last time, and how many are undecided. Those not named here have none that
    /// are. Of a place that was given up meanwhile it is told in vain: its answers count as errors.
    pub fn decide_nxdomain(&mut self, decided: impl Iterator<Item = (Place, u64, u64)>) {
        self.dns_parts().for_each(DnsPart::release);
        for (place, made_up, undecided) in decided {
            if self.is_current(place)
                && let Some(part) = &mut self.entries[place.index as usize].dns
            {
                part.decide(made_up, undecided);
            }
        }
        for part in self.dns_parts() {
            part.settle();
            part.lapse();
        }
    }

    fn dns_parts(&mut self) -> impl Iterator<Item = &mut DnsPart> {
        self.entries.iter_mut().filter_map(|entry| entry.dns.as_deref_mut())
    }

    /// Counts the bytes of a place whose client or server has no name.
    pub fn count_unattributed(&mut self, place: Place, bytes: u64) {
        for (sum, nameless) in self.unattributed.iter_mut().zip(place.unattributed) {
            *sum += if nameless { bytes } else { 0 };
        }
    }

    /// Counts bytes that a sidecar proxy exchanged with its own pod: they are no edge's.
    pub fn count_within_pod(&mut self, bytes: u64) {
        self.within_pods += bytes;
    }

    fn insert(&mut self, labels: LabelValues, observer: Observer) -> u32 {
        let entry = Entry::new(labels.clone(), observer, self.now);
        let index = match self.free.pop() {
            Some(index) => {
                let place = &mut self.entries[index as usize];
                *place = Entry { tenant: place.tenant.wrapping_add(1), ..entry };
                index
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        self.by_labels.insert(labels, index);
        index
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
