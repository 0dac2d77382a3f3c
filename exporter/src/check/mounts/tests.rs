// SPDX-License-Identifier: Apache-2.0
use super::super::Verdict;
use super::super::testing::{assert, host};
use super::{cgroup, network_namespace, pid_namespace, procfs, sysfs};

#[test]
fn cgroup_hierarchies() {
    let table: [(&[(&str, &str)], _, _); 4] = [
        // A directory on a disk has another number than the root of a hierarchy.
        (&[("cgroup/cgroup.controllers", "")], Verdict::Warn, "but a control group namespace's"),
        (&[("cgroup/memory/tasks", "")], Verdict::Warn, "v1 at"),
        (&[("cgroup/memory/cgroup.procs", "")], Verdict::Warn, "no hierarchy at"),
        (&[], Verdict::Warn, "no hierarchy at"),
    ];
    for (files, verdict, finding) in table {
        let (_root, paths) = host(files);
        assert(&cgroup(&paths), verdict, finding);
    }
}

#[test]
fn processes() {
    let (_root, paths) = host(&[("proc/1/cgroup", "")]);
    assert(&procfs(&paths), Verdict::Warn, "1/comm cannot be read");
    let (_root, paths) = host(&[("proc/1/comm", ""), ("proc/1/cgroup", "")]);
    assert(&procfs(&paths), Verdict::Ok, "shows other processes");
    assert(&procfs(&host(&[]).1), Verdict::Warn, "1/cgroup cannot be read");
}

#[test]
fn whose_namespaces() {
    let (_root, paths) = host(&[("proc/2/comm", "kthreadd\n")]);
    assert(&pid_namespace(&paths), Verdict::Ok, "is the host's");
    let (_root, paths) = host(&[("proc/2/comm", "nginx\n"), ("proc/self/comm", "")]);
    assert(&pid_namespace(&paths), Verdict::Warn, "it shows no kthreadd");
    assert(&pid_namespace(&host(&[]).1), Verdict::Warn, "is no procfs");
    let (_root, paths) = host(&[("proc/1/ns/net", "")]);
    assert(&network_namespace(&paths), Verdict::Warn, "not the host's");
    assert(&network_namespace(&host(&[]).1), Verdict::Warn, "1/ns/net cannot be read");
    let (_root, paths) = host(&[("sys/class/net/lo/carrier", "1")]);
    assert(&sysfs(&paths), Verdict::Ok, "shows devices");
    assert(&sysfs(&host(&[]).1), Verdict::Warn, "class/net cannot be read");
}
