// SPDX-License-Identifier: Apache-2.0
//! The families of TCP, in the order of [`tcp::FAMILIES`].

use std::fmt;

use flowgauge_probes::tcp::{CLOSE_REASONS, CONNECT_POWERS, Counter, FAILURES, RTT_POWERS};
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};

use super::{Row, Writer, all, drops, gauge_of_listeners};
use crate::exposition::RenderedLabels;
use crate::ledger::tcp::TcpPart;
use crate::ledger::{Entry, Ledger};
use crate::tcp_families as tcp;

const LIMITS: [(&str, Counter); 3] = [
    ("busy", Counter::LimitedBusy),
    ("receive_window", Counter::LimitedReceiveWindow),
    ("send_buffer", Counter::LimitedSendBuffer),
];

impl Ledger {
    pub(super) fn encode_tcp(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        entries: &[(&Entry, RenderedLabels)],
    ) -> fmt::Result {
        type Of<'a> = Row<'a, TcpPart>;
        let frequency = f64::from(self.frequency.max(1));
        let mut out = Writer::new(encoder, entries, |entry| entry.tcp.as_deref());
        let client = |row: &Of<'_>| row.observer.opened();
        let server = |row: &Of<'_>| !row.observer.opened();
        let of = |counter: Counter| move |part: &TcpPart| part.counters[counter];
        out.counter(&tcp::SENT_BYTES, all, of(Counter::SentBytes))?;
        out.counter(&tcp::RECEIVED_BYTES, all, of(Counter::ReceivedBytes))?;
        out.counter(&tcp::SENT_SEGMENTS, all, of(Counter::SentSegments))?;
        out.counter(&tcp::RECEIVED_SEGMENTS, all, of(Counter::ReceivedSegments))?;
        out.counter(&tcp::RETRANSMITTED_SEGMENTS, all, of(Counter::RetransmittedSegments))?;
        out.counter(&tcp::OUT_OF_ORDER_SEGMENTS, all, of(Counter::OutOfOrderSegments))?;
        let has_rtt = |row: &Of<'_>| row.part.has_rtt();
        out.histogram(&tcp::RTT, has_rtt, RTT_POWERS, |part| (&part.rtt, part.rtt_sum))?;
        out.each(
            &tcp::CONNECTIONS,
            |_| self.gauges,
            |metric, part, labels| metric.encode_family(labels)?.encode_gauge(&(part.connections as f64)),
        )?;
        out.counter(&tcp::OPENED, all, of(Counter::Opened))?;
        out.by_reason(&tcp::CLOSED, all, CLOSE_REASONS, |part| part.closed)?;
        out.counter(&tcp::ATTEMPTS, client, of(Counter::Attempts))?;
        out.by_reason(&tcp::FAILURES, client, FAILURES, |part| part.failed)?;
        let has_connect = |row: &Of<'_>| client(row) && row.part.has_connect();
        out.histogram(&tcp::CONNECT_DURATION, has_connect, CONNECT_POWERS, |part| {
            (&part.connect, part.connect_sum)
        })?;
        out.counter(&tcp::SYN_RETRANSMITS, client, of(Counter::SynRetransmits))?;
        out.counter(&tcp::SYNACK_RETRANSMITS, server, |part| part.synack_retransmits)?;
        out.each(&tcp::LIMITED, all, |metric, part, labels| {
            for (limit, counter) in LIMITS {
                let labels = labels.with(tcp::LIMITED.labels[0], limit);
                let seconds = part.counters[counter] as f64 / frequency;
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&seconds, None)?;
            }
            Ok(())
        })?;
        self.encode_accept_queues(encoder)
    }

    fn encode_accept_queues(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let queues = &self.listeners;
        let none = !self.gauges;
        gauge_of_listeners(encoder, &tcp::ACCEPT_QUEUE_LENGTH, queues, none, |queue| queue.length)?;
        gauge_of_listeners(encoder, &tcp::ACCEPT_QUEUE_LIMIT, queues, none, |queue| queue.limit)?;
        gauge_of_listeners(encoder, &tcp::SYN_QUEUE_LENGTH, queues, none, |queue| queue.half_open)?;
        drops(encoder, &tcp::ACCEPT_QUEUE_DROPS, queues)?;
        self.encode_ports(encoder)
    }

    fn encode_ports(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let family = &tcp::LOCAL_PORTS;
        let mut metric = family.describe(encoder)?;
        if !self.gauges {
            return Ok(());
        }
        for ((namespace, workload), ports) in self.ports.used(self.config.series_limit / 50) {
            let labels = family.labels.iter().copied().zip([&*namespace, &*workload]);
            metric.encode_family(&RenderedLabels::new(labels))?.encode_gauge(&(ports as f64))?;
        }
        Ok(())
    }
}
