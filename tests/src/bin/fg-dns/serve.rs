// SPDX-License-Identifier: Apache-2.0
//! The scripted server: see `flowgauge_tests::dns::scripted`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context, Result};
use clap::Args;
use flowgauge_tests::dns::malformed::{self, Random};
use flowgauge_tests::dns::message::{Answer, Query};
use flowgauge_tests::dns::scripted::{Forgery, Report, Script, forged};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

#[derive(Args)]
pub struct Serve {
    /// Addresses to listen on, over UDP and TCP.
    #[arg(long, required = true)]
    listen: Vec<SocketAddr>,
}

/// Where an answer goes: a datagram to its client, or a message on a connection.
#[derive(Clone)]
enum Way {
    Datagram(Rc<UdpSocket>, SocketAddr),
    Stream(UnboundedSender<Vec<u8>>),
}

#[derive(Default)]
struct State {
    report: Report,
    held: HashMap<usize, Vec<(Query, Script, Way)>>,
}

type Shared = Rc<RefCell<State>>;

pub fn main(serve: Serve) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(run(serve)))
}

async fn run(serve: Serve) -> Result<()> {
    let shared = Shared::default();
    for address in serve.listen {
        let udp = bind(address, Type::DGRAM, Protocol::UDP)?;
        let tcp = bind(address, Type::STREAM, Protocol::TCP)?;
        tcp.listen(128)?;
        spawn_local(datagrams(Rc::new(UdpSocket::from_std(udp.into())?), Rc::clone(&shared)));
        spawn_local(accept(TcpListener::from_std(tcp.into())?, Rc::clone(&shared)));
    }
    println!("ready");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        anyhow::ensure!(line == "report", "unknown command {line:?}");
        println!("{}", serde_json::to_string(&shared.borrow().report)?);
    }
    Ok(())
}

fn bind(address: SocketAddr, kind: Type, protocol: Protocol) -> Result<Socket> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_address(kind == Type::STREAM)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok::<_, std::io::Error>(socket)
    };
    open().with_context(|| format!("binding {address}"))
}

async fn datagrams(socket: Rc<UdpSocket>, shared: Shared) {
    let mut buffer = vec![0; 65_536];
    loop {
        // Errors are those of earlier answers, brought back by ICMP.
        if let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            take(&buffer[..length], Way::Datagram(Rc::clone(&socket), client), &shared);
        }
    }
}

async fn accept(listener: TcpListener, shared: Shared) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Rc::clone(&shared);
        spawn_local(async move {
            // A client may go away at any time.
            let _ = converse(stream, shared).await;
        });
    }
}

async fn converse(stream: TcpStream, shared: Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reading, mut writing) = stream.into_split();
    let (sender, mut answers) = unbounded_channel::<Vec<u8>>();
    spawn_local(async move {
        while let Some(answer) = answers.recv().await {
            let message = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
            // In two segments, and not where the length ends: readers must not depend on that.
            let (begin, end) = message.split_at(1);
            if writing.write_all(begin).await.is_err() || writing.write_all(end).await.is_err() {
                return;
            }
        }
    });
    loop {
        let length = reading.read_u16().await?;
        let mut message = vec![0; length.into()];
        reading.read_exact(&mut message).await?;
        take(&message, Way::Stream(sender.clone()), &shared);
    }
}

fn take(message: &[u8], way: Way, shared: &Shared) {
    let mut state = shared.borrow_mut();
    let Some(query) = Query::decode(message) else {
        state.report.malformed += 1;
        return;
    };
    *state.report.queries.entry(query.qtype).or_default() += 1;
    state.report.tcp_queries += u64::from(matches!(way, Way::Stream(_)));
    let script = Script::of(&query);
    let held = state.held.entry(script.hold).or_default();
    held.push((query, script, way));
    if held.len() >= held[0].1.hold {
        for (query, script, way) in std::mem::take(held).into_iter().rev() {
            spawn_local(answer(query, script, way, Rc::clone(shared)));
        }
    }
}

async fn answer(query: Query, script: Script, way: Way, shared: Shared) {
    if !script.delay.is_zero() {
        sleep(script.delay).await;
    }
    if let Some(forgery) = script.forgery {
        shared.borrow_mut().report.forged += 1;
        let message = forged(&query, forgery);
        match (forgery, &way) {
            (Forgery::Port, Way::Datagram(socket, client)) => {
                from_another_port(socket, *client, &message).await
            }
            _ => way.send(message).await,
        }
    }
    if let Some(kind) = script.bad {
        way.send(malformed::message(kind, &mut Random::new(query.id.into()), true)).await;
    } else if !script.silent {
        let cut = script.truncated && matches!(way, Way::Datagram(..));
        let said = if cut { Answer { truncated: true, ..Answer::default() } } else { script.answer };
        *shared.borrow_mut().report.answers.entry(said.rcode).or_default() += 1;
        shared.borrow_mut().report.copies += script.copies as u64 - 1;
        for _ in 0..script.copies {
            way.send(query.answer(&said)).await;
        }
    }
}

async fn from_another_port(socket: &UdpSocket, client: SocketAddr, message: &[u8]) {
    let Ok(mut own) = socket.local_addr() else { return };
    own.set_port(0);
    if let Ok(other) = UdpSocket::bind(own).await {
        let _ = other.send_to(message, client).await;
    }
}

impl Way {
    async fn send(&self, message: Vec<u8>) {
        match self {
            // A client that is gone is told so by its own kernel.
            Way::Datagram(socket, client) => drop(socket.send_to(&message, client).await),
            Way::Stream(sender) => drop(sender.send(message)),
        }
    }
}
