// SPDX-License-Identifier: Apache-2.0
//! Packets made byte by byte, to be wrong where they shall be wrong.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SYN: u8 = 2;

/// A datagram of four bytes whose checksum is wrong.
pub fn bad_udp(from: SocketAddrV4, to: SocketAddrV4) -> Vec<u8> {
    let mut datagram = [from.port().to_be_bytes(), to.port().to_be_bytes(), [0, 12], [0, 0]].concat();
    datagram.extend(b"fgt!");
    // Zero means that there is none.
    let wrong = match checksum(*from.ip(), *to.ip(), UDP, &datagram) ^ 0x0101 {
        0 => 1,
        wrong => wrong,
    };
    datagram[6..8].copy_from_slice(&wrong.to_be_bytes());
    packet(*from.ip(), *to.ip(), UDP, &datagram)
}

/// A SYN whose checksum is wrong.
pub fn bad_tcp(from: SocketAddrV4, to: SocketAddrV4) -> Vec<u8> {
    let mut segment = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, SYN, 0x20, 0, 0, 0, 0, 0]);
    let wrong = checksum(*from.ip(), *to.ip(), TCP, &segment) ^ 0x0101;
    segment[16..18].copy_from_slice(&wrong.to_be_bytes());
    packet(*from.ip(), *to.ip(), TCP, &segment)
}

/// Sends whole IPv4 packets from the network namespace of this thread.
pub fn send(to: Ipv4Addr, packets: &[Vec<u8>]) -> Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
    for packet in packets {
        socket.send_to(packet, &SocketAddrV4::new(to, 0).into()).context("sending a raw packet")?;
    }
    Ok(())
}

/// The kernel fills in length, identification and checksum.
fn packet(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

/// Of a segment or datagram in which the checksum is zero (RFC 1071), with the pseudo header.
fn checksum(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> u16 {
    let length = (payload.len() as u16).to_be_bytes();
    let bytes = [&from.octets()[..], &to.octets(), &[0, protocol], &length, payload].concat();
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_internets() {
        // 127.0.0.1:5353 to 127.0.0.1:5354, payload "hi", as tcpdump -vv has it.
        let (one, datagram) = (Ipv4Addr::LOCALHOST, [0x14, 0xe9, 0x14, 0xea, 0, 10, 0, 0, b'h', b'i']);
        assert_eq!(checksum(one, one, UDP, &datagram), 0x6f9b);
    }
}
