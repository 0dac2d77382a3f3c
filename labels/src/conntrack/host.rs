// SPDX-License-Identifier: Apache-2.0
//! The host's network namespace, and what it says of itself.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const OWN: &str = "/proc/thread-self/ns/net";

/// Where something was done.
#[derive(Debug)]
pub(super) enum Place {
    /// In the host's network namespace.
    Host,
    /// In the caller's own, and nothing tells whether that is the host's.
    Unknown(String),
}

/// Files of the host's that tell about its network.
#[derive(Clone, Debug)]
pub(super) struct Host {
    procfs: PathBuf,
}

impl Host {
    pub fn new(procfs: &Path) -> Host {
        Host { procfs: procfs.to_owned() }
    }

    /// Does `work` in the network namespace of the first process, on a thread that ends with it if that is not the
    /// caller's own. Where nothing tells which namespace that is, it is done in the caller's own: [`Place::Unknown`].
    ///
    /// # Errors
    /// The namespace is another and cannot be entered.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<(T, Place)> {
        let path = self.procfs.join("1/ns/net");
        let describe =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let identity = |file: fs::Metadata| (file.dev(), file.ino());
        let namespace = match File::open(&path) {
            Ok(namespace) => namespace,
            Err(error) => return Ok((work(), Place::Unknown(describe(error).to_string()))),
        };
        if let (Ok(host), Ok(own)) = (namespace.metadata(), fs::metadata(OWN))
            && identity(host) == identity(own)
        {
            return Ok((work(), Place::Host));
        }
        let inside = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok((work(), Place::Host))
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("host-netns".to_owned()).spawn_scoped(scope, inside)?;
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread inside panicked")))
        })
        .map_err(describe)
    }

    /// False if the kernel tracks no connections: `nf_conntrack` is not loaded. To listen would load it.
    pub fn tracks_connections(&self) -> bool {
        let net = self.procfs.join("sys/net");
        !net.exists() || net.join("netfilter/nf_conntrack_max").exists()
    }

    /// False if the namespace of the calling thread has switched its conntrack events off.
    pub fn has_events(&self) -> bool {
        let path = self.procfs.join("sys/net/netfilter/nf_conntrack_events");
        fs::read_to_string(path).map_or(true, |value| value.trim() != "0")
    }

    /// True if IPVS is there: its translations carry no mark.
    pub fn has_ipvs(&self) -> bool {
        self.procfs.join("1/net/ip_vs").exists()
    }
}
