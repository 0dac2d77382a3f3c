// SPDX-License-Identifier: Apache-2.0
//! Where the nodes are, and their addresses.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use super::text::Texts;
use super::touched::Touched;
use crate::Map;
use crate::kubernetes::objects;
use crate::ranges::canonical;

/// Nodes that have gone and whose zone is remembered for the sake of what ran there.
const DEPARTED: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// A node as it is kept.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct NodeRecord {
    pub name: Arc<str>,
    pub addresses: Box<[IpAddr]>,
    pub zone: Arc<str>,
    pub region: Arc<str>,
}

impl NodeRecord {
    pub fn new(node: &objects::Node, texts: &mut Texts) -> NodeRecord {
        NodeRecord {
            name: texts.share(&node.name),
            addresses: node.addresses.iter().map(|addr| canonical(*addr)).collect(),
            zone: texts.share(&node.zone),
            region: texts.share(&node.region),
        }
    }
}

/// All nodes.
#[derive(Debug)]
pub(crate) struct Nodes {
    by_name: Map<Arc<str>, Arc<NodeRecord>>,
    by_addr: Map<IpAddr, Arc<NodeRecord>>,
    departed: LruCache<Arc<str>, Arc<NodeRecord>, foldhash::fast::RandomState>,
    own: Arc<str>,
    /// Of endpoints on the own node, which is not known by itself where nodes may not be listed.
    own_zone: Option<Arc<str>>,
}

impl Nodes {
    pub fn new(own: Arc<str>) -> Nodes {
        Nodes {
            by_name: Map::default(),
            by_addr: Map::default(),
            departed: LruCache::with_hasher(DEPARTED, foldhash::fast::RandomState::default()),
            own,
            own_zone: None,
        }
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_name.keys()
    }

    /// All addresses of nodes.
    pub fn addresses(&self) -> impl ExactSizeIterator<Item = &IpAddr> {
        self.by_addr.keys()
    }

    /// The node that has this address.
    pub fn at(&self, addr: &IpAddr) -> Option<&Arc<NodeRecord>> {
        self.by_addr.get(addr)
    }

    /// The node of this name, also if it has gone of late.
    pub fn named(&self, name: &str) -> Option<&Arc<NodeRecord>> {
        self.by_name.get(name).or_else(|| self.departed.peek(name))
    }

    /// The own node.
    pub fn own(&self) -> Option<&Arc<NodeRecord>> {
        self.named(&self.own)
    }

    /// Zone and region of the own node, as far as they are known. Endpoints know no region.
    pub fn own_place(&self) -> (Option<&Arc<str>>, Option<&Arc<str>>) {
        let node = self.own();
        let zone = node.map(|node| &node.zone).filter(|zone| !zone.is_empty());
        (zone.or(self.own_zone.as_ref()), node.map(|node| &node.region))
    }

    /// An EndpointSlice tells the zone of an endpoint on this node.
    pub fn note_zone(&mut self, node: &str, zone: &Arc<str>, touched: &mut Touched) {
        if zone.is_empty() || *node != *self.own || self.own_zone.as_ref() == Some(zone) {
            return;
        }
        let before = self.own_place().0.cloned();
        self.own_zone = Some(zone.clone());
        if self.own_place().0 != before.as_ref() {
            touched.everything();
        }
    }

    pub fn known(&self, name: &str) -> Option<&Arc<NodeRecord>> {
        self.by_name.get(name)
    }

    pub fn apply(&mut self, record: Arc<NodeRecord>, touched: &mut Touched) {
        let earlier = self.by_name.insert(record.name.clone(), record.clone());
        if earlier.as_ref() == Some(&record) {
            return;
        }
        let departed = self.departed.pop(&record.name);
        let place = |record: &NodeRecord| (record.zone.clone(), record.region.clone());
        let placed = earlier.as_ref().or(departed.as_ref()).map(|earlier| place(earlier)).unwrap_or_default();
        // What EndpointSlices say of pods on a node counts for more once its addresses are known.
        let has_addresses =
            |record: Option<&Arc<NodeRecord>>| record.is_some_and(|r| !r.addresses.is_empty());
        let addressed = has_addresses(earlier.as_ref().or(departed.as_ref()));
        if placed != place(&record) || addressed == record.addresses.is_empty() {
            touched.everything();
        }
        touched.services |= record.name == self.own;
        touched.node |= record.name == self.own;
        for addr in earlier.iter().flat_map(|earlier| &earlier.addresses) {
            if !record.addresses.contains(addr) {
                self.vacate(addr, &record.name, touched);
            }
        }
        for addr in &record.addresses {
            let before = self.by_addr.insert(*addr, record.clone());
            if before.is_none_or(|before| before.name != record.name) {
                touched.address(*addr);
            }
        }
    }

    pub fn remove(&mut self, name: &str, touched: &mut Touched) {
        let Some(gone) = self.by_name.remove(name) else { return };
        touched.services |= gone.name == self.own;
        touched.node |= gone.name == self.own;
        for addr in &gone.addresses {
            self.vacate(addr, &gone.name, touched);
        }
        self.departed.put(gone.name.clone(), gone);
    }

    /// `name` does not have the address any more.
    fn vacate(&mut self, addr: &IpAddr, name: &str, touched: &mut Touched) {
        if self.by_addr.get(addr).is_none_or(|holder| &*holder.name != name) {
            return;
        }
        touched.address(*addr);
        let other = self.by_name.values().find(|node| &*node.name != name && node.addresses.contains(addr));
        match other.cloned() {
            Some(other) => drop(self.by_addr.insert(*addr, other)),
            None => drop(self.by_addr.remove(addr)),
        }
    }
}
