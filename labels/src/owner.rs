// SPDX-License-Identifier: Apache-2.0
//! What the kernel tells about who owns a socket.

use std::sync::Arc;

/// Which hierarchy the ids in [`Process::cgroup`] belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProcessHierarchy {
    /// Version 2.
    Unified,
    /// Version 1, the hierarchy of this controller: `memory` or `pids`.
    V1(&'static str),
}

/// The process behind a socket.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Process {
    /// Id of its control group in the [`ProcessHierarchy`]: `kn->id`, which is the directory's inode. 0 is none.
    pub cgroup: u64,
    /// Name (`comm`) of the process leader, at most 15 bytes in the kernel; bytes that are not UTF-8 replaced.
    pub name: Arc<str>,
}

/// The owner of a socket on this node, as the kernel tells it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Owner {
    /// Network namespace, as the inode of its `/proc/<pid>/ns/net`.
    pub netns: u32,
    /// Version 2 control group of the socket (`sk->sk_cgrp_data`). 0 and the root say nothing.
    pub cgroup: u64,
    /// The process, where it was asked for.
    pub process: Option<Process>,
    /// Several processes share the listener, and which of them has this connection is not known.
    pub ambiguous: bool,
}
