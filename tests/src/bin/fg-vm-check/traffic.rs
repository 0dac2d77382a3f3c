// SPDX-License-Identifier: Apache-2.0

//! Traffic that is known to the byte: the client says how much it sends and how much it wants back.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Bytes that begin each exchange: upload and download length.
const HEADER: u64 = 16;

/// Answers exchanges on each address until killed.
pub fn serve(addresses: &[String]) -> Result<()> {
    let threads: Vec<_> = addresses
        .iter()
        .map(|address| {
            let listener = TcpListener::bind(address).with_context(|| address.clone())?;
            Ok(std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    std::thread::spawn(move || answer(stream));
                }
            }))
        })
        .collect::<Result<_>>()?;
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("the server panicked"))?;
    }
    Ok(())
}

/// Until the client closes. A reset is an end like any other.
fn answer(mut stream: TcpStream) {
    let mut header = [0; HEADER as usize];
    while stream.read_exact(&mut header).is_ok() {
        let (upload, download) = header.split_at(8);
        let upload = u64::from_be_bytes(upload.try_into().expect("8 bytes"));
        let download = u64::from_be_bytes(download.try_into().expect("8 bytes"));
        let received = std::io::copy(&mut Read::by_ref(&mut stream).take(upload), &mut std::io::sink());
        if received.ok() != Some(upload) || send(&mut stream, download).is_err() {
            return;
        }
    }
}

fn send(stream: &mut TcpStream, count: u64) -> std::io::Result<()> {
    std::io::copy(&mut std::io::repeat(b'x').take(count), stream).map(drop)
}

/// A server process, in a cgroup as systemd would make it for a unit.
pub struct Server(Child);

impl Server {
    /// Starts it, and waits until it listens.
    pub fn start(unit: &str, addresses: &[&str]) -> Result<Self> {
        let cgroup = format!("/sys/fs/cgroup/system.slice/{unit}");
        fs::create_dir_all(&cgroup).with_context(|| cgroup.clone())?;
        let procs = format!("{cgroup}/cgroup.procs");
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").args(addresses);
        // SAFETY: the closure only writes a file; this process has no other thread that could hold a lock.
        unsafe { command.pre_exec(move || fs::write(&procs, "0")) };
        let mut server = Self(command.spawn()?);
        let limit = Instant::now() + Duration::from_secs(10);
        for address in addresses {
            let address: SocketAddr = address.parse()?;
            while !listens(address.port())? {
                ensure!(server.0.try_wait()?.is_none(), "the server ended");
                ensure!(Instant::now() < limit, "nothing listens on {address}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a socket listens on the port. Trying to connect would be traffic.
fn listens(port: u16) -> Result<bool> {
    let wanted = format!(":{port:04X}");
    let text =
        fs::read_to_string("/proc/thread-self/net/tcp")? + &fs::read_to_string("/proc/thread-self/net/tcp6")?;
    Ok(text.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&wanted)) && fields.nth(1) == Some("0A")
    }))
}

/// A client's connection, with its own account.
pub struct Client {
    stream: TcpStream,
    /// Bytes written since it was opened.
    pub sent: u64,
    /// Bytes read since it was opened.
    pub received: u64,
}

impl Client {
    /// Connects.
    pub fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { stream, sent: 0, received: 0 })
    }

    /// Sends `upload` bytes (and a header), and gets `download`.
    pub fn exchange(&mut self, upload: u64, download: u64) -> Result<()> {
        self.stream.write_all(&[upload.to_be_bytes(), download.to_be_bytes()].concat())?;
        send(&mut self.stream, upload)?;
        self.sent += HEADER + upload;
        let got = std::io::copy(&mut Read::by_ref(&mut self.stream).take(download), &mut std::io::sink())?;
        ensure!(got == download, "the server closed after {got} of {download} bytes");
        self.received += download;
        Ok(())
    }

    /// Closes with a reset, as SO_LINGER of zero seconds does.
    pub fn reset(self) -> Result<()> {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        // SAFETY: the pointer and the size are of the same live value.
        let set = unsafe {
            libc::setsockopt(
                self.stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as libc::socklen_t,
            )
        };
        ensure!(set == 0, "SO_LINGER: {}", std::io::Error::last_os_error());
        Ok(())
    }
}

/// Connects in vain.
pub fn fail(address: &str, expected: ErrorKind) -> Result<()> {
    match TcpStream::connect(address) {
        Ok(_) => bail!("{address}: connected"),
        Err(error) if error.kind() == expected => Ok(()),
        Err(error) => bail!("{address}: {error}, expected {expected}"),
    }
}
