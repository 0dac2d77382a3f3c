// SPDX-License-Identifier: Apache-2.0
//! Brings control groups from the kernel, which tells of them as they are made, to the resolver.

use flowgauge_labels::Resolver;
use flowgauge_probes::cgroups::{Cgroups, Health, Storage};
use flowgauge_probes::tcp::ProcessHierarchy;

use crate::quiet::Quiet;
use crate::source::{ComponentStatus, State};

/// The source's name in the label `source`.
pub const SOURCE: &str = "cgroup_events";

/// How the kernel's news of control groups fare. Without them, groups that live for less than the ten seconds between
/// two walks of the hierarchies may have no name.
#[derive(Debug, Clone)]
pub struct GroupsState {
    /// What the probe counted; None if it could not be loaded.
    pub health: Option<Health>,
    /// Why it is not loaded, or why the last look failed.
    pub error: Option<String>,
}

impl GroupsState {
    /// What an operator sees.
    pub fn status(&self) -> ComponentStatus {
        let (state, detail) = match &self.error {
            None => (State::Up, "new control groups are known as they are made".to_owned()),
            Some(error) => (
                State::Failed,
                format!("{error}; control groups that live for less than 10 s may have no name"),
            ),
        };
        ComponentStatus { kind: "label source", name: SOURCE.to_owned(), state, detail }
    }
}

/// The probe, if it could be loaded. Without it the resolver's own walks go on as ever.
pub struct NewGroups<'o> {
    probe: Result<Cgroups<'o>, String>,
    error: Option<String>,
    failures: Quiet,
}

impl<'o> NewGroups<'o> {
    /// Loads and attaches the probe. What was made before that is found by a walk, which the resolver is told to make.
    pub fn start(storage: &'o mut Storage, hierarchy: ProcessHierarchy, resolver: &Resolver) -> Self {
        let probe = Cgroups::load(storage, hierarchy).map_err(|error| error.to_string());
        resolver.missed_cgroups();
        Self { probe, error: None, failures: Quiet::default() }
    }

    /// Tells the resolver of the groups made since the last time; to be called before anything is named.
    pub fn hand_over(&mut self, resolver: &Resolver) {
        let Ok(probe) = &mut self.probe else { return };
        let drained = probe.drain(|group| resolver.note_cgroup(group.id, group.is_unified(), &group.path));
        match drained {
            Ok(missing) => {
                if missing {
                    resolver.missed_cgroups();
                }
                if self.failures.reset() {
                    tracing::info!("new control groups are told of again");
                }
                self.error = None;
            }
            Err(error) => {
                if let Some(silenced) = self.failures.speak() {
                    tracing::error!(%error, silenced, "cannot read of new control groups");
                }
                self.error = Some(error.to_string());
            }
        }
    }

    /// How it fares.
    pub fn state(&self) -> GroupsState {
        match &self.probe {
            Ok(probe) => GroupsState { health: Some(probe.health()), error: self.error.clone() },
            Err(error) => GroupsState { health: None, error: Some(error.clone()) },
        }
    }
}
