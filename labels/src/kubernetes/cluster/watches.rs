// SPDX-License-Identifier: Apache-2.0
//! How each watch is doing.

use crate::status::SourceStatus;

/// The watches, in the order in which their status is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    OwnPods,
    Pods,
    Services,
    EndpointSlices,
    Nodes,
}

impl Source {
    pub const ALL: [Source; 5] =
        [Source::OwnPods, Source::Pods, Source::Services, Source::EndpointSlices, Source::Nodes];

    fn name(self) -> &'static str {
        match self {
            Source::OwnPods => "kubernetes_node_pods",
            Source::Pods => "kubernetes_pods",
            Source::Services => "kubernetes_services",
            Source::EndpointSlices => "kubernetes_endpointslices",
            Source::Nodes => "kubernetes_nodes",
        }
    }

    fn things(self) -> &'static str {
        match self {
            Source::OwnPods => "pods of this node",
            Source::Pods => "pods",
            Source::Services => "services",
            Source::EndpointSlices => "EndpointSlices",
            Source::Nodes => "nodes",
        }
    }
}

/// One watch.
#[derive(Default, Clone, Debug)]
pub(crate) struct WatchState {
    pub up: bool,
    pub error: Option<String>,
    /// Complete lists.
    pub lists: u64,
    pub failures: u64,
}

impl WatchState {
    pub fn status(&self, source: Source, entries: usize) -> SourceStatus {
        let things = source.things();
        let detail = match &self.error {
            Some(error) if self.lists > 0 => format!("{error}; the last known {entries} {things} stay"),
            Some(error) => error.clone(),
            None if self.lists > 0 => format!("{entries} {things}"),
            None => format!("{things} have not been listed yet"),
        };
        SourceStatus {
            entries: entries as u64,
            reloads: self.lists,
            reloads_failed: self.failures,
            ..SourceStatus::new(source.name(), self.up && self.lists > 0, detail)
        }
    }
}
