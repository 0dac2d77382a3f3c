// SPDX-License-Identifier: Apache-2.0
//! A client, a router that translates, and two backends, each in a network namespace of its own. Removed with the world.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test that asked for it")]

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flowgauge_labels::Conntrack;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::SockRef;
use tempfile::TempDir;

/// The Service's addresses, and the port it is dialled on.
pub const VIP: &str = "10.96.0.10";
pub const VIP6: &str = "fd00:96::10";
/// Where backends listen.
pub const BACKEND_PORT: u16 = 8080;
pub const CLIENT: &str = "10.231.0.2";
pub const ROUTER: &str = "10.231.0.1";
pub const BACKENDS: [&str; 2] = ["10.231.1.2", "10.231.2.2"];
pub const BACKENDS6: [&str; 2] = ["fd00:231:1::2", "fd00:231:2::2"];

/// What this test takes for the kernel's digest: IPv4 addresses are themselves.
pub fn digest(addr: IpAddr) -> u64 {
    match addr {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits() as u64 ^ (v6.to_bits() >> 64) as u64,
    }
}

/// Runs a shell command, and fails with what it said.
pub fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().expect("sh(1) starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {said}; this test needs root and tests/PACKAGES");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A network namespace with a process in it.
pub struct Namespace {
    name: String,
    sleeper: Child,
}

impl Namespace {
    fn new(role: &str) -> Namespace {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("fgl-{}-{number}-{role}", std::process::id());
        sh(&format!("ip netns add {name} && ip -n {name} link set lo up"));
        let mut sleep = Command::new("ip");
        sleep.args(["netns", "exec", &name, "sleep", "600"]).stdin(Stdio::null());
        let namespace = Namespace { sleeper: sleep.spawn().expect("ip(8) starts"), name };
        let inode =
            |path: &Path| fs::metadata(path).ok().map(|file| std::os::unix::fs::MetadataExt::ino(&file));
        let of_process = PathBuf::from(format!("/proc/{}/ns/net", namespace.sleeper.id()));
        wait_for("the process to be inside", || inode(&of_process) == inode(&namespace.path()));
        namespace
    }

    fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Runs a shell command inside.
    pub fn sh(&self, command: &str) -> String {
        sh(&format!("ip netns exec {} sh -c '{command}'", self.name))
    }

