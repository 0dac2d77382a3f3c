// SPDX-License-Identifier: Apache-2.0
//! The few system calls the world needs that std does not offer. All `unsafe` of this library is here.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};

/// Moves the calling thread into the network namespace behind `namespace` (an open `/run/netns/<name>`).
pub fn enter_netns(namespace: &File) -> io::Result<()> {
    setns(namespace.as_raw_fd())
}

fn setns(fd: RawFd) -> io::Result<()> {
    // SAFETY: setns takes an open descriptor and a constant; it touches no memory of ours.
    check(unsafe { libc::setns(fd, libc::CLONE_NEWNET) })
}

/// Sends `signal` to the process `pid`.
pub fn kill(pid: u32, signal: i32) -> Result<()> {
    let pid = libc::pid_t::try_from(pid).context("pid out of range")?;
    // SAFETY: kill takes two integers.
    check(unsafe { libc::kill(pid, signal) }).with_context(|| format!("kill({pid}, {signal})"))
}

/// Whether the caller is root.
pub fn is_root() -> bool {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Raises the limit of open files of this process to the hard limit, and returns it. The hard limit itself is the
/// machine's: raising that needs CAP_SYS_RESOURCE, which root in a container may lack.
pub fn raise_open_files() -> Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes the struct it is given and keeps no pointer to it.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })
        .context("reading the limit of open files")?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: setrlimit reads the struct it is given and keeps no pointer to it.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })
        .with_context(|| format!("raising the limit of open files to {}", limit.rlim_max))?;
    Ok(limit.rlim_max)
}

/// Where a child process is to live, applied between fork and exec.
#[derive(Default, Clone)]
pub struct Placement {
    /// Network namespace; the caller's own when absent.
    pub netns: Option<Arc<File>>,
    /// `cgroup.procs` of the cgroup to join, opened for writing; the caller's own when absent.
    pub cgroup_procs: Option<Arc<File>>,
    /// The one CPU to run on; any when absent.
    pub cpu: Option<usize>,
    /// Whether it goes before others that want a CPU, as far as the machine lets it.
    pub first: bool,
}

/// Makes `command` start in `placement`, and die when the thread that started it dies.
pub fn place(command: &mut Command, placement: Placement) {
    let prepare = move || {
        if let Some(procs) = &placement.cgroup_procs {
            // SAFETY: write of two constant bytes to a descriptor that the closure keeps open.
            let written = unsafe { libc::write(procs.as_raw_fd(), b"0\n".as_ptr().cast(), 2) };
            if written != 2 {
                return Err(io::Error::last_os_error());
            }
        }
        if let Some(netns) = &placement.netns {
            setns(netns.as_raw_fd())?;
        }
        if let Some(cpu) = placement.cpu {
            // SAFETY: cpu_set_t is plain old data for which all zeroes is the empty set.
            let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
            // SAFETY: sets one bit of a set on this stack frame; the macro checks the bound.
            unsafe { libc::CPU_SET(cpu, &mut set) };
            // SAFETY: sched_setaffinity reads a set of the length it is given.
            check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) })?;
        }
        if placement.first {
            // SAFETY: setpriority takes integers only. Where it is refused, everything takes longer.
            unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -10) };
        }
        // SAFETY: prctl with PR_SET_PDEATHSIG takes integers only.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })
    };
    // SAFETY: between fork and exec the closure only makes system calls that are async-signal-safe (write, setns,
    // sched_setaffinity, setpriority, prctl), allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// Opens a new TUN device called `name` in the calling thread's network namespace: raw IP packets, no header.
pub fn open_tun(name: &str) -> Result<OwnedFd> {
    let tun = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .context("opening /dev/net/tun (is the tun driver there?)")?;
    // SAFETY: ifreq is plain old data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    anyhow::ensure!(name.len() < request.ifr_name.len(), "interface name {name:?} is too long");
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which lives on this stack frame during the call.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF as _, &mut request) })
        .with_context(|| format!("creating TUN device {name}"))?;
    Ok(tun.into())
}

/// Dissolves the association of a TCP socket by `connect(AF_UNSPEC)`: the connection is reset and the socket can be
/// connected again.
pub fn disconnect(socket: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: sockaddr is plain old data for which all zeroes is a valid value (family AF_UNSPEC is 0).
    let unspecified: libc::sockaddr = unsafe { std::mem::zeroed() };
    let length = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: connect reads `length` bytes of the address, which lives on this stack frame.
    check(unsafe { libc::connect(socket.as_raw_fd(), &unspecified, length) })
}

/// Takes over a socket inherited under a fixed descriptor number, as socket activation passes it.
pub fn inherited_socket(fd: RawFd) -> io::Result<socket2::Socket> {
    use std::os::fd::FromRawFd;
    // SAFETY: fcntl with F_GETFD takes integers; it tells whether the descriptor is open.
    check(unsafe { libc::fcntl(fd, libc::F_GETFD) })?;
    // SAFETY: the descriptor is open, was passed to this process to be its own, and is wrapped once only.
    Ok(unsafe { socket2::Socket::from_raw_fd(fd) })
}

/// Has each send of a UDP socket cut into datagrams of `size` bytes by the kernel or the device (UDP_SEGMENT).
pub fn set_udp_segment(socket: &impl AsRawFd, size: u16) -> io::Result<()> {
    const UDP_SEGMENT: libc::c_int = 103;
    set_udp_option(socket, UDP_SEGMENT, size.into())
}

/// Lets a UDP socket receive datagrams of one size put together (UDP_GRO).
pub fn set_udp_gro(socket: &impl AsRawFd) -> io::Result<()> {
    const UDP_GRO: libc::c_int = 104;
    set_udp_option(socket, UDP_GRO, 1)
}

fn set_udp_option(socket: &impl AsRawFd, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: setsockopt reads `length` bytes of the value, which lives on this stack frame.
    check(unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, option, (&raw const value).cast(), length)
    })
}

/// Segments with data that a TCP socket has sent, retransmitted ones included (`tcpi_data_segs_out`).
pub fn data_segments_sent(socket: &impl AsRawFd) -> io::Result<u32> {
    // struct tcp_info of linux/tcp.h, which libc does not have as far as this field.
    const OFFSET: usize = 156;
    let mut info = [0_u8; OFFSET + 4];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: getsockopt writes at most `length` bytes to the array, which lives on this stack frame.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &mut length,
        )
    })?;
    let field = info[OFFSET..].try_into().map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(u32::from_ne_bytes(field))
}

/// Has a listening TCP socket wake its owner only when data came, waiting about so many seconds for it (TCP_DEFER_ACCEPT).
pub fn set_defer_accept(socket: &impl AsRawFd, seconds: libc::c_int) -> io::Result<()> {
    set_tcp_option(socket, libc::TCP_DEFER_ACCEPT, seconds)
}

/// Has a TCP socket send its first data with its SYN (TCP_FASTOPEN_CONNECT), if the namespace lets it.
pub fn set_fast_open(socket: &impl AsRawFd) -> io::Result<()> {
    set_tcp_option(socket, libc::TCP_FASTOPEN_CONNECT, 1)
}

fn set_tcp_option(socket: &impl AsRawFd, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: setsockopt reads `length` bytes of the value, which lives on this stack frame.
    check(unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, option, (&raw const value).cast(), length)
    })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
