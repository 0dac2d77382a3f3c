// SPDX-License-Identifier: Apache-2.0
//! Control groups of processes, by what `/proc/<pid>/cgroup` says of them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use flowgauge_labels::{Layout, Owner, Process, ProcessHierarchy};

/// Where a container finds the control group that is the root of its own namespace.
const OWN_ROOT: &str = "/sys/fs/cgroup";
/// More directories than this are not looked at for the place of this process.
const MOST_DIRECTORIES: usize = 100_000;

/// Finds the ids of control groups.
pub struct Groups {
    layout: Layout,
    hierarchy: ProcessHierarchy,
    /// The root of this process's control group namespace, from the kernel's root: paths are told from there. None if it is
    /// somewhere that cannot be found.
    own: Option<PathBuf>,
}

impl Groups {
    /// Of the host with these hierarchies.
    pub fn new(layout: Layout, procfs: &Path) -> Self {
        let hierarchy = layout.process_hierarchy();
        let first = fs::read_to_string(procfs.join("1/cgroup")).unwrap_or_default();
        let depth = path_in(&first, &ProcessHierarchy::Unified).map_or(0, |path| split(path).0);
        let own = match (depth, &layout.unified) {
            (0, _) => Some(PathBuf::new()),
            (_, None) => None,
            (_, Some(root)) => {
                let number = fs::metadata(OWN_ROOT).map(|own| own.ino()).ok();
                number.and_then(|number| find(root, depth, number))
            }
        };
        Self { layout, hierarchy, own }
    }

    /// Who a process is, from the texts of its `cgroup` and `comm`.
    pub fn owner(&self, groups: &str, comm: &str) -> Owner {
        let id = |hierarchy| self.id(groups, hierarchy).unwrap_or_default();
        let process = Process { cgroup: id(&self.hierarchy), name: comm.trim_end().into() };
        Owner { netns: 0, cgroup: id(&ProcessHierarchy::Unified), process: Some(process), ambiguous: false }
    }

    fn id(&self, groups: &str, hierarchy: &ProcessHierarchy) -> Option<u64> {
        let (up, below) = split(path_in(groups, hierarchy)?);
        let own = match hierarchy {
            ProcessHierarchy::Unified => self.own.as_deref()?,
            // Hosts with version 1 give containers no namespace of control groups.
            ProcessHierarchy::V1(_) => Path::new(""),
        };
        let above = own.ancestors().nth(up)?;
        let directory = self.layout.directory(hierarchy)?.join(above).join(below);
        fs::metadata(directory).ok().map(|group| group.ino())
    }
}

/// The path of a process's control group, from the text of its `cgroup`: lines of `number:controllers:path`.
fn path_in<'a>(groups: &'a str, hierarchy: &ProcessHierarchy) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let wanted = match hierarchy {
            ProcessHierarchy::Unified => controllers.is_empty(),
            ProcessHierarchy::V1(name) => controllers.split(',').any(|controller| controller == *name),
        };
        wanted.then_some(path)
    })
}

/// How many steps up a path begins with, and the rest of it.
fn split(path: &str) -> (usize, &str) {
    let (mut up, mut rest) = (0, path.trim_start_matches('/'));
    while let Some(after) = rest.strip_prefix("..").filter(|after| after.is_empty() || after.starts_with('/'))
    {
        (up, rest) = (up + 1, after.trim_start_matches('/'));
    }
    (up, rest)
}

/// The directory with this number so many steps below the root, as a path from there.
fn find(root: &Path, depth: usize, number: u64) -> Option<PathBuf> {
    let mut level = vec![PathBuf::new()];
    let mut seen = 0;
    for _ in 0..depth {
        let mut next = Vec::new();
        for above in level {
            let entries = fs::read_dir(root.join(&above)).into_iter().flatten().flatten();
            let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            next.extend(directories.map(|entry| above.join(entry.file_name())));
        }
        seen += next.len();
        if seen > MOST_DIRECTORIES {
            return None;
        }
        level = next;
    }
    level.into_iter().find(|path| fs::metadata(root.join(path)).is_ok_and(|found| found.ino() == number))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use flowgauge_labels::{Layout, Mode, ProcessHierarchy};

    use super::{Groups, find, path_in, split};

    #[test]
    fn lines_of_each_hierarchy() {
        let groups = "12:pids:/a\n5:cpu,memory:/b:c\n1:name=systemd:/d\n0::/e/f\n";
        for (hierarchy, path) in [
            (ProcessHierarchy::Unified, Some("/e/f")),
            (ProcessHierarchy::V1("memory"), Some("/b:c")),
            (ProcessHierarchy::V1("pids"), Some("/a")),
            (ProcessHierarchy::V1("mem"), None),
        ] {
            assert_eq!(path_in(groups, &hierarchy), path);
        }
        assert_eq!(path_in("odd\n0:\n", &ProcessHierarchy::Unified), None);
    }

    #[test]
    fn steps_up() {
        for (path, expected) in [
            ("/", (0, "")),
            ("/a/b", (0, "a/b")),
            ("/..", (1, "")),
            ("/../../a", (2, "a")),
            ("/..a/b", (0, "..a/b")),
        ] {
            assert_eq!(split(path), expected, "{path}");
        }
    }

    #[test]
    fn groups_seen_from_a_namespace_of_control_groups() {
        let root = tempfile::tempdir().unwrap();
        let directory = |path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(&path).unwrap();
            fs::metadata(path).unwrap().ino()
        };
        let own = directory("kubepods/besteffort/pod1/flowgauge");
        let (other, unit) =
            (directory("kubepods/burstable/pod2/web"), directory("system.slice/sshd.service"));
        let below = directory("kubepods/besteffort/pod1/flowgauge/inner");
        assert_eq!(find(root.path(), 4, own).unwrap().to_str(), Some("kubepods/besteffort/pod1/flowgauge"));
        assert_eq!(find(root.path(), 3, own), None);
        assert_eq!(find(root.path(), 9, own), None);
        let layout = Layout {
            mode: Mode::Unified,
            unified: Some(root.path().to_owned()),
            v1: Vec::new(),
            root_id: None,
            init_scope_id: None,
            namespaced: false,
        };
        let mut groups =
            Groups { layout, hierarchy: ProcessHierarchy::Unified, own: find(root.path(), 4, own) };
        for (path, id) in [
            ("/../../../burstable/pod2/web", other),
            ("/../../../../system.slice/sshd.service", unit),
            ("/", own),
            ("/inner", below),
            ("/../../../../../too/far", 0),
            ("/gone", 0),
        ] {
            let owner = groups.owner(&format!("0::{path}\n"), "web\n");
            assert_eq!((owner.cgroup, owner.process.map(|process| process.cgroup)), (id, Some(id)), "{path}");
        }
        groups.own = None;
        assert_eq!(groups.owner("0::/inner\n", "web\n").cgroup, 0, "of a place that is not known");
    }
}
