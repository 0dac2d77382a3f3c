// SPDX-License-Identifier: Apache-2.0
use std::fs;

use caps::{Capability, CapsHashSet};
use tempfile::TempDir;

use super::super::{Item, Verdict};
use super::{attaching, bpf, btf, cgroup, kernel, lockdown, memory, procfs, reading};
use crate::flags::Paths;

/// A host made of these files.
fn host(files: &[(&str, &str)]) -> (TempDir, Paths) {
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

fn assert(item: &Item, verdict: Verdict, finding: &str) {
    assert_eq!(item.verdict, verdict, "{item:?}");
    assert!(item.finding.contains(finding), "{item:?} should say {finding:?}");
    assert_eq!(item.remedy.is_empty(), verdict == Verdict::Ok, "{item:?}");
}

#[test]
fn kernels_by_release() {
    let table = [
        ("6.1.0-28-amd64\n", Verdict::Ok, "6.1.0-28-amd64"),
        ("6.18.44", Verdict::Ok, "6.18.44"),
        ("7.0-rc1", Verdict::Ok, "7.0-rc1"),
        ("5.15.0-1\n", Verdict::Fail, "older than 6.1"),
        ("6.0.19", Verdict::Fail, "older than 6.1"),
        ("weird", Verdict::Warn, "weird"),
        ("", Verdict::Warn, "no version"),
        ("99999999999.1", Verdict::Warn, "no version"),
    ];
    for (release, verdict, finding) in table {
        let (_root, paths) = host(&[("proc/sys/kernel/osrelease", release)]);
        assert(&kernel(&paths), verdict, finding);
    }
    assert(&kernel(&host(&[]).1), Verdict::Fail, "osrelease cannot be read: No such file");
}

#[test]
fn btf_is_there_or_not() {
    let (_root, paths) = host(&[("sys/kernel/btf/vmlinux", "")]);
    assert(&btf(&paths), Verdict::Ok, "readable");
    assert(&btf(&host(&[]).1), Verdict::Fail, "kernel/btf/vmlinux cannot be read: No such file");
}

#[test]
fn privileges_by_capability() {
    use Capability::{CAP_BPF, CAP_DAC_READ_SEARCH, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYS_ADMIN};
    let set = |capabilities: &[Capability]| capabilities.iter().copied().collect::<CapsHashSet>();
    assert(&bpf(&set(&[CAP_BPF, CAP_PERFMON])), Verdict::Ok, "");
    assert(&bpf(&set(&[CAP_SYS_ADMIN])), Verdict::Ok, "");
    assert(&bpf(&set(&[CAP_BPF])), Verdict::Fail, "missing CAP_PERFMON");
    assert(&bpf(&set(&[])), Verdict::Fail, "missing CAP_BPF, CAP_PERFMON");
    assert(&attaching(&set(&[CAP_NET_ADMIN])), Verdict::Ok, "CAP_NET_ADMIN");
    assert(&attaching(&set(&[CAP_BPF])), Verdict::Fail, "missing CAP_NET_ADMIN");
    assert(&reading(&set(&[CAP_DAC_READ_SEARCH])), Verdict::Ok, "");
    assert(&reading(&set(&[])), Verdict::Warn, "missing CAP_DAC_READ_SEARCH");
}

#[test]
fn lockdown_modes() {
    let table = [
        ("[none] integrity confidentiality\n", Verdict::Ok, "none"),
        ("none [integrity] confidentiality\n", Verdict::Ok, "integrity"),
        ("none integrity [confidentiality]\n", Verdict::Fail, "confidentiality"),
        ("garbage", Verdict::Ok, "unknown"),
    ];
    for (modes, verdict, finding) in table {
        let (_root, paths) = host(&[("sys/kernel/security/lockdown", modes)]);
        assert(&lockdown(&paths), verdict, finding);
    }
    assert(&lockdown(&host(&[]).1), Verdict::Ok, "not there");
}

#[test]
fn cgroup_hierarchies() {
    let table: [(&[(&str, &str)], _, _); 4] = [
        (&[("cgroup/cgroup.controllers", "")], Verdict::Ok, "v2 at"),
        (&[("cgroup/unified/cgroup.controllers", ""), ("cgroup/memory/x", "")], Verdict::Warn, "hybrid at"),
        (&[("cgroup/memory/tasks", "")], Verdict::Warn, "v1 at"),
        (&[], Verdict::Warn, "no hierarchy at"),
    ];
    for (files, verdict, finding) in table {
        let (_root, paths) = host(files);
        assert(&cgroup(&paths), verdict, finding);
    }
}

#[test]
fn memory_and_processes() {
    let limits = "Limit  Soft Limit  Hard Limit  Units\nMax locked memory         8388608  8388608   bytes\n";
    let (_root, paths) = host(&[("proc/self/limits", limits), ("proc/1/cgroup", "")]);
    assert(&memory(&paths), Verdict::Ok, "limit 8388608 bytes");
    assert(&procfs(&paths), Verdict::Warn, "1/comm cannot be read");
    let (_root, paths) = host(&[("proc/1/comm", ""), ("proc/1/cgroup", "")]);
    assert(&procfs(&paths), Verdict::Ok, "shows other processes");
    let (_root, empty) = host(&[]);
    assert(&memory(&empty), Verdict::Warn, "limits cannot be read");
    assert(&procfs(&empty), Verdict::Warn, "1/cgroup cannot be read");
}
