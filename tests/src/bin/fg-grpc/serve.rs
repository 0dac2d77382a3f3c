// SPDX-License-Identifier: Apache-2.0
//! The server: `Unary` answers with the status that it is told, `Stream` after three messages, `Hang` never.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use anyhow::Result;
use clap::Args;
use tokio::io::{AsyncBufReadExt, BufReader};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::{Code, Request, Response, Status};
use tower::Service;
use tower::service_fn;

use crate::raw::Raw;

#[derive(Args)]
pub struct Serve {
    #[arg(long)]
    listen: SocketAddr,
}

/// Calls by the status that they were answered with.
type Counts = Arc<Mutex<BTreeMap<i32, u64>>>;

#[derive(Clone)]
struct Echo(Counts);

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

/// Counts a call, and says how it is to end.
fn count(counts: &Counts, request: &[u8]) -> Result<(), Status> {
    let code = i32::from(request.first().copied().unwrap_or_default());
    if let Ok(mut counts) = counts.lock() {
        *counts.entry(code).or_default() += 1;
    }
    match Code::from(code) {
        Code::Ok => Ok(()),
        code => Err(Status::new(code, "as asked")),
    }
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let counts = Arc::clone(&self.0);
        Box::pin(async move {
            let mut grpc = Grpc::new(Raw);
            let answer = match request.uri().path() {
                "/test.Echo/Unary" => {
                    let unary = service_fn(move |request: Request<Vec<u8>>| {
                        let ends = count(&counts, request.get_ref());
                        async move { ends.map(|()| Response::new(request.into_inner())) }
                    });
                    grpc.unary(unary, request).await
                }
                "/test.Echo/Stream" => {
                    let stream = service_fn(move |request: Request<Vec<u8>>| {
                        let ends = count(&counts, request.get_ref());
                        let messages = (0..3u8).map(|number| Ok(vec![number; 2000]));
                        let all: Vec<Result<Vec<u8>, Status>> = messages.chain(ends.err().map(Err)).collect();
                        async move { Ok::<_, Status>(Response::new(tokio_stream::iter(all))) }
                    });
                    grpc.server_streaming(stream, request).await
                }
                _ => std::future::pending().await,
            };
            Ok(answer)
        })
    }
}

pub async fn run(step: Serve) -> Result<()> {
    let counts = Counts::default();
    let incoming = tonic::transport::server::TcpIncoming::bind(step.listen)?.with_nodelay(Some(true));
    let server = tonic::transport::Server::builder().add_service(Echo(Arc::clone(&counts)));
    tokio::spawn(server.serve_with_incoming(incoming));
    println!("ready");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if line == "report" {
            let counts = counts.lock().map(|counts| counts.clone()).unwrap_or_default();
            println!("{}", serde_json::to_string(&counts)?);
        }
    }
    Ok(())
}
