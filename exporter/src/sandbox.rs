// SPDX-License-Identifier: Apache-2.0
//! What the program forbids itself once it has started, so that a mistake in it is of little use to whoever finds it.
//!
//! Each thread enters at its start, as with capabilities: those that it starts inherit what it has left. Three walls, each
//! of which stands alone: capabilities ([`crate::privileges`]), files and ports ([`files`], Landlock), system calls
//! ([`calls`], seccomp). `docs/operations.md` tells which thread keeps what, and why.

mod calls;
mod files;
mod places;

use std::sync::Arc;

use caps::Capability;
use parking_lot::Mutex;
use tracing::{info, warn};

use crate::flags::{Flags, LandlockMode, SeccompMode};
use crate::privileges;
use crate::self_metrics::SandboxMetrics;
use crate::source::{ComponentStatus, State};
use files::Files;

/// What a thread is for, and so what it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Serves HTTP and reads what the operating system counts.
    Serving,
    /// Reads the web configuration and its certificates.
    WebConfig,
    /// Reads what network namespaces count, and names their owners.
    Netstat,
    /// Drives the BPF programs, and names what they count.
    Probes {
        /// Where there are pods, it looks into the namespaces of other processes.
        in_cluster: bool,
    },
    /// Waits for a ring of the kernel.
    Waker,
    /// Watches the Kubernetes API.
    Kubernetes {
        /// Its credentials come from a program that it runs.
        runs_program: bool,
    },
    /// Asks a cloud's metadata service.
    CloudMetadata,
}

impl Role {
    /// As the thread is called.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "web",
            Self::WebConfig => "web-config",
            Self::Netstat => "netstat",
            Self::Probes { .. } => "probes",
            Self::Waker => "waker",
            Self::Kubernetes { .. } => "kubernetes",
            Self::CloudMetadata => "cloud-metadata",
        }
    }
}

/// How one wall stands around one thread.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wall {
    /// It does, and how.
    Up(String),
    /// It was not asked for, or the thread cannot work behind it, or the kernel has none.
    Absent(String),
    /// The kernel refused.
    Failed(String),
}

const PARTS: [&str; 3] = ["capabilities", "landlock", "seccomp"];

/// The walls, and around whom they stand.
pub struct Sandbox {
    files: Result<Files, Wall>,
    seccomp: SeccompMode,
    /// The serving threads may start the one that asks the metadata service, for no thread of the probes does.
    serving_asks: bool,
    entered: Mutex<Vec<(Role, [Wall; PARTS.len()])>>,
    metrics: Arc<SandboxMetrics>,
}

impl Sandbox {
    /// Finds out what these flags need. Before any thread is started, with every privilege that the program was given:
    /// places are opened, of which some are in directories that other users may not enter.
    pub fn prepare(flags: &Flags, metrics: Arc<SandboxMetrics>) -> Arc<Self> {
        let files = match flags.sandbox.landlock {
            LandlockMode::Off => Err(Wall::Absent("switched off by --sandbox.landlock=off".to_owned())),
            LandlockMode::Auto => Files::prepare(flags),
        };
        let serving_asks = files::serving_asks(flags);
        Arc::new(Self {
            files,
            seccomp: flags.sandbox.seccomp,
            serving_asks,
            entered: Mutex::default(),
            metrics,
        })
    }

    /// Takes from the calling thread, and those that it will start, every capability but `keep`, and everything that its
    /// role does not need. What cannot be taken is told, and the thread goes on.
    pub fn enter(&self, role: Role, keep: &[Capability]) {
        // Before the capabilities go: some directories are not for everybody to enter.
        let files = self.files.as_ref().map(|files| files.of(role)).map_err(Clone::clone);
        let capabilities = match privileges::confine(keep) {
            Ok(confined) => {
                let kept: Vec<_> = confined.kept.iter().map(ToString::to_string).collect();
                let cut = if confined.bounded { "" } else { "; the bounding set is not cut" };
                Wall::Up(if kept.is_empty() {
                    format!("none{cut}")
                } else {
                    format!("{}{cut}", kept.join(","))
                })
            }
            Err(error) => Wall::Failed(error.to_string()),
        };
        let landlock =
            files.map_or_else(|wall| wall, |prepared| prepared.map_or_else(|wall| wall, files::enforce));
        let walls = [capabilities, landlock, calls::enforce(self.seccomp, role, self.connects(role))];
        for (part, wall) in PARTS.into_iter().zip(&walls) {
            if let Wall::Failed(reason) = wall {
                warn!(thread = role.as_str(), part, reason, "the thread cannot be confined; it goes on");
            }
        }
        if role == Role::Serving {
            let [capabilities, landlock, seccomp] = walls.each_ref().map(Wall::words);
            info!(capabilities, landlock, seccomp, "privileges of the serving threads given up");
        }
        self.note(role, walls);
    }

    /// Whether the thread, or one that it may start, connects to somebody.
    const fn connects(&self, role: Role) -> bool {
        match role {
            Role::Serving => self.serving_asks,
            Role::Probes { .. } | Role::Kubernetes { .. } | Role::CloudMetadata => true,
            Role::WebConfig | Role::Netstat | Role::Waker => false,
        }
    }

    fn note(&self, role: Role, walls: [Wall; PARTS.len()]) {
        let mut entered = self.entered.lock();
        // A thread of the same kind may be started again.
        entered.retain(|(earlier, _)| *earlier != role);
        entered.push((role, walls));
        for part in 0..PARTS.len() {
            let up = entered.iter().all(|(_, walls)| matches!(walls[part], Wall::Up(_)));
            self.metrics.set(part, up);
        }
    }

    /// A component for each wall.
    pub fn status(&self) -> Vec<ComponentStatus> {
        let entered = self.entered.lock();
        let component = |(at, part): (usize, &str)| {
            let walls: Vec<_> = entered.iter().map(|(role, walls)| (role.as_str(), &walls[at])).collect();
            let state = if walls.iter().any(|(_, wall)| matches!(wall, Wall::Failed(_))) {
                State::Failed
            } else if walls.iter().any(|(_, wall)| matches!(wall, Wall::Up(_))) {
                State::Up
            } else {
                State::Disabled
            };
            let details: Vec<_> =
                walls.iter().map(|(thread, wall)| format!("{thread}: {}", wall.words())).collect();
            ComponentStatus { kind: "sandbox", name: part.to_owned(), state, detail: details.join("; ") }
        };
        PARTS.into_iter().enumerate().map(component).collect()
    }

    /// How the walls would stand around a thread that serves: tried on one, which ends.
    pub fn check(flags: &Flags) -> Vec<ComponentStatus> {
        let sandbox = Self::prepare(flags, Arc::default());
        let entering = Arc::clone(&sandbox);
        let thread = std::thread::Builder::new().name("sandbox".to_owned());
        let tried = thread.spawn(move || {
            let none = tracing::subscriber::NoSubscriber::new();
            tracing::subscriber::with_default(none, || entering.enter(Role::Serving, &[]));
        });
        if tried.is_ok_and(|thread| thread.join().is_ok()) {
            return sandbox.status();
        }
        let detail = "no thread to try it on".to_owned();
        vec![ComponentStatus { kind: "sandbox", name: "threads".to_owned(), state: State::Failed, detail }]
    }
}

impl Wall {
    fn words(&self) -> &str {
        match self {
            Self::Up(words) | Self::Absent(words) | Self::Failed(words) => words,
        }
    }
}

#[cfg(test)]
mod tests;
