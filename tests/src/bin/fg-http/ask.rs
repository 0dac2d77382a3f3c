// SPDX-License-Identifier: Apache-2.0
//! The real client: hyper.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use flowgauge_tests::http::load::Report;
use http_body_util::BodyExt;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Version};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{LocalSet, spawn_local};

use crate::payload::{Payload, Shape};

#[derive(Args, Clone)]
pub struct Ask {
    /// Whom to ask.
    #[arg(long)]
    to: SocketAddr,
    /// Connections at a time.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Requests on each connection.
    #[arg(long, default_value_t = 1)]
    requests: usize,
    /// Connections of each kind made one after the other.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Methods, taken in turn.
    #[arg(long, value_delimiter = ',', default_value = "GET")]
    methods: Vec<String>,
    /// Paths, taken in turn.
    #[arg(long, value_delimiter = ',', default_value = "/200")]
    paths: Vec<String>,
    /// Bytes of body in POST, PUT and PATCH.
    #[arg(long, default_value_t = 0)]
    size: usize,
    /// In chunks.
    #[arg(long)]
    chunked: bool,
    /// Nothing in bodies looks like a head.
    #[arg(long)]
    plain: bool,
    /// The first request goes with the SYN (TCP Fast Open).
    #[arg(long)]
    fast_open: bool,
    /// HTTP/1.0, and so without keep-alive.
    #[arg(long)]
    old: bool,
}

pub fn main(ask: Ask) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(LocalSet::new().run_until(run(ask)))?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn run(ask: Ask) -> Result<Report> {
    let (report, ask) = (Rc::new(RefCell::new(Report::default())), Rc::new(ask));
    let workers: Vec<_> = (0..ask.connections)
        .map(|number| {
            let (ask, report) = (Rc::clone(&ask), Rc::clone(&report));
            spawn_local(async move {
                for round in 0..ask.rounds {
                    connection(&ask, number + round, &report).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    Ok(report.take())
}

async fn connection(ask: &Ask, number: usize, report: &RefCell<Report>) -> Result<()> {
    let stream = connect(ask).await.with_context(|| format!("connecting to {}", ask.to))?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let driver = spawn_local(connection);
    report.borrow_mut().connections += 1;
    for turn in 0..ask.requests {
        one(ask, number + turn, &mut sender, report).await.with_context(|| format!("request {turn}"))?;
    }
    drop(sender);
    driver.await?.context("the connection's end")
}

async fn connect(ask: &Ask) -> Result<TcpStream> {
    let socket = if ask.to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if ask.fast_open {
        flowgauge_tests::sys::set_fast_open(&socket)?;
    }
    Ok(socket.connect(ask.to).await?)
}

async fn one(
    ask: &Ask,
    turn: usize,
    sender: &mut SendRequest<Payload>,
    report: &RefCell<Report>,
) -> Result<()> {
    let method = &ask.methods[turn % ask.methods.len()];
    let path = &ask.paths[turn % ask.paths.len()];
    let with_body = matches!(method.as_str(), "POST" | "PUT" | "PATCH");
    let shape = Shape { size: ask.size, chunked: ask.chunked, plain: ask.plain };
    let body = Payload::new(if with_body { shape } else { Shape::default() });
    let version = if ask.old { Version::HTTP_10 } else { Version::HTTP_11 };
    let request = Request::builder()
        .method(Method::from_bytes(method.as_bytes())?)
        .uri(path.as_str())
        .version(version)
        .header("host", "server.example")
        .body(body)?;
    sender.ready().await?;
    let asked = Instant::now();
    let response = sender.send_request(request).await?;
    let seconds = asked.elapsed().as_secs_f64();
    let code = response.status().as_u16();
    let mut body = response.into_body();
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        received += frame?.data_ref().map_or(0, |data| data.len() as u64);
    }
    let mut report = report.borrow_mut();
    report.count(method, code);
    report.received += received;
    report.seconds += seconds;
    Ok(())
}
