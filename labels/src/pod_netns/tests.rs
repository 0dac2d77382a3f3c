// SPDX-License-Identifier: Apache-2.0

use std::fs;

use super::*;

const A: &str = "6f1f0b6e-0c5a-4f2f-9f0e-3a4b5c6d7e8f";
const B: &str = "aaaaaaaa-0c5a-4f2f-9f0e-3a4b5c6d7e8f";
const HOST: u32 = 4_026_531_840;

struct Proc(tempfile::TempDir);

impl Proc {
    fn new() -> Proc {
        let procfs = Proc(tempfile::tempdir().unwrap());
        procfs.process(1, HOST, "0::/init.scope\n");
        procfs
    }

    fn process(&self, pid: u32, netns: u32, cgroup: &str) {
        let dir = self.0.path().join(pid.to_string());
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("ns")).unwrap();
        std::os::unix::fs::symlink(format!("net:[{netns}]"), dir.join("ns/net")).unwrap();
        fs::write(dir.join("cgroup"), cgroup).unwrap();
    }

    fn of_pod(&self, pid: u32, netns: u32, uid: &str) {
        let group = format!("12:cpu:/x\n5:memory:/kubepods/besteffort/pod{uid}/{}\n0::/\n", "f".repeat(64));
        self.process(pid, netns, &group);
    }

    fn netns(&self) -> PodNetns {
        PodNetns::new(self.0.path())
    }
}

const ALIVE: &dyn Fn(Uid) -> bool = &|_| true;

fn ask(netns: &PodNetns, number: u32) -> Option<Uid> {
    netns.look_up(number, ALIVE).0
}

#[test]
fn processes_tell() {
    let procfs = Proc::new();
    procfs.of_pod(10, 100, A);
    procfs.of_pod(11, 100, A);
    procfs.of_pod(12, 100, B); // somebody who entered
    procfs.of_pod(13, HOST, B);
    procfs.process(14, 300, "0::/system.slice/x.service\n");
    fs::create_dir(procfs.0.path().join("sys")).unwrap();
    let netns = procfs.netns();
    assert_eq!(ask(&netns, 100), Some(Uid::parse(A)));
    assert_eq!(ask(&netns, HOST), None, "the host's is never a pod's");
    assert_eq!(ask(&netns, 300), None);
    assert_eq!(ask(&netns, 0), None);
    let status = netns.status();
    // At the start, and for the one that is not there.
    assert!(status.up && status.entries == 1 && status.reloads == 2, "{status:?}");
}

#[test]
fn what_is_not_found_is_looked_for_once_and_found_later() {
    let procfs = Proc::new();
    let netns = procfs.netns();
    assert_eq!(ask(&netns, 100), None);
    procfs.of_pod(10, 100, A);
    netns.inner.lock().next_asked = Instant::now();
    assert_eq!(ask(&netns, 100), None, "a miss costs one reading");
    assert_eq!(netns.status().reloads, 2, "and one at the start");
    netns.expire();
    assert_eq!(netns.refresh(), [Subject::Netns(100)], "what was said of it is stale");
    assert_eq!(ask(&netns, 100), Some(Uid::parse(A)));
    netns.expire();
    assert_eq!(netns.refresh(), [], "nothing new");
}

#[test]
fn nobody_reads_for_nobody() {
    let procfs = Proc::new();
    let netns = procfs.netns();
    netns.expire();
    netns.refresh();
    assert_eq!(netns.status().reloads, 1, "that at the start");
}

#[test]
fn sockets_teach_until_processes_do() {
    let procfs = Proc::new();
    let netns = procfs.netns();
    let (a, b) = (Uid::parse(A), Uid::parse(B));
    assert!(!netns.learn(100, a, ALIVE), "nothing was said of it before");
    assert!(!netns.learn(100, b, ALIVE), "it is a's");
    assert!(!netns.learn(200, a, ALIVE), "a is a guest there");
    assert!(!netns.learn(HOST, b, ALIVE));
    assert_eq!(ask(&netns, 200), None);
    procfs.of_pod(10, 100, B);
    assert_eq!(ask(&netns, 100), Some(a), "read a moment ago");
    netns.expire();
    assert_eq!(netns.look_up(100, ALIVE), (Some(b), vec![Subject::Netns(100)]), "processes know better");
    // The pod has gone, and the number was given out again.
    let alive: &dyn Fn(Uid) -> bool = &|uid| uid == a;
    assert!(netns.learn(100, a, alive));
    assert_eq!(netns.look_up(100, alive).0, Some(a));
}

#[test]
fn memory_is_bounded() {
    let procfs = Proc::new();
    let netns = procfs.netns();
    for number in 1..20_000u32 {
        netns.learn(number, Uid::parse(&format!("{number:032x}")), ALIVE);
        netns.look_up(number + 100_000, ALIVE);
    }
    let inner = netns.inner.lock();
    assert!(inner.known.len() <= 4096 && inner.by_pod.len() <= 4096 && inner.missing.len() <= 4096);
}

#[test]
fn nothing_can_be_read() {
    let netns = PodNetns::new(Path::new("/nonexistent"));
    assert_eq!(ask(&netns, 100), None);
    assert!(!netns.learn(100, Uid::parse(A), ALIVE), "it may be the host's");
    assert!(!netns.status().up && netns.status().detail.contains("CAP_SYS_PTRACE"));
    let procfs = Proc::new();
    let netns = procfs.netns();
    drop(procfs);
    assert_eq!(ask(&netns, 100), None);
    assert!(!netns.status().up && netns.status().detail.contains("No such file"), "{:?}", netns.status());
}

#[test]
fn the_kernels_own_proc_is_understood() {
    let netns = PodNetns::new(Path::new("/proc"));
    let own = netns_of(Path::new("/proc/self")).unwrap();
    assert_eq!(ask(&netns, if netns.is_host(own) { 1 } else { own }), None, "this is no pod");
    let status = netns.status();
    assert_eq!((status.reloads, status.reloads_failed), (2, 0), "{status:?}");
}
