// SPDX-License-Identifier: Apache-2.0
//! The families of UDP, in the order of [`udp::FAMILIES`].

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{Writer, all, drops};
use crate::exposition::RenderedLabels;
use crate::ledger::{Entry, Ledger};
use crate::udp_families as udp;

impl Ledger {
    pub(super) fn encode_udp(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        entries: &[(&Entry, RenderedLabels)],
    ) -> fmt::Result {
        let mut out = Writer::new(encoder, entries, |entry| entry.udp.as_deref());
        out.counter(&udp::SENT_BYTES, all, |part| part.0.sent_bytes)?;
        out.counter(&udp::RECEIVED_BYTES, all, |part| part.0.received_bytes)?;
        out.counter(&udp::SENT_PACKETS, all, |part| part.0.sent_packets)?;
        out.counter(&udp::RECEIVED_PACKETS, all, |part| part.0.received_packets)?;
        drops(encoder, &udp::RECEIVE_DROPS, &self.udp_sockets)
    }
}
