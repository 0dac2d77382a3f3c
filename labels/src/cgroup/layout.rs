// SPDX-License-Identifier: Apache-2.0
//! Which control group hierarchies this host has, and where.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::ProcessHierarchy;

/// The kernel's id of the root of every hierarchy (`kernfs_root` hands out 1 first).
const KERNEL_ROOT_ID: u64 = 1;

/// How the host arranges its control groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Version 2 alone.
    Unified,
    /// Version 1 controllers, and a version 2 hierarchy beside them.
    Hybrid,
    /// Version 1 alone.
    Legacy,
    /// No hierarchy was found.
    Missing,
}

/// A mounted version 1 controller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Controller {
    /// Its name as the kernel spells it, `name=systemd` for systemd's own hierarchy.
    pub name: String,
    /// Where it is mounted.
    pub path: PathBuf,
}

/// What [`cgroup_layout`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The arrangement.
    pub mode: Mode,
    /// Where version 2 is mounted.
    pub unified: Option<PathBuf>,
    /// The version 1 controllers, in the order of their names.
    pub v1: Vec<Controller>,
    /// Id of the version 2 root as seen from here: a socket there has an owner that its group does not tell.
    pub root_id: Option<u64>,
    /// Id of `init.scope` under it: the service manager itself, which opens sockets for others.
    pub init_scope_id: Option<u64>,
    /// The mounted root is not the kernel's: the exporter runs in a control group namespace and sees no group outside.
    /// The remedy is to mount the host's `/sys/fs/cgroup` and to give it as `--path.cgroup`.
    pub namespaced: bool,
}

impl Layout {
    /// The hierarchy in which processes are told apart best: version 2 if it is alone, else the `memory` controller,
    /// else `pids`; both are what container runtimes and systemd always use.
    pub fn process_hierarchy(&self) -> ProcessHierarchy {
        if self.mode == Mode::Unified {
            return ProcessHierarchy::Unified;
        }
        ["memory", "pids"]
            .into_iter()
            .find(|name| self.controller(name).is_some())
            .map_or(ProcessHierarchy::Unified, ProcessHierarchy::V1)
    }

    /// The version 2 ids that say nothing about who owns a socket: 0, the root, `init.scope`.
    pub fn silent_ids(&self) -> Vec<u64> {
        [Some(0), Some(KERNEL_ROOT_ID), self.root_id, self.init_scope_id].into_iter().flatten().collect()
    }

    /// Where a hierarchy is mounted.
    pub fn directory(&self, hierarchy: &ProcessHierarchy) -> Option<&Path> {
        match hierarchy {
            ProcessHierarchy::Unified => self.unified.as_deref(),
            ProcessHierarchy::V1(name) => self.controller(name),
        }
    }

    /// Whether the mounted root of a hierarchy is the kernel's own, so that the kernel's paths are the paths below it.
    pub(crate) fn is_whole(&self, hierarchy: &ProcessHierarchy) -> bool {
        let root = self.directory(hierarchy).and_then(|dir| fs::metadata(dir).ok());
        root.is_some_and(|root| root.ino() == KERNEL_ROOT_ID)
    }

    fn controller(&self, name: &str) -> Option<&Path> {
        self.v1.iter().find(|controller| controller.name == name).map(|controller| controller.path.as_path())
    }
}

/// Finds the hierarchies: under `cgroup_root` (version 2 itself, or `unified` and one directory for each controller), and
/// what is not there by `<procfs>/self/mountinfo`. Never fails: what cannot be read counts as not there.
pub fn cgroup_layout(cgroup_root: &Path, procfs: &Path) -> Layout {
    let is_v2 = |dir: &Path| dir.join("cgroup.controllers").exists();
    let mut v1 = Vec::new();
    let mut unified = None;
    if is_v2(cgroup_root) {
        unified = Some(cgroup_root.to_owned());
    } else {
        unified = Some(cgroup_root.join("unified")).filter(|dir| is_v2(dir)).or(unified);
        for entry in fs::read_dir(cgroup_root).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && path.join("tasks").exists() {
                let names = entry.file_name().to_string_lossy().into_owned();
                add_controllers(&mut v1, &names.replace("systemd", "name=systemd"), &path);
            }
        }
    }
    let mounts = fs::read(procfs.join("self/mountinfo")).unwrap_or_default();
    for mount in mounts.split(|byte| *byte == b'\n').filter_map(parse_mount) {
        match mount.kind {
            b"cgroup2" if unified.is_none() && is_v2(&mount.point) => unified = Some(mount.point),
            b"cgroup" if unified.as_deref() != Some(cgroup_root) => {
                add_controllers(&mut v1, &String::from_utf8_lossy(mount.options), &mount.point);
            }
            _ => {}
        }
    }
    v1.sort_by(|a, b| a.name.cmp(&b.name));
    let inode = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.ino());
    let root_id = unified.as_deref().and_then(inode);
    Layout {
        mode: match (&unified, v1.is_empty()) {
            (Some(_), true) => Mode::Unified,
            (Some(_), false) => Mode::Hybrid,
            (None, false) => Mode::Legacy,
            (None, true) => Mode::Missing,
        },
        init_scope_id: unified.as_deref().and_then(|dir| inode(&dir.join("init.scope"))),
        namespaced: root_id.is_some_and(|id| id != KERNEL_ROOT_ID),
        root_id,
        unified,
        v1,
    }
}

