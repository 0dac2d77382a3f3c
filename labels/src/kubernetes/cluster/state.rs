// SPDX-License-Identifier: Apache-2.0
//! The tables, and how an update of one bears on the others.

use std::net::IpAddr;
use std::sync::Arc;

use super::endpoints::{Change, Endpoints, SliceRecord};
use super::holders::{Claimant, Holders};
use super::nodes::{NodeRecord, Nodes};
use super::pods::{Pods, Watch};
use super::record::{PodRecord, Uid};
use super::services::{Name, ServiceRecord, Services};
use super::text::Texts;
use super::touched::Touched;
use crate::Set;
use crate::changes::Subject;
use crate::identity::Words;

/// Everything known of the cluster.
#[derive(Debug)]
pub(crate) struct State {
    pub(super) texts: Texts,
    pub(super) words: Words,
    pub(super) pods: Pods,
    pub(super) holders: Holders,
    pub(super) services: Services,
    pub(super) endpoints: Endpoints,
    pub(super) nodes: Nodes,
    /// Names of containers that are proxies.
    pub(super) proxies: Vec<String>,
    pub(super) touched: Touched,
}

impl State {
    pub fn new(node: Arc<str>, proxies: Vec<String>) -> State {
        State {
            texts: Texts::default(),
            words: Words::default(),
            pods: Pods::default(),
            holders: Holders::default(),
            services: Services::default(),
            endpoints: Endpoints::default(),
            nodes: Nodes::new(node),
            proxies,
            touched: Touched::default(),
        }
    }

    pub fn apply_pod(&mut self, watch: Watch, pod: Arc<PodRecord>) {
        self.pods.apply(watch, pod, &mut self.holders, &mut self.touched);
    }

    pub fn remove_pod(&mut self, watch: Watch, uid: Uid) {
        self.pods.remove(watch, uid, &mut self.holders, &mut self.touched);
    }

    pub fn replace_pods(&mut self, watch: Watch, mut list: Vec<Arc<PodRecord>>) {
        let listed: Set<Uid> = list.iter().map(|pod| pod.uid).collect();
        // First who has gone: their addresses may be others' in the same list.
        self.pods.retain(watch, &listed, &mut self.holders, &mut self.touched);
        let more = list.len().saturating_sub(self.pods.total());
        self.pods.reserve(more);
        self.holders.reserve(more);
        // A list tells nothing of what happened in which order. Of two with one address, the last to be told of has it.
        list.sort_by_key(|pod| (pod.created, !pod.deleting));
        list.into_iter().for_each(|pod| self.apply_pod(watch, pod));
    }

    pub fn apply_service(&mut self, service: Arc<ServiceRecord>) {
        let name = service.key();
        for addr in service.cluster_ips.iter().chain(&service.external_ips) {
            self.holders.give_away(*addr, &mut self.touched);
        }
        let has_cluster_ip = !service.cluster_ips.is_empty();
        if self.services.apply(service, &self.nodes, &mut self.touched) {
            self.rank(&name, has_cluster_ip);
        }
    }

    pub fn remove_service(&mut self, name: &Name) {
        if self.services.remove(name, &self.nodes, &mut self.touched) {
            self.rank(name, false);
        }
    }

    pub fn replace_services(&mut self, list: Vec<Arc<ServiceRecord>>) {
        let listed: Set<Name> = list.iter().map(|service| service.key()).collect();
        let gone: Vec<Name> = self.services.names().filter(|name| !listed.contains(*name)).cloned().collect();
        gone.iter().for_each(|name| self.remove_service(name));
        list.into_iter().for_each(|service| self.apply_service(service));
    }

    /// What is said of a service depends on what is said of its endpoints.
    pub fn spread(&mut self) {
        let State { endpoints, services, touched, .. } = self;
        let mut concerned = Set::default();
        for subject in &touched.subjects {
            if let Subject::Address(addr) = subject {
                concerned.extend(endpoints.services_at(addr));
            }
        }
        concerned.iter().for_each(|service| services.touch(service, touched));
    }

