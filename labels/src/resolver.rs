// SPDX-License-Identifier: Apache-2.0
//! The order in which the sources of names are asked.

mod outside;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::RwLock;

use crate::addresses::HostAddresses;
use crate::cgroup::cgroup_layout;
use crate::changes::{Changes, Subject};
use crate::cloud::metadata::{Instance, Metadata, MetadataConfig};
use crate::cloud::ranges::CloudRanges;
use crate::dns_names::DnsNames;
use crate::file::read_capped;
use crate::identity::{Identity, Kind, Words, clean};
use crate::kubernetes::cluster::Cluster;
use crate::local::{LocalNames, LocalPods, Named};
use crate::names_file::NamesFile;
use crate::operator_file::FileError;
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
    /// `--labels.external-patterns`
    pub external_patterns: Option<PathBuf>,
    /// `--labels.cloud-ranges`
    pub cloud_ranges: Vec<PathBuf>,
    /// `--labels.cloud-metadata` and its endpoint
    pub cloud_metadata: MetadataConfig,
}

/// Why a resolver cannot be made: the operator's input is wrong. Whatever the host lacks is no error but a source that
/// is down.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    /// One of the operator's files cannot be read or is wrong.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Names both ends of a flow. Every answer comes from memory; files are read by [`Self::refresh`], and a control group
/// hierarchy is walked by [`Self::local`] when it meets an id for the first time.
#[derive(Debug)]
pub struct Resolver {
    names_file: Option<NamesFile>,
    local: LocalNames,
    addresses: HostAddresses,
    cluster: Option<Arc<Cluster>>,
    dns_names: DnsNames,
    cloud_ranges: CloudRanges,
    cloud_metadata: Arc<Metadata>,
    /// The name of this host: the API's if there is a cluster.
    node: Arc<str>,
    words: Words,
    /// Zone and region that the names file gives to an address of this host: where its own workloads are.
    place: RwLock<(Arc<str>, Arc<str>)>,
    changes: Arc<Changes>,
    /// How often the host's addresses have changed.
    moves: AtomicU64,
}

impl Resolver {
    /// Reads every source once. `hierarchy` is the one that the ids in [`crate::Process::cgroup`] belong to.
    ///
    /// # Errors
    /// A file of the operator is given, and cannot be read or is wrong: the message names file, line, column and fault.
    pub fn new(
        config: Config,
        hierarchy: ProcessHierarchy,
        cluster: Option<Arc<Cluster>>,
    ) -> Result<Resolver, Error> {
        let names_file = config.names_file.map(NamesFile::open).transpose()?;
        let layout = cgroup_layout(&config.cgroup_root, &config.procfs);
        let in_cluster =
            cluster.as_ref().map(|cluster| cluster.node().clone()).filter(|name| !name.is_empty());
        let of_host = || host_name(&config.procfs, &config.rootfs).unwrap_or_default().into();
        let node: Arc<str> = in_cluster.unwrap_or_else(of_host);
        let changes = cluster.as_ref().map_or_else(Arc::default, |cluster| cluster.changes().clone());
        let pods = cluster.clone().map(|cluster| LocalPods::new(&config.procfs, cluster));
        let resolver = Resolver {
            names_file,
            local: LocalNames::new(&layout, hierarchy, &config.rootfs, node.clone(), pods, changes.clone()),
            addresses: HostAddresses::new(&config.procfs),
            cloud_ranges: CloudRanges::open(config.cloud_ranges),
            cloud_metadata: Arc::new(Metadata::new(config.cloud_metadata, config.sysfs)),
            node,
            words: Words::default(),
            place: RwLock::default(),
            dns_names: DnsNames::new(config.external_patterns, changes.clone())?,
            changes,
            moves: AtomicU64::new(1),
            cluster,
        };
        resolver.find_place();
        Ok(resolver)
    }

    /// The owner of a socket on this node; `workload` is `unknown` if nothing tells.
    pub fn local(&self, owner: &Owner) -> Identity {
        self.placed(self.name_local(owner).identity)
    }

    /// As [`Self::local`], with the Service in `service` that selects the owner's pod on this port; of an owner that is
    /// no pod, the Service that selects the node.
    pub fn local_server(&self, owner: &Owner, port: u16) -> Identity {
        let named = self.name_local(owner);
        let mut identity = self.placed(named.identity);
        if let Some(cluster) = &self.cluster
            && let Some(service) = match named.pod {
                Some(uid) => cluster.service_of(uid, port),
                None if self.local.is_on_host(owner.netns) => cluster.service_of_node(owner.netns, port),
                None => None,
            }
        {
            identity.service = service;
        }
        identity
    }

