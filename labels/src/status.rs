// SPDX-License-Identifier: Apache-2.0
//! How each source of names is doing.

/// State of one source of names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceStatus {
    /// `names_file`, `cgroup`, `host_addresses`, `dns_names`, `external_patterns`, `conntrack`, `kubernetes_…`.
    pub source: &'static str,
    /// False while the source cannot be read, or while what it says now is refused and the last good state is used.
    pub up: bool,
    /// One line for people: what is known, or what is wrong.
    pub detail: String,
    /// What the source knows: entries of the names file, control groups, addresses.
    pub entries: u64,
    /// Successful re-reads that changed something, since the start. For `cgroup`: walks of the hierarchy.
    pub reloads: u64,
    /// Failed re-reads since the start.
    pub reloads_failed: u64,
    /// Questions that the source should have answered and could not. For `cgroup`, owners whose control group is not, or
    /// not any more, in the hierarchy and was never seen there; for `dns_names`, answers that could not be read. Not
    /// counted for others.
    pub misses: u64,
}

impl SourceStatus {
    /// A source that cannot work at all.
    pub fn failed(source: &'static str, detail: String) -> Self {
        Self::new(source, false, detail)
    }

    /// A source that works.
    pub fn working(source: &'static str, detail: String) -> Self {
        Self::new(source, true, detail)
    }

    pub(crate) fn new(source: &'static str, up: bool, detail: String) -> Self {
        SourceStatus { source, up, detail, entries: 0, reloads: 0, reloads_failed: 0, misses: 0 }
    }
}
