// SPDX-License-Identifier: Apache-2.0
//! From the probe to the ledger: finds the edge of each flow key and enters what it grew.

use std::time::Duration;

use flowgauge_probes::tcp::{Counter, Counters, Events, Listener, Processes, Sink};
use flowgauge_probes::{FlowKey, Role};

use crate::ledger::{Ledger, Place, bytes_of};
use crate::naming::{Naming, is_unattributed};

/// Enters one pass into the ledger. A key is named when it grows, and named again when names may have changed.
pub struct Post<'a> {
    ledger: &'a mut Ledger,
    naming: &'a mut Naming,
    generation: u64,
}

impl<'a> Post<'a> {
    /// For one pass.
    pub fn new(ledger: &'a mut Ledger, naming: &'a mut Naming) -> Self {
        let generation = naming.generation();
        Self { ledger, naming, generation }
    }

    fn place(&mut self, key: &FlowKey, place: &mut Place, processes: &Processes) -> Place {
        if !self.ledger.is_current(*place, self.generation) {
            let edge = self.naming.edge(key, processes);
            *place = self
                .ledger
                .place(&edge, self.generation)
                .with_unattributed(is_unattributed(&edge.client), is_unattributed(&edge.server));
        }
        *place
    }
}

impl Sink<Place> for Post<'_> {
    fn listeners(&mut self, listeners: &[Listener], processes: &Processes) {
        self.naming.set_listeners(listeners, processes);
        self.generation = self.naming.generation();
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
        place: &mut Place,
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
        let place = self.place(key, place, processes);
        self.ledger.count_unattributed(place, bytes_of(growth));
        let entry = self.ledger.active(place);
        entry.counters.add(growth);
        entry.connections += u64::from(connections);
    }

    fn events(&mut self, key: &FlowKey, place: &mut Place, events: &Events, processes: &Processes) {
        if key.role != Role::Listener {
            let place = self.place(key, place, processes);
            self.ledger.active(place).add_events(events);
        }
    }

    fn rtt(&mut self, key: &FlowKey, place: &mut Place, rtt: Duration, processes: &Processes) {
        let place = self.place(key, place, processes);
        self.ledger.active(place).add_rtt(rtt);
    }
}
