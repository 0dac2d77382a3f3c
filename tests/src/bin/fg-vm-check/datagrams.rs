// SPDX-License-Identifier: Apache-2.0

//! UDP and DNS on this kernel: the programs that see packets load, and count what passed.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};

use anyhow::Result;

use crate::exporter::Exporter;
use crate::kernel;
use crate::report::Report;

const ECHO: &str = "7020";
const DATAGRAMS: u32 = 50;
const QUERIES: u16 = 20;

/// An A question for `a.example`, as bytes of a message with this id.
fn query(id: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend(b"\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01");
    message
}

/// NXDOMAIN, to a query.
fn answer(query: &[u8]) -> Vec<u8> {
    let mut message = query.to_vec();
    message[2] |= 0x80;
    message[3] |= 3;
    message
}

/// Behind its length, as over TCP.
fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

/// Makes datagrams and lookups and compares what is counted of them.
pub fn check(report: &mut Report, exporter: &Exporter) -> Result<()> {
    let scrape = exporter.scrape()?;
    for collector in ["udp", "dns"] {
        let up = scrape.sum("collector_up", &[("collector", collector)]);
        report.equal(&format!("collector_up, {collector}"), up, 1.0);
    }
    let server = UdpSocket::bind(format!("127.0.0.1:{ECHO}"))?;
    let client = UdpSocket::bind("127.0.0.1:0")?;
    let mut buffer = [0; 2_000];
    for _ in 0..DATAGRAMS {
        client.send_to(&[1; 700], server.local_addr()?)?;
        let (_, from) = server.recv_from(&mut buffer)?;
        server.send_to(&[2; 300], from)?;
        client.recv_from(&mut buffer)?;
    }
    let resolver = UdpSocket::bind("127.0.0.1:53")?;
    for id in 0..QUERIES {
        client.send_to(&query(id), resolver.local_addr()?)?;
        let (bytes, from) = resolver.recv_from(&mut buffer)?;
        resolver.send_to(&answer(&buffer[..bytes]), from)?;
        client.recv_from(&mut buffer)?;
    }
    lookup_over_tcp()?;
    kernel::settle()?;
    let scrape = exporter.scrape()?;
    for (observer, sent, received) in [("client", 700.0, 300.0), ("server", 300.0, 700.0)] {
        let at = |port| [("observer", observer), ("server_port", port)];
        let count = f64::from(DATAGRAMS);
        let sum = |name: &str| scrape.sum(name, &at(ECHO));
        report.equal(&format!("datagrams sent, {observer}"), sum("udp_sent_packets_total"), count);
        report.equal(&format!("datagrams received, {observer}"), sum("udp_received_packets_total"), count);
        report.equal(&format!("bytes sent, {observer}"), sum("udp_sent_bytes_total"), count * sent);
        report.equal(
            &format!("bytes received, {observer}"),
            sum("udp_received_bytes_total"),
            count * received,
        );
        let sum = |name: &str| scrape.sum(name, &at("53"));
        let queries = f64::from(QUERIES) + 2.0;
        report.equal(&format!("queries, {observer}"), sum("dns_queries_total"), queries);
        report.equal(&format!("queries over TCP, {observer}"), sum("dns_tcp_queries_total"), 2.0);
        let answered = sum("dns_response_duration_seconds_count");
        report.equal(&format!("answered queries, {observer}"), answered, queries);
    }
    Ok(())
}

/// Two lookups in one connection, cut within the second's length.
fn lookup_over_tcp() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:53")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    client.set_nodelay(true)?;
    let (mut server, _) = listener.accept()?;
    let queries = [framed(&query(100)), framed(&query(101))].concat();
    let cut = queries.len() / 2 + 1;
    for part in [&queries[..cut], &queries[cut..]] {
        client.write_all(part)?;
        let mut received = vec![0; part.len()];
        server.read_exact(&mut received)?;
    }
    let answers = [framed(&answer(&query(100))), framed(&answer(&query(101)))].concat();
    server.write_all(&answers)?;
    let mut received = vec![0; answers.len()];
    client.read_exact(&mut received)?;
    Ok(())
}
