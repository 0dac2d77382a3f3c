// SPDX-License-Identifier: Apache-2.0
//! Owners in the pods of a cluster.

use super::*;
use crate::kubernetes::cluster::PodScope;
use crate::kubernetes::objects::{Container, Pod};

const UID: &str = "6f1f0b6e-0c5a-4f2f-9f0e-3a4b5c6d7e8f";
const OTHER: &str = "aaaaaaaa-0c5a-4f2f-9f0e-3a4b5c6d7e8f";
const HOST_NETNS: u32 = 1;

struct Node {
    host: Host,
    cluster: Arc<Cluster>,
    names: LocalNames,
}

impl Node {
    /// With the groups of these pods' containers, that must be there before names are asked.
    fn new(files: &[&str], before: impl FnOnce(&Host) -> Vec<u64>) -> (Node, Vec<u64>) {
        let host = Host::new(files);
        process(&host, 1, HOST_NETNS, "0::/init.scope\n");
        let ids = before(&host);
        let proxies = vec!["istio-proxy".to_owned()];
        let cluster = Arc::new(Cluster::new("node-a", PodScope::Cluster, proxies));
        let names = host.names_with(Some(cluster.clone()));
        (Node { host, cluster, names }, ids)
    }

    fn ask(&self, cgroup: u64, netns: u32) -> Identity {
        self.names.name(&Owner { netns, ..owner(cgroup, Some((cgroup, "nginx"))) }).0.identity
    }

    fn pod(&self, pod: Pod) {
        self.cluster.node_pods().applied(pod);
    }
}

fn process(host: &Host, pid: u32, netns: u32, cgroup: &str) {
    let dir = host.dir.path().join(format!("proc/{pid}"));
    fs::create_dir_all(dir.join("ns")).unwrap();
    std::os::unix::fs::symlink(format!("net:[{netns}]"), dir.join("ns/net")).unwrap();
    fs::write(dir.join("cgroup"), cgroup).unwrap();
}

fn web(uid: &str) -> Pod {
    let container =
        |name: &str, id: &str| Container { name: name.to_owned(), id: id.to_owned(), lasting: true };
    Pod {
        uid: uid.to_owned(),
        namespace: "shop".to_owned(),
        name: "web-1".to_owned(),
        workload: "web".to_owned(),
        node: "node-a".to_owned(),
        ips: vec!["10.0.0.1".parse().unwrap()],
        containers: vec![container("app", ID), container("istio-proxy", &ID.replace('3', "4"))],
        ..Pod::default()
    }
}

fn brief(found: &Identity) -> String {
    let Identity { kind, namespace, workload, pod, container, node, process, .. } = found;
    format!("{} {namespace}/{workload} {pod} {container} {node} {process}", kind.as_str())
}

const CGROUPFS: &str = "kubepods/burstable/pod6f1f0b6e-0c5a-4f2f-9f0e-3a4b5c6d7e8f/<id>";

#[test]
fn by_the_containers_group_of_every_driver_and_class() {
    let pod = "pod6f1f0b6e_0c5a_4f2f_9f0e_3a4b5c6d7e8f.slice";
    let paths = [
        CGROUPFS.to_owned(),
        "kubepods/pod6f1f0b6e-0c5a-4f2f-9f0e-3a4b5c6d7e8f/crio-<id>".to_owned(),
        format!("kubepods.slice/kubepods-{pod}/cri-containerd-<id>.scope"),
        format!("kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-{pod}/crio-<id>.scope"),
        format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-{pod}/docker-<id>.scope"),
        format!("system.slice/containerd.service/kubepods-burstable-{pod}:cri-containerd:<id>"),
    ];
    for files in
        [&["cgroup.controllers"][..], &["unified/cgroup.controllers", "memory/tasks"], &["pids/tasks"]]
    {
        let root = match files {
            ["cgroup.controllers"] => "",
            ["pids/tasks"] => "pids/",
            _ => "memory/",
        };
        let (node, ids) =
            Node::new(files, |host| paths.iter().map(|path| host.group(&format!("{root}{path}"))).collect());
        node.pod(web(UID));
        for (path, id) in paths.iter().zip(ids) {
            let cgroup = if root.is_empty() { id } else { 0 };
            let owner = Owner { netns: 7, ..owner(cgroup, Some((id, "nginx"))) };
            let found = node.names.name(&owner).0.identity;
            assert_eq!(brief(&found), "pod shop/web web-1 app node-a nginx", "{root}{path}");
        }
    }
}

