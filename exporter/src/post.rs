// SPDX-License-Identifier: Apache-2.0
//! From the probes to the ledger: finds the edge of each flow key and enters what it grew.

use std::time::Duration;

use flowgauge_probes::drops::{Dropped, Holders};
use flowgauge_probes::packets::{self, DnsCounts, DnsSample, Http2Record, HttpGrowth, NXDOMAIN, UdpCounts};
use flowgauge_probes::tcp::{Backend, Counter, Counters, Events, Listener, Processes, Sink};
use flowgauge_probes::{FlowKey, Role, Transport, monotonic};

use crate::dns::Messages;
use crate::flows::{self, FlowTag, Flows};
use crate::http2::{Http2, Told};
use crate::ledger::{Entry, Ledger, ListenerEntry, Place};
use crate::naming::{Naming, Since, is_unattributed};

/// What is kept with a flow key: where its numbers go, and since when.
#[derive(Debug, Clone, Default)]
pub struct Tag {
    /// None until the key was named.
    since: Option<Since>,
    /// None between a sidecar proxy and its own pod.
    place: Option<Place>,
    /// None there too, and where the drill-down is off.
    flow: Option<FlowTag>,
}

/// Enters one pass into the ledger. A key is named when it grows, and named again when what its name depends on has changed.
pub struct Post<'a> {
    ledger: &'a mut Ledger,
    naming: &'a mut Naming,
    messages: Option<&'a mut Messages>,
    http2: Option<&'a mut Http2>,
    flows: Option<&'a mut Flows>,
    now: Since,
    /// When it began, nanoseconds of the clock that programs read.
    begun: u64,
}

impl<'a> Post<'a> {
    /// For one pass, which begins now.
    pub fn new(ledger: &'a mut Ledger, naming: &'a mut Naming) -> Self {
        let now = naming.now();
        Self { ledger, naming, messages: None, http2: None, flows: None, now, begun: monotonic() }
    }

    /// Learns from samples of DNS messages as well.
    pub fn with_messages(self, messages: &'a mut Messages) -> Self {
        Self { messages: Some(messages), ..self }
    }

    /// Follows HTTP/2 connections as well.
    pub fn with_http2(self, http2: &'a mut Http2) -> Self {
        Self { http2: Some(http2), ..self }
    }

    /// Enters what grew by address as well.
    pub fn with_flows(self, flows: Option<&'a mut Flows>) -> Self {
        Self { flows, ..self }
    }

    /// Ends a pass over packets, after all counts. Between passes, samples and counts may be taken without it.
    pub fn conclude(&mut self) {
        match &mut self.messages {
            Some(messages) => messages.conclude(self.begun, self.ledger),
            None => self.ledger.decide_nxdomain(std::iter::empty()),
        }
    }

    /// Enters packets that the kernel dropped. `processes` are those of the TCP probe.
    pub fn dropped(&mut self, dropped: &Dropped, holders: &Holders, processes: &Processes) {
        let (namespace, workload) = self.naming.dropped(dropped, holders, processes);
        self.ledger.dropped([namespace, workload, dropped.reason.clone()]).drops += dropped.packets;
    }

    fn place(&mut self, key: &FlowKey, tag: &mut Tag, processes: &Processes) -> Option<Place> {
        let named = tag.since.is_some_and(|since| {
            let kept = tag.place.is_none_or(|place| self.ledger.is_current(place));
            kept && (since == self.now || !self.naming.is_stale(key, since, processes))
        });
        if !named {
            let edge = self.naming.edge(key, processes);
            if let Some(flows) = &mut self.flows {
                flows.name(&mut tag.flow, edge.as_ref());
            }
            tag.place = edge.map(|edge| {
                let place = self.ledger.place(&edge);
                place.with_unattributed(is_unattributed(&edge.client), is_unattributed(&edge.server))
            });
        }
        tag.since = Some(self.now);
        tag.place
    }

    /// The numbers of a flow's edge, after counting as many payload bytes of it as have no name. None within a pod, whose
    /// bytes are counted for themselves.
    fn entry(
        &mut self,
        key: &FlowKey,
        tag: &mut Tag,
        bytes: u64,
        processes: &Processes,
    ) -> Option<&mut Entry> {
        let Some(place) = self.place(key, tag, processes) else {
            self.ledger.count_within_pod(bytes);
            return None;
        };
        self.ledger.count_unattributed(place, bytes);
        Some(self.ledger.active(place))
    }

    /// Enters requests. Their bytes are counted with their connection.
    fn requests(&mut self, key: &FlowKey, tag: &mut Tag, growth: &HttpGrowth, processes: &Processes) {
        if let Some(entry) = self.entry(key, tag, 0, processes) {
            entry.http().add(growth);
            self.flow(key, tag, true, |entry| entry.add_http(growth));
        }
    }

    /// Enters something at the address of a key that was named.
    fn flow(&mut self, key: &FlowKey, tag: &mut Tag, grew: bool, enter: impl FnOnce(&mut flows::Entry)) {
        if let (Some(flows), Some(flow)) = (&mut self.flows, &mut tag.flow)
            && let Some(entry) = flows.entry(flow, grew, || key.remote())
        {
            enter(entry);
        }
    }

