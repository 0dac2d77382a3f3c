// SPDX-License-Identifier: Apache-2.0
//! Names of addresses from the answers that this node's clients got from the DNS.
//!
//! The name that an application asked for names the address, for the network namespace that it asked in; for others too,
//! as long as they have not asked themselves. Of the name the registrable domain is the workload, or what the operator's
//! patterns make of it.

mod answer;
mod pattern;
mod patterns;
mod table;
#[cfg(test)]
pub(crate) mod testing;
mod workload;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::changes::{Changes, Subject};
use crate::identity::{Identity, Kind};
use crate::operator_file::FileError;
use crate::ranges::{canonical, is_public};
use crate::status::SourceStatus;
use answer::Answer;
use patterns::PatternsFile;
pub use patterns::check_external_patterns;
use table::Table;
pub(crate) use workload::Asked;
pub use workload::registrable_domain;
use workload::{MAX_WORKLOADS, Workloads};

/// Addresses that are known, those that each namespace has asked for counted one by one.
const CAPACITY: usize = 65_536;
/// How often what has expired is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// What the answers told.
#[derive(Debug)]
pub(crate) struct DnsNames {
    table: Mutex<Table>,
    workloads: Mutex<Workloads>,
    patterns: Option<PatternsFile>,
    /// Which reading of the patterns counts.
    version: AtomicU64,
    changes: Arc<Changes>,
    answers: AtomicU64,
    unparsable: AtomicU64,
    swept: Mutex<Instant>,
}

impl DnsNames {
    /// # Errors
    /// There are patterns, and they cannot be read or are wrong.
    pub fn new(patterns: Option<PathBuf>, changes: Arc<Changes>) -> Result<DnsNames, FileError> {
        Ok(DnsNames {
            table: Mutex::new(Table::new(CAPACITY)),
            workloads: Mutex::default(),
            patterns: patterns.map(PatternsFile::open).transpose()?,
            version: AtomicU64::new(1),
            changes,
            answers: AtomicU64::new(0),
            unparsable: AtomicU64::new(0),
            swept: Mutex::new(Instant::now()),
        })
    }

    /// Takes over a response that a client in `netns` has got to its question.
    pub fn note(&self, netns: u32, message: &[u8], now: Instant) {
        match Answer::parse(message) {
            Ok(Some(answer)) => {
                self.answers.fetch_add(1, Ordering::Relaxed);
                let renamed = self.table.lock().note(netns, answer, now);
                self.changes.mark(renamed.into_iter().map(Subject::Address));
            }
            Ok(None) => {}
            Err(answer::Malformed) => {
                self.unparsable.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The name that a client in `netns`, or any client, asked for to get this address.
    pub fn look_up(&self, netns: Option<u32>, addr: IpAddr, now: Instant) -> Option<Arc<Asked>> {
        let (asked, forgotten) = self.table.lock().look_up(netns, canonical(addr), now);
        if forgotten {
            self.changes.mark_all();
        }
        asked
    }

    /// Who is at an address with this name. None if there is no room for the name, and the address is not public.
    pub fn identity(&self, asked: &Asked, addr: IpAddr) -> Option<Identity> {
        // In this order, so that what is made by the patterns of today is not taken for what those of tomorrow make.
        let version = self.version.load(Ordering::Acquire);
        let patterns = self.patterns.as_ref().map(PatternsFile::content);
        let made = self.workloads.lock().name(asked, patterns.as_deref().map(|known| (version, known)));
        let public = is_public(addr);
        if made.refused && !public {
            return None;
        }
        let kind = made.kind.unwrap_or(if public { Kind::External } else { Kind::Host });
        Some(Identity { kind, ..made.identity })
    }

    /// Reads the patterns again if they have changed, or whatever they look like if `at_once`. True when names have changed.
    pub fn refresh(&self, at_once: bool, now: Instant) -> bool {
        let mut swept = self.swept.lock();
        if now.saturating_duration_since(*swept) >= SWEEP_EVERY {
            *swept = now;
            self.table.lock().sweep(now);
        }
        let read = |file: &PatternsFile| if at_once { file.reload() } else { file.refresh() };
        let changed = self.patterns.as_ref().is_some_and(read);
        if changed {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
        changed
    }

    /// `dns_names`, and `external_patterns` if there are any.
    pub fn statuses(&self) -> impl Iterator<Item = SourceStatus> {
        let (here, anywhere) = self.table.lock().len();
        let (admitted, refused) = {
            let workloads = self.workloads.lock();
            (workloads.admitted(), workloads.refused())
        };
        let (answers, misses) =
            (self.answers.load(Ordering::Relaxed), self.unparsable.load(Ordering::Relaxed));
        let mut detail = format!(
            "{anywhere} addresses ({here} by network namespace) from {answers} answers; \
             {admitted} of at most {MAX_WORKLOADS} names in use"
        );
        if refused > 0 {
            detail += &format!(", {refused} more are other-external");
        }
        let names =
            SourceStatus { entries: anywhere as u64, misses, ..SourceStatus::new("dns_names", true, detail) };
        std::iter::once(names).chain(self.patterns.as_ref().map(PatternsFile::status))
    }
}

#[cfg(test)]
mod tests;
