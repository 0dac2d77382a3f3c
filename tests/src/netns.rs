// SPDX-License-Identifier: Apache-2.0
//! Network namespaces, links and addresses, removed when the test ends, however it ends.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};

use crate::cgroup::Cgroup;
use crate::process::run;
pub use crate::subnet::Subnet;
use crate::subnet::next_number;
use crate::sweep::sweep;
use crate::sys::{self, Placement};

/// All names made by this library begin with this, then the pid of the maker.
pub const PREFIX: &str = "fgt-";

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
static SWEEP: Once = Once::new();

/// A world of hosts. One exists at a time in a process: tests of one file run one after the other.
#[derive(Debug)]
pub struct World {
    _turn: MutexGuard<'static, ()>,
}

impl World {
    /// Waits for its turn, removes what dead test processes left behind, and starts an empty world.
    pub fn new() -> Result<Self> {
        ensure!(sys::is_root(), "the end-to-end tests make network namespaces and cgroups: run them as root");
        let turn = lock(&ONE_AT_A_TIME);
        SWEEP.call_once(sweep);
        Ok(World { _turn: turn })
    }

    /// Adds a host: a network namespace, and a cgroup for the processes in it.
    pub fn host(&self, name: &str) -> Result<Host> {
        Host::new(name, true, Command::new("ip"))
    }

    /// Adds a host whose workload is called `name` and nothing more. Only worlds that are alone on their machine may do so.
    pub fn host_called(&self, name: &str) -> Result<Host> {
        Host::called(name)
    }

    /// Adds a host whose namespace is made from inside another's: the kernel takes some of its settings from there.
    pub fn host_within(&self, name: &str, maker: &Host) -> Result<Host> {
        Host::new(name, true, maker.command("ip"))
    }

    /// Adds a host whose processes are in the root cgroup, as on hosts where nothing uses cgroup v2.
    pub fn host_without_cgroup(&self, name: &str) -> Result<Host> {
        Host::new(name, false, Command::new("ip"))
    }

    /// Joins two hosts by a veth pair with an IPv4 /24 and an IPv6 /64 of its own. Offloads are off, so that every
    /// packet is one segment for the kernel's counters as well as for packet filters.
    pub fn link(&self, a: &Host, b: &Host) -> Result<Link> {
        let net = Subnet::next();
        let (device_a, device_b) = (net.device("v", 1), net.device("v", 2));
        ip(&[
            "link",
            "add",
            &device_a,
            "netns",
            a.namespace(),
            "type",
            "veth",
            "peer",
            "name",
            &device_b,
            "netns",
            b.namespace(),
        ])?;
        for (host, device) in [(a, &device_a), (b, &device_b)] {
            run(host.command("ethtool").args(["-K", device, "tso", "off", "gso", "off", "gro", "off"]))?;
        }
        Ok(Link { a: a.join(&device_a, &net, 1)?, b: b.join(&device_b, &net, 2)?, net })
    }
}

/// Two joined interfaces.
#[derive(Debug)]
pub struct Link {
    /// The end at the first host.
    pub a: Interface,
    /// The end at the second host.
    pub b: Interface,
    /// The range of both.
    pub net: Subnet,
}

/// One interface of a host.
#[derive(Debug, Clone)]
pub struct Interface {
    /// Device name.
    pub device: String,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
}

impl Interface {
    /// `port` on the IPv4 address.
    pub fn at4(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.v4.into(), port)
    }

    /// `port` on the IPv6 address.
    pub fn at6(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.v6.into(), port)
    }
}

/// A network namespace, removed when the last host in it is.
#[derive(Debug)]
struct Namespace {
    name: String,
    handle: Arc<File>,
}

impl Namespace {
    fn new(name: &str, mut maker: Command) -> Result<Self> {
        run(maker.args(["netns", "add", name]))?;
        let path = Path::new("/run/netns").join(name);
        let handle = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        Ok(Namespace { name: name.to_owned(), handle: Arc::new(handle) })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "del", &self.name]) {
            eprintln!("leaving namespace {} behind: {error:#}", self.name);
        }
    }
}

/// A host: a network namespace and, mostly, a cgroup named like a systemd service.
#[derive(Debug)]
pub struct Host {
    /// The workload its processes are: the cgroup's name without `.service`.
    pub workload: String,
    namespace: Arc<Namespace>,
    /// Removed with the host; none for hosts whose processes are in the root cgroup.
    _cgroup: Option<Cgroup>,
    cgroup_procs: Arc<File>,
    addresses: Mutex<Vec<IpAddr>>,
    cpu: Mutex<Option<usize>>,
}

impl Host {
    fn new(name: &str, with_cgroup: bool, maker: Command) -> Result<Self> {
        let unique = unique(name);
        let cgroup = with_cgroup.then(|| Cgroup::new(&format!("{unique}.service"))).transpose()?;
        Self::with(unique.clone(), &unique, cgroup, maker)
    }

    fn called(name: &str) -> Result<Self> {
        let unique = unique(name);
        let below = Path::new(&format!("{unique}.slice")).join(format!("{name}.service"));
        Self::with(name.to_owned(), &unique, Some(Cgroup::nested(&below)?), Command::new("ip"))
    }