    /// Moves the calling thread inside.
    pub fn join(&self) {
        let namespace = File::open(self.path()).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// Does `work` on a thread inside.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            self.join();
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.sleeper.kill();
        let _ = self.sleeper.wait();
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Connections that a backend holds open: fewer than a process may have files.
const HELD: usize = 400;

/// Answers each connection with its own number, and holds the last ones open.
struct Server {
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(number: u8) -> Server {
        let listener = TcpListener::bind(("::", BACKEND_PORT)).unwrap();
        let accepting = listener.try_clone().unwrap();
        let accept = move || {
            let mut held = VecDeque::new();
            while let Ok((mut connection, _)) = accepting.accept() {
                let _ = connection.write_all(&[number]);
                held.push_back(connection);
                if held.len() > HELD {
                    held.pop_front();
                }
            }
        };
        Server { listener, thread: Some(thread::spawn(accept)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = SockRef::from(&self.listener).shutdown(std::net::Shutdown::Both);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// One connection of a client: what it dialled, and who it was answered by.
pub struct Dialled {
    pub stream: TcpStream,
    pub source: SocketAddr,
    pub target: SocketAddr,
    /// Number of the backend.
    pub answered: usize,
}

impl Dialled {
    pub fn new(target: SocketAddr) -> Dialled {
        Dialled::of(TcpStream::connect(target).unwrap_or_else(|error| panic!("{target}: {error}")), target)
    }

    pub fn of(mut stream: TcpStream, target: SocketAddr) -> Dialled {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut number = [0];
        stream.read_exact(&mut number).unwrap();
        Dialled { source: stream.local_addr().unwrap(), stream, target, answered: number[0].into() }
    }

    /// What `conntrack` says of it.
    pub fn found(&self, conntrack: &Conntrack) -> Option<(IpAddr, u16)> {
        let dialled = (self.target.ip(), self.target.port());
        conntrack.take(digest(self.source.ip()), self.source.port(), dialled)
    }

    /// Who answered, by address.
    pub fn truth(&self) -> Option<(IpAddr, u16)> {
        let addresses = if self.target.is_ipv4() { BACKENDS } else { BACKENDS6 };
        Some((addresses[self.answered].parse().unwrap(), BACKEND_PORT))
    }

    /// Resets the connection: no TIME_WAIT stays.
    pub fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

pub fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

pub fn wait_for(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

pub struct World {
    // Servers go before the namespaces they are in.
    _servers: Vec<Server>,
    pub client: Namespace,
    pub router: Namespace,
    _backends: Vec<Namespace>,
    procfs: TempDir,
}

impl World {
    pub fn new() -> World {
        let (client, router) = (Namespace::new("c"), Namespace::new("r"));
        let backends = vec![Namespace::new("b0"), Namespace::new("b1")];
        for (number, peer) in [&client].into_iter().chain(&backends).enumerate() {
            let (ours, theirs) = (&router.name, &peer.name);
            sh(&format!(
                "ip -n {ours} link add v{number} type veth peer name eth0 netns {theirs}
                 ip -n {ours} addr add 10.231.{number}.1/24 dev v{number}
                 ip -n {ours} addr add fd00:231:{number}::1/64 dev v{number} nodad
                 ip -n {theirs} addr add 10.231.{number}.2/24 dev eth0
                 ip -n {theirs} addr add fd00:231:{number}::2/64 dev eth0 nodad
                 ip -n {ours} link set v{number} up && ip -n {theirs} link set eth0 up
                 ip -n {theirs} route add default via 10.231.{number}.1
                 ip -n {theirs} -6 route add default via fd00:231:{number}::1"
            ));
        }
        // The backends' own traffic is the router's, and nothing else is routed to the Service's addresses.
        router.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
                   ip route add 10.96.0.0/16 dev v1 && ip -6 route add fd00:96::/64 dev v1");
        client.sh("sysctl -qw net.ipv4.ip_local_port_range=\"1024 65535\"");
        let servers =
            backends.iter().zip(0..).map(|(backend, number)| backend.enter(|| Server::start(number)));
        let servers = servers.collect();
        let procfs = tempfile::tempdir().unwrap();
        symlink(format!("/proc/{}", router.sleeper.id()), procfs.path().join("1")).unwrap();
        symlink("/proc/sys", procfs.path().join("sys")).unwrap();
        World { _servers: servers, client, router, _backends: backends, procfs }
    }

    /// Sends TCP to port 80 of the Service's IPv4 address to both backends at random, as kube-proxy does it by iptables.
    pub fn balance_by_iptables(&self) {
        let rule = format!("iptables -w -t nat -A KUBE-SERVICES -p tcp -d {VIP} --dport 80");
        self.router.sh(&format!(
            "iptables -w -t nat -N KUBE-SERVICES
             iptables -w -t nat -A PREROUTING -j KUBE-SERVICES && iptables -w -t nat -A OUTPUT -j KUBE-SERVICES
             {rule} -m statistic --mode random --probability 0.5 -j DNAT --to {}:{BACKEND_PORT}
             {rule} -j DNAT --to {}:{BACKEND_PORT}",
            BACKENDS[0], BACKENDS[1]
        ));
    }

    /// What the router's namespace is to the product: the host's.
    pub fn procfs(&self) -> &Path {
        self.procfs.path()
    }

    /// The product, in the router, with the table listed.
    pub fn open(&self) -> Conntrack {
        let conntrack = Conntrack::open(self.procfs(), digest);
        conntrack.settle(Duration::from_secs(10));
        let status = conntrack.status();
        assert!(status.up && status.reloads == 1, "{status:?}");
        conntrack
    }

    /// Opens connections from the client, one after the other.
    pub fn dial(&self, target: SocketAddr, count: usize) -> Vec<Dialled> {
        self.client.enter(|| (0..count).map(|_| Dialled::new(target)).collect())
    }
}

/// Each connection is known to have gone where it went; and of 20 or more, which chance sends to one backend alone once
/// in 500,000 times, some went to either.
pub fn assert_all_found(conntrack: &Conntrack, connections: &[Dialled]) {
    conntrack.settle(Duration::from_secs(10));
    for connection in connections {
        let (source, target) = (connection.source, connection.target);
        assert_eq!(connection.found(conntrack), connection.truth(), "{source} to {target}; {conntrack:?}");
    }
    if connections.len() >= 20 {
        let asked = |backend| connections.iter().any(|connection| connection.answered == backend);
        assert!(asked(0) && asked(1), "one of the backends was not asked");
    }
}
