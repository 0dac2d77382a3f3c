// SPDX-License-Identifier: Apache-2.0
//! Owners in hierarchies of directories: their inodes are the ids, so that everything runs as on a host.

mod pods;

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::*;
use crate::cgroup::cgroup_layout;
use crate::kubernetes::cluster::Cluster;
use crate::{Identity, Process};

const ID: &str = "3f8e9a0c41d25b7766aa1122334455667788990011223344aabbccddeeff0011";

struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    /// `files` mark the hierarchies: `cgroup.controllers` for version 2, `<controller>/tasks` for version 1.
    fn new(files: &[&str]) -> Self {
        let host = Host { dir: tempfile::tempdir().unwrap() };
        for file in files {
            let file = host.root().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        host
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("cgroup")
    }

    fn group(&self, path: &str) -> u64 {
        let path = self.root().join(path.replace("<id>", ID));
        fs::create_dir_all(&path).unwrap();
        fs::metadata(&path).unwrap().ino()
    }

    fn names(&self) -> LocalNames {
        self.names_with(None)
    }

    fn names_with(&self, cluster: Option<Arc<Cluster>>) -> LocalNames {
        let changes = cluster.as_ref().map_or_else(Arc::default, |cluster| cluster.changes().clone());
        let pods = cluster.map(|cluster| LocalPods::new(&self.dir.path().join("proc"), cluster));
        let layout = cgroup_layout(&self.root(), self.dir.path());
        LocalNames::new(&layout, layout.process_hierarchy(), self.dir.path(), "node1".into(), pods, changes)
    }
}

fn owner(cgroup: u64, process: Option<(u64, &str)>) -> Owner {
    let process = process.map(|(cgroup, name)| Process { cgroup, name: name.into() });
    Owner { netns: 1, cgroup, process, ambiguous: false }
}

fn name(names: &LocalNames, cgroup: u64, process: Option<(u64, &str)>) -> Identity {
    names.name(&owner(cgroup, process)).0.identity
}

fn workload(names: &LocalNames, cgroup: u64, process: Option<(u64, &str)>) -> String {
    name(names, cgroup, process).workload.to_string()
}

#[test]
fn unified() {
    let host = Host::new(&["cgroup.controllers"]);
    let root = host.group("");
    let nginx = host.group("system.slice/nginx.service");
    let docker = host.group("system.slice/docker-<id>.scope");
    let session = host.group("user.slice/user-1000.slice/session-3.scope");
    let batch = host.group("batch.slice");
    let init = host.group("init.scope");
    let jobs = host.group("jobs");
    let transient = host.group("system.slice/run-u7.service");
    let machine = host.group("lxc.payload.box");
    let inside = host.group("lxc.payload.box/system.slice/caddy.service");
    let names = host.names();

    let found = name(&names, nginx, Some((nginx, "nginx")));
    assert_eq!(
        (&*found.workload, &*found.process, &*found.node, found.kind),
        ("nginx", "nginx", "node1", Kind::Host)
    );
    assert_eq!((&*found.container, &*found.namespace, &*found.zone, &*found.service), ("", "", "", ""));
    assert_eq!(workload(&names, nginx, None), "nginx");
    let found = name(&names, docker, Some((docker, "java")));
    assert_eq!(
        (&*found.workload, &*found.container, &*found.process),
        ("docker:3f8e9a0c41d2", "docker:3f8e9a0c41d2", "java")
    );
    let found = name(&names, session, Some((session, "curl")));
    assert_eq!((&*found.workload, &*found.process), ("user-1000.slice", "curl"));
    assert_eq!(workload(&names, batch, Some((batch, "x"))), "batch.slice");
    assert_eq!(workload(&names, init, Some((init, "systemd"))), "systemd");
    assert_eq!(workload(&names, root, Some((root, "dnsmasq"))), "dnsmasq");
    assert_eq!(workload(&names, root, None), "unknown");
    assert_eq!(workload(&names, 0, None), "unknown");
    assert_eq!(workload(&names, 1, None), "unknown");
    assert_eq!(names.status().misses, 0, "the root is not missing");
    assert_eq!(workload(&names, jobs, Some((jobs, "worker"))), "worker");
    assert_eq!(workload(&names, jobs, None), "jobs");
    assert_eq!(workload(&names, transient, Some((transient, "rsync"))), "rsync");
    assert_eq!(workload(&names, transient, None), "run");
    let found = name(&names, machine, None);
    assert_eq!((&*found.workload, &*found.container), ("box", "box"));
    let found = name(&names, inside, None);
    assert_eq!((&*found.workload, &*found.container), ("caddy", "box"));
}

