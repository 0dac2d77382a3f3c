// SPDX-License-Identifier: Apache-2.0

//! The operations whose cost is compared.
//!
//! But for one, both ends are in one thread: no waiting, no scheduler, so that what a probe adds is not hidden behind
//! what it is added to.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::str::FromStr;

use anyhow::{Result, bail, ensure};

use super::{account, datagrams, machine};

/// Outside the dynamic ports, as a service's would be.
const PORT: u16 = 7700;
const CHUNK: usize = 64 * 1024;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// 64 KiB one way on an open connection.
    Stream,
    /// 100 bytes there and 1,000 back on an open connection.
    RequestResponse,
    /// The same with heads of HTTP/1.1.
    HttpRequest,
    /// A connection opened by a client, accepted and closed by a server, and closed by the client, each a thread.
    ConnectClose,
    /// The same in one thread, which is the least that a connection can cost.
    BareConnectClose,
    /// A datagram of 1,400 bytes one way.
    UdpSend,
    /// Datagrams of 100 bytes there and 1,000 back.
    UdpRequestResponse,
    /// A DNS query and its answer.
    DnsQuery,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Stream,
        Self::RequestResponse,
        Self::HttpRequest,
        Self::ConnectClose,
        Self::BareConnectClose,
        Self::UdpSend,
        Self::UdpRequestResponse,
        Self::DnsQuery,
    ];

    /// As in tables, and as argument of the traffic maker.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::RequestResponse => "request/response",
            Self::HttpRequest => "HTTP request",
            Self::ConnectClose => "connect+close",
            Self::BareConnectClose => "connect+close, one thread",
            Self::UdpSend => "UDP send",
            Self::UdpRequestResponse => "UDP request/response",
            Self::DnsQuery => "DNS query",
        }
    }

    /// What the exporter, with its default collectors, may make of the cost, as a ratio.
    pub fn budget(self) -> &'static str {
        match self {
            Self::Stream | Self::RequestResponse => "1.03",
            Self::ConnectClose | Self::UdpSend | Self::UdpRequestResponse => "1.05",
            Self::HttpRequest | Self::BareConnectClose | Self::DnsQuery => "",
        }
    }

    /// How many make about a second, a hundred ticks of the machine's clock.
    fn count(self) -> u32 {
        match self {
            Self::Stream => 150_000,
            Self::RequestResponse | Self::HttpRequest => 250_000,
            Self::ConnectClose => 30_000,
            Self::BareConnectClose => 50_000,
            Self::UdpSend => 600_000,
            Self::UdpRequestResponse | Self::DnsQuery => 300_000,
        }
    }
}

impl FromStr for Operation {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|operation| operation.name() == text) {
            Some(operation) => Ok(operation),
            None => bail!("no operation is called {text}"),
        }
    }
}

/// Does the operation many times in a network namespace of its own, on the last processor. Prints nanoseconds an
/// operation: of this process, and of the whole machine.
pub fn work(operation: Operation) -> Result<()> {
    machine::pin(machine::processors() - 1)?;
    machine::own_network()?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    // Warms caches, the exporter's maps and the branch predictor.
    repeat(operation, &listener, operation.count() / 20)?;
    let count = operation.count();
    let (cpu, machine) = (account::own_cpu()?, account::machine_busy()?);
    repeat(operation, &listener, count)?;
    let (cpu, machine) = (account::own_cpu()? - cpu, account::machine_busy()?.saturating_sub(machine));
    println!("{} {}", cpu.as_nanos() as f64 / f64::from(count), machine.as_nanos() as f64 / f64::from(count));
    Ok(())
}

fn repeat(operation: Operation, listener: &TcpListener, count: u32) -> Result<()> {
    match operation {
        Operation::Stream => stream(listener, count),
        Operation::RequestResponse => request_response(listener, count, &[b'q'; 100], &[b'r'; 1_000]),
        Operation::HttpRequest => {
            let head =
                "HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: text/plain\r\nContent-Length: 900\r\n\r\n";
            let response = [head.as_bytes(), &[b'r'; 900]].concat();
            let request =
                "GET /a/page HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
            request_response(listener, count, request.as_bytes(), &response)
        }
        Operation::ConnectClose => connect_close(listener, count),
        Operation::BareConnectClose => (0..count).try_for_each(|number| {
            let (client, server) = connection(listener, number)?;
            // The client first: the TIME_WAIT is its own, as with most servers.
            drop(client);
            drop(server);
            Ok(())
        }),
        Operation::UdpSend => datagrams::send(count),
        Operation::UdpRequestResponse => datagrams::request_response(count),
        Operation::DnsQuery => datagrams::dns_query(count),
    }
}

fn connection(listener: &TcpListener, number: u32) -> Result<(TcpStream, TcpStream)> {
    let client = TcpStream::connect(address(number))?;
    let (server, _) = listener.accept()?;
    Ok((client, server))
}

/// Several addresses, so that ports in TIME_WAIT stay few for each.
fn address(number: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, 0, 0, 1 + (number % 16) as u8), PORT))
}

fn connect_close(listener: &TcpListener, count: u32) -> Result<()> {
    std::thread::scope(|scope| {
        let server = scope.spawn(|| (0..count).try_for_each(|_| listener.accept().map(drop)));
        for number in 0..count {
            let mut client = TcpStream::connect(address(number))?;
            ensure!(client.read(&mut [0])? == 0, "the server sends something");
        }
        server.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
        Ok(())
    })
}

fn stream(listener: &TcpListener, count: u32) -> Result<()> {
    let (mut client, mut server) = connection(listener, 0)?;
    let data = vec![b'x'; CHUNK];
    let mut sink = vec![0; CHUNK];
    client.set_nonblocking(true)?;
    for _ in 0..count {
        let mut sent = 0;
        let mut received = 0;
        while received < CHUNK {
            if sent < CHUNK {
                match client.write(&data[sent..]) {
                    Ok(more) => sent += more,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
            }
            let more = server.read(&mut sink)?;
            ensure!(more > 0, "the stream ended");
            received += more;
        }
    }
    Ok(())
}

fn request_response(listener: &TcpListener, count: u32, request: &[u8], response: &[u8]) -> Result<()> {
    let (mut client, mut server) = connection(listener, 0)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut buffer = [0; 1_000];
    for _ in 0..count {
        client.write_all(request)?;
        server.read_exact(&mut buffer[..request.len()])?;
        server.write_all(response)?;
        client.read_exact(&mut buffer[..response.len()])?;
    }
    Ok(())
}
