// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::*;

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn nested(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | libc::NLA_F_NESTED as u16, &parts.concat())
}

fn tuple_attribute(kind: u16, protocol: u8, from: (IpAddr, u16), to: (IpAddr, u16)) -> Vec<u8> {
    let addresses = match (from.0, to.0) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            [attribute(CTA_IP_V4_SRC, &from.octets()), attribute(CTA_IP_V4_DST, &to.octets())]
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            [attribute(CTA_IP_V6_SRC, &from.octets()), attribute(CTA_IP_V6_DST, &to.octets())]
        }
        _ => panic!("two families"),
    };
    let ports = [
        attribute(CTA_PROTO_NUM, &[protocol]),
        attribute(CTA_PROTO_SRC_PORT, &from.1.to_be_bytes()),
        attribute(CTA_PROTO_DST_PORT, &to.1.to_be_bytes()),
    ];
    nested(kind, &[nested(CTA_TUPLE_IP, &addresses), nested(CTA_TUPLE_PROTO, &ports)])
}

pub fn packet(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(HEADER + payload.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(7u32.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An event as the kernel composes it: tuples, then zone or id, then the status.
pub fn event(protocol: u8, status: u32, entry: &Translation) -> Vec<u8> {
    entry_packet((libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16, protocol, status, entry)
}

pub fn entry_packet(flags: u16, protocol: u8, status: u32, entry: &Translation) -> Vec<u8> {
    const CTA_ID: u16 = 12;
    let payload = [
        vec![2, 0, 0, 0],
        tuple_attribute(CTA_TUPLE_ORIG, protocol, entry.source, entry.dialled),
        tuple_attribute(CTA_TUPLE_REPLY, protocol, entry.backend, entry.source),
        attribute(CTA_ID, &[1, 2, 3, 4]),
        attribute(CTA_STATUS, &status.to_be_bytes()),
    ];
    packet(CT_NEW, flags, &payload.concat())
}

pub fn entry(source: &str, dialled: &str, backend: &str) -> Translation {
    let parse = |text: &str| {
        let address: std::net::SocketAddr = text.parse().unwrap();
        (address.ip(), address.port())
    };
    Translation { source: parse(source), dialled: parse(dialled), backend: parse(backend) }
}

fn one(datagram: &[u8]) -> Message {
    let all: Vec<_> = messages(datagram).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].0, 7);
    all[0].1
}

#[test]
fn an_event_tells_who_dialled_what_and_who_answers() {
    for entry in [
        entry("10.0.0.1:40000", "10.96.0.10:80", "10.0.2.3:8080"),
        entry("10.0.0.1:40000", "10.0.0.9:80", "10.0.0.9:8080"),
        entry("[fd00::1]:40000", "[fd00:96::10]:80", "[fd00:2::3]:8080"),
    ] {
        assert_eq!(one(&event(TCP, IPS_DST_NAT, &entry)), Message::Entry(entry));
        assert_eq!(one(&event(TCP, 0, &entry)), Message::Entry(entry), "IPVS leaves no mark");
        assert_eq!(one(&event(UDP, IPS_DST_NAT, &entry)), Message::Other);
    }
    let direct = entry("10.0.0.1:40000", "10.0.2.3:8080", "10.0.2.3:8080");
    assert_eq!(one(&event(TCP, 0, &direct)), Message::Other);
}

#[test]
fn what_a_real_kernel_sent_is_understood() {
    // Linux 6.18, recorded from a socket of the group NEW: 10.0.0.2:41000 to 10.96.0.10:80 through
    // iptables -t nat -A OUTPUT -d 10.96.0.10 -p tcp --dport 80 -j DNAT --to 10.0.1.2:8080
    let text = "c4000000000100060000000000000000020000003400018014000180080001000a000002080002000a60000a1c0002800500\
        01000600000006000200a028000006000300005000003400028014000180080001000a000102080002000a0000021c000280\
        0500010006000000060002001f90000006000300a028000008000c00468fd2bc08000300000001a808000700000000783000\
        04802c0001800500010001000000050002000a000000050003000000000006000400030000000600050000000000";
    let bytes: Vec<u8> =
        (0..text.len() / 2).map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap()).collect();
    let entry = entry("10.0.0.2:41000", "10.96.0.10:80", "10.0.1.2:8080");
    assert_eq!(messages(&bytes).collect::<Vec<_>>(), [(0, Message::Entry(entry))]);
}

#[test]
fn ends_and_refusals_are_told_apart() {
    let done = libc::NLMSG_DONE as u16;
    let error = libc::NLMSG_ERROR as u16;
    let code = |code: i32| code.to_ne_bytes();
    assert_eq!(one(&packet(done, 2, &code(0))), Message::Done);
    assert_eq!(one(&packet(done, 2, &[])), Message::Done);
    assert_eq!(one(&packet(done, 2, &code(-libc::ENOMEM))), Message::Failed(libc::ENOMEM));
    assert_eq!(one(&packet(error, 0, &code(-libc::EPERM))), Message::Failed(libc::EPERM));
    assert_eq!(one(&packet(error, 0, &code(0))), Message::Other);
    assert_eq!(one(&packet(error, 0, &[1])), Message::Failed(libc::EBADMSG));
    assert_eq!(one(&packet(error, 0, &code(i32::MIN))), Message::Failed(i32::MAX));
    assert_eq!(one(&packet(0x0102, 0, &code(0))), Message::Other);
}

#[test]
fn several_messages_share_a_datagram_up_to_the_first_broken_one() {
    let known = entry("10.0.0.1:40000", "10.96.0.10:80", "10.0.2.3:8080");
    let mut datagram = event(TCP, 0, &known);
    datagram.extend(packet(libc::NLMSG_DONE as u16, 2, &[0; 4]));
    let complete: Vec<_> = messages(&datagram).map(|(_, message)| message).collect();
    assert_eq!(complete, [Message::Entry(known), Message::Done]);
    datagram.truncate(datagram.len() - 4);
    assert_eq!(messages(&datagram).count(), 1);
}

#[test]
fn a_request_is_whole() {
    let listed = dump_request(7, false);
    assert_eq!(one(&listed), Message::Other);
    assert_eq!((listed.len(), listed[6..8].to_vec()), (20, 0x301u16.to_ne_bytes().to_vec()));
    let marked = dump_request(7, true);
    assert_eq!(one(&marked), Message::Other);
    assert_eq!(marked.len(), 36);
    assert_eq!(marked[24..28], IPS_DST_NAT.to_be_bytes());
}

proptest! {
    #[test]
    fn noise_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for (_, message) in messages(&bytes) {
            let _ = message;
        }
    }

    #[test]
    fn broken_events_are_survived(
        at in 0usize..180,
        byte: u8,
        cut in 0usize..180,
        v6: bool,
    ) {
        let entry = if v6 {
            entry("[fd00::1]:40000", "[fd00:96::10]:80", "[fd00:2::3]:8080")
        } else {
            entry("10.0.0.1:40000", "10.96.0.10:80", "10.0.2.3:8080")
        };
        let mut bytes = event(TCP, IPS_DST_NAT, &entry);
        if let Some(target) = bytes.get_mut(at) {
            *target = byte;
        }
        prop_assert!(messages(&bytes).count() <= bytes.len() / HEADER);
        bytes.truncate(cut);
        prop_assert!(messages(&bytes).count() <= bytes.len() / HEADER);
    }
}