#[test]
fn a_pod_that_is_not_known_yet_is_awaited() {
    let (node, ids) = Node::new(&["cgroup.controllers"], |host| {
        vec![host.group(CGROUPFS), host.group("system.slice/sshd.service")]
    });
    let fallback = node.ask(ids[0], 7);
    assert_eq!((fallback.kind, &*fallback.workload), (Kind::Host, "container:3f8e9a0c41d2"));
    node.ask(ids[1], HOST_NETNS);
    let changes = node.cluster.changes();
    let since = changes.generation();
    node.pod(Pod { containers: Vec::new(), ..web(UID) });
    assert!(changes.is_stale(since, &[Subject::Cgroup(ids[0])]));
    assert!(!changes.is_stale(since, &[Subject::Cgroup(ids[1])]), "no concern of others");
    assert_eq!(brief(&node.ask(ids[0], 7)), "pod shop/web web-1  node-a nginx");
    node.pod(web(UID));
    assert_eq!(brief(&node.ask(ids[0], 7)), "pod shop/web web-1 app node-a nginx");
    node.cluster.node_pods().deleted(web(UID));
    assert_eq!(brief(&node.ask(ids[0], 7)), "pod shop/web web-1 app node-a nginx", "departed");
}

#[test]
fn sidecars_and_pause_containers() {
    let proxy = CGROUPFS.replace("<id>", &ID.replace('3', "4"));
    let pause = CGROUPFS.replace("<id>", &"e".repeat(64));
    let (node, ids) = Node::new(&["cgroup.controllers"], |host| {
        vec![
            host.group(CGROUPFS),
            host.group(&proxy),
            host.group(&pause),
            host.group(CGROUPFS.trim_end_matches("/<id>")),
        ]
    });
    node.pod(web(UID));
    let found: Vec<_> = ids
        .iter()
        .map(|id| node.ask(*id, 7))
        .map(|found| (found.container.to_string(), found.sidecar))
        .collect();
    let expected = [("app", false), ("istio-proxy", true), ("", false), ("", false)];
    assert_eq!(found, expected.map(|(name, sidecar)| (name.to_owned(), sidecar)));
}

#[test]
fn the_runtimes_files_name_a_container_whose_status_is_late() {
    let (node, ids) = Node::new(&["cgroup.controllers"], |host| {
        let bundle = host.dir.path().join("run/containerd/io.containerd.runtime.v2.task/k8s.io").join(ID);
        fs::create_dir_all(&bundle).unwrap();
        let json = r#"{"annotations":{"io.kubernetes.cri.container-name":"istio-proxy","io.kubernetes.cri.sandbox-name":"web-1"}}"#;
        fs::write(bundle.join("config.json"), json).unwrap();
        vec![host.group(CGROUPFS)]
    });
    let mut pod = web(UID);
    pod.containers.iter_mut().for_each(|container| container.id.clear());
    node.pod(pod);
    let found = node.ask(ids[0], 7);
    assert_eq!((&*found.container, found.sidecar), ("istio-proxy", true));
}

