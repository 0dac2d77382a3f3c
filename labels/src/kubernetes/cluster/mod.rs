// SPDX-License-Identifier: Apache-2.0
//! Who has which address in the cluster, and which pod a socket of this node belongs to.
//!
//! The watches tell objects ([`Watched`]), from a thread of their own; the tables made of them answer under a lock that
//! is held for microseconds at most, but for the end of a list. Of an object only what names a flow is kept, and of each text one copy.
//!
//! An address is, in this order: the pod's that holds it; the Service's that is dialled there; a pod's on the host's
//! network, by port; a NodePort's Service; what a Service without selector stands for; the node's.

mod awaited;
mod endpoints;
mod feed;
mod holders;
mod lookup;
mod nodes;
mod pods;
mod record;
mod services;
mod state;
#[cfg(test)]
mod tests;
mod text;
mod touched;
mod watches;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, RwLock};

use crate::changes::{Changes, Subject};
use crate::identity::Identity;
use crate::kubernetes::objects::{EndpointSlice, Node, Pod, Service, Watched};
use crate::status::SourceStatus;
use awaited::Awaited;
use feed::{Feed, NodeTable, PodTable, ServiceTable, SliceTable};
pub(crate) use lookup::{ContainerHint, LocalPod};
use pods::Watch;
pub(crate) use record::Uid;
use state::State;
use watches::{Source, WatchState};

/// An update that changes more than this is a list: it is cheaper to ask for everything again.
const MARKED_ONE_BY_ONE: usize = 2048;

/// Which pods are watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PodScope {
    /// All pods of the cluster: clients that no Service selects have names too.
    #[default]
    Cluster,
    /// Those of the own node alone. Others are known as far as EndpointSlices tell.
    Node,
}

/// What the Kubernetes API tells of the cluster.
#[derive(Debug)]
pub struct Cluster {
    node: Arc<str>,
    scope: PodScope,
    state: RwLock<State>,
    awaited: Mutex<Awaited>,
    watches: Mutex<[WatchState; Source::ALL.len()]>,
    changes: Arc<Changes>,
    needs_settling: AtomicBool,
    service_version: AtomicU64,
}

impl Cluster {
    /// `node` is the name of the own node in the API, `proxy_containers` the names of containers that are sidecar
    /// proxies where they are not alone in their pod.
    pub fn new(node: &str, scope: PodScope, proxy_containers: Vec<String>) -> Cluster {
        let node: Arc<str> = node.into();
        Cluster {
            state: RwLock::new(State::new(node.clone(), proxy_containers)),
            node,
            scope,
            awaited: Mutex::default(),
            watches: Mutex::default(),
            changes: Arc::default(),
            needs_settling: AtomicBool::new(false),
            service_version: AtomicU64::new(0),
        }
    }

    /// The name of the own node.
    pub fn node(&self) -> &Arc<str> {
        &self.node
    }

    /// Which pods are to be watched.
    pub fn scope(&self) -> PodScope {
        self.scope
    }

    /// Who is at an address. `port` is the remote end's if it is the server. The `service` of the answer is the one that
    /// selects address and port, or that is dialled there.
    pub fn at(&self, addr: IpAddr, port: Option<u16>) -> Option<Identity> {
        self.state.read().at(addr, port)
    }

    /// Namespace and name of the Service that is dialled at an address, or at a node by its node port.
    pub fn service_at(&self, addr: IpAddr, port: u16) -> Option<(Arc<str>, Arc<str>)> {
        self.state.read().service_at(addr, port)
    }

