// SPDX-License-Identifier: Apache-2.0
//! Where a kubelet and a container runtime put the control groups of pods and their containers.

use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// Ends every uid of this library's making; its beginning is the maker's process id. Random uids do not end so.
const MARK: &str = "-4f10-8e6a-f10e6a6e7e57";

static COUNTER: AtomicU16 = AtomicU16::new(1);

/// Who makes control groups: kubelet's and runtime's `cgroupDriver`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// systemd's slices and scopes.
    Systemd,
    /// Plain directories.
    Cgroupfs,
}

/// The pod's quality of service, which decides on its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// Right below `kubepods`.
    Guaranteed,
    /// Below `burstable`.
    Burstable,
    /// Below `besteffort`.
    BestEffort,
}

/// The container runtime, which decides on the name of a container's control group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// containerd's CRI plugin
    Containerd,
    /// CRI-O
    Crio,
    /// Docker through cri-dockerd
    Docker,
}

impl Runtime {
    /// The scheme of `containerID`.
    pub fn scheme(self) -> &'static str {
        match self {
            Runtime::Containerd => "containerd",
            Runtime::Crio => "cri-o",
            Runtime::Docker => "docker",
        }
    }

    fn scope(self) -> &'static str {
        match self {
            Runtime::Containerd => "cri-containerd",
            Runtime::Crio => "crio",
            Runtime::Docker => "docker",
        }
    }
}

/// How one pod's control groups are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kubelet {
    /// The driver.
    pub driver: Driver,
    /// The class.
    pub qos: Qos,
    /// The runtime.
    pub runtime: Runtime,
}

impl Default for Kubelet {
    /// As most clusters are: systemd, burstable, containerd.
    fn default() -> Self {
        Kubelet { driver: Driver::Systemd, qos: Qos::Burstable, runtime: Runtime::Containerd }
    }
}

impl Kubelet {
    /// The pod's directory below the root of the hierarchy.
    pub fn pod(self, uid: &str) -> PathBuf {
        let class = match self.qos {
            Qos::Guaranteed => None,
            Qos::Burstable => Some("burstable"),
            Qos::BestEffort => Some("besteffort"),
        };
        match self.driver {
            Driver::Cgroupfs => {
                let parts =
                    [Some("kubepods".to_owned()), class.map(str::to_owned), Some(format!("pod{uid}"))];
                parts.into_iter().flatten().collect()
            }
            Driver::Systemd => {
                let parent = class.map_or("kubepods".to_owned(), |class| format!("kubepods-{class}"));
                let pod = format!("{parent}-pod{}.slice", uid.replace('-', "_"));
                let class = class.map(|_| format!("{parent}.slice"));
                [Some("kubepods.slice".to_owned()), class, Some(pod)].into_iter().flatten().collect()
            }
        }
    }

    /// A container's directory.
    pub fn container(self, uid: &str, id: &str) -> PathBuf {
        let name = match (self.driver, self.runtime) {
            (Driver::Systemd, runtime) => format!("{}-{id}.scope", runtime.scope()),
            (Driver::Cgroupfs, Runtime::Crio) => format!("crio-{id}"),
            (Driver::Cgroupfs, _) => id.to_owned(),
        };
        self.pod(uid).join(name)
    }
}

/// A uid that tells who made the pod, so that its control groups can be removed when the maker has died.
pub(super) fn uid() -> String {
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{:08x}-{number:04x}{MARK}", process::id())
}

/// The same for a static pod: 32 digits without dashes.
pub(super) fn config_hash() -> String {
    uid().replace('-', "")
}

/// The process that made the pod whose directory this is; none if it is not of this library's making.
pub(crate) fn maker_of(directory: &str) -> Option<u32> {
    let name = directory.strip_suffix(".slice").unwrap_or(directory);
    let uid = name.strip_prefix("pod").or_else(|| Some(name.rsplit_once("-pod")?.1))?;
    let digits: String = uid.chars().filter(|letter| !matches!(letter, '-' | '_')).collect();
    let mark: String = MARK.chars().filter(|letter| *letter != '-').collect();
    let (maker, rest) = digits.split_at_checked(8)?;
    (digits.len() == 32 && rest.ends_with(&mark)).then(|| u32::from_str_radix(maker, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_kubelets() {
        let uid = "6f1c2d3e-0001-4f10-8e6a-f10e6a6e7e57";
        let id = "c".repeat(64);
        let path =
            |driver, qos, runtime| Kubelet { driver, qos, runtime }.container(uid, &id).display().to_string();
        assert_eq!(
            path(Driver::Systemd, Qos::Burstable, Runtime::Containerd),
            format!(
                "kubepods.slice/kubepods-burstable.slice/\
                 kubepods-burstable-pod6f1c2d3e_0001_4f10_8e6a_f10e6a6e7e57.slice/cri-containerd-{id}.scope"
            )
        );
        assert_eq!(
            path(Driver::Systemd, Qos::Guaranteed, Runtime::Crio),
            format!("kubepods.slice/kubepods-pod6f1c2d3e_0001_4f10_8e6a_f10e6a6e7e57.slice/crio-{id}.scope")
        );
        assert_eq!(
            path(Driver::Cgroupfs, Qos::BestEffort, Runtime::Docker),
            format!("kubepods/besteffort/pod{uid}/{id}")
        );
    }

    #[test]
    fn the_maker_is_known_by_the_uid() {
        let own = Some(process::id());
        for driver in [Driver::Systemd, Driver::Cgroupfs] {
            let kubelet = Kubelet { driver, ..Kubelet::default() };
            for uid in [uid(), config_hash()] {
                let path = kubelet.pod(&uid);
                let name = path.file_name().unwrap().to_str().unwrap();
                assert_eq!(maker_of(name), own, "{name}");
            }
        }
        for name in
            ["kubepods-burstable.slice", "pod6f1c2d3e-0001-4f10-8e6a-aaaaaaaaaaaa", "besteffort", "podé"]
        {
            assert_eq!(maker_of(name), None, "{name}");
        }
    }
}
