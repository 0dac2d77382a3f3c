// SPDX-License-Identifier: Apache-2.0
//! Control groups of the running kernel. Needs root and a mounted hierarchy, and fails without.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use flowgauge_labels::{Config, Kind, Mode, Owner, Process, ProcessHierarchy, Resolver, cgroup_layout};

const CGROUP: &str = "/sys/fs/cgroup";
const PROC: &str = "/proc";

/// A group of the kernel, removed with everything above it up to the mount.
struct Group {
    top: PathBuf,
    path: PathBuf,
}

impl Group {
    fn create(mount: &Path, name: &str, below: &str) -> Group {
        let top = mount.join(format!("flowgauge-test-{name}-{}.slice", std::process::id()));
        let path = top.join(below);
        fs::create_dir_all(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; this test needs root", path.display()));
        Group { top, path }
    }

    fn id(&self) -> u64 {
        fs::metadata(&self.path).expect("the group exists").ino()
    }

    fn remove(&self) -> std::io::Result<()> {
        let mut path = self.path.as_path();
        loop {
            // A group whose last process has just been reaped is busy for a moment.
            let mut attempts = 0;
            while let Err(error) = fs::remove_dir(path) {
                match error.kind() {
                    ErrorKind::NotFound => break,
                    ErrorKind::ResourceBusy if attempts < 200 => attempts += 1,
                    _ => return Err(error),
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            if path == self.top {
                return Ok(());
            }
            path = path.parent().expect("the top is above");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}

struct Sleeper(Child);

impl Sleeper {
    fn start() -> Sleeper {
        Sleeper(Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("sleep(1) starts"))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn resolver() -> (Resolver, ProcessHierarchy) {
    let hierarchy = cgroup_layout(Path::new(CGROUP), Path::new(PROC)).process_hierarchy();
    let config = Config {
        cgroup_root: CGROUP.into(),
        procfs: PROC.into(),
        sysfs: "/sys".into(),
        rootfs: "/".into(),
        names_file: None,
        external_patterns: None,
        cloud_ranges: Vec::new(),
        cloud_metadata: Default::default(),
    };
    (Resolver::new(config, hierarchy, None).expect("no names file, no error"), hierarchy)
}

#[test]
fn a_real_group_is_named_while_it_lives_and_after() {
    let layout = cgroup_layout(Path::new(CGROUP), Path::new(PROC));
    assert_ne!(layout.mode, Mode::Missing, "this test needs a mounted control group hierarchy");
    let (resolver, hierarchy) = resolver();
    let generation = resolver.generation();

    let mount = layout.directory(&hierarchy).unwrap();
    let of_process = Group::create(mount, "process", "billing@eu.service/worker");
    // The kernel agrees that the directory is where the process lives.
    let sleeper = Sleeper::start();
    fs::write(of_process.path.join("cgroup.procs"), sleeper.0.id().to_string()).unwrap();
    let groups = fs::read_to_string(format!("{PROC}/{}/cgroup", sleeper.0.id())).unwrap();
    assert!(groups.contains("/billing@eu.service/worker"), "{groups}");

    let process = Process { cgroup: of_process.id(), name: "sleep".into() };
    let owner = Owner { netns: 0, cgroup: 1, process: Some(process), ambiguous: false };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let mut found = resolver.local(&owner);
    while &*found.workload != "billing@eu" && std::time::Instant::now() < deadline {
        // The walk at the start was a moment ago: the next one has to wait its turn.
        std::thread::sleep(std::time::Duration::from_millis(20));
        found = resolver.local(&owner);
    }
    assert_eq!((&*found.workload, &*found.process, found.kind), ("billing@eu", "sleep", Kind::Host));
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(&*found.node, hostname.trim());

    drop(sleeper);
    of_process.remove().unwrap();
    assert!(!of_process.path.exists());
    resolver.reload();
    // Another process name, so that the answer cannot come from the cache of owners.
    let process = Process { cgroup: owner.process.as_ref().unwrap().cgroup, name: "other".into() };
    let gone = resolver.local(&Owner { process: Some(process), ..owner });
    assert_eq!((&*gone.workload, &*gone.process), ("billing@eu", "other"));
    assert!(resolver.generation() >= generation);
}

#[test]
fn a_real_version_2_group_of_a_socket_is_named() {
    let layout = cgroup_layout(Path::new(CGROUP), Path::new(PROC));
    let unified = layout.unified.expect("this test needs version 2 mounted");
    let id = "3f8e9a0c41d25b7766aa1122334455667788990011223344aabbccddeeff0011";
    let group = Group::create(&unified, "socket", &format!("docker-{id}.scope"));
    let (resolver, _) = resolver();
    let owner = Owner { netns: 0, cgroup: group.id(), process: None, ambiguous: false };
    let found = resolver.local(&owner);
    assert_eq!((&*found.workload, &*found.container), ("docker:3f8e9a0c41d2", "docker:3f8e9a0c41d2"));
    if !layout.namespaced {
        assert_eq!(layout.root_id, Some(1));
    }
}

#[test]
fn the_hosts_own_addresses_are_known() {
    let (resolver, _) = resolver();
    for source in resolver.sources() {
        assert!(source.up, "{source:?}");
    }
    let node = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(&*resolver.remote("127.0.0.1".parse().unwrap(), Some(80)).workload, node.trim());
}