    /// Namespace and name of the Service of type ExternalName that was asked for as `asked`, and the name in the DNS, one
    /// of `canonical`, that it stands for.
    pub(crate) fn alias<'n>(
        &self,
        asked: &str,
        canonical: impl Iterator<Item = &'n str>,
    ) -> Option<(services::Name, &'n str)> {
        self.state.read().alias(asked, canonical)
    }

    /// Every watch has delivered a first list.
    pub fn complete(&self) -> bool {
        let watches = self.watches.lock();
        self.sources().all(|source| watches[source as usize].lists > 0)
    }

    /// The pod of this node with this uid or configuration hash. When that may have changed, answers about `subjects` are
    /// stale.
    pub(crate) fn local_pod(
        &self,
        uid: Uid,
        container: Option<ContainerHint<'_>>,
        subjects: impl IntoIterator<Item = Subject>,
    ) -> Option<LocalPod> {
        let state = self.state.read();
        // Under the tables' lock, so that no change comes in between.
        let mut awaited = self.awaited.lock();
        subjects.into_iter().for_each(|subject| awaited.add(Some(uid), subject, &self.changes));
        drop(awaited);
        state.local_pod(uid, container)
    }

    /// The Service that selects a pod of this node on this port. When that may have changed, answers about the subjects
    /// given to [`Self::local_pod`] are stale.
    pub(crate) fn service_of(&self, uid: Uid, port: u16) -> Option<Arc<str>> {
        self.state.read().service_of(uid, port)
    }

    /// The Service that selects the node itself on this port, for a socket in its network namespace `netns`. When that may
    /// have changed, answers about the namespace are stale.
    pub(crate) fn service_of_node(&self, netns: u32, port: u16) -> Option<Arc<str>> {
        let state = self.state.read();
        self.awaited.lock().add(None, Subject::Netns(netns), &self.changes);
        state.service_of_node(port)
    }

    /// The pod is known and runs.
    pub(crate) fn is_alive(&self, uid: Uid) -> bool {
        self.state.read().pods.is_alive(uid)
    }

    /// Zone and region of the own node; while it is not known, the zone that its endpoints have.
    pub(crate) fn own_place(&self) -> (Arc<str>, Arc<str>) {
        let state = self.state.read();
        let (zone, region) = state.nodes.own_place();
        let known = |place: Option<&Arc<str>>| place.unwrap_or(&state.words.empty).clone();
        (known(zone), known(region))
    }

    pub(crate) fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    /// Addresses have changed hands and wait for [`Self::settle`].
    pub(crate) fn needs_settling(&self) -> bool {
        self.needs_settling.load(Ordering::Acquire)
    }

    /// Lets new holders of addresses take over.
    pub(crate) fn settle(&self) {
        if self.needs_settling() {
            self.update(|state| state.holders.settle(&mut state.touched));
        }
    }

    /// The number of the last pod that has left its address.
    pub(crate) fn departures(&self) -> u64 {
        self.state.read().holders.departures()
    }

    /// Everything counted until the departure of this number has been named.
    pub(crate) fn set_reported(&self, departures: u64) {
        self.state.write().holders.set_reported(departures);
    }

    /// Forgets what has gone long ago.
    pub(crate) fn tend(&self) {
        self.update(|_| ());
    }

    /// Grows when [`Self::service_addresses`] changes.
    pub(crate) fn service_version(&self) -> u64 {
        self.service_version.load(Ordering::Acquire)
    }

    /// Where Services are dialled on this node, whose interfaces have the addresses `host`.
    pub(crate) fn service_addresses(&self, host: &[IpAddr]) -> Vec<(IpAddr, u16)> {
        let state = self.state.read();
        let mut on_node = host.to_vec();
        on_node.extend(state.nodes.own().iter().flat_map(|node| node.addresses.iter()));
        on_node.push(Ipv4Addr::LOCALHOST.into());
        on_node.sort_unstable();
        on_node.dedup();
        state.services.dialled(&on_node)
    }

    pub(crate) fn statuses(&self) -> Vec<SourceStatus> {
        let watches = self.watches.lock().clone();
        let state = self.state.read();
        let entries = |source| match source {
            Source::OwnPods => state.pods.len(Watch::OwnNode),
            Source::Pods => state.pods.len(Watch::All),
            Source::Services => state.services.len(),
            Source::EndpointSlices => state.endpoints.len(),
            Source::Nodes => state.nodes.len(),
        };
        self.sources().map(|source| watches[source as usize].status(source, entries(source))).collect()
    }

    /// Takes what the watch of the own node's pods tells.
    #[doc(hidden)]
    pub fn node_pods(self: &Arc<Self>) -> Arc<dyn Watched<Pod>> {
        let table = PodTable { watch: Watch::OwnNode, node: self.node.clone() };
        Arc::new(Feed::new(self.clone(), table))
    }

    /// Takes what the watch of all pods tells.
    #[doc(hidden)]
    pub fn pods(self: &Arc<Self>) -> Arc<dyn Watched<Pod>> {
        Arc::new(Feed::new(self.clone(), PodTable { watch: Watch::All, node: self.node.clone() }))
    }

    /// Takes what the watch of Services tells.
    #[doc(hidden)]
    pub fn services(self: &Arc<Self>) -> Arc<dyn Watched<Service>> {
        Arc::new(Feed::new(self.clone(), ServiceTable))
    }

    /// Takes what the watch of EndpointSlices tells.
    #[doc(hidden)]
    pub fn endpoint_slices(self: &Arc<Self>) -> Arc<dyn Watched<EndpointSlice>> {
        Arc::new(Feed::new(self.clone(), SliceTable))
    }

    /// Takes what the watch of nodes tells.
    #[doc(hidden)]
    pub fn nodes(self: &Arc<Self>) -> Arc<dyn Watched<Node>> {
        Arc::new(Feed::new(self.clone(), NodeTable))
    }

    fn sources(&self) -> impl Iterator<Item = Source> {
        let scope = self.scope;
        Source::ALL.into_iter().filter(move |source| *source != Source::Pods || scope == PodScope::Cluster)
    }

    /// Changes the tables, and tells what has changed once that can be seen.
    fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.write();
        let result = change(&mut state);
        let State { holders, touched, .. } = &mut *state;
        holders.forget_departed(Instant::now(), touched);
        self.needs_settling.store(holders.needs_settling(), Ordering::Release);
        state.spread();
        let touched = std::mem::take(&mut state.touched);
        if touched.node || !touched.pods.is_empty() {
            let mut awaited = self.awaited.lock();
            let owners = touched.pods.into_iter().map(Some).chain(touched.node.then_some(None));
            self.changes.mark(owners.flat_map(|owner| awaited.take(owner)));
        }
        if touched.services {
            self.service_version.fetch_add(1, Ordering::AcqRel);
        }
        if touched.everything || touched.subjects.len() > MARKED_ONE_BY_ONE {
            self.changes.mark_all();
        } else {
            self.changes.mark(touched.subjects);
        }
        result
    }

    fn listed(&self, source: Source) {
        self.watches.lock()[source as usize].lists += 1;
        self.set_up(source, None);
    }

    fn set_up(&self, source: Source, error: Option<String>) {
        let mut watches = self.watches.lock();
        let watch = &mut watches[source as usize];
        watch.up = error.is_none();
        watch.failures += u64::from(error.is_some());
        watch.error = error;
        let works = |source: Source| watches[source as usize].up && watches[source as usize].lists > 0;
        let (own, all, slices) = (works(Source::OwnPods), works(Source::Pods), works(Source::EndpointSlices));
        self.update(|state| {
            state.pods.own_node_up = own;
            state.holders.distrust(slices && !own && !all, slices && !all, &mut state.touched);
        });
    }
}