#[test]
fn the_more_telling_of_two_groups_is_believed() {
    let host = Host::new(&["unified/cgroup.controllers", "memory/tasks", "pids/tasks"]);
    let v2_docker_service = host.group("unified/system.slice/docker.service");
    let v2_root = host.group("unified");
    let v1_container = host.group("memory/docker/<id>");
    let v1_unit = host.group("memory/system.slice/redis.service");
    let v1_directory = host.group("memory/somewhere/0123456789abcdef");
    let names = host.names();
    assert_eq!(workload(&names, v2_docker_service, Some((v1_container, "java"))), "docker:3f8e9a0c41d2");
    assert_eq!(workload(&names, v2_docker_service, Some((v1_directory, "dockerd"))), "docker");
    assert_eq!(workload(&names, v2_root, Some((v1_unit, "redis-server"))), "redis");
    assert_eq!(workload(&names, v2_root, Some((v1_directory, "nginx"))), "nginx");
    assert_eq!(
        workload(&names, v2_root, Some((v1_directory, ""))),
        "unknown",
        "a process group's directory is no name"
    );
    assert_eq!(workload(&names, v2_root, Some((0, "kworker/3:1"))), "kworker");
    assert!(names.status().up);
    assert!(names.status().detail.starts_with("hybrid, "), "{}", names.status().detail);
}

#[test]
fn legacy_host_with_pids_alone() {
    let host = Host::new(&["pids/tasks"]);
    let unit = host.group("pids/system.slice/cron.service");
    let names = host.names();
    assert_eq!(workload(&names, 1, Some((unit, "cron"))), "cron");
    assert_eq!(workload(&names, 1, Some((u64::MAX, "gone"))), "gone");
}

#[test]
fn ids_of_a_version_1_process_are_not_looked_for_in_version_2() {
    let host = Host::new(&["cgroup.controllers"]);
    let unit = host.group("system.slice/nginx.service");
    let layout = cgroup_layout(&host.root(), host.dir.path());
    let names = LocalNames::new(
        &layout,
        ProcessHierarchy::V1("memory"),
        host.dir.path(),
        "".into(),
        None,
        Arc::default(),
    );
    assert_eq!(names.name(&owner(0, Some((unit, "curl")))).0.identity.workload.as_ref(), "curl");
}

#[test]
fn shared_listeners_are_ambiguous_unless_the_group_names_them() {
    let host = Host::new(&["unified/cgroup.controllers", "memory/tasks"]);
    let unit = host.group("memory/system.slice/web.service");
    let directory = host.group("memory/plain");
    let session = host.group("unified/user.slice/user-7.slice/session-1.scope");
    let named = host.group("unified/farm");
    let names = host.names();
    let ask = |cgroup, process: Option<(u64, &str)>| {
        names.name(&Owner { ambiguous: true, ..owner(cgroup, process) }).0.identity.workload.to_string()
    };
    assert_eq!(ask(0, None), "ambiguous");
    assert_eq!(ask(0, Some((directory, "a"))), "ambiguous");
    assert_eq!(ask(0, Some((unit, "a"))), "web");
    assert_eq!(ask(session, None), "user-7.slice");
    assert_eq!(ask(named, None), "farm");
}

