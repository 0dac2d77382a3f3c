// SPDX-License-Identifier: Apache-2.0
//! Whose names depend on a pod of this node, or on the node itself.

use super::record::Uid;
use crate::Map;
use crate::changes::{Changes, Subject};

/// More than this are not remembered one by one.
const MAX_SUBJECTS: usize = 16_384;

/// Control groups and network namespaces that were asked about, by the pod they are of, known or not; None is the node.
#[derive(Default, Debug)]
pub(crate) struct Awaited {
    by_owner: Map<Option<Uid>, Vec<Subject>>,
    len: usize,
}

impl Awaited {
    /// What is said of `subject` depends on this owner.
    pub fn add(&mut self, owner: Option<Uid>, subject: Subject, changes: &Changes) {
        if self.by_owner.get(&owner).is_some_and(|subjects| subjects.contains(&subject)) {
            return;
        }
        if self.len >= MAX_SUBJECTS {
            self.by_owner.clear();
            self.len = 0;
            changes.mark_all();
        }
        self.by_owner.entry(owner).or_default().push(subject);
        self.len += 1;
    }

    /// The owner has changed: what depends on it, which is to be asked for again.
    pub fn take(&mut self, owner: Option<Uid>) -> Vec<Subject> {
        let subjects = self.by_owner.remove(&owner).unwrap_or_default();
        self.len -= subjects.len();
        subjects
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.len
    }
}
