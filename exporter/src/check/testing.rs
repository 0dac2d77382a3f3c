// SPDX-License-Identifier: Apache-2.0
//! Hosts made of files, for tests.

use std::fs;

use tempfile::TempDir;

use super::{Item, Verdict};
use crate::flags::Paths;

/// A host made of these files.
pub fn host(files: &[(&str, &str)]) -> (TempDir, Paths) {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let at = |name: &str| root.path().join(name);
    let paths =
        Paths { procfs: at("proc"), sysfs: at("sys"), cgroup: at("cgroup"), rootfs: root.path().to_owned() };
    (root, paths)
}

/// What an item says.
pub fn assert(item: &Item, verdict: Verdict, finding: &str) {
    assert_eq!(item.verdict, verdict, "{item:?}");
    assert!(item.finding.contains(finding), "{item:?} should say {finding:?}");
    assert_eq!(item.remedy.is_empty(), verdict == Verdict::Ok, "{item:?}");
}
