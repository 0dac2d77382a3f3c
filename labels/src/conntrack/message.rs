// SPDX-License-Identifier: Apache-2.0
//! ctnetlink messages: the few attributes that tell where a connection went, and the request for a dump.
//!
//! Layout: `linux/netfilter/nfnetlink_conntrack.h`. Decoded here because netlink-packet-netfilter 0.4 allocates for
//! every attribute of an event and takes 1.2 µs for it, as long as all that is done with an event here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NetlinkBuffer, NlaBuffer, NlasIterator};

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW`
pub(super) const CT_NEW: u16 = 0x0100;
const CT_GET: u16 = 0x0101;
const HEADER: usize = 16;
/// Where attributes begin: after `nlmsghdr` and `nfgenmsg`.
pub(super) const ATTRIBUTES: u32 = 20;

pub(super) const CTA_TUPLE_ORIG: u16 = 1;
pub(super) const CTA_TUPLE_REPLY: u16 = 2;
pub(super) const CTA_STATUS: u16 = 3;
const CTA_STATUS_MASK: u16 = 26;
pub(super) const CTA_TUPLE_IP: u16 = 1;
pub(super) const CTA_TUPLE_PROTO: u16 = 2;
pub(super) const CTA_IP_V4_SRC: u16 = 1;
pub(super) const CTA_IP_V4_DST: u16 = 2;
pub(super) const CTA_IP_V6_SRC: u16 = 3;
pub(super) const CTA_IP_V6_DST: u16 = 4;
pub(super) const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
/// The destination was translated (`nf_conntrack_common.h`).
pub(super) const IPS_DST_NAT: u32 = 1 << 5;

/// A TCP connection that did not go where it was dialled to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Translation {
    /// Who opened it, as the host saw its first packet.
    pub source: (IpAddr, u16),
    /// What it asked for.
    pub dialled: (IpAddr, u16),
    /// Who answers.
    pub backend: (IpAddr, u16),
}

/// One message from the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Message {
    /// A conntrack entry, new or listed.
    Entry(Translation),
    /// A dump is complete.
    Done,
    /// A request was refused, or a dump ended before its end: errno.
    Failed(i32),
    /// Anything else: an entry whose destination is as dialled, another protocol, an acknowledgement.
    Other,
}

/// The messages of one datagram, each with its sequence number. Ends at the first that is no message.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = (u32, Message)> {
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(datagram).ok()?;
        let (kind, sequence) = (message.message_type(), message.sequence_number());
        let length = usize::try_from(message.length()).ok()?;
        let payload = datagram.get(HEADER..length)?;
        datagram = datagram.get(length.checked_next_multiple_of(4)?..).unwrap_or_default();
        Some((sequence, decode(kind, payload)))
    })
}

fn decode(kind: u16, payload: &[u8]) -> Message {
    let code = || payload.first_chunk().map(|code| i32::from_ne_bytes(*code));
    match i32::from(kind) {
        libc::NLMSG_DONE => match code() {
            Some(code) if code < 0 => Message::Failed(code.saturating_neg()),
            _ => Message::Done,
        },
        libc::NLMSG_ERROR => match code() {
            Some(0) => Message::Other,
            Some(code) => Message::Failed(code.saturating_neg()),
            None => Message::Failed(libc::EBADMSG),
        },
        _ if kind == CT_NEW => {
            let entry = payload.get(ATTRIBUTES as usize - HEADER..).and_then(translation);
            entry.map_or(Message::Other, Message::Entry)
        }
        _ => Message::Other,
    }
}

#[derive(Default)]
struct Tuple {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    protocol: u8,
    source_port: Option<u16>,
    destination_port: Option<u16>,
}

/// None unless it is TCP and the destination was translated: the reply comes from elsewhere. This is what NAT is,
/// whether nftables, iptables or IPVS did it.
fn translation(attributes: &[u8]) -> Option<Translation> {
    let (mut original, mut reply) = (None, None);
    for attribute in valid(attributes) {
        match attribute.kind() {
            CTA_TUPLE_ORIG => original = Some(tuple(attribute.value())),
            CTA_TUPLE_REPLY => reply = Some(tuple(attribute.value())),
            _ => continue,
        }
        if original.is_some() && reply.is_some() {
            break;
        }
    }
    let (original, reply) = (original?, reply?);
    if i32::from(original.protocol) != libc::IPPROTO_TCP {
        return None;
    }
    let source = (original.source?, original.source_port?);
    let dialled = (original.destination?, original.destination_port?);
    let backend = (reply.source?, reply.source_port?);
    (dialled != backend).then_some(Translation { source, dialled, backend })
}

fn tuple(value: &[u8]) -> Tuple {
    let mut tuple = Tuple::default();
    for part in valid(value) {
        match part.kind() {
            CTA_TUPLE_IP => valid(part.value()).for_each(|field| match field.kind() {
                CTA_IP_V4_SRC | CTA_IP_V6_SRC => tuple.source = address(field.value()),
                CTA_IP_V4_DST | CTA_IP_V6_DST => tuple.destination = address(field.value()),
                _ => {}
            }),
            CTA_TUPLE_PROTO => valid(part.value()).for_each(|field| match field.kind() {
                CTA_PROTO_NUM => tuple.protocol = field.value().first().copied().unwrap_or_default(),
                CTA_PROTO_SRC_PORT => tuple.source_port = port(field.value()),
                CTA_PROTO_DST_PORT => tuple.destination_port = port(field.value()),
                _ => {}
            }),
            _ => {}
        }
    }
    tuple
}

/// The attributes up to the first that is broken.
fn valid(attributes: &[u8]) -> impl Iterator<Item = NlaBuffer<&[u8]>> {
    NlasIterator::new(attributes).map_while(Result::ok)
}

fn address(value: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(value).ok().map(|octets| Ipv6Addr::from(octets).into())
}

fn port(value: &[u8]) -> Option<u16> {
    value.try_into().ok().map(u16::from_be_bytes)
}

/// Asks for all entries; where `marked`, for those alone that have [`IPS_DST_NAT`] set. A kernel that does not know
/// the question lists all.
pub(super) fn dump_request(sequence: u32, marked: bool) -> Vec<u8> {
    let mut request = vec![0; HEADER];
    request.extend([libc::AF_UNSPEC as u8, 0, 0, 0]); // nfgenmsg: both families
    if marked {
        for kind in [CTA_STATUS, CTA_STATUS_MASK] {
            request.extend(8u16.to_ne_bytes());
            request.extend(kind.to_ne_bytes());
            request.extend(IPS_DST_NAT.to_be_bytes());
        }
    }
    let length = u32::try_from(request.len()).unwrap_or(u32::MAX);
    let mut header = NetlinkBuffer::new(&mut request);
    header.set_length(length);
    header.set_message_type(CT_GET);
    header.set_flags((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16);
    header.set_sequence_number(sequence);
    request
}

#[cfg(test)]
pub(super) mod tests;
