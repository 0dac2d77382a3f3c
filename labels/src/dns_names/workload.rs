// SPDX-License-Identifier: Apache-2.0
//! From a domain name to a workload, and no more of them than there is room for.

use std::sync::Arc;

use parking_lot::Mutex;
use psl::{Psl, Type};

use super::patterns::Patterns;
use crate::Set;
use crate::identity::{Identity, Kind, Words, clean};

/// Different workload names that are made of answers in one run. Each may be a series of every family.
pub(super) const MAX_WORKLOADS: usize = 256;
/// Names refused beyond, of which each is counted once.
const MAX_REFUSED: usize = 65_536;

/// The domain that somebody registered: the public suffix by the ICANN section of the Public Suffix List, and the label
/// before it. `name` is in lower case, without final dot. A name without dots, and a public suffix, is itself.
///
/// The list's private section, which makes every customer of a hosting provider a domain of its own, does not count:
/// `d1.cloudfront.net` and `d2.cloudfront.net` are both `cloudfront.net`.
pub fn registrable_domain(name: &str) -> &str {
    let labels = |name: &str| name.split('.').count();
    let mut below = name;
    let suffix = loop {
        let info = psl::List.find(below.as_bytes().rsplit(|byte| *byte == b'.'));
        let suffix = below.len().checked_sub(info.len).and_then(|at| below.get(at..)).unwrap_or_default();
        match (info.typ, suffix.split_once('.')) {
            (Some(Type::Private), Some((_, parent))) => below = parent,
            _ => break suffix,
        }
    };
    let wanted = labels(suffix) + usize::from(!suffix.is_empty());
    let mut dots = name.bytes().enumerate().rev().filter(|(_, byte)| *byte == b'.').map(|(at, _)| at);
    match dots.nth(wanted.saturating_sub(1)) {
        Some(at) => name.get(at + 1..).unwrap_or(name),
        None => name,
    }
}

/// A name that was asked for, with those it leads to.
#[derive(Debug)]
pub(crate) struct Asked {
    pub name: Box<str>,
    pub canonical: Box<[Box<str>]>,
    /// What was made of them, and by which version of the patterns.
    made: Mutex<Option<(u64, Made)>>,
}

/// What patterns, or the registrable domain, make of a name.
#[derive(Clone, Debug)]
pub(super) struct Made {
    /// Of kind external, unless `kind` says otherwise.
    pub identity: Identity,
    pub kind: Option<Kind>,
    /// There was no room for the workload.
    pub refused: bool,
}

impl PartialEq for Asked {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.canonical == other.canonical
    }
}

impl Asked {
    pub fn new(name: Box<str>, canonical: Vec<Box<str>>) -> Asked {
        Asked { name, canonical: canonical.into(), made: Mutex::default() }
    }

    /// The name asked for, then those it leads to.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.canonical).map(|name| &**name)
    }
}

/// The workloads that have got a name.
#[derive(Default, Debug)]
pub(super) struct Workloads {
    words: Words,
    admitted: Set<Arc<str>>,
    refused: Set<u64>,
    hasher: foldhash::fast::RandomState,
}

impl Workloads {
    pub fn admitted(&self) -> usize {
        self.admitted.len()
    }

    /// Names for which there was no room.
    pub fn refused(&self) -> usize {
        self.refused.len()
    }

    /// What to call `asked`, by these patterns.
    pub fn name(&mut self, asked: &Asked, patterns: Option<(u64, &Patterns)>) -> Made {
        let version = patterns.map_or(0, |(version, _)| version);
        let mut known = asked.made.lock();
        if let Some((_, made)) = known.as_ref().filter(|(at, _)| *at == version) {
            return made.clone();
        }
        let made = self.make(asked, patterns.map(|(_, patterns)| patterns));
        *known = Some((version, made.clone()));
        made
    }

    fn make(&mut self, asked: &Asked, patterns: Option<&Patterns>) -> Made {
        let found = patterns.and_then(|patterns| asked.names().find_map(|name| patterns.look_up(name)));
        let Some(found) = found else {
            return self.admit(registrable_domain(&asked.name), false);
        };
        let made = self.admit(&found.workload, found.fixed);
        if made.refused {
            return made;
        }
        let text = |text: &str| clean(text).map_or_else(|| self.words.empty.clone(), Arc::from);
        let region = text(&found.region);
        // What is known to be in a region, and of which no zone is known, is everywhere in it.
        let zone = if found.zone.is_empty() { region.clone() } else { text(&found.zone) };
        let identity = Identity { namespace: text(&found.namespace), zone, region, ..made.identity };
        Made { identity, kind: found.kind, refused: false }
    }

    /// `fixed`: the operator's file has this very name, so that there are as many as stand there.
    fn admit(&mut self, workload: &str, fixed: bool) -> Made {
        let workload = clean(workload).unwrap_or_default();
        let known = self.admitted.get(workload.as_str()).cloned();
        let workload = match known {
            Some(known) => known,
            None if fixed => workload.into(),
            None if self.admitted.len() < MAX_WORKLOADS => {
                let workload: Arc<str> = workload.into();
                self.admitted.insert(workload.clone());
                workload
            }
            None => {
                if self.refused.len() < MAX_REFUSED {
                    self.refused.insert(std::hash::BuildHasher::hash_one(&self.hasher, &workload));
                }
                let identity = self.words.identity(Kind::External, self.words.other_external.clone());
                return Made { identity, kind: None, refused: true };
            }
        };
        Made { identity: self.words.identity(Kind::External, workload), kind: None, refused: false }
    }
}

#[cfg(test)]
mod tests;
