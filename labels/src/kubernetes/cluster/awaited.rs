// SPDX-License-Identifier: Apache-2.0
//! Whose names depend on a pod of this node.

use super::record::Uid;
use crate::Map;
use crate::changes::{Changes, Subject};

/// More than this are not remembered one by one.
const MAX_SUBJECTS: usize = 16_384;

/// Control groups and network namespaces that were asked about, by the pod they are of, known or not.
#[derive(Default, Debug)]
pub(crate) struct Awaited {
    by_pod: Map<Uid, Vec<Subject>>,
    len: usize,
}

impl Awaited {
    /// What is said of `subject` depends on this pod.
    pub fn add(&mut self, uid: Uid, subject: Subject, changes: &Changes) {
        if self.by_pod.get(&uid).is_some_and(|subjects| subjects.contains(&subject)) {
            return;
        }
        if self.len >= MAX_SUBJECTS {
            self.by_pod.clear();
            self.len = 0;
            changes.mark_all();
        }
        self.by_pod.entry(uid).or_default().push(subject);
        self.len += 1;
    }

    /// The pod has changed: what depends on it, which is to be asked for again.
    pub fn take(&mut self, uid: Uid) -> Vec<Subject> {
        let subjects = self.by_pod.remove(&uid).unwrap_or_default();
        self.len -= subjects.len();
        subjects
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.len
    }
}
