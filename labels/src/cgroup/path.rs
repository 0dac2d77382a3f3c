// SPDX-License-Identifier: Apache-2.0
//! What the path of a control group says about who lives in it.

use crate::cgroup::container::{Container, container, is_hex, is_number, is_uuid, machine, pod_uid};
use crate::cgroup::unit::{Unit, unit};

/// Deeper than this nobody nests; the kernel's own default has no limit.
const MAX_DEPTH: usize = 64;

/// Everything a path says. Of nested containers the innermost counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Path {
    /// The application container.
    pub container: Option<Container>,
    /// The Kubernetes pod.
    pub pod_uid: Option<String>,
    /// The system container or virtual machine around all that follows.
    pub machine: Option<String>,
    /// The unit inside the machine, or on the host.
    pub group: Group,
    /// The uid of the user whose service manager this lies below: rootless containers keep their files at home.
    pub user: Option<u32>,
}

/// What is known when no container is, from the least telling to the most.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Group {
    #[default]
    Nothing,
    /// A directory that is no systemd unit.
    Directory(String),
    Transient,
    /// `user-1000.slice`
    User(String),
    Slice(String),
    Unit(String),
}

/// Reads a path relative to the root of its hierarchy.
pub(crate) fn parse(path: &str) -> Path {
    let components: Vec<&str> = path.split('/').filter(|c| !c.is_empty()).take(MAX_DEPTH).collect();
    let mut found = Path::default();
    for (at, component) in components.iter().enumerate() {
        let before = &components[..at];
        if let Some(uid) = pod_uid(component) {
            found = Path { pod_uid: Some(uid), user: found.user, ..Path::default() };
        }
        if let Some(container) = container(component, before) {
            found.container = Some(container);
            found.group = Group::Nothing;
        } else if let Some(machine) = machine(component, before) {
            found = Path { machine: Some(machine), ..Path::default() };
        } else if found.container.is_none() && found.pod_uid.is_none() {
            group(&mut found, component);
        }
    }
    found
}

fn group(found: &mut Path, component: &str) {
    let next = match unit(component, found.user.is_some()) {
        Some(Unit::Silent) => return,
        Some(Unit::Login) => match &found.group {
            Group::User(_) => return,
            _ => Group::Transient,
        },
        Some(Unit::User(slice)) => {
            let uid = slice.strip_prefix("user-").and_then(|rest| rest.strip_suffix(".slice"));
            found.user = uid.and_then(|uid| uid.parse().ok());
            Group::User(slice)
        }
        Some(Unit::Transient) => Group::Transient,
        Some(Unit::Slice(name)) => Group::Slice(name),
        Some(Unit::Named(name)) => Group::Unit(name),
        // A service's own subdivision, or a machine's: not its name.
        None if found.machine.is_some() || !matches!(found.group, Group::Nothing | Group::Directory(_)) => {
            return;
        }
        None if is_random(component) => return,
        None => Group::Directory(component.to_owned()),
    };
    found.group = next;
}

/// An id rather than a name.
fn is_random(component: &str) -> bool {
    is_number(component)
        || is_uuid(component)
        || (component.len() >= 12 && is_hex(component, component.len()))
}

impl Path {
    /// How much the path tells, to choose between two of them: more is better, 0 is nothing.
    pub fn weight(&self) -> u8 {
        if self.container.is_some() {
            return 8;
        }
        if self.pod_uid.is_some() {
            return 7;
        }
        match (&self.group, &self.machine) {
            (Group::Unit(_), _) => 6,
            (_, Some(_)) => 5,
            (Group::Slice(_), None) => 4,
            (Group::User(_), None) => 3,
            (Group::Transient, None) => 2,
            (Group::Directory(_), None) => 1,
            (Group::Nothing, None) => 0,
        }
    }
}

#[cfg(test)]
mod tests;