    fn name_local(&self, owner: &Owner) -> Named {
        let (named, outdated) = self.local.name(owner);
        if outdated {
            self.changes.mark_all();
        }
        named
    }

    /// As [`Self::remote_for`], where it is not known who asks.
    pub fn remote(&self, addr: IpAddr, port: Option<u16>) -> Identity {
        self.remote_for(None, addr, port)
    }

    /// Who is at a remote address. `port` is the remote end's port if it is the server, None if it is the client: the
    /// port of a client tells nothing. `client` is the network namespace of the end on this node if that is the client.
    ///
    /// The names file is asked first, then the cluster, then the host's own addresses; the rest lies outside.
    pub fn remote_for(&self, client: Option<u32>, addr: IpAddr, port: Option<u16>) -> Identity {
        if let Some(identity) = self.names_file.as_ref().and_then(|names| names.look_up(addr, port)) {
            return identity;
        }
        if let Some(identity) = self.cluster.as_ref().and_then(|cluster| cluster.at(addr, port)) {
            return identity;
        }
        if self.addresses.contains(addr) {
            let workload = if self.node.is_empty() { self.words.unknown.clone() } else { self.node.clone() };
            let host = self.words.identity(Kind::Host, workload);
            return self.placed(Identity { node: self.node.clone(), ..host });
        }
        self.outside(client, addr, port)
    }

    /// The server behind a Service: who is at `backend`, where a connection to the address `service` really went. Its
    /// `service` is the one dialled.
    pub fn dialled(&self, service: (IpAddr, u16), backend: (IpAddr, u16)) -> Identity {
        let mut identity = self.remote(backend.0, Some(backend.1));
        let at = |cluster: &Arc<Cluster>| cluster.service_at(service.0, service.1);
        if let Some((namespace, name)) = self.cluster.as_ref().and_then(at) {
            if identity.namespace.is_empty() {
                identity.namespace = namespace;
            }
            identity.service = name;
        }
        identity
    }

    /// The pod that a network namespace is of; None for the host's own and for those of no pod.
    pub fn within(&self, netns: u32) -> Option<Identity> {
        self.local.within(netns).map(|identity| self.placed(identity))
    }

    /// True for loopback and for the addresses of this host's interfaces.
    pub fn is_host_address(&self, addr: IpAddr) -> bool {
        self.addresses.contains(addr)
    }

    /// A number that grows whenever an answer given earlier may be another now.
    pub fn generation(&self) -> u64 {
        self.changes.generation()
    }

    /// True if an answer about these subjects may be another now. `since` is what [`Self::generation`] was before the
    /// answer was asked for.
    pub fn is_stale(&self, since: u64, subjects: &[Subject]) -> bool {
        self.changes.is_stale(since, subjects)
    }

