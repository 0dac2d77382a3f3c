// SPDX-License-Identifier: Apache-2.0
//! Containers and machines in the components of a control group path.
//!
//! | runtime | systemd driver | cgroupfs driver |
//! |---|---|---|
//! | Docker | `system.slice/docker-<id>.scope` | `docker/<id>` |
//! | containerd (CRI) | `…-pod<uid>.slice/cri-containerd-<id>.scope` | `kubepods/…/pod<uid>/<id>`, `….slice:cri-containerd:<id>` |
//! | CRI-O | `…-pod<uid>.slice/crio-<id>.scope`, `crio-conmon-<id>.scope` | `kubepods/…/pod<uid>/crio-<id>` |
//! | podman | `machine.slice/libpod-<id>.scope`, `user@<uid>.service/…/libpod-<id>.scope`, `x.service/libpod-payload-<id>` | `libpod_parent/libpod-<id>` |
//! | nerdctl | `system.slice/nerdctl-<id>.scope` | `default/<id>` |
//! | ECS | `ecstasks.slice/…/docker-<id>.scope` | `ecs/<task>/<id>` |
//! | Nomad | `nomad.slice/…/<allocation>.<task>.scope` | `nomad/<allocation>.<task>` |
//! | LXC, LXD, Incus, Proxmox | `lxc.payload.<name>` | `lxc.payload/<name>`, `lxc/<name>` |
//! | systemd-nspawn, libvirt | `machine.slice/machine-<name>.scope`, `systemd-nspawn@<name>.service` | |

use crate::cgroup::unit::unescape;

/// Who made a container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Runtime {
    Docker,
    Containerd,
    Crio,
    Podman,
    Nomad,
    /// A container id in a place that several runtimes use alike.
    Unknown,
}

impl Runtime {
    pub fn as_str(self) -> &'static str {
        match self {
            Runtime::Docker => "docker",
            Runtime::Containerd => "containerd",
            Runtime::Crio => "crio",
            Runtime::Podman => "podman",
            Runtime::Nomad => "nomad",
            Runtime::Unknown => "container",
        }
    }
}

/// A container found in a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Container {
    pub runtime: Runtime,
    /// The runtime's id: 64 hexadecimal digits for most.
    pub id: String,
    /// The stable name, where the path itself has one (Nomad's task).
    pub name: Option<String>,
}

impl Container {
    /// `runtime:id`, the id cut to the twelve digits people know it by.
    pub fn short(&self) -> String {
        let id = self.id.get(..12).unwrap_or(&self.id);
        format!("{}:{id}", self.runtime.as_str())
    }
}

const PREFIXES: [(&str, Runtime); 8] = [
    ("cri-containerd-", Runtime::Containerd),
    ("crio-conmon-", Runtime::Crio),
    ("crio-", Runtime::Crio),
    ("docker-", Runtime::Docker),
    ("libpod-conmon-", Runtime::Podman),
    ("libpod-payload-", Runtime::Podman),
    ("libpod-", Runtime::Podman),
    ("nerdctl-", Runtime::Containerd),
];

/// The container that `component` stands for, `before` being the components above it.
pub(crate) fn container(component: &str, before: &[&str]) -> Option<Container> {
    let made = |runtime, id: &str| Some(Container { runtime, id: id.to_owned(), name: None });
    // runc given a systemd path while it drives cgroupfs: `slice:prefix:id`.
    if let Some((rest, id)) = component.rsplit_once(':')
        && let Some((_, prefix)) = rest.rsplit_once(':')
        && is_id(id)
    {
        let runtime = PREFIXES.iter().find(|(known, _)| known.trim_end_matches('-') == prefix);
        return made(runtime.map_or(Runtime::Unknown, |(_, runtime)| *runtime), id);
    }
    let body = component.strip_suffix(".scope").unwrap_or(component);
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = body.strip_prefix(prefix).filter(|id| is_id(id)) {
            return made(runtime, id);
        }
    }
    if is_id(body) {
        let runtime = match before.last() {
            Some(&"docker" | &"moby") => Runtime::Docker,
            Some(&"default" | &"k8s.io") => Runtime::Containerd,
            _ if before.contains(&"ecs") => Runtime::Docker,
            _ => Runtime::Unknown,
        };
        return made(runtime, body);
    }
    // Fargate: `ecs/<task>/<task>-<number>`.
    if before.contains(&"ecs")
        && let Some((task, number)) = body.split_once('-')
        && is_hex(task, 32)
        && is_number(number)
    {
        return made(Runtime::Unknown, body);
    }
    let (allocation, task) = body.split_at_checked(36).filter(|(allocation, _)| is_uuid(allocation))?;
    let task = task.strip_prefix('.').filter(|task| !task.is_empty())?;
    Some(Container { runtime: Runtime::Nomad, id: allocation.to_owned(), name: Some(unescape(task)) })
}

/// The machine (system container or virtual machine) that `component` stands for.
pub(crate) fn machine(component: &str, before: &[&str]) -> Option<String> {
    let above = before.last().copied().unwrap_or_default();
    let name = if let Some(name) =
        component.strip_prefix("lxc.payload.").or(component.strip_prefix("lxc.monitor."))
    {
        name.to_owned()
    } else if matches!(above, "lxc" | "lxc.payload" | "lxc.monitor") {
        component.to_owned()
    } else if let Some(name) =
        component.strip_prefix("systemd-nspawn@").and_then(|n| n.strip_suffix(".service"))
    {
        unescape(name)
    } else if let Some(name) = component.strip_prefix("machine-").and_then(|n| n.strip_suffix(".scope")) {
        guest(&unescape(name)).to_owned()
    } else if above == "qemu.slice" {
        format!("qemu-{}", component.strip_suffix(".scope").filter(|number| is_number(number))?)
    } else {
        return None;
    };
    (!name.is_empty()).then_some(name)
}

/// libvirt calls its machines `qemu-<run>-<name>`, the run being counted up at each start.
fn guest(machine: &str) -> &str {
    machine
        .strip_prefix("qemu-")
        .or(machine.strip_prefix("lxc-"))
        .and_then(|rest| rest.split_once('-'))
        .filter(|(run, name)| is_number(run) && !name.is_empty())
        .map_or(machine, |(_, name)| name)
}

/// The pod whose directory `component` is: `pod<uid>`, `kubepods-burstable-pod<uid with underscores>.slice`. The uid is a
/// UUID, or the 32 digits of a static pod.
pub(crate) fn pod_uid(component: &str) -> Option<String> {
    let name = match component.split_once(".slice") {
        Some((slice, rest)) if rest.is_empty() || rest.starts_with(':') => {
            slice.contains("kubepods").then(|| slice.rsplit_once("-pod"))??.1
        }
        _ => component.strip_prefix("pod")?,
    };
    let uid = name.replace('_', "-");
    (is_uuid(&uid) || is_hex(&uid, 32)).then_some(uid)
}

fn is_id(text: &str) -> bool {
    is_hex(text, 64)
}

pub(crate) fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(crate) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
