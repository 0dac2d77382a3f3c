// SPDX-License-Identifier: Apache-2.0
//! From the probe to the ledger: finds the edge of each flow key and enters what it grew.

use std::time::Duration;

use flowgauge_probes::tcp::{Backend, Counter, Counters, Events, Listener, Processes, Sink};
use flowgauge_probes::{FlowKey, Role};

use crate::ledger::{Ledger, Place, bytes_of};
use crate::naming::{Naming, Since, is_unattributed};

/// What is kept with a flow key: where its numbers go, and since when.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tag {
    /// None until the key was named.
    since: Option<Since>,
    /// None between a sidecar proxy and its own pod.
    place: Option<Place>,
}

/// Enters one pass into the ledger. A key is named when it grows, and named again when what its name depends on has changed.
pub struct Post<'a> {
    ledger: &'a mut Ledger,
    naming: &'a mut Naming,
    now: Since,
}

impl<'a> Post<'a> {
    /// For one pass.
    pub fn new(ledger: &'a mut Ledger, naming: &'a mut Naming) -> Self {
        let now = naming.now();
        Self { ledger, naming, now }
    }

    fn place(&mut self, key: &FlowKey, tag: &mut Tag, processes: &Processes) -> Option<Place> {
        let named = tag.since.is_some_and(|since| {
            let kept = tag.place.is_none_or(|place| self.ledger.is_current(place));
            kept && (since == self.now || !self.naming.is_stale(key, since, processes))
        });
        if !named {
            let edge = self.naming.edge(key, processes);
            tag.place = edge.map(|edge| {
                let place = self.ledger.place(&edge);
                place.with_unattributed(is_unattributed(&edge.client), is_unattributed(&edge.server))
            });
        }
        tag.since = Some(self.now);
        tag.place
    }
}

impl Sink<Tag> for Post<'_> {
    fn catch_up(&mut self) {
        self.naming.catch_up();
    }

    fn backend(&mut self, key: &FlowKey, source: u64, port: u16) -> Option<Backend> {
        self.naming.backend(key, source, port)
    }

    fn listeners(&mut self, listeners: &[Listener], processes: &Processes) {
        self.naming.set_listeners(listeners, processes);
        self.now = self.naming.now();
    }

    fn accept_queues(&mut self, listeners: &[Listener], processes: &Processes) {
        for listener in listeners {
            let (owner, port) = self.naming.listener(&listener.key, processes);
            let entry = self.ledger.listener([owner.namespace, owner.workload, port]);
            entry.length += u64::from(listener.queue_length);
            entry.limit += u64::from(listener.queue_limit);
            entry.open = true;
        }
    }

    fn growth(
        &mut self,
        key: &FlowKey,
        tag: &mut Tag,
        growth: &Counters,
        connections: u32,
        processes: &Processes,
    ) {
        if key.role == Role::Listener {
            if growth[Counter::ListenDrops] > 0 {
                let (owner, port) = self.naming.accepting(key);
                let entry = self.ledger.listener([owner.namespace, owner.workload, port]);
                entry.drops += growth[Counter::ListenDrops];
            }
            return;
        }
        if growth.is_zero() && connections == 0 {
            return;
        }
        let bytes = bytes_of(growth);
        let Some(place) = self.place(key, tag, processes) else {
            return self.ledger.count_within_pod(bytes);
        };
        self.ledger.count_unattributed(place, bytes);
        let entry = self.ledger.active(place);
        entry.counters.add(growth);
        entry.connections += u64::from(connections);
    }

    fn events(&mut self, key: &FlowKey, tag: &mut Tag, events: &Events, processes: &Processes) {
        if key.role != Role::Listener
            && let Some(place) = self.place(key, tag, processes)
        {
            self.ledger.active(place).add_events(events);
        }
    }

    fn rtt(&mut self, key: &FlowKey, tag: &mut Tag, rtt: Duration, processes: &Processes) {
        if let Some(place) = self.place(key, tag, processes) {
            self.ledger.active(place).add_rtt(rtt);
        }
    }
}
