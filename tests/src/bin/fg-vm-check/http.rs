// SPDX-License-Identifier: Apache-2.0

//! HTTP/1 and HTTP/2 on this kernel: heads are found, matched and counted at both ends.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::Result;

use crate::exporter::Exporter;
use crate::report::Report;

const PORT: u16 = 7030;
const REQUESTS: u32 = 25;

const REQUEST: &[u8] =
    b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n13\r\nHTTP/1.1 200 OK\r\n\r\n\r\n0\r\n\r\n";

/// HEADERS with `:method GET`, `:path /`, `:scheme http`, and with `:status 404`, whose sender is done.
const GET: &[u8] = &[0, 0, 3, 1, 5, 0, 0, 0, 1, 0x82, 0x84, 0x86];
const NOT_FOUND: &[u8] = &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x8d];
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A connection to this port, and both of its ends.
fn connect(listener: &TcpListener) -> Result<(TcpStream, TcpStream)> {
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    Ok((client, server))
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    from.write_all(bytes)?;
    to.read_exact(&mut vec![0; bytes.len()])?;
    Ok(())
}

/// Makes requests and compares what is counted of them.
pub fn check(report: &mut Report, exporter: &Exporter) -> Result<()> {
    let up = exporter.scrape()?.sum("collector_up", &[("collector", "http")]);
    report.equal("collector_up, http", up, 1.0);
    let listener = TcpListener::bind(("127.0.0.1", PORT))?;
    let (mut client, mut server) = connect(&listener)?;
    for _ in 0..REQUESTS {
        // Split within the head.
        pass(&mut client, &mut server, &REQUEST[..30])?;
        pass(&mut client, &mut server, &REQUEST[30..])?;
        pass(&mut server, &mut client, RESPONSE)?;
    }
    // One that is never answered.
    pass(&mut client, &mut server, REQUEST)?;
    drop((client, server));
    let (mut client, mut server) = connect(&listener)?;
    pass(&mut client, &mut server, PREFACE)?;
    pass(&mut client, &mut server, GET)?;
    pass(&mut server, &mut client, NOT_FOUND)?;
    drop((client, server));

    let port = PORT.to_string();
    let scrape = exporter.scrape()?;
    for end in ["client", "server"] {
        let of = |family, labels: &[(&str, &str)]| {
            scrape.sum(family, &[&[("observer", end), ("server_port", &port)], labels].concat())
        };
        let posts = of("http_responses_total", &[("method", "POST"), ("code", "503")]);
        report.equal(&format!("POST 503, {end}"), posts, f64::from(REQUESTS));
        let gets = of("http_responses_total", &[("method", "GET"), ("code", "404")]);
        report.equal(&format!("GET 404 by HTTP/2, {end}"), gets, 1.0);
        let all = f64::from(REQUESTS) + 1.0;
        report.equal(&format!("responses, {end}"), of("http_responses_total", &[]), all);
        report.equal(&format!("timed, {end}"), of("http_response_duration_seconds_count", &[]), all);
        let closed = of("http_requests_failed_total", &[("reason", "closed")]);
        report.equal(&format!("not answered, {end}"), closed, 1.0);
        report.equal(&format!("failed, {end}"), of("http_requests_failed_total", &[]), 1.0);
    }
    Ok(())
}