    /// The numbers of a UDP socket: its owner is known by the socket itself, or else by who serves on its port.
    fn udp_socket(&mut self, key: &FlowKey, processes: &Processes) -> &mut ListenerEntry {
        let (owner, port) = match key.process {
            0 => self.naming.accepting(key),
            _ => self.naming.listener(key, processes),
        };
        self.ledger.udp_socket([owner.namespace, owner.workload, port])
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
        self.naming.set_listeners(Transport::Tcp, listeners, processes);
        self.now = self.naming.now();
    }

    fn accept_queues(&mut self, listeners: &[Listener], processes: &Processes) {
        for listener in listeners {
            let (owner, port) = self.naming.listener(&listener.key, processes);
            let entry = self.ledger.listener([owner.namespace, owner.workload, port]);
            entry.length += u64::from(listener.queue_length);
            entry.limit += u64::from(listener.queue_limit);
            entry.half_open += u64::from(listener.half_open);
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
        self.ledger.counted().tcp(key.netns, key.role, growth);
        if key.role == Role::Client && connections > 0 {
            let naming = &*self.naming;
            self.ledger.ports().add(key, connections, || naming.opener(key, processes));
        }
        let bytes = growth[Counter::SentBytes] + growth[Counter::ReceivedBytes];
        if let Some(entry) = self.entry(key, tag, bytes, processes) {
            let part = entry.tcp();
            part.counters.add(growth);
            part.connections += u64::from(connections);
            let pass = self.flows.as_ref().map_or(0, |flows| flows.pass());
            self.flow(key, tag, !growth.is_zero(), |entry| entry.add_tcp(growth, connections, pass));
        }
    }

    fn events(&mut self, key: &FlowKey, tag: &mut Tag, events: &Events, processes: &Processes) {
        self.ledger.counted().tcp_events(key.netns, events);
        if key.role != Role::Listener
            && let Some(place) = self.place(key, tag, processes)
        {
            self.ledger.active(place).tcp().add_events(events);
            self.flow(key, tag, true, |entry| entry.add_events(events));
        }
    }

    fn rtt(&mut self, key: &FlowKey, tag: &mut Tag, rtt: Duration, processes: &Processes) {
        if let Some(place) = self.place(key, tag, processes) {
            self.ledger.active(place).tcp().add_rtt(rtt);
            self.flow(key, tag, true, |entry| entry.add_rtt(rtt));
        }
    }
}

impl packets::Sink<Tag> for Post<'_> {
    fn servers(&mut self, servers: &[Listener], processes: &Processes) {
        self.naming.set_listeners(Transport::Udp, servers, processes);
        self.now = self.naming.now();
        // Each is there from the start: the first drop shall be seen as a rise from zero.
        for server in servers {
            self.udp_socket(&server.key, processes).open = true;
        }
    }

    fn sample(&mut self, sample: &DnsSample<'_>, _: &Processes) {
        if let Some(messages) = &mut self.messages {
            messages.take(sample, self.ledger);
            // An answer may have named an address.
            self.now = self.naming.now();
        }
    }

    fn udp(&mut self, key: &FlowKey, tag: &mut Tag, growth: &UdpCounts, processes: &Processes) {
        self.ledger.counted().udp(key.netns, growth);
        let bytes = growth.sent_bytes + growth.received_bytes;
        if let Some(entry) = self.entry(key, tag, bytes, processes) {
            entry.udp().add(growth);
            self.flow(key, tag, true, |entry| entry.add_udp(growth));
        }
    }

    fn dns(&mut self, key: &FlowKey, tag: &mut Tag, growth: &DnsCounts, processes: &Processes) {
        // The bytes of the messages are counted with their flow.
        if let Some(entry) = self.entry(key, tag, 0, processes) {
            entry.dns().add(growth);
            self.flow(key, tag, true, |entry| entry.add_dns(growth));
        }
        if growth.responses[NXDOMAIN] > 0
            && let (Some(messages), Some(place)) = (&mut self.messages, tag.place)
        {
            messages.counted(key, place);
        }
    }

    fn backend(&mut self, key: &FlowKey, source: u64, port: u16) -> Option<Backend> {
        self.naming.backend_again(key, source, port)
    }

    fn http(&mut self, key: &FlowKey, tag: &mut Tag, growth: &HttpGrowth, processes: &Processes) {
        self.requests(key, tag, growth, processes);
    }

    fn http2(&mut self, record: &Http2Record<'_>, tag: &mut Tag, processes: &Processes) {
        let Some(http2) = self.http2.take() else { return };
        http2.take(record, |told| match told {
            Told::Request(growth) => self.requests(&record.key, tag, &growth, processes),
            Told::Grpc(status) => {
                if let Some(entry) = self.entry(&record.key, tag, 0, processes) {
                    entry.http().add_grpc(status);
                    self.flow(&record.key, tag, true, |entry| entry.add_grpc(status));
                }
            }
        });
        self.http2 = Some(http2);
    }

    fn receive_drops(&mut self, key: &FlowKey, drops: u64, processes: &Processes) {
        self.udp_socket(key, processes).drops += drops;
    }
}