    /// Which of several services counts may have changed, where there are several.
    fn rank(&mut self, service: &Name, has_cluster_ip: bool) {
        let State { endpoints, touched, pods, holders, nodes, .. } = self;
        endpoints.rank(service, has_cluster_ip, |addr| {
            touched.address(addr);
            touch_servers(&addr, pods, holders, nodes, touched);
        });
    }

    pub fn apply_slice(&mut self, slice: Arc<SliceRecord>) {
        let State { endpoints, holders, texts, touched, services, pods, nodes, .. } = self;
        slice.endpoints.iter().for_each(|endpoint| nodes.note_zone(&endpoint.node, &endpoint.zone, touched));
        let has_cluster_ip = services.has_cluster_ip(&slice.service_key());
        let mut changed = false;
        endpoints.apply(&slice, has_cluster_ip, |number, slice, change| {
            touch_servers(&change.addr, pods, holders, nodes, touched);
            note(number, slice, change, holders, texts, touched);
            changed = true;
        });
        if changed {
            services.touch(&slice.service_key(), touched);
        }
    }

    pub fn remove_slice(&mut self, name: &Name) {
        let State { endpoints, holders, texts, touched, services, pods, nodes, .. } = self;
        let service = endpoints.known(name).map(|slice| slice.service_key());
        endpoints.remove(name, |number, slice, change| {
            touch_servers(&change.addr, pods, holders, nodes, touched);
            note(number, slice, change, holders, texts, touched);
        });
        service.iter().for_each(|service| services.touch(service, touched));
    }

    pub fn replace_slices(&mut self, list: Vec<Arc<SliceRecord>>) {
        let listed: Set<Name> = list.iter().map(|slice| slice.key()).collect();
        let gone: Vec<Name> =
            self.endpoints.names().filter(|name| !listed.contains(*name)).cloned().collect();
        gone.iter().for_each(|name| self.remove_slice(name));
        list.into_iter().for_each(|slice| self.apply_slice(slice));
    }

    pub fn apply_node(&mut self, node: Arc<NodeRecord>) {
        for addr in &node.addresses {
            self.holders.give_away(*addr, &mut self.touched);
        }
        self.nodes.apply(node, &mut self.touched);
    }

    pub fn remove_node(&mut self, name: &str) {
        self.nodes.remove(name, &mut self.touched);
    }

    pub fn replace_nodes(&mut self, list: Vec<Arc<NodeRecord>>) {
        let listed: Set<Arc<str>> = list.iter().map(|node| node.name.clone()).collect();
        let gone: Vec<_> = self.nodes.names().filter(|name| !listed.contains(*name)).cloned().collect();
        gone.iter().for_each(|name| self.remove_node(name));
        list.into_iter().for_each(|node| self.apply_node(node));
    }
}

/// Another service may select this address: servers of this node have the service in their names, and are asked for by
/// what they run in, not by the address.
fn touch_servers(addr: &IpAddr, pods: &Pods, holders: &Holders, nodes: &Nodes, touched: &mut Touched) {
    let concerned = pods.on_host(addr).iter().chain(holders.concerned(addr));
    for pod in concerned.filter(|pod| pod.own) {
        touched.pod(pod);
    }
    touched.node |= nodes.own().is_some_and(|own| own.addresses.contains(addr));
}

/// An endpoint that refers to a pod says who holds an address, in case that the pod itself is not known.
fn note(
    number: u32,
    slice: &SliceRecord,
    change: Change<'_>,
    holders: &mut Holders,
    texts: &mut Texts,
    touched: &mut Touched,
) {
    match change.now.map(|endpoint| (endpoint, &endpoint.pod)) {
        Some((endpoint, Some(pod))) => {
            let shown = holders.peek(&change.addr);
            let record = PodRecord::derived(slice, endpoint, pod, texts);
            let known = shown.filter(|shown| ***shown == record).cloned();
            let record = known.unwrap_or_else(|| Arc::new(record));
            holders.hold(change.addr, Claimant::Slice(number), &record, touched);
        }
        Some((_, None)) => {
            holders.release_slice(change.addr, number, touched);
            holders.give_away(change.addr, touched);
        }
        None => holders.release_slice(change.addr, number, touched),
    }
    touched.address(change.addr);
}
