// SPDX-License-Identifier: Apache-2.0
//! What EndpointSlices say of an address: which services select it, and which pod it is.

use std::net::IpAddr;
use std::sync::Arc;

use super::record::PodRecord;
use super::services::Name;
use super::text::Texts;
use crate::Map;
use crate::kubernetes::objects;
use crate::ranges::canonical;

/// An endpoint as it is kept: one address.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct EndpointRecord {
    pub addr: IpAddr,
    pub pod: Option<Arc<str>>,
    /// The pod's, where it is not the slice's.
    pub namespace: Option<Arc<str>>,
    /// It is about to go.
    pub terminating: bool,
    pub node: Arc<str>,
    pub zone: Arc<str>,
}

/// An EndpointSlice as it is kept.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct SliceRecord {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    /// Empty if it belongs to none.
    pub service: Arc<str>,
    pub ports: Box<[u16]>,
    pub all_ports: bool,
    /// In the order of their addresses, each of which occurs once.
    pub endpoints: Box<[EndpointRecord]>,
}

impl SliceRecord {
    pub fn new(slice: &objects::EndpointSlice, texts: &mut Texts) -> SliceRecord {
        let mut endpoints = Vec::with_capacity(slice.endpoints.len());
        let mut listed: Vec<&objects::Endpoint> = slice.endpoints.iter().collect();
        listed.sort_by_key(|endpoint| endpoint.unready);
        for endpoint in listed {
            let namespace = Some(endpoint.pod_namespace.as_str()).filter(|namespace| !namespace.is_empty());
            for addr in &endpoint.addresses {
                endpoints.push(EndpointRecord {
                    addr: canonical(*addr),
                    pod: endpoint.pod.as_deref().map(|pod| texts.share(pod)),
                    namespace: namespace.map(|namespace| texts.share(namespace)),
                    terminating: endpoint.terminating,
                    node: texts.share(&endpoint.node),
                    zone: texts.share(&endpoint.zone),
                });
            }
        }
        // Of several for one address, one that stays, then one that names a pod, then one that is ready.
        endpoints.sort_by_key(|e: &EndpointRecord| (e.addr, e.terminating, e.pod.is_none()));
        endpoints.dedup_by(|b, a| a.addr == b.addr);
        SliceRecord {
            namespace: texts.share(&slice.namespace),
            name: texts.share(&slice.name),
            service: texts.share(&slice.service),
            ports: slice.ports.as_slice().into(),
            all_ports: slice.all_ports,
            endpoints: endpoints.into_boxed_slice(),
        }
    }

    pub fn key(&self) -> Name {
        (self.namespace.clone(), self.name.clone())
    }

    pub fn service_key(&self) -> Name {
        (self.namespace.clone(), self.service.clone())
    }

    /// The namespace of the pod that an endpoint of this slice refers to.
    pub fn pod_namespace<'a>(&'a self, endpoint: &'a EndpointRecord) -> &'a Arc<str> {
        endpoint.namespace.as_ref().unwrap_or(&self.namespace)
    }

    /// An endpoint of this slice is this pod.
    pub fn refers_to(&self, endpoint: &EndpointRecord, pod: &PodRecord) -> bool {
        endpoint.pod.as_ref() == Some(&pod.name) && *self.pod_namespace(endpoint) == pod.namespace
    }

    fn endpoint(&self, addr: &IpAddr) -> Option<&EndpointRecord> {
        let at = self.endpoints.binary_search_by(|endpoint| endpoint.addr.cmp(addr)).ok()?;
        self.endpoints.get(at)
    }
}

/// A slice in its place.
#[derive(Debug)]
struct Entry {
    slice: Arc<SliceRecord>,
    /// Its service has an address of its own inside the cluster.
    has_cluster_ip: bool,
}

impl Entry {
    /// Where several services select an address on this port, the first in this order counts.
    fn order(&self, endpoint: &EndpointRecord, port: u16) -> (bool, bool, bool, &str, &str) {
        let names_port = self.slice.ports.contains(&port);
        (endpoint.terminating, !names_port, !self.has_cluster_ip, &self.slice.namespace, &self.slice.service)
    }
}

