// SPDX-License-Identifier: Apache-2.0

//! Many open connections.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::machine::{self, Cgroup};
use super::rig::Maker;

/// First of the ports listened on; all of them are below the dynamic ones.
const PORT: u16 = 8_000;

/// Opens `connections` (two sockets each) evenly to so many ports, in a network namespace of its own, and says so by a
/// line. Then for each line read: `busy` makes an exchange on every connection and answers `done`;
/// `load SECONDS OPENED REQUESTS` keeps these rates a second; end of input ends it.
pub fn hold(connections: u32, ports: u16) -> Result<()> {
    machine::pin(machine::processors() - 1)?;
    machine::own_network()?;
    machine::open_files()?;
    let listeners = (0..ports)
        .map(|number| TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT + number)))
        .collect::<std::io::Result<Vec<_>>>()?;
    let mut open = Vec::with_capacity(connections as usize);
    for number in 0..connections {
        open.push(Pair::new(&listeners, number).with_context(|| format!("connection {number}"))?);
    }
    for pair in &mut open {
        pair.exchange()?;
    }
    println!("open");
    for line in std::io::stdin().lines() {
        let line = line?;
        let mut words = line.split(' ');
        match words.next() {
            Some("busy") => open.iter_mut().try_for_each(Pair::exchange)?,
            Some("load") => {
                let numbers = words.map(str::parse).collect::<Result<Vec<u32>, _>>()?;
                let [seconds, opened, requests] = numbers[..] else {
                    anyhow::bail!("{line}: not three numbers")
                };
                load(&listeners, &mut open, seconds, opened, requests)?;
            }
            _ => anyhow::bail!("{line}: not a command"),
        }
        println!("done");
    }
    Ok(())
}

/// Steady traffic, in steps of 10 ms.
fn load(
    listeners: &[TcpListener],
    open: &mut [Pair],
    seconds: u32,
    opened: u32,
    requests: u32,
) -> Result<()> {
    let started = Instant::now();
    let (mut made, mut asked) = (0, 0);
    for step in 1..=seconds * 100 {
        while made < opened * step / 100 {
            Pair::new(listeners, made)?.exchange()?;
            made += 1;
        }
        while asked < requests * step / 100 {
            let pair = asked as usize % open.len();
            open[pair].exchange()?;
            asked += 1;
        }
        std::thread::sleep(
            (started + Duration::from_millis(10) * step).saturating_duration_since(Instant::now()),
        );
    }
    Ok(())
}

/// Enough processes for so many connections, each in a network namespace of its own and with no more files than it may
/// have.
pub struct Holders(Vec<Maker>);

impl Holders {
    /// Starts them; returns when all connections are open.
    pub fn start(cgroup: &Cgroup, connections: u32, ports: u32) -> Result<Self> {
        let files = u32::try_from(machine::open_files()?).unwrap_or(u32::MAX);
        let room = files.saturating_sub(ports + 100) / 2;
        ensure!(room > 0, "{files} open files are not enough for {ports} ports");
        let processes = connections.div_ceil(room);
        let mut makers = Vec::new();
        for number in 0..processes {
            let share = connections / processes + u32::from(number < connections % processes);
            makers.push(Maker::start(cgroup, &["hold", &share.to_string(), &ports.to_string()])?);
        }
        for maker in &mut makers {
            ensure!(maker.line()? == "open", "the connections are not open");
        }
        Ok(Self(makers))
    }

    /// Gives all of them a command, and waits until it is done.
    pub fn run(&mut self, command: &str, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
        self.0.iter_mut().try_for_each(|maker| maker.tell(command))?;
        meanwhile()?;
        self.0.iter_mut().try_for_each(|maker| maker.line().map(drop))
    }
}

struct Pair {
    client: TcpStream,
    server: TcpStream,
}

impl Pair {
    /// The number chooses port and address: no more than 20,000 connections for each address and port.
    fn new(listeners: &[TcpListener], number: u32) -> Result<Self> {
        let port = number as usize % listeners.len();
        let address = Ipv4Addr::new(127, 0, 1, 1 + (number / 20_000) as u8);
        let client = TcpStream::connect(SocketAddr::from((address, PORT + port as u16)))?;
        let (server, _) = listeners[port].accept()?;
        Ok(Self { client, server })
    }

    fn exchange(&mut self) -> Result<()> {
        let mut buffer = [0; 1_000];
        self.client.write_all(&[b'q'; 100])?;
        self.server.read_exact(&mut buffer[..100])?;
        self.server.write_all(&[b'r'; 1_000])?;
        self.client.read_exact(&mut buffer)?;
        Ok(())
    }
}
