// SPDX-License-Identifier: Apache-2.0

//! What the kernel itself takes for calling a pair of programs at each packet of a socket: a pair that does nothing.
//!
//! Nothing that counts datagrams or heads at this place can cost less.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};

use super::machine;

/// Commands, types and sizes of `linux/bpf.h`.
const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
const PROG_TYPE_CGROUP_SKB: u32 = 8;
const CGROUP_INET_INGRESS: u32 = 0;
const CGROUP_INET_EGRESS: u32 = 1;
/// `r0 = 1; exit`: let the packet pass.
const PASS: [u64; 2] = [0x0000_0001_0000_00b7, 0x95];

/// `union bpf_attr` for BPF_PROG_LOAD, up to the last field that is not zero.
#[repr(C)]
#[derive(Default)]
struct Load {
    program_type: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

/// The same for BPF_LINK_CREATE.
#[repr(C)]
struct Link {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
}

/// Two empty programs at the root of the v2 hierarchy, until dropped.
pub struct EmptyPair {
    _links: [OwnedFd; 2],
}

impl EmptyPair {
    /// Attaches them.
    pub fn attach() -> Result<Self> {
        let root = machine::hierarchy()?;
        let root = File::open(&root).with_context(|| root.display().to_string())?;
        Ok(Self { _links: [link(&root, CGROUP_INET_INGRESS)?, link(&root, CGROUP_INET_EGRESS)?] })
    }
}

fn link(root: &File, attach_type: u32) -> Result<OwnedFd> {
    let load = Load {
        program_type: PROG_TYPE_CGROUP_SKB,
        instructions: PASS.len() as u32,
        code: PASS.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        attach_type,
        ..Load::default()
    };
    let program = bpf(PROG_LOAD, &load).context("loading an empty program")?;
    let link =
        Link { program: program.as_raw_fd() as u32, target: root.as_raw_fd() as u32, attach_type, flags: 0 };
    bpf(LINK_CREATE, &link).context("attaching an empty program")
}

fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads so many bytes of a live structure, and what its pointers lead to outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: a new descriptor, which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