/// What an update has changed of one address.
pub(crate) struct Change<'a> {
    pub addr: IpAddr,
    /// The endpoint as it is now; None if it has gone.
    pub now: Option<&'a EndpointRecord>,
}

/// All EndpointSlices. They are told apart by numbers, which are given out again.
#[derive(Default, Debug)]
pub(crate) struct Endpoints {
    slices: Vec<Option<Entry>>,
    free: Vec<u32>,
    by_name: Map<Name, u32>,
    by_addr: Map<IpAddr, Vec<u32>>,
    by_service: Map<Name, Vec<u32>>,
}

impl Endpoints {
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.by_name.keys()
    }

    pub fn known(&self, name: &Name) -> Option<&Arc<SliceRecord>> {
        self.entry(*self.by_name.get(name)?).map(|entry| &entry.slice)
    }

    fn entry(&self, number: u32) -> Option<&Entry> {
        self.slices.get(number as usize)?.as_ref()
    }

    fn entries_at(&self, addr: &IpAddr) -> impl Iterator<Item = (&Entry, &EndpointRecord)> {
        let numbers = self.by_addr.get(addr).map_or(&[][..], Vec::as_slice);
        numbers.iter().filter_map(|number| {
            let entry = self.entry(*number)?;
            Some((entry, entry.slice.endpoint(addr)?))
        })
    }

    /// The endpoints of a service.
    pub fn of_service(&self, service: &Name) -> impl Iterator<Item = (&SliceRecord, &EndpointRecord)> {
        let numbers = self.by_service.get(service).map_or(&[][..], Vec::as_slice);
        let slices = numbers.iter().filter_map(|number| Some(&*self.entry(*number)?.slice));
        slices.flat_map(|slice| slice.endpoints.iter().map(move |endpoint| (slice, endpoint)))
    }

    /// The services of which an address is an endpoint.
    pub fn services_at(&self, addr: &IpAddr) -> impl Iterator<Item = Name> {
        self.entries_at(addr).map(|(entry, _)| entry.slice.service_key())
    }

    /// The zone that the slices give an address.
    pub fn zone(&self, addr: &IpAddr) -> Option<&Arc<str>> {
        self.entries_at(addr).map(|(_, endpoint)| &endpoint.zone).find(|zone| !zone.is_empty())
    }

    /// The slice whose service selects this address on this port, and the endpoint in it. Of several services, one
    /// whose endpoint is not about to go, then one that names the port, then one with a cluster address, and then the first by namespace and name. On a `host`, all
    /// ports are many servers', so that a service has to name the port.
    pub fn selecting(
        &self,
        addr: &IpAddr,
        port: u16,
        host: bool,
        wanted: impl Fn(&EndpointRecord) -> bool,
    ) -> Option<(&SliceRecord, &EndpointRecord)> {
        let here = |(entry, endpoint): &(&Entry, &EndpointRecord)| {
            let slice = &entry.slice;
            !slice.service.is_empty()
                && (slice.ports.contains(&port) || (slice.all_ports && !host))
                && wanted(endpoint)
        };
        let all = self.entries_at(addr).filter(here);
        let (entry, endpoint) = all.reduce(|a, b| {
            let (first, second) = (a.0.order(a.1, port), b.0.order(b.1, port));
            if second < first { b } else { a }
        })?;
        Some((&entry.slice, endpoint))
    }

    /// The pod is an endpoint at this address and port.
    pub fn names_pod(&self, addr: &IpAddr, port: u16, pod: &PodRecord) -> bool {
        self.entries_at(addr).any(|(entry, endpoint)| {
            entry.slice.ports.contains(&port) && entry.slice.refers_to(endpoint, pod)
        })
    }

    /// There is an endpoint at this address that is no pod.
    pub fn has_without_pod(&self, addr: &IpAddr) -> bool {
        self.entries_at(addr).any(|(_, endpoint)| endpoint.pod.is_none())
    }

    /// A service has got or lost its cluster address: tells each of its addresses that other slices have, too.
    pub fn rank(&mut self, service: &Name, has_cluster_ip: bool, mut changed: impl FnMut(IpAddr)) {
        for number in self.by_service.get(service).into_iter().flatten() {
            let Some(Some(entry)) = self.slices.get_mut(*number as usize) else { continue };
            entry.has_cluster_ip = has_cluster_ip;
            let addresses = entry.slice.endpoints.iter().map(|endpoint| endpoint.addr);
            let shared = |addr: &IpAddr| self.by_addr.get(addr).is_some_and(|here| here.len() > 1);
            addresses.filter(shared).for_each(&mut changed);
        }
    }

    /// Takes a slice as it is now, and tells its number and each address that it says something else of than before.
    pub fn apply(
        &mut self,
        record: &Arc<SliceRecord>,
        has_cluster_ip: bool,
        mut changed: impl FnMut(u32, &SliceRecord, Change<'_>),
    ) {
        let number = self.number(record.key());
        let Some(place) = self.slices.get_mut(number as usize) else { return };
        let entry = Entry { slice: record.clone(), has_cluster_ip };
        let earlier = place.replace(entry).map(|entry| entry.slice);
        if earlier.as_ref() == Some(record) {
            return;
        }
        let served = |slice: &SliceRecord| slice.service.clone();
        if earlier.as_deref().map(served) != Some(record.service.clone()) {
            if let Some(earlier) = &earlier {
                take_out(&mut self.by_service, earlier.service_key(), number);
            }
            self.by_service.entry(record.service_key()).or_default().push(number);
        }
        let all = earlier.as_ref().is_none_or(|e| {
            (&e.service, &e.ports, e.all_ports) != (&record.service, &record.ports, record.all_ports)
        });
        let mut old = earlier.as_ref().map_or(&[][..], |earlier| &earlier.endpoints).iter().peekable();
        let mut new = record.endpoints.iter().peekable();
        loop {
            let (before, now) = match (old.peek(), new.peek()) {
                (None, None) => break,
                (Some(a), Some(b)) if a.addr == b.addr => (old.next(), new.next()),
                (Some(a), Some(b)) if a.addr < b.addr => (old.next(), None),
                (Some(_), None) => (old.next(), None),
                (_, Some(_)) => (None, new.next()),
            };
            match (before, now) {
                (Some(before), None) => {
                    take_out(&mut self.by_addr, before.addr, number);
                    changed(number, record, Change { addr: before.addr, now: None });
                }
                (before, Some(now)) => {
                    if before.is_none() {
                        let here = self.by_addr.entry(now.addr).or_default();
                        here.reserve_exact(1);
                        here.push(number);
                    }
                    if all || before != Some(now) {
                        changed(number, record, Change { addr: now.addr, now: Some(now) });
                    }
                }
                (None, None) => {}
            }
        }
    }

    /// As [`Self::apply`], when the slice has gone.
    pub fn remove(&mut self, name: &Name, mut changed: impl FnMut(u32, &SliceRecord, Change<'_>)) {
        let Some(number) = self.by_name.remove(name) else { return };
        let taken = self.slices.get_mut(number as usize).and_then(Option::take);
        let Some(Entry { slice: gone, .. }) = taken else { return };
        take_out(&mut self.by_service, gone.service_key(), number);
        for endpoint in &gone.endpoints {
            take_out(&mut self.by_addr, endpoint.addr, number);
            changed(number, &gone, Change { addr: endpoint.addr, now: None });
        }
        self.free.push(number);
    }

    fn number(&mut self, name: Name) -> u32 {
        if let Some(number) = self.by_name.get(&name) {
            return *number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.slices.push(None);
            // 2^32 slices would need terabytes.
            u32::try_from(self.slices.len() - 1).unwrap_or(u32::MAX)
        });
        self.by_name.insert(name, number);
        number
    }

    #[cfg(test)]
    pub fn addresses(&self) -> usize {
        self.by_addr.len()
    }
}

fn take_out<K: std::hash::Hash + Eq>(all: &mut Map<K, Vec<u32>>, key: K, number: u32) {
    if let Some(here) = all.get_mut(&key) {
        here.retain(|other| *other != number);
        if here.is_empty() {
            all.remove(&key);
        }
    }
}
