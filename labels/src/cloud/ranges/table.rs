// SPDX-License-Identifier: Apache-2.0
//! Look-up by longest prefix in one file.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use super::workload::{self, Specificity};
use crate::cloud::Provider;
use crate::{Map, ranges};

/// Most prefixes in a file; the largest published one has some 100,000.
pub(super) const MAX_PREFIXES: usize = 500_000;
/// Most services, and most regions, in a file; published are some 150 and 100.
pub(super) const MAX_NAMES: usize = 1_000;

/// What a prefix is: places in [`Table::workloads`] and [`Table::regions`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Leaf {
    workload: u16,
    /// None where it is not told; global is a region without a name.
    region: Option<u16>,
    /// The workload of the entry that told the region.
    region_of: u16,
}

/// What decides between the entries of one prefix: how much the service says, then the longer name, which is mostly
/// the part of a service with the shorter one (`EC2`, `EC2_INSTANCE_CONNECT`), then the alphabet.
pub(super) type Rank<'a> = (Specificity, usize, Reverse<&'a str>);

/// An answer of one table.
#[derive(Debug)]
pub(super) struct Hit<'a> {
    pub provider: Provider,
    /// Of the prefix.
    pub length: u8,
    pub rank: Rank<'a>,
    pub workload: &'a Arc<str>,
    /// From the longest prefix that tells one, with its length.
    pub region: Option<(u8, &'a Arc<str>)>,
}

impl<'a> Hit<'a> {
    /// The region, if it is the very prefix's.
    pub fn own_region(&self) -> Option<&'a Arc<str>> {
        self.region.filter(|(length, _)| *length == self.length).map(|(_, region)| region)
    }
}

/// The content of one file.
#[derive(Debug)]
pub(crate) struct Table {
    pub provider: Provider,
    workloads: Vec<(Arc<str>, Specificity)>,
    regions: Vec<Arc<str>>,
    v4: PrefixMap<Ipv4Net, Leaf>,
    v6: PrefixMap<Ipv6Net, Leaf>,
    len: usize,
}

impl Table {
    /// Number of different prefixes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Who has this address. An address of NAT64's well-known prefix that has no entry is whose the IPv4 address inside is.
    pub fn look_up(&self, addr: IpAddr) -> Option<Hit<'_>> {
        let v4 = |addr| self.v4.cover(&Ipv4Net::from(addr)).map(|(net, leaf)| (net.prefix_len(), *leaf));
        let addr = ranges::canonical(addr);
        match addr {
            IpAddr::V4(addr) => self.longest(v4(addr)),
            IpAddr::V6(inner) => {
                let cover = self.v6.cover(&Ipv6Net::from(inner));
                self.longest(cover.map(|(net, leaf)| (net.prefix_len(), *leaf)))
                    .or_else(|| ranges::nat64(addr).and_then(|inside| self.longest(v4(inside))))
            }
        }
    }

    /// `leaves` come from the shortest prefix to the longest.
    fn longest(&self, leaves: impl Iterator<Item = (u8, Leaf)>) -> Option<Hit<'_>> {
        let (mut last, mut region) = (None, None);
        for (length, leaf) in leaves {
            last = Some((length, leaf));
            region = leaf.region.map(|region| (length, region)).or(region);
        }
        let (length, leaf) = last?;
        let region = region.and_then(|(length, at)| Some((length, self.regions.get(usize::from(at))?)));
        let (workload, specificity) = self.workloads.get(usize::from(leaf.workload))?;
        let rank = (*specificity, workload.len(), Reverse(&**workload));
        Some(Hit { provider: self.provider, length, rank, workload, region })
    }
}

impl PartialEq for Table {
    /// True if both give the same answers.
    fn eq(&self, other: &Self) -> bool {
        self.provider == other.provider
            && self.workloads == other.workloads
            && self.regions == other.regions
            && self.v4.iter().eq(other.v4.iter())
            && self.v6.iter().eq(other.v6.iter())
    }
}

/// A table that is being filled.
#[derive(Debug)]
pub(super) struct Builder {
    table: Table,
    workload_ids: Map<String, u16>,
    region_ids: Map<String, u16>,
    entries: usize,
}

impl Builder {
    pub fn new(provider: Provider) -> Self {
        let table = Table {
            provider,
            workloads: Vec::new(),
            regions: Vec::new(),
            v4: PrefixMap::new(),
            v6: PrefixMap::new(),
            len: 0,
        };
        Builder { table, workload_ids: Map::default(), region_ids: Map::default(), entries: 0 }
    }

    pub fn provider(&self) -> Provider {
        self.table.provider
    }

    pub fn finish(mut self) -> Table {
        // Counting walks the tries.
        self.table.len = self.table.v4.len() + self.table.v6.len();
        self.table
    }

    /// The place of a service by its published name.
    ///
    /// # Errors
    /// There are too many.
    pub fn workload(&mut self, service: &str) -> Result<u16, String> {
        let provider = self.table.provider;
        let workloads = &mut self.table.workloads;
        place(&mut self.workload_ids, service, "services", workloads, || {
            let (name, specificity) = workload::workload(provider, service);
            (name.into(), specificity)
        })
    }

    /// The place of a region by its published name.
    ///
    /// # Errors
    /// There are too many.
    pub fn region(&mut self, published: &str) -> Result<u16, String> {
        place(&mut self.region_ids, published, "regions", &mut self.table.regions, || {
            workload::region(published).into()
        })
    }

    /// Adds an entry. Several on one prefix become one: see [`Rank`].
    ///
    /// # Errors
    /// There are too many.
    pub fn add(&mut self, net: IpNet, workload: u16, region: Option<u16>) -> Result<(), String> {
        self.entries += 1;
        if self.entries > MAX_PREFIXES {
            return Err(format!("more than {MAX_PREFIXES} prefixes"));
        }
        let Table { workloads, regions, v4, v6, .. } = &mut self.table;
        let rank = |at: u16| {
            workloads
                .get(usize::from(at))
                .map(|(name, specificity)| (*specificity, name.len(), Reverse(name)))
        };
        let named = |at: u16| regions.get(usize::from(at)).map(|name| (!name.is_empty(), Reverse(name)));
        let new = Leaf { workload, region, region_of: workload };
        let merge = |old: &mut Leaf| {
            if rank(new.workload) > rank(old.workload) {
                old.workload = new.workload;
            }
            let key = |leaf: &Leaf| leaf.region.map(|region| (rank(leaf.region_of), named(region)));
            if key(&new) > key(old) {
                (old.region, old.region_of) = (new.region, new.region_of);
            }
        };
        match net.trunc() {
            IpNet::V4(net) => merge(v4.entry(net).or_insert(new)),
            IpNet::V6(net) => merge(v6.entry(net).or_insert(new)),
        }
        Ok(())
    }
}

/// The place of a name in `list`, where it is put if it is new.
fn place<T>(
    ids: &mut Map<String, u16>,
    name: &str,
    what: &str,
    list: &mut Vec<T>,
    make: impl FnOnce() -> T,
) -> Result<u16, String> {
    if let Some(id) = ids.get(name) {
        return Ok(*id);
    }
    if list.len() >= MAX_NAMES {
        return Err(format!("more than {MAX_NAMES} {what}"));
    }
    let id = u16::try_from(list.len()).map_err(|error| error.to_string())?;
    ids.insert(name.to_owned(), id);
    list.push(make());
    Ok(id)
}