    fn with(workload: String, namespace: &str, cgroup: Option<Cgroup>, maker: Command) -> Result<Self> {
        let cgroup_procs = cgroup.as_ref().map_or_else(Cgroup::root_procs, |cgroup| Ok(cgroup.procs()))?;
        let host = Host {
            workload,
            namespace: Arc::new(Namespace::new(namespace, maker)?),
            _cgroup: cgroup,
            cgroup_procs,
            addresses: Mutex::default(),
            cpu: Mutex::default(),
        };
        host.ip(&["link", "set", "lo", "up"])?;
        // Packets cross a veth pair through the receiving CPU's backlog of 1,000 packets, and what does not fit is
        // dropped. Small windows keep a few connections' packets below that: without loss made on purpose there is none.
        host.sysctl("net.ipv4.tcp_rmem", "4096 65536 131072")?;
        // No probes after 2 RTTs (RFC 8985, 7): on a busy machine they repeat what was only acknowledged late.
        host.sysctl("net.ipv4.tcp_early_retrans", "0")?;
        // Every refused packet is answered, as far as the kernel's overall limit goes.
        host.sysctl("net.ipv4.icmp_ratelimit", "0")?;
        Ok(host)
    }

    /// Another host in the same network namespace, with a cgroup of its own: a container beside others in its pod.
    pub fn beside(&self, workload: &str, cgroup: Cgroup) -> Self {
        Host {
            workload: workload.to_owned(),
            namespace: Arc::clone(&self.namespace),
            cgroup_procs: cgroup.procs(),
            _cgroup: Some(cgroup),
            addresses: Mutex::new(self.addresses()),
            cpu: Mutex::new(*lock(&self.cpu)),
        }
    }

    /// The same with processes in the root cgroup: who enters the namespace from outside.
    pub fn visitor(&self) -> Result<Self> {
        Ok(Host {
            workload: self.workload.clone(),
            namespace: Arc::clone(&self.namespace),
            cgroup_procs: Cgroup::root_procs()?,
            _cgroup: None,
            addresses: Mutex::new(self.addresses()),
            cpu: Mutex::new(*lock(&self.cpu)),
        })
    }

    /// The name of its network namespace, as `ip netns` knows it.
    pub fn namespace(&self) -> &str {
        &self.namespace.name
    }

    fn join(&self, device: &str, net: &Subnet, number: u8) -> Result<Interface> {
        let interface =
            Interface { device: device.to_owned(), v4: net.v4(number), v6: net.v6(number.into()) };
        self.ip(&["addr", "add", &format!("{}/24", interface.v4), "dev", device])?;
        self.ip(&["addr", "add", &format!("{}/64", interface.v6), "dev", device, "nodad"])?;
        self.ip(&["link", "set", device, "up"])?;
        lock(&self.addresses).extend([IpAddr::from(interface.v4), IpAddr::from(interface.v6)]);
        Ok(interface)
    }

    /// Gives addresses to a device made otherwise (a TUN) and brings it up.
    pub fn adopt(&self, device: &str, net: &Subnet, number: u8) -> Result<Interface> {
        self.join(device, net, number)
    }

    /// All addresses of its links.
    pub fn addresses(&self) -> Vec<IpAddr> {
        lock(&self.addresses).clone()
    }

    /// Keeps all processes started in this host from now on on one CPU. With both ends of a veth pair on the same CPU
    /// no packet overtakes another; otherwise some do, and TCP retransmits what it takes for lost.
    pub fn pin(&self, cpu: usize) {
        *lock(&self.cpu) = Some(cpu);
    }

    /// A command that will run in this host's namespace and cgroup.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let (netns, cgroup_procs) =
            (Some(Arc::clone(&self.namespace.handle)), Some(Arc::clone(&self.cgroup_procs)));
        sys::place(&mut command, Placement { netns, cgroup_procs, cpu: *lock(&self.cpu), first: false });
        command
    }

    /// Runs `ip -n <this namespace> …`.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        run(Command::new("ip").args(["-n", self.namespace()]).args(arguments))
    }

    /// Waits until it takes packets to the IPv6 addresses of its links: the kernel brings them into its routes up to a
    /// second after a link is up, which TCP's retransmissions hide.
    pub fn settle6(&self) -> Result<()> {
        let wanted = self.addresses().into_iter().filter(IpAddr::is_ipv6).map(|address| address.to_string());
        let wanted: Vec<_> = wanted.collect();
        for _ in 0..300 {
            let routes = self.ip(&["-6", "route", "show", "table", "local"])?;
            if wanted.iter().all(|address| routes.contains(&format!("local {address} "))) {
                return Ok(());
            }
            thread::sleep(std::time::Duration::from_millis(10));
        }
        anyhow::bail!("{}: not all of {wanted:?} are in use", self.namespace())
    }

    /// Runs `work` on a thread inside this host's namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let handle = &self.namespace.handle;
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                sys::enter_netns(handle).context("entering the namespace")?;
                work()
            });
            thread.join().map_err(|_| anyhow!("a thread inside {} panicked", self.namespace()))?
        })
    }

    /// Sets a sysctl of this namespace: `net.ipv4.tcp_syn_retries`, `1`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(key.replace('.', "/"));
        self.enter(|| fs::write(&path, value).with_context(|| format!("setting {key}={value}")))
    }

    /// Reads a file below `/proc/net` as this namespace has it.
    pub fn proc_net(&self, file: &str) -> Result<String> {
        // Not /proc/net: that is the main thread's view.
        let path = Path::new("/proc/thread-self/net").join(file);
        self.enter(|| fs::read_to_string(&path).with_context(|| format!("reading {}", path.display())))
    }

    /// Makes every address of the IPv4 range its own, without listing them.
    pub fn own_range(&self, net: &Subnet) -> Result<()> {
        self.ip(&["route", "add", "local", &format!("{}/24", net.v4(0)), "dev", "lo"]).map(drop)
    }
}

/// A name that tells who made what has it, so that it is found when its maker has died.
fn unique(name: &str) -> String {
    format!("{PREFIX}{}-{}-{name}", std::process::id(), next_number())
}

/// Runs `ip …` outside of all hosts.
pub(crate) fn ip(arguments: &[&str]) -> Result<String> {
    run(Command::new("ip").args(arguments))
}

/// A panic in another test leaves nothing half done in here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
