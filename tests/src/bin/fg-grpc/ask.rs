// SPDX-License-Identifier: Apache-2.0
//! The client: every kind of call for every status, one after the other or many at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use crate::raw::Raw;

#[derive(Args)]
pub struct Ask {
    #[arg(long)]
    to: SocketAddr,
    /// How often each call is made.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Calls that are given up after 100 ms, unanswered.
    #[arg(long, default_value_t = 0)]
    hanging: u32,
    /// Wait this many milliseconds after each round.
    #[arg(long, default_value_t = 0)]
    pause: u64,
}

/// What the client saw: calls by status.
type Seen = BTreeMap<i32, u64>;

pub async fn run(step: Ask) -> Result<()> {
    let channel = Endpoint::from_shared(format!("http://{}", step.to))?.tcp_nodelay(true).connect().await?;
    let mut seen = Seen::new();
    for _ in 0..step.rounds {
        for code in 0..=16u8 {
            for path in ["/test.Echo/Unary", "/test.Echo/Stream"] {
                *seen.entry(call(channel.clone(), path, code).await?).or_default() += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(step.pause)).await;
    }
    for _ in 0..step.hanging {
        let mut grpc = Grpc::new(channel.clone());
        grpc.ready().await?;
        let path = PathAndQuery::from_static("/test.Echo/Hang");
        // Dropping the call resets its stream.
        let call = grpc.unary::<Vec<u8>, Vec<u8>, _>(Request::new(vec![0]), path, Raw);
        ensure!(
            tokio::time::timeout(Duration::from_millis(100), call).await.is_err(),
            "a hanging call ended"
        );
    }
    // What is reset goes out with the connection's next turn.
    tokio::time::sleep(Duration::from_millis(100)).await;
    println!("{}", serde_json::to_string(&seen)?);
    Ok(())
}

/// Makes a call; its status.
async fn call(channel: Channel, path: &'static str, code: u8) -> Result<i32> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await?;
    let (request, path) = (Request::new(vec![code]), PathAndQuery::from_static(path));
    if path == "/test.Echo/Unary" {
        let ended = grpc.unary::<Vec<u8>, Vec<u8>, _>(request, path, Raw).await;
        return Ok(ended.map_or_else(|status| status.code(), |_| Code::Ok) as i32);
    }
    let mut stream = match grpc.server_streaming::<Vec<u8>, Vec<u8>, _>(request, path, Raw).await {
        Ok(response) => response.into_inner(),
        Err(status) => return Ok(status.code() as i32),
    };
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Code::Ok as i32),
            Err(status) => return Ok(status.code() as i32),
        }
    }
}
