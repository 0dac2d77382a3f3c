// SPDX-License-Identifier: Apache-2.0
//! The real server: hyper. The path says the status code, the query how: `/404?size=100000&chunked=1&plain=1&delay=50`,
//! `delay` in milliseconds.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use flowgauge_tests::http::load::Report;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use crate::payload::{Payload, Shape};

#[derive(Args)]
pub struct Serve {
    /// Address to listen on.
    #[arg(long)]
    listen: SocketAddr,
    /// Accept connections only when their first bytes have come (TCP_DEFER_ACCEPT).
    #[arg(long)]
    deferred: bool,
}

type Shared = Rc<RefCell<Report>>;

pub fn main(serve: Serve) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(LocalSet::new().run_until(run(serve)))
}

async fn run(serve: Serve) -> Result<()> {
    let shared = Shared::default();
    let listener = listen(&serve).with_context(|| format!("listening on {}", serve.listen))?;
    println!("ready");
    spawn_local(accept(listener, Rc::clone(&shared)));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        ensure!(line == "report", "unknown command {line:?}");
        println!("{}", serde_json::to_string(&*shared.borrow())?);
    }
    Ok(())
}

fn listen(serve: &Serve) -> Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(serve.listen), Type::STREAM, Some(Protocol::TCP))?;
    if serve.listen.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&serve.listen.into())?;
    if serve.deferred {
        flowgauge_tests::sys::set_defer_accept(&socket, 5)?;
    }
    socket.listen(1024)?;
    Ok(TcpListener::from_std(socket.into())?)
}

async fn accept(listener: TcpListener, shared: Shared) {
    while let Ok((stream, _)) = listener.accept().await {
        shared.borrow_mut().connections += 1;
        let shared = Rc::clone(&shared);
        spawn_local(async move {
            // A client may go away at any time.
            let _ = SockRef::from(&stream).set_tcp_nodelay(true);
            let service = service_fn(move |request| answer(request, Rc::clone(&shared)));
            let mut http = hyper::server::conn::http1::Builder::new();
            let _ = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, shared: Shared) -> Result<Response<Payload>, Infallible> {
    let (head, mut body) = request.into_parts();
    let mut received = 0;
    while let Some(Ok(frame)) = body.frame().await {
        received += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    let code = head.uri.path().trim_start_matches('/').parse().ok();
    let code = code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::BAD_REQUEST);
    let query = head.uri.query().unwrap_or_default();
    let number = |key: &str| {
        let pairs = form_urlencoded::parse(query.as_bytes());
        pairs.filter(|(name, _)| name == key).find_map(|(_, value)| value.parse::<u64>().ok()).unwrap_or(0)
    };
    sleep(Duration::from_millis(number("delay"))).await;
    let (size, chunked, plain) = (number("size") as usize, number("chunked") > 0, number("plain") > 0);
    let mut response = Response::new(Payload::new(Shape { size, chunked, plain }));
    *response.status_mut() = code;
    let mut report = shared.borrow_mut();
    report.count(head.method.as_str(), code.as_u16());
    report.received += received;
    Ok(response)
}
