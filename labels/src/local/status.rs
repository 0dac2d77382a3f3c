// SPDX-License-Identifier: Apache-2.0
//! How the control groups are doing.

use super::LocalNames;
use crate::cgroup::Mode;
use crate::cgroup::tree::Tree;
use crate::status::SourceStatus;

impl LocalNames {
    /// Of both hierarchies together.
    pub fn status(&self) -> SourceStatus {
        let all: Vec<_> = self.unified.iter().chain(&self.v1).map(Tree::status).collect();
        let (live, departed): (usize, usize) =
            all.iter().fold((0, 0), |sum, tree| (sum.0 + tree.live, sum.1 + tree.departed));
        let error = all.iter().find_map(|tree| tree.error.clone());
        let truncated = all.iter().any(|tree| tree.truncated);
        let mut detail = match (&error, self.mode) {
            (Some(error), _) => error.clone(),
            (None, Mode::Missing) => {
                "no control group hierarchy is mounted; owners are named by process".to_owned()
            }
            (None, mode) => {
                let mode = match mode {
                    Mode::Unified => "version 2",
                    Mode::Hybrid => "hybrid",
                    Mode::Legacy | Mode::Missing => "version 1",
                };
                format!("{mode}, {live} control groups, {departed} departed remembered")
            }
        };
        if truncated {
            detail.push_str("; too many to read them all");
        }
        if self.namespaced && error.is_none() {
            detail.push_str("; seen from within a control group namespace, groups outside it have no name");
        }
        SourceStatus {
            entries: live as u64,
            reloads: all.iter().map(|tree| tree.walks).sum(),
            reloads_failed: all.iter().map(|tree| tree.failed).sum(),
            misses: all.iter().map(|tree| tree.misses).sum(),
            ..SourceStatus::new("cgroup", error.is_none() && self.mode != Mode::Missing, detail)
        }
    }
}
