// SPDX-License-Identifier: Apache-2.0
//! The server.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use flowgauge_tests::sys;
use flowgauge_tests::traffic::{After, HEADER, ServerReport};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use crate::open::{Options, error_name, listener};

#[derive(Args)]
pub struct Serve {
    /// Addresses to listen on.
    #[arg(long, required_unless_present = "activated")]
    listen: Vec<SocketAddr>,
    /// Listen on descriptor 3, as passed by socket activation.
    #[arg(long)]
    activated: bool,
    /// Length of the accept queue.
    #[arg(long, default_value_t = 4096)]
    backlog: i32,
    /// Set SO_REUSEPORT.
    #[arg(long)]
    reuse_port: bool,
    /// Never accept.
    #[arg(long)]
    deaf: bool,
    /// Read bodies no faster than this many bytes a second on each connection.
    #[arg(long)]
    read_rate: Option<usize>,
    #[command(flatten)]
    options: Options,
}

type Shared = Rc<RefCell<ServerReport>>;

/// Serves until standard input ends.
pub async fn run(serve: Serve) -> Result<()> {
    let mut listeners = Vec::new();
    for address in &serve.listen {
        listeners.push(listener(*address, serve.backlog, serve.reuse_port, &serve.options)?);
    }
    if serve.activated {
        listeners.push(sys::inherited_socket(3).context("descriptor 3 is no socket")?);
    }
    println!("ready");
    let shared = Shared::default();
    let tasks = LocalSet::new();
    let commands = async {
        if !serve.deaf {
            for listener in &listeners {
                let listener = listener.try_clone()?;
                listener.set_nonblocking(true)?;
                let listener = TcpListener::from_std(listener.into())?;
                spawn_local(accept(listener, Rc::clone(&shared), serve.read_rate));
            }
        }
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await? {
            anyhow::ensure!(line == "report", "unknown command {line:?}");
            println!("{}", serde_json::to_string(&*shared.borrow())?);
        }
        Ok(())
    };
    tasks.run_until(commands).await
}

async fn accept(listener: TcpListener, shared: Shared, read_rate: Option<usize>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    note(&shared, &error);
                }
                shared.borrow_mut().accepted += 1;
                spawn_local(connection(stream, Rc::clone(&shared), read_rate));
            }
            Err(error) => {
                note(&shared, &error);
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn connection(mut stream: TcpStream, shared: Shared, read_rate: Option<usize>) {
    if let Err(error) = requests(&mut stream, &shared, read_rate).await {
        note(&shared, &error);
    }
    drop(stream);
    shared.borrow_mut().ended += 1;
}

fn note(shared: &Shared, error: &io::Error) {
    *shared.borrow_mut().errors.entry(error_name(error)).or_default() += 1;
}

async fn requests(stream: &mut TcpStream, shared: &Shared, read_rate: Option<usize>) -> io::Result<()> {
    let mut chunk = vec![0; 16 << 10];
    loop {
        let mut header = [0; HEADER];
        let mut have = 0;
        while have < HEADER {
            let length = stream.read(&mut header[have..]).await?;
            if length == 0 {
                return if have == 0 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            have += length;
            shared.borrow_mut().received += length as u64;
        }
        let mut request = number(&header[..8]);
        while request > 0 {
            let most = chunk.len().min(usize::try_from(request).unwrap_or(usize::MAX));
            let length = stream.read(&mut chunk[..most]).await?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            request -= length as u64;
            shared.borrow_mut().received += length as u64;
            if let Some(rate) = read_rate {
                sleep(Duration::from_secs_f64(length as f64 / rate as f64)).await;
            }
        }
        let mut response = number(&header[8..16]);
        while response > 0 {
            let most = chunk.len().min(usize::try_from(response).unwrap_or(usize::MAX));
            let length = stream.write(&chunk[..most]).await?;
            response -= length as u64;
            shared.borrow_mut().sent += length as u64;
        }
        if header[16] == After::Close as u8 {
            return Ok(());
        }
        if header[16] == After::Reset as u8 {
            return stream.set_zero_linger();
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
