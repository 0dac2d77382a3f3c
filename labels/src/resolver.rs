// SPDX-License-Identifier: Apache-2.0
//! The order in which the sources of names are asked.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::addresses::HostAddresses;
use crate::cgroup::cgroup_layout;
use crate::file::read_capped;
use crate::identity::{Identity, Kind, Words, clean};
use crate::local::LocalNames;
use crate::names_file::{NamesFile, NamesFileError};
use crate::ranges::is_public;
use crate::status::SourceStatus;
use crate::{Owner, ProcessHierarchy};

/// Where the host's files are, and what the operator says.
#[derive(Clone, Debug)]
pub struct Config {
    /// `--path.cgroup`
    pub cgroup_root: PathBuf,
    /// `--path.procfs`
    pub procfs: PathBuf,
    /// `--path.sysfs`
    pub sysfs: PathBuf,
    /// `--path.rootfs`
    pub rootfs: PathBuf,
    /// `--labels.names-file`
    pub names_file: Option<PathBuf>,
}

/// Why a resolver cannot be made: the operator's input is wrong. Whatever the host lacks is no error but a source that
/// is down.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    /// The names file cannot be read or is wrong.
    #[error(transparent)]
    NamesFile(#[from] NamesFileError),
}

/// Names both ends of a flow. Every answer comes from memory; files are read by [`Self::refresh`], and a control group
/// hierarchy is walked by [`Self::local`] when it meets an id for the first time.
#[derive(Debug)]
pub struct Resolver {
    names_file: Option<NamesFile>,
    local: LocalNames,
    addresses: HostAddresses,
    node: Arc<str>,
    words: Words,
    /// Zone and region that the names file gives to an address of this host: where its own workloads are.
    place: RwLock<(Arc<str>, Arc<str>)>,
    generation: AtomicU64,
}

impl Resolver {
    /// Reads every source once. `hierarchy` is the one that the ids in [`crate::Process::cgroup`] belong to.
    ///
    /// # Errors
    /// The names file is given, and cannot be read or is wrong: the message names file, line, column and fault.
    pub fn new(config: Config, hierarchy: ProcessHierarchy) -> Result<Resolver, Error> {
        let names_file = config.names_file.map(NamesFile::open).transpose()?;
        let layout = cgroup_layout(&config.cgroup_root, &config.procfs);
        let node: Arc<str> = host_name(&config.procfs, &config.rootfs).unwrap_or_default().into();
        let resolver = Resolver {
            names_file,
            local: LocalNames::new(&layout, hierarchy, &config.rootfs, node.clone()),
            addresses: HostAddresses::new(&config.procfs),
            node,
            words: Words::default(),
            place: RwLock::default(),
            generation: AtomicU64::new(0),
        };
        resolver.find_place();
        Ok(resolver)
    }

    /// The owner of a socket on this node; `workload` is `unknown` if nothing tells.
    pub fn local(&self, owner: &Owner) -> Identity {
        let (identity, outdated) = self.local.name(owner);
        if outdated {
            self.advance();
        }
        let place = self.place.read();
        Identity { zone: place.0.clone(), region: place.1.clone(), ..identity }
    }

    /// Who is at a remote address. `port` is the remote end's port if it is the server, None if it is the client: the
    /// port of a client tells nothing.
    ///
    /// The names file is asked first, then the host's own addresses; the rest is `external` if public and
    /// `unknown` if not.
    pub fn remote(&self, addr: IpAddr, port: Option<u16>) -> Identity {
        if let Some(identity) = self.names_file.as_ref().and_then(|names| names.look_up(addr, port)) {
            return identity;
        }
        if self.addresses.contains(addr) {
            let workload = if self.node.is_empty() { self.words.unknown.clone() } else { self.node.clone() };
            let (zone, region) = self.place.read().clone();
            return Identity {
                node: self.node.clone(),
                zone,
                region,
                ..self.words.identity(Kind::Host, workload)
            };
        }
        if is_public(addr) {
            self.words.identity(Kind::External, self.words.external.clone())
        } else {
            self.words.identity(Kind::Unknown, self.words.unknown.clone())
        }
    }

    /// True for loopback and for the addresses of this host's interfaces.
    pub fn is_host_address(&self, addr: IpAddr) -> bool {
        self.addresses.contains(addr)
    }

    /// A number that grows whenever an answer given earlier may be another now.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Looks for changes: of the names file each time, of addresses and control groups every ten seconds at most. To be
    /// called at each pass and every second or so.
    pub fn refresh(&self) {
        let names = self.names_file.as_ref().is_some_and(NamesFile::refresh);
        let addresses = self.addresses.refresh();
        let local = self.local.refresh();
        if names || addresses {
            self.find_place();
        }
        if names || addresses || local {
            self.advance();
        }
    }

    /// Reads every source again at once.
    pub fn reload(&self) {
        if self.names_file.as_ref().is_some_and(NamesFile::reload) {
            self.find_place();
            self.advance();
        }
        self.addresses.expire();
        self.local.expire();
        self.refresh();
    }

    /// How each source is doing; `names_file` is among them if there is one.
    pub fn sources(&self) -> Vec<SourceStatus> {
        let names_file = self.names_file.as_ref().map(NamesFile::status);
        names_file.into_iter().chain([self.local.status(), self.addresses.status()]).collect()
    }

    /// Of several addresses with a place, the lowest counts, so that the answer is the same each time.
    fn find_place(&self) {
        let Some(names) = &self.names_file else { return };
        let named = self.addresses.all().into_iter().filter_map(|addr| names.look_up(addr, None));
        let found = named
            .map(|identity| (identity.zone, identity.region))
            .find(|(zone, region)| !zone.is_empty() || !region.is_empty());
        *self.place.write() = found.unwrap_or_default();
    }

    fn advance(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}

/// The host's name: where the host's root is mounted elsewhere its `/etc/hostname`, since the kernel's answer is then the
/// container's; else the kernel's.
fn host_name(procfs: &Path, rootfs: &Path) -> Option<String> {
    let read = |path: PathBuf| clean(&String::from_utf8_lossy(&read_capped(&path, 4096).ok()?));
    let of_root = || read(rootfs.join("etc/hostname")).filter(|_| rootfs != Path::new("/"));
    of_root().or_else(|| read(procfs.join("sys/kernel/hostname"))).filter(|name| name != "(none)")
}

#[cfg(test)]
mod tests;