#[test]
fn pods_on_the_hosts_network_by_group_alone() {
    let (node, ids) = Node::new(&["cgroup.controllers"], |host| {
        vec![host.group(CGROUPFS), host.group("system.slice/sshd.service")]
    });
    node.pod(Pod { host_network: true, ..web(UID) });
    assert_eq!(brief(&node.ask(ids[0], HOST_NETNS)), "pod shop/web web-1 app node-a nginx");
    let ssh = node.ask(ids[1], HOST_NETNS);
    assert_eq!((ssh.kind, &*ssh.workload, &*ssh.pod), (Kind::Host, "sshd", ""));
    // Not even if processes say that a namespace is that pod's.
    process(&node.host, 50, 70, &format!("0::/kubepods/pod{UID}/x\n"));
    assert_eq!(&*node.ask(ids[1], 70).workload, "sshd");
    assert_eq!(node.names.within(70), None);
    assert!(node.names.is_on_host(HOST_NETNS) && !node.names.is_on_host(70));
}

#[test]
fn by_network_namespace() {
    let (node, ids) = Node::new(&["cgroup.controllers"], |host| {
        process(host, 50, 70, &format!("0::/kubepods/pod{UID}/{ID}\n"));
        process(host, 51, 80, &format!("0::/kubepods/pod{OTHER}/{ID}\n"));
        vec![host.group("system.slice/containerd.service"), host.group(CGROUPFS)]
    });
    node.pod(web(UID));
    // What CNI plugins and the kernel open.
    assert_eq!(brief(&node.ask(ids[0], 70)), "pod shop/web web-1  node-a nginx");
    let kernel = node.names.name(&Owner { netns: 70, ..owner(0, None) }).0;
    assert_eq!(brief(&kernel.identity), "pod shop/web web-1  node-a ");
    assert_eq!(kernel.pod, Some(Uid::parse(UID)));
    assert_eq!(brief(&node.names.within(70).unwrap()), "pod shop/web web-1  node-a ");
    assert_eq!(&*node.ask(ids[0], HOST_NETNS).workload, "containerd");
    assert_eq!(node.names.within(HOST_NETNS), None);
    // That pod is not known to the API yet.
    assert_eq!(&*node.ask(ids[0], 80).workload, "containerd");
    let since = node.cluster.changes().generation();
    node.pod(Pod { name: "api-1".to_owned(), workload: "api".to_owned(), ..web(OTHER) });
    assert!(node.cluster.changes().is_stale(since, &[Subject::Netns(80)]));
    assert_eq!(brief(&node.ask(ids[0], 80)), "pod shop/api api-1  node-a nginx");
    assert!(node.names.netns_status().unwrap().up);
}

#[test]
fn a_namespace_is_learned_from_a_pods_own_sockets() {
    let (node, ids) = Node::new(&["cgroup.controllers"], |host| vec![host.group(CGROUPFS)]);
    node.pod(web(UID));
    assert_eq!(node.names.within(70), None);
    let since = node.cluster.changes().generation();
    node.ask(ids[0], 70);
    assert!(node.cluster.changes().is_stale(since, &[Subject::Netns(70)]), "it was asked about");
    assert_eq!(&*node.names.within(70).unwrap().workload, "web");
}

#[test]
fn cached_answers_of_pods_are_fast_while_others_change() {
    let (node, ids) = Node::new(&["cgroup.controllers"], |host| vec![host.group(CGROUPFS)]);
    node.pod(web(UID));
    let owner = Owner { netns: 7, ..owner(ids[0], Some((ids[0], "nginx"))) };
    let changes = node.cluster.changes();
    let round = |number: u32| {
        changes.mark([Subject::Cgroup(u64::from(number) + 1_000_000)]);
        let start = std::time::Instant::now();
        for _ in 0..1000 {
            assert_eq!(&*std::hint::black_box(node.names.name(&owner)).0.identity.workload, "web");
        }
        start.elapsed() / 1000
    };
    let best = (0..20).map(round).min().unwrap();
    let limit = if cfg!(debug_assertions) { 20 } else { 2 };
    assert!(best.as_micros() < limit, "{best:?}");
}
