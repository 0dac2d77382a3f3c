// SPDX-License-Identifier: Apache-2.0
//! The client.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, ValueEnum};
use flowgauge_tests::traffic::{After, ClientReport, HEADER};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;

use crate::open::{Options, error_name, socket};

#[derive(Args, Clone)]
pub struct Get {
    /// Servers, taken in turn.
    #[arg(long, required = true)]
    to: Vec<SocketAddr>,
    /// Address to connect from.
    #[arg(long)]
    from: Option<SocketAddr>,
    /// Connections in all.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Connections being made or talking at a time.
    #[arg(long, default_value_t = 50)]
    concurrency: usize,
    /// Requests on each connection.
    #[arg(long, default_value_t = 1)]
    requests: usize,
    /// Bytes of a request's body.
    #[arg(long, default_value_t = 0)]
    send: u64,
    /// Bytes of a response.
    #[arg(long, default_value_t = 0)]
    receive: u64,
    /// Make the bodies of each request one byte longer than those of the one before, up to this many.
    #[arg(long, default_value_t = 0)]
    spread: u64,
    /// Pause before each request, milliseconds.
    #[arg(long, default_value_t = 0)]
    gap: u64,
    /// Read responses no faster than this many bytes a second.
    #[arg(long)]
    read_rate: Option<usize>,
    /// How connections end.
    #[arg(long, value_enum, default_value_t = Close::Fin)]
    close: Close,
    /// Keep the connections open when the requests are done; go on by commands: `again`, `close`.
    #[arg(long)]
    pause: bool,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Close {
    /// The client closes.
    Fin,
    /// The server closes first.
    Server,
    /// The client shuts down its side, and waits for the server's end.
    Half,
    /// The client closes with SO_LINGER 0.
    Reset,
    /// The server closes with SO_LINGER 0.
    ServerReset,
    /// The client closes while a response lies unread.
    Unread,
}

struct Tally {
    report: RefCell<ClientReport>,
    start: Instant,
    number: RefCell<u64>,
}

impl Tally {
    fn fail(&self, error: &io::Error) {
        *self.report.borrow_mut().errors.entry(error_name(error)).or_default() += 1;
    }

    fn print(&self) -> Result<()> {
        self.report.borrow_mut().seconds = self.start.elapsed().as_secs_f64();
        println!("{}", serde_json::to_string(&*self.report.borrow())?);
        Ok(())
    }
}

/// Makes the connections and prints a report after each step.
pub async fn run(get: Get) -> Result<()> {
    let tally = Tally { report: RefCell::default(), start: Instant::now(), number: RefCell::default() };
    LocalSet::new().run_until(steps(Rc::new(get), Rc::new(tally))).await
}

async fn steps(get: Rc<Get>, tally: Rc<Tally>) -> Result<()> {
    let mut streams = open_all(&get, &tally).await?;
    tally.print()?;
    if get.pause {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await? {
            match line.as_str() {
                "again" => {
                    for stream in &mut streams {
                        if let Err(error) = requests(stream, &get, &tally).await {
                            tally.fail(&error);
                        }
                    }
                    tally.print()?;
                }
                "close" => break,
                other => anyhow::bail!("unknown command {other:?}"),
            }
        }
        for stream in streams.drain(..) {
            if let Err(error) = end(stream, &get, &tally).await {
                tally.fail(&error);
            }
        }
        tally.print()?;
    }
    Ok(())
}

async fn open_all(get: &Rc<Get>, tally: &Rc<Tally>) -> Result<Vec<TcpStream>> {
    let slots = Arc::new(Semaphore::new(get.concurrency));
    let mut tasks = JoinSet::new();
    let mut streams = Vec::new();
    for to in get.to.iter().copied().cycle().take(get.connections) {
        let slot = Arc::clone(&slots).acquire_owned().await?;
        let (get, tally) = (Rc::clone(get), Rc::clone(tally));
        tasks.spawn_local(async move {
            let _slot = slot;
            connection(to, &get, &tally).await.unwrap_or_else(|error| {
                tally.fail(&error);
                None
            })
        });
        while let Some(done) = tasks.try_join_next() {
            streams.extend(done?);
        }
    }
    while let Some(done) = tasks.join_next().await {
        streams.extend(done?);
    }
    Ok(streams)
}

async fn connection(to: SocketAddr, get: &Get, tally: &Tally) -> io::Result<Option<TcpStream>> {
    let socket = socket(to, &get.options)?;
    if let Some(from) = get.from {
        socket.set_reuse_address(true)?;
        socket.bind(&from.into())?;
    }
    socket.set_nonblocking(true)?;
    let mut stream = TcpSocket::from_std_stream(socket.into()).connect(to).await?;
    // A header must not wait for the other side's delayed acknowledgement of what went before.
    stream.set_nodelay(true)?;
    tally.report.borrow_mut().connected += 1;
    requests(&mut stream, get, tally).await?;
    if get.pause {
        return Ok(Some(stream));
    }
    end(stream, get, tally).await?;
    Ok(None)
}

async fn requests(stream: &mut TcpStream, get: &Get, tally: &Tally) -> io::Result<()> {
    let mut chunk = vec![0x5a; 16 << 10];
    for round in 0..get.requests {
        if get.gap > 0 {
            sleep(Duration::from_millis(get.gap)).await;
        }
        let longer = {
            let mut number = tally.number.borrow_mut();
            *number += 1;
            *number % (get.spread + 1)
        };
        let last = round + 1 == get.requests;
        let after = match get.close {
            Close::Server if last => After::Close,
            Close::ServerReset if last => After::Reset,
            _ => After::Stay,
        };
        let (mut to_send, mut to_receive) = (get.send + longer, get.receive + longer);
        let mut header = Vec::with_capacity(HEADER);
        header.extend(to_send.to_be_bytes());
        header.extend(to_receive.to_be_bytes());
        header.push(after as u8);
        stream.write_all(&header).await?;
        tally.report.borrow_mut().sent += HEADER as u64;
        while to_send > 0 {
            let most = chunk.len().min(usize::try_from(to_send).unwrap_or(usize::MAX));
            let length = stream.write(&chunk[..most]).await?;
            to_send -= length as u64;
            tally.report.borrow_mut().sent += length as u64;
        }
        if last && get.close == Close::Unread {
            stream.readable().await?;
            return Ok(());
        }
        while to_receive > 0 {
            let most = chunk.len().min(usize::try_from(to_receive).unwrap_or(usize::MAX));
            let length = stream.read(&mut chunk[..most]).await?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            to_receive -= length as u64;
            tally.report.borrow_mut().received += length as u64;
            if let Some(rate) = get.read_rate {
                sleep(Duration::from_secs_f64(length as f64 / rate as f64)).await;
            }
        }
        tally.report.borrow_mut().answered += 1;
    }
    Ok(())
}

async fn end(mut stream: TcpStream, get: &Get, tally: &Tally) -> io::Result<()> {
    match get.close {
        Close::Fin | Close::Unread => {}
        Close::Reset => stream.set_zero_linger()?,
        Close::Half => {
            stream.shutdown().await?;
            expect_end(&mut stream).await?;
        }
        Close::Server => expect_end(&mut stream).await?,
        Close::ServerReset => match expect_end(&mut stream).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => tally.fail(&error),
            other => other?,
        },
    }
    Ok(())
}

async fn expect_end(stream: &mut TcpStream) -> io::Result<()> {
    match stream.read(&mut [0; 1]).await? {
        0 => Ok(()),
        _ => Err(io::Error::other("data where the end was due")),
    }
}