    /// True when an address that was asked about, or that was a pod's after [`Self::set_reported`], has been given to another pod: until [`Self::settle`] it is answered as
    /// before, so that what is not yet reported can be charged to who had it. A pass is to be made within a second.
    pub fn needs_settling(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.needs_settling())
    }

    /// A number that grows when a pod leaves its address. To be asked for before a pass.
    pub fn departures(&self) -> u64 {
        self.cluster.as_ref().map_or(0, |cluster| cluster.departures())
    }

    /// All that was counted until [`Self::departures`] was this has been named.
    pub fn set_reported(&self, departures: u64) {
        if let Some(cluster) = &self.cluster {
            cluster.set_reported(departures);
        }
    }

    /// All that was counted until now has been named: lets the new holders of addresses take over.
    pub fn settle(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.settle();
        }
    }

    /// Every TCP address and port at which a Service may be dialled on this node: cluster, external and load balancer
    /// addresses, node ports on the node's own addresses and on 127.0.0.1. None if that is as it was at version `since`;
    /// 0 is before all versions.
    pub fn service_addresses(&self, since: u64) -> Option<(u64, Vec<(IpAddr, u16)>)> {
        let cluster = self.cluster.as_ref()?;
        let version = cluster.service_version() + self.moves.load(Ordering::Acquire);
        (version != since).then(|| (version, cluster.service_addresses(&self.addresses.all())))
    }

    /// True if every watch of the Kubernetes API has delivered a first list, or there is none.
    pub fn complete(&self) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| cluster.complete())
    }

    /// Asks the provider's metadata service, unless the flags or the firmware say that there is none. The answer is waited
    /// for on a thread that calls `confine` first; [`Self::refresh`] takes notice of it.
    pub fn ask_metadata(&self, confine: impl FnOnce() + Send + 'static) {
        self.cloud_metadata.ask(confine);
    }

    /// What the metadata service told, if it did.
    pub fn instance(&self) -> Option<Instance> {
        self.cloud_metadata.instance()
    }

    /// Looks for changes: of the operator's files each time, of addresses and control groups every ten seconds at most. To be
    /// called at each pass and every second or so.
    pub fn refresh(&self) {
        let names = self.names_file.as_ref().is_some_and(NamesFile::refresh);
        let cloud = self.cloud_ranges.refresh() | self.cloud_metadata.take_news();
        let addresses = self.addresses.refresh();
        let local = self.local.refresh();
        let patterns = self.dns_names.refresh(false, Instant::now());
        if addresses {
            self.moves.fetch_add(1, Ordering::AcqRel);
        }
        if names || addresses {
            self.find_place();
        }
        if names || addresses || local || patterns || cloud {
            self.changes.mark_all();
        }
        if let Some(cluster) = &self.cluster {
            cluster.tend();
        }
    }

    /// Takes over a control group that the kernel told of as it was made, so that its name is known however short it
    /// lives. `unified`: it is in the version 2 hierarchy, else in the version 1 one of processes. `path` is the kernel's,
    /// from the root of the hierarchy; where another root is mounted, it is ignored.
    pub fn note_cgroup(&self, id: u64, unified: bool, path: &str) {
        if self.local.learn(id, unified, path) {
            self.changes.mark([Subject::Cgroup(id)]);
        }
    }

    /// Makes one of the next [`Self::refresh`]es walk the control groups: some were made that [`Self::note_cgroup`] was
    /// not told of.
    pub fn missed_cgroups(&self) {
        self.local.hurry();
    }

    /// Reads every source again at once; asks the metadata service again if it did not answer.
    pub fn reload(&self) {
        if self.names_file.as_ref().is_some_and(NamesFile::reload) {
            self.find_place();
            self.changes.mark_all();
        }
        if self.dns_names.refresh(true, Instant::now()) {
            self.changes.mark_all();
        }
        if self.cloud_ranges.reload() {
            self.changes.mark_all();
        }
        if self.cloud_metadata.failed() {
            // On a thread that has no more privileges than this one.
            self.cloud_metadata.ask(|| ());
        }
        self.addresses.expire();
        self.local.expire();
        self.refresh();
    }

    /// How each source is doing; `names_file`, `external_patterns` and `cloud_ranges` are among them if there are such files,
    /// `cloud_metadata` if a service was asked, those of Kubernetes if there is a cluster.
    pub fn sources(&self) -> Vec<SourceStatus> {
        let names_file = self.names_file.as_ref().map(NamesFile::status);
        let cluster = self.cluster.iter().flat_map(|cluster| cluster.statuses());
        let own = [self.local.status(), self.addresses.status()];
        let dns = self.dns_names.statuses();
        let cloud = self.cloud_ranges.status().into_iter().chain(self.cloud_metadata.status());
        names_file
            .into_iter()
            .chain(own)
            .chain(dns)
            .chain(self.local.netns_status())
            .chain(cluster)
            .chain(cloud)
            .collect()
    }

    /// With the zone and region of this node: what the names file says, else what the Node object does, else the provider's
    /// metadata service.
    fn placed(&self, identity: Identity) -> Identity {
        let (mut zone, mut region) = self.place.read().clone();
        if let Some(cluster) = self.cluster.as_ref().filter(|_| zone.is_empty() || region.is_empty()) {
            let node = cluster.own_place();
            zone = if zone.is_empty() { node.0 } else { zone };
            region = if region.is_empty() { node.1 } else { region };
        }
        if zone.is_empty()
            && region.is_empty()
            && let Some(instance) = self.cloud_metadata.instance()
        {
            (zone, region) = (instance.zone, instance.region);
        }
        Identity { zone, region, ..identity }
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
}

/// The host's name: where the host's root is mounted elsewhere its `/etc/hostname`, since the kernel's answer is then the
/// container's; else the kernel's.
pub fn host_name(procfs: &Path, rootfs: &Path) -> Option<String> {
    let read = |path: PathBuf| clean(&String::from_utf8_lossy(&read_capped(&path, 4096).ok()?));
    let of_root = || read(rootfs.join("etc/hostname")).filter(|_| rootfs != Path::new("/"));
    of_root().or_else(|| read(procfs.join("sys/kernel/hostname"))).filter(|name| name != "(none)")
}

#[cfg(test)]
mod tests;