fn add_controllers(v1: &mut Vec<Controller>, names: &str, path: &Path) {
    // What stands beside the controllers in a mount's options.
    const NOT_CONTROLLERS: [&str; 8] =
        ["rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "none", "all"];
    for name in names.split(',').filter(|name| !name.is_empty() && !NOT_CONTROLLERS.contains(name)) {
        let other_option = name.contains('=') && !name.starts_with("name=");
        if !other_option && !v1.iter().any(|known| known.name == name) {
            v1.push(Controller { name: name.to_owned(), path: path.to_owned() });
        }
    }
}

struct Mount<'a> {
    point: PathBuf,
    kind: &'a [u8],
    options: &'a [u8],
}

/// A line of mountinfo (proc_pid_mountinfo(5)), if it mounts a whole file system and not a part of it.
fn parse_mount(line: &[u8]) -> Option<Mount<'_>> {
    let separator = line.windows(3).position(|window| window == b" - ")?;
    let (left, right) = (&line[..separator], &line[separator + 3..]);
    let mut left = left.split(|byte| *byte == b' ').skip(3);
    let (root, point) = (left.next()?, left.next()?);
    let mut right = right.split(|byte| *byte == b' ');
    let (kind, _source, options) = (right.next()?, right.next()?, right.next()?);
    (root == b"/").then(|| Mount { point: unescape(point), kind, options })
}

/// Mountinfo writes blanks and backslashes as three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        rest = tail;
        bytes.push(match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                rest = after;
                (a - b'0') << 6 | (b - b'0') << 3 | (c - b'0')
            }
            _ => *first,
        });
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir_with(path: PathBuf, file: &str) -> PathBuf {
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join(file), "").unwrap();
        path
    }

    #[test]
    fn unified() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir_with(dir.path().join("cgroup"), "cgroup.controllers");
        let scope = dir_with(root.join("init.scope"), "cgroup.procs");
        let layout = cgroup_layout(&root, dir.path());
        assert_eq!(layout.mode, Mode::Unified);
        assert_eq!(layout.process_hierarchy(), ProcessHierarchy::Unified);
        assert_eq!(layout.directory(&ProcessHierarchy::Unified), Some(root.as_path()));
        let id = |path: &Path| fs::metadata(path).unwrap().ino();
        assert_eq!(layout.silent_ids(), [0, 1, id(&root), id(&scope)]);
        assert!(layout.namespaced, "a directory on disk is not the kernel's root");
    }

    #[test]
    fn hybrid_and_legacy() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        dir_with(root.join("cpu,cpuacct"), "tasks");
        dir_with(root.join("systemd"), "tasks");
        let pids = dir_with(root.join("pids"), "tasks");
        fs::create_dir(root.join("not-a-controller")).unwrap();
        let layout = cgroup_layout(root, root);
        let names: Vec<&str> = layout.v1.iter().map(|c| c.name.as_str()).collect();
        assert_eq!((layout.mode, names), (Mode::Legacy, vec!["cpu", "cpuacct", "name=systemd", "pids"]));
        assert_eq!(layout.process_hierarchy(), ProcessHierarchy::V1("pids"));
        assert_eq!(layout.directory(&ProcessHierarchy::V1("pids")), Some(pids.as_path()));
        dir_with(root.join("memory"), "tasks");
        dir_with(root.join("unified"), "cgroup.controllers");
        let layout = cgroup_layout(root, root);
        assert_eq!(layout.mode, Mode::Hybrid);
        assert_eq!(layout.process_hierarchy(), ProcessHierarchy::V1("memory"));
    }

    #[test]
    fn mounts_elsewhere_are_found_by_mountinfo() {
        let dir = tempfile::tempdir().unwrap();
        let v2 = dir_with(dir.path().join("a b"), "cgroup.controllers");
        fs::create_dir(dir.path().join("self")).unwrap();
        let point = v2.display().to_string().replace(' ', "\\040");
        let text = format!(
            "31 23 0:28 /part {point} rw - cgroup2 cgroup2 rw\n\
             34 31 0:32 /docker/x /mnt/part rw - cgroup cgroup rw,memory\n\
             35 31 0:32 / /mnt/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
             40 31 0:37 / /mnt/sd rw - cgroup cgroup rw,xattr,release_agent=/lib/x,name=systemd\n\
             41 31 0:38 / {point} rw,relatime - cgroup2 cgroup2 rw\n\
             garbage\n 1 2 - \n"
        );
        fs::write(dir.path().join("self/mountinfo"), text).unwrap();
        let layout = cgroup_layout(&dir.path().join("none"), dir.path());
        assert_eq!((layout.mode, layout.unified.as_ref()), (Mode::Hybrid, Some(&v2)));
        let names: Vec<&str> = layout.v1.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["memory", "name=systemd"]);
        assert_eq!(layout.directory(&ProcessHierarchy::V1("memory")), Some(Path::new("/mnt/memory")));
    }

    #[test]
    fn nothing_mounted() {
        let dir = tempfile::tempdir().unwrap();
        let layout = cgroup_layout(&dir.path().join("none"), dir.path());
        assert_eq!((layout.mode, layout.root_id, layout.namespaced), (Mode::Missing, None, false));
        assert_eq!(layout.silent_ids(), [0, 1]);
    }

    proptest::proptest! {
        #[test]
        fn hostile_mountinfo_does_not_panic(line in proptest::collection::vec(proptest::num::u8::ANY, 0..200), text in "[ \\\\0-7a-z/-]{0,80}") {
            parse_mount(&line);
            parse_mount(text.as_bytes());
            unescape(text.as_bytes());
        }
    }
}
