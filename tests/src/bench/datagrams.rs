// SPDX-License-Identifier: Apache-2.0

//! The operations over UDP: both ends in one thread, which is the least that a datagram can cost.

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Context, Result, ensure};

use crate::dns::message::{Answer, Data, Query};

/// Outside the dynamic ports, as a service's would be.
const PORT: u16 = 7701;
const DNS_PORT: u16 = 53;
/// As large as fits into a packet of Ethernet.
const PAYLOAD: usize = 1_400;

/// A server's socket, and a client's connected to it.
fn pair(port: u16) -> Result<(UdpSocket, UdpSocket)> {
    let server =
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("binding UDP port {port}"))?;
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    client.connect(server.local_addr()?)?;
    Ok((client, server))
}

/// One datagram there.
pub fn send(count: u32) -> Result<()> {
    let (client, server) = pair(PORT)?;
    let data = [b'd'; PAYLOAD];
    let mut buffer = [0; PAYLOAD];
    for _ in 0..count {
        client.send(&data)?;
        ensure!(server.recv(&mut buffer)? == PAYLOAD, "a datagram was cut");
    }
    Ok(())
}

/// 100 bytes there and 1,000 back.
pub fn request_response(count: u32) -> Result<()> {
    let (client, server) = pair(PORT)?;
    let (request, response) = ([b'q'; 100], [b'r'; 1_000]);
    let mut buffer = [0; 1_000];
    for _ in 0..count {
        client.send(&request)?;
        let (_, peer) = server.recv_from(&mut buffer)?;
        server.send_to(&response, peer)?;
        ensure!(client.recv(&mut buffer)? == response.len(), "a datagram was cut");
    }
    Ok(())
}

/// A query of type A and an answer with one address, by a socket that stays.
pub fn dns_query(count: u32) -> Result<()> {
    let (client, server) = pair(DNS_PORT)?;
    let query = Query { id: 0, name: "www.shop.example.com".to_owned(), qtype: 1, edns: true };
    let address = (query.name.clone(), 60, Data::Address([11, 22, 33, 44].into()));
    let mut response = query.answer(&Answer { records: vec![address], ..Answer::default() });
    let mut query = query.encode();
    let mut buffer = [0; 512];
    for number in 0..count {
        let id = (number as u16).to_be_bytes();
        query[..2].copy_from_slice(&id);
        response[..2].copy_from_slice(&id);
        client.send(&query)?;
        let (_, peer) = server.recv_from(&mut buffer)?;
        server.send_to(&response, peer)?;
        ensure!(client.recv(&mut buffer)? == response.len(), "a datagram was cut");
    }
    Ok(())
}
