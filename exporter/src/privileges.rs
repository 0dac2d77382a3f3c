// SPDX-License-Identifier: Apache-2.0
//! Giving up what is no longer needed. `docs/operations.md`, section Privileges, tells which thread keeps what, and why.
//!
//! On Linux a capability set belongs to a thread, and a new thread inherits that of the one that started it. So the
//! threads of a source confine themselves at their start, and the main thread confines itself after the source is
//! built and before the threads that serve HTTP exist.

use caps::{CapSet, Capability, CapsHashSet};

/// To load, attach and run BPF programs that read kernel memory, and to read their maps.
#[cfg(test)]
pub const BPF: &[Capability] = &[Capability::CAP_BPF, Capability::CAP_PERFMON];

/// What attaching programs to control groups takes.
#[cfg(test)]
pub const ATTACHING: &[Capability] = &[Capability::CAP_NET_ADMIN];

/// To read container descriptions and names files that belong to others.
pub const READING: &[Capability] = &[Capability::CAP_DAC_READ_SEARCH];

/// What [`confine`] reached.
#[derive(Debug, PartialEq, Eq)]
pub struct Confined {
    /// The capabilities that the thread still has, sorted by name: those asked for that it had before.
    pub kept: Vec<Capability>,
    /// Whether the bounding set was cut too. Without CAP_SETPCAP it cannot be, and with `no_new_privs` it need not be.
    pub bounded: bool,
}

/// A step that the kernel refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// A capability set could not be read or written.
    #[error("cannot {action} the {set:?} capability set: {reason}")]
    Set {
        /// `read` or `write`.
        action: &'static str,
        /// Which set.
        set: CapSet,
        /// The kernel's answer.
        reason: caps::errors::CapsError,
    },
    /// `PR_SET_NO_NEW_PRIVS` failed.
    #[error("cannot set no_new_privs: {0}")]
    NoNewPrivs(#[source] std::io::Error),
}

/// Takes every capability but `keep` from the calling thread and from those it will start: effective, permitted,
/// inheritable, bounding and ambient; and makes sure that no program it may run gets any back (`no_new_privs`).
///
/// # Errors
/// The step that failed; the steps before it stay done.
pub fn confine(keep: &[Capability]) -> Result<Confined, ConfineError> {
    rustix::thread::set_no_new_privs(true).map_err(|error| ConfineError::NoNewPrivs(error.into()))?;
    let keep: CapsHashSet = keep.iter().copied().collect();
    // The bounding set first: to cut it takes CAP_SETPCAP, which goes with the effective set.
    let bounded = cut_bounding(&keep)?;
    let kept: CapsHashSet = read(CapSet::Permitted)?.intersection(&keep).copied().collect();
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).map_err(|reason| ConfineError::Set { action: "write", set, reason })?;
    }
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &kept).map_err(|reason| ConfineError::Set { action: "write", set, reason })?;
    }
    let mut kept: Vec<_> = kept.into_iter().collect();
    kept.sort_by_key(ToString::to_string);
    Ok(Confined { kept, bounded })
}

/// The capabilities that the calling thread can use now.
///
/// # Errors
/// When the kernel does not tell.
pub fn effective() -> Result<CapsHashSet, ConfineError> {
    read(CapSet::Effective)
}

/// The names of those of `needed`, for BPF, that are not there. CAP_SYS_ADMIN stands for all of them.
pub fn lacking(effective: &CapsHashSet, needed: &[Capability]) -> Vec<String> {
    let admin = effective.contains(&Capability::CAP_SYS_ADMIN);
    let missing = needed.iter().filter(|capability| !admin && !effective.contains(capability));
    missing.map(ToString::to_string).collect()
}

fn cut_bounding(keep: &CapsHashSet) -> Result<bool, ConfineError> {
    let set = CapSet::Bounding;
    let surplus: Vec<_> = read(set)?.difference(keep).copied().collect();
    if !surplus.is_empty() && !effective()?.contains(&Capability::CAP_SETPCAP) {
        return Ok(false);
    }
    for capability in surplus {
        caps::drop(None, set, capability).map_err(|reason| ConfineError::Set {
            action: "write",
            set,
            reason,
        })?;
    }
    Ok(true)
}

fn read(set: CapSet) -> Result<CapsHashSet, ConfineError> {
    caps::read(None, set).map_err(|reason| ConfineError::Set { action: "read", set, reason })
}

#[cfg(test)]
mod tests {
    use super::{CapSet, Capability, CapsHashSet, confine};

    /// Each on a thread of its own, so that the other tests keep what they have.
    fn on_a_thread<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(test).join().unwrap()
    }

    fn sets() -> [CapsHashSet; 4] {
        [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable, CapSet::Ambient]
            .map(|set| caps::read(None, set).unwrap())
    }

    #[test]
    fn keeps_what_is_asked_for_and_no_more() {
        on_a_thread(|| {
            let had = caps::has_cap(None, CapSet::Permitted, Capability::CAP_NET_ADMIN).unwrap();
            let confined = confine(&[Capability::CAP_NET_ADMIN]).unwrap();
            let left: CapsHashSet = if had { [Capability::CAP_NET_ADMIN].into() } else { CapsHashSet::new() };
            let [effective, permitted, inheritable, ambient] = sets();
            assert_eq!((&effective, &permitted), (&left, &left));
            assert!(inheritable.is_empty() && ambient.is_empty());
            assert_eq!(confined.kept.len(), left.len());
            if confined.bounded {
                let bounding = caps::read(None, CapSet::Bounding).unwrap();
                assert!(bounding.iter().all(|left| *left == Capability::CAP_NET_ADMIN), "{bounding:?}");
            }
            assert!(rustix::thread::no_new_privs().unwrap());
        });
    }

    #[test]
    fn threads_started_later_have_nothing_and_those_before_keep_theirs() {
        let before = sets();
        on_a_thread(|| {
            confine(&[]).unwrap();
            let [effective, permitted, ..] = on_a_thread(sets);
            assert!(effective.is_empty() && permitted.is_empty());
            assert!(on_a_thread(|| caps::raise(None, CapSet::Effective, Capability::CAP_CHOWN)).is_err());
            // Confining twice is no error.
            assert_eq!(confine(&[Capability::CAP_CHOWN]).unwrap().kept, []);
        });
        assert_eq!(sets(), before);
    }

    #[test]
    fn the_unit_and_the_manual_name_the_same_capabilities() {
        let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let unit = std::fs::read_to_string(repository.join("contrib/flowgauge.service")).unwrap();
        let manual = std::fs::read_to_string(repository.join("docs/operations.md")).unwrap();
        let names = |all: &[&[Capability]]| -> std::collections::BTreeSet<_> {
            all.iter().copied().flatten().map(ToString::to_string).collect()
        };
        let needed = names(&[super::BPF, super::READING, super::ATTACHING]);
        let kept: std::collections::BTreeSet<_> =
            crate::app::PROBES_CAPABILITIES.iter().map(ToString::to_string).collect();
        assert_eq!(kept, names(&[super::BPF, super::READING]), "what attaching takes is given up");
        for setting in ["AmbientCapabilities=", "CapabilityBoundingSet="] {
            let line = unit.lines().find_map(|line| line.strip_prefix(setting)).unwrap();
            assert_eq!(line.split(' ').map(str::to_owned).collect::<std::collections::BTreeSet<_>>(), needed);
        }
        for capability in needed {
            assert!(manual.contains(&format!("| `{capability}` |")), "{capability}");
        }
    }
}