#[test]
fn containers_are_named_when_they_are_seen_and_after_they_have_gone() {
    let host = Host::new(&["cgroup.controllers"]);
    let names = host.names();
    let config = host.dir.path().join("var/lib/docker/containers").join(ID);
    fs::create_dir_all(&config).unwrap();
    let labels = r#"{"Name":"/shop-web-1","Config":{"Labels":{"com.docker.compose.service":"web","com.docker.compose.project":"shop"}}}"#;
    fs::write(config.join("config.v2.json"), labels).unwrap();
    let id = host.group("system.slice/docker-<id>.scope");
    names.expire();
    names.refresh();
    fs::remove_dir_all(&config).unwrap();
    fs::remove_dir(host.root().join(format!("system.slice/docker-{ID}.scope"))).unwrap();
    names.expire();
    names.refresh();
    let found = name(&names, id, None);
    assert_eq!((&*found.workload, &*found.namespace, &*found.container), ("web", "shop", "shop-web-1"));
    assert!(names.status().detail.contains("1 departed remembered"));
}

#[test]
fn a_group_that_is_found_late_outdates_the_answer() {
    let host = Host::new(&["cgroup.controllers"]);
    let names = host.names();
    assert_eq!(workload(&names, u64::MAX, Some((u64::MAX, "early"))), "early");
    let id = host.group("system.slice/late.service");
    assert_eq!(workload(&names, id, Some((id, "early"))), "early", "walked a moment ago");
    names.expire();
    let (found, _) = names.name(&owner(id, Some((id, "early"))));
    assert_eq!(&*found.identity.workload, "late");
    assert_eq!(names.status().misses, 4);
}

#[test]
fn no_hierarchy_at_all() {
    let host = Host::new(&[]);
    let names = host.names();
    assert_eq!(workload(&names, 5, Some((6, "nginx"))), "nginx");
    let status = names.status();
    assert!(!status.up && status.detail.contains("named by process"));
}

#[test]
fn cached_answers_are_fast() {
    let host = Host::new(&["cgroup.controllers"]);
    let id = host.group("system.slice/nginx.service");
    let names = host.names();
    let owner = owner(id, Some((id, "nginx")));
    let first = names.name(&owner).0.identity;
    let best = (0..20)
        .map(|_| {
            let start = std::time::Instant::now();
            for _ in 0..1000 {
                assert_eq!(std::hint::black_box(names.name(&owner)).0.identity.workload, first.workload);
            }
            start.elapsed() / 1000
        })
        .min()
        .unwrap();
    // 2 µs in a release build; debug builds are some ten times slower.
    let limit = if cfg!(debug_assertions) { 20 } else { 2 };
    assert!(best.as_micros() < limit, "{best:?}");
    println!("{best:?} an answer");
}

#[test]
fn paths_from_the_kernel_count_where_its_own_root_is_mounted() {
    let host = Host::new(&["cgroup.controllers"]);
    let mut names = host.names();
    assert!(!names.learn(u64::MAX, true, "/system.slice/brief.service"));
    assert_eq!(workload(&names, u64::MAX, Some((0, "worker"))), "worker", "another root: ignored");
    names.whole = (true, true);
    assert!(names.learn(u64::MAX, true, "/system.slice/brief.service"), "it was asked for before");
    assert_eq!(workload(&names, u64::MAX, Some((0, "worker"))), "brief");
    assert!(!names.learn(u64::MAX - 1, false, "/docker/x"), "version 1 is not mounted");
    assert_eq!(workload(&names, u64::MAX - 1, Some((0, "worker"))), "worker");
}

#[test]
fn paths_from_the_kernel_name_processes_of_version_1() {
    let host = Host::new(&["unified/cgroup.controllers", "memory/tasks"]);
    let mut names = host.names();
    names.whole = (true, true);
    names.learn(u64::MAX, false, "/system.slice/brief.service");
    assert_eq!(workload(&names, 0, Some((u64::MAX, "worker"))), "brief");
    assert_eq!(
        workload(&names, u64::MAX, Some((0, "worker"))),
        "worker",
        "the same id of version 2 is another"
    );
}
