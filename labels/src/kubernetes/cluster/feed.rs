// SPDX-License-Identifier: Apache-2.0
//! Where the watches pour in what they learn.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Cluster;
use super::endpoints::SliceRecord;
use super::nodes::NodeRecord;
use super::pods::Watch;
use super::record::{PodRecord, Uid};
use super::services::ServiceRecord;
use super::state::State;
use super::watches::Source;
use crate::kubernetes::objects::{self, Watched};

/// How a table takes what a watch tells. `keep` makes what is kept of an object: what is known already if it is the
/// same, so that a list costs no memory.
pub(super) trait Table<T>: Send + Sync {
    type Record: Send + Sync;
    fn source(&self) -> Source;
    fn keep(&self, state: &mut State, object: T) -> Arc<Self::Record>;
    fn apply(&self, state: &mut State, record: Arc<Self::Record>);
    fn remove(&self, state: &mut State, object: T);
    fn replace(&self, state: &mut State, list: Vec<Arc<Self::Record>>);
}

/// A watch's end in a cluster.
pub(super) struct Feed<T, K: Table<T>> {
    cluster: Arc<Cluster>,
    table: K,
    /// The list that is being told.
    list: Mutex<Vec<Arc<K::Record>>>,
}

impl<T, K: Table<T>> Feed<T, K> {
    pub fn new(cluster: Arc<Cluster>, table: K) -> Self {
        Feed { cluster, table, list: Mutex::default() }
    }
}

impl<T, K: Table<T>> Watched<T> for Feed<T, K> {
    fn begin_list(&self) {
        self.list.lock().clear();
    }

    fn listed(&self, object: T) {
        let record = self.cluster.update(|state| self.table.keep(state, object));
        self.list.lock().push(record);
    }

    fn end_list(&self) {
        let list = std::mem::take(&mut *self.list.lock());
        self.cluster.update(|state| self.table.replace(state, list));
        self.cluster.listed(self.table.source());
    }

    fn applied(&self, object: T) {
        self.cluster.update(|state| {
            let record = self.table.keep(state, object);
            self.table.apply(state, record);
        });
    }

    fn deleted(&self, object: T) {
        self.cluster.update(|state| self.table.remove(state, object));
    }

    fn down(&self, error: String) {
        self.cluster.set_up(self.table.source(), Some(error));
    }

    fn up(&self) {
        self.cluster.set_up(self.table.source(), None);
    }
}

/// What is known if it is equal, so that there is one of it.
fn same<R: PartialEq>(known: Option<&Arc<R>>, record: R) -> Arc<R> {
    known.filter(|known| ***known == record).cloned().unwrap_or_else(|| Arc::new(record))
}

/// Pods, by one of the two watches.
pub(super) struct PodTable {
    pub watch: Watch,
    /// The own node.
    pub node: Arc<str>,
}

impl Table<objects::Pod> for PodTable {
    type Record = PodRecord;

    fn source(&self) -> Source {
        match self.watch {
            Watch::OwnNode => Source::OwnPods,
            Watch::All => Source::Pods,
        }
    }

    fn keep(&self, state: &mut State, pod: objects::Pod) -> Arc<PodRecord> {
        let own = self.watch == Watch::OwnNode || (!pod.node.is_empty() && *pod.node == *self.node);
        let record = PodRecord::new(&pod, own, &mut state.texts);
        same(state.pods.known(record.uid), record)
    }

    fn apply(&self, state: &mut State, record: Arc<PodRecord>) {
        state.apply_pod(self.watch, record);
    }

    fn remove(&self, state: &mut State, pod: objects::Pod) {
        state.remove_pod(self.watch, Uid::parse(&pod.uid));
    }

    fn replace(&self, state: &mut State, list: Vec<Arc<PodRecord>>) {
        state.replace_pods(self.watch, list);
    }
}

pub(super) struct ServiceTable;

impl Table<objects::Service> for ServiceTable {
    type Record = ServiceRecord;

    fn source(&self) -> Source {
        Source::Services
    }

    fn keep(&self, state: &mut State, service: objects::Service) -> Arc<ServiceRecord> {
        let record = ServiceRecord::new(&service, &mut state.texts);
        same(state.services.known(&record.key()), record)
    }

    fn apply(&self, state: &mut State, record: Arc<ServiceRecord>) {
        state.apply_service(record);
    }

    fn remove(&self, state: &mut State, service: objects::Service) {
        let name = (state.texts.share(&service.namespace), state.texts.share(&service.name));
        state.remove_service(&name);
    }

    fn replace(&self, state: &mut State, list: Vec<Arc<ServiceRecord>>) {
        state.replace_services(list);
    }
}

pub(super) struct SliceTable;

impl Table<objects::EndpointSlice> for SliceTable {
    type Record = SliceRecord;

    fn source(&self) -> Source {
        Source::EndpointSlices
    }

    fn keep(&self, state: &mut State, slice: objects::EndpointSlice) -> Arc<SliceRecord> {
        let record = SliceRecord::new(&slice, &mut state.texts);
        same(state.endpoints.known(&record.key()), record)
    }

    fn apply(&self, state: &mut State, record: Arc<SliceRecord>) {
        state.apply_slice(record);
    }

    fn remove(&self, state: &mut State, slice: objects::EndpointSlice) {
        let name = (state.texts.share(&slice.namespace), state.texts.share(&slice.name));
        state.remove_slice(&name);
    }

    fn replace(&self, state: &mut State, list: Vec<Arc<SliceRecord>>) {
        state.replace_slices(list);
    }
}

pub(super) struct NodeTable;

impl Table<objects::Node> for NodeTable {
    type Record = NodeRecord;

    fn source(&self) -> Source {
        Source::Nodes
    }

    fn keep(&self, state: &mut State, node: objects::Node) -> Arc<NodeRecord> {
        let record = NodeRecord::new(&node, &mut state.texts);
        same(state.nodes.known(&record.name), record)
    }

    fn apply(&self, state: &mut State, record: Arc<NodeRecord>) {
        state.apply_node(record);
    }

    fn remove(&self, state: &mut State, node: objects::Node) {
        let name = state.texts.share(&node.name);
        state.remove_node(&name);
    }

    fn replace(&self, state: &mut State, list: Vec<Arc<NodeRecord>>) {
        state.replace_nodes(list);
    }
}
