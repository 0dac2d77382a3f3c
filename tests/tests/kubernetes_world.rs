// SPDX-License-Identifier: Apache-2.0
//! Proves the cluster of the other Kubernetes tests without the exporter: addresses, services, control groups, and that
//! nothing of it stays behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flowgauge_tests::api_server::objects::{self, Container, Part, ServicePort};
use flowgauge_tests::api_server::{Resource, Verb};
use flowgauge_tests::cgroup::Cgroup;
use flowgauge_tests::kubernetes::{Cluster, Driver, Kubelet, Node, Place, Pod, Qos, Runtime};
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::{Process, run};

const ANY: [&str; 2] = ["--listen", "[::]:8080"];

fn web(cluster: &Cluster, node: &Node) -> Result<(Pod, Server)> {
    let pod = cluster.run(node, objects::Pod::of_deployment("shop", "web"), Place::default())?;
    let server = Server::start(pod.main()?, &ANY)?;
    Ok((pod, server))
}

fn client(cluster: &Cluster, node: &Node) -> Result<Pod> {
    cluster.run(node, objects::Pod::of_deployment("shop", "front"), Place::default())
}

/// Connects and asks for bytes, all of which must come.
fn fetch(host: &Host, to: &str, connections: u64) -> Result<()> {
    let count = connections.to_string();
    let report = get(host, &["--to", to, "--connections", &count, "--receive", "1000"])?;
    ensure!(report.answered == connections && report.received == connections * 1000, "{to}: {report:?}");
    Ok(())
}

#[test]
fn pods_reach_pods_nodes_and_the_outside() -> Result<()> {
    let cluster = Cluster::new()?;
    let (near, _near_server) = web(&cluster, &cluster.a)?;
    let (far, _far_server) = web(&cluster, &cluster.b)?;
    let client = client(&cluster, &cluster.a)?;
    let (outside, link) = cluster.outside("outside")?;
    let _outside_server = Server::start(&outside, &["--listen", "[::]:9000"])?;
    let _node_server = Server::start(&cluster.b.host, &["--listen", "[::]:9001"])?;
    let from = client.main()?;
    let nodes = [format!("{}:9001", cluster.b.v4()), format!("[{}]:9001", cluster.b.v6())];
    let outsides = [link.b.at4(9000).to_string(), link.b.at6(9000).to_string()];
    for to in
        [near.at4(8080), near.at6(8080), far.at4(8080), far.at6(8080)].iter().chain(&nodes).chain(&outsides)
    {
        fetch(from, to, 2)?;
    }
    for to in [near.at4(8080), far.at6(8080)] {
        fetch(&cluster.a.host, &to, 1)?;
        fetch(&outside, &to, 1)?;
    }
    assert_eq!(cluster.api.count(Resource::Pods, Verb::List), 0);
    Ok(())
}

#[test]
fn services_lead_to_their_pods() -> Result<()> {
    let cluster = Cluster::new()?;
    let (near, mut near_server) = web(&cluster, &cluster.a)?;
    let (far, mut far_server) = web(&cluster, &cluster.b)?;
    let client = client(&cluster, &cluster.a)?;
    let port = ServicePort { node_port: Some(30080), ..ServicePort::tcp(80, 8080) };
    let service = cluster.cluster_ip("shop", "web", port, &[&near, &far])?;
    let [v4, v6] = [0, 1].map(|family| service.cluster_addresses[family]);
    let accepted = |one: &mut Server, other: &mut Server| {
        Ok::<_, anyhow::Error>((one.report()?.accepted, other.report()?.accepted))
    };
    fetch(client.main()?, &format!("{v4}:80"), 40)?;
    fetch(client.main()?, &format!("[{v6}]:80"), 40)?;
    let (here, there) = accepted(&mut near_server, &mut far_server)?;
    assert!(here > 10 && there > 10 && here + there == 80, "{here} and {there}");
    // A pod that calls its own service, a process of the node, and somebody from outside through any node.
    fetch(near.main()?, &format!("{v4}:80"), 20)?;
    fetch(near.main()?, &format!("[{v6}]:80"), 20)?;
    fetch(&cluster.b.host, &format!("{v4}:80"), 5)?;
    fetch(&cluster.a.host, "127.0.0.1:30080", 5)?;
    let (outside, _link) = cluster.outside("outside")?;
    fetch(&outside, &format!("{}:30080", cluster.a.v4()), 10)?;
    fetch(&outside, &format!("[{}]:30080", cluster.b.v6()), 10)?;
    let (here, there) = accepted(&mut near_server, &mut far_server)?;
    assert_eq!(here + there, 150);
    // Without endpoints it refuses, and without the service there is nobody.
    cluster.serve(&service, cluster.slices(&service, &[])?)?;
    let refused = get(client.main()?, &["--to", &format!("{v4}:80")])?;
    assert_eq!(refused.errors.keys().collect::<Vec<_>>(), ["ECONNREFUSED"], "{refused:?}");
    cluster.unserve(&service)?;
    let gone = get(client.main()?, &["--to", &format!("{v4}:80")])?;
    assert_eq!((gone.connected, gone.errors.len()), (0, 1), "{gone:?}");
    Ok(())
}

#[test]
fn pods_on_the_hosts_network_are_behind_the_nodes_address() -> Result<()> {
    let cluster = Cluster::new()?;
    let mut object = objects::Pod::of_daemon_set("kube-system", "agent");
    object.host_network = true;
    let agent = cluster.run(&cluster.b, object, Place::default())?;
    assert_eq!((agent.v4, agent.v6), (cluster.b.v4(), cluster.b.v6()));
    let _server = Server::start(agent.main()?, &["--listen", "[::]:9100"])?;
    let client = client(&cluster, &cluster.a)?;
    fetch(client.main()?, &agent.at4(9100), 3)?;
    fetch(client.main()?, &agent.at6(9100), 3)
}

/// Where a process is in the v2 hierarchy.
fn cgroup_of(process: &Process) -> Result<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", process.pid()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("0::/"));
    Ok(PathBuf::from(line.with_context(|| format!("no v2 hierarchy in {text:?}"))?))
}

fn sleeper(host: &Host) -> Result<Process> {
    Process::spawn("sleeper", host.command("sleep").arg("60"))
}

#[test]
fn containers_are_where_a_kubelet_puts_them() -> Result<()> {
    let cluster = Cluster::new()?;
    for driver in [Driver::Systemd, Driver::Cgroupfs] {
        for qos in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
            for runtime in [Runtime::Containerd, Runtime::Crio, Runtime::Docker] {
                let kubelet = Kubelet { driver, qos, runtime };
                let place = Place { kubelet, number: None };
                let mut object = objects::Pod::of_stateful_set("db", "postgres", 0);
                object.containers.push(Container::new("proxy", Part::Sidecar));
                let pod = cluster.run(&cluster.a, object, place)?;
                let uid = &pod.object.uid;
                for container in &pod.object.containers {
                    let process = sleeper(pod.container(&container.name)?)?;
                    assert_eq!(cgroup_of(&process)?, kubelet.container(uid, &container.id));
                }
                let pause = pod.process_group(&objects::hex(64))?;
                assert!(cgroup_of(&sleeper(&pause)?)?.starts_with(kubelet.pod(uid)));
                assert_eq!(cgroup_of(&sleeper(&pod.visitor()?)?)?, Path::new(""));
                drop(pause);
                let directory = Cgroup::root()?.join(kubelet.pod(uid));
                assert!(directory.is_dir());
                cluster.end(pod)?;
                assert!(!directory.exists(), "{} stays behind", directory.display());
            }
        }
    }
    let (object, _) = objects::Pod::of_static("kube-system", "etcd", "a");
    let mirror = cluster.run(&cluster.a, object, Place::default())?;
    let hash = &mirror.object.annotations["kubernetes.io/config.hash"];
    let place = cgroup_of(&sleeper(mirror.main()?)?)?;
    assert!(place.starts_with(Kubelet::default().pod(hash)), "{}", place.display());
    assert_ne!(hash.len(), mirror.object.uid.len());
    Ok(())
}

#[test]
fn an_address_comes_to_another_pod() -> Result<()> {
    let cluster = Cluster::new()?;
    let client = client(&cluster, &cluster.a)?;
    let (old, server) = web(&cluster, &cluster.b)?;
    let address = old.v4;
    fetch(client.main()?, &old.at4(8080), 1)?;
    drop(server);
    let new =
        cluster.replace(&cluster.b, old, objects::Pod::of_deployment("shop", "cart"), Place::default())?;
    assert_eq!(new.v4, address);
    let server = Server::start(new.main()?, &ANY)?;
    fetch(client.main()?, &new.at4(8080), 1)?;
    // By number, in a namespace made anew.
    let number = Some(address.octets()[3]);
    drop(server);
    cluster.end(new)?;
    let place = Place { number, ..Place::default() };
    let third = cluster.run(&cluster.b, objects::Pod::of_deployment("shop", "third"), place)?;
    assert_eq!(third.v4, address);
    let _server = Server::start(third.main()?, &ANY)?;
    fetch(client.main()?, &third.at4(8080), 1)?;
    fetch(client.main()?, &third.at6(8080), 1)
}

#[test]
fn the_exporter_takes_the_node_for_its_host() -> Result<()> {
    let cluster = Cluster::new()?;
    let exporter = cluster.exporter_unready(&cluster.a, &[])?;
    let pid = exporter.pid();
    let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
    let procfs = arguments.split('\0').find_map(|argument| argument.strip_prefix("--path.procfs="));
    let procfs = format!("/proc/{pid}/root{}", procfs.context("no --path.procfs")?);
    let addresses = fs::read_to_string(format!("{procfs}/1/net/fib_trie"))?;
    assert!(addresses.contains(&cluster.a.v4().to_string()), "{addresses}");
    assert!(!addresses.contains(&cluster.b.v4().to_string()), "{addresses}");
    let inode = |path: String| fs::read_link(&path).with_context(|| path);
    let namespace = run(cluster.a.host.command("readlink").arg("/proc/self/ns/net"))?;
    assert_eq!(inode(format!("{procfs}/1/ns/net"))?, Path::new(namespace.trim()));
    assert!(Path::new(&format!("{procfs}/{}/cgroup", std::process::id())).exists(), "all processes are seen");
    let procfs = procfs.rsplit_once("/root").map(|(_, path)| PathBuf::from(path)).context("no path")?;
    exporter.stop()?;
    assert!(!procfs.exists());
    Ok(())
}

/// What of this process's making is there: namespaces and pods' control groups.
fn present() -> Result<BTreeSet<String>> {
    let own = format!("fgt-{}-", std::process::id());
    let namespaces = run(Command::new("ip").args(["netns", "list"]))?;
    let namespaces = namespaces.lines().filter(|line| line.starts_with(&own)).map(str::to_owned);
    let uid = format!("{:08x}", std::process::id());
    let mut found: BTreeSet<String> = namespaces.collect();
    let mut directories = vec![Cgroup::root()?];
    while let Some(directory) = directories.pop() {
        // Groups of other tests come and go meanwhile: one that has gone holds nothing.
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = entry.path();
                if entry.file_name().to_string_lossy().contains(&format!("pod{uid}")) {
                    found.insert(path.to_string_lossy().into_owned());
                }
                directories.push(path);
            }
        }
    }
    Ok(found)
}

#[test]
fn nothing_stays_behind_even_after_a_panic() -> Result<()> {
    let seen = std::thread::spawn(|| {
        let cluster = Cluster::new().unwrap();
        let (_pod, _server) = web(&cluster, &cluster.a).unwrap();
        let seen = present().unwrap();
        assert!(seen.len() >= 4, "two nodes, a router, a pod and its control groups: {seen:?}");
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _pod = cluster.run(&cluster.b, objects::Pod::new("shop", "bare"), Place::default()).unwrap();
            panic!("on purpose");
        }));
        assert!(result.is_err());
        seen
    });
    let seen = seen.join().map_err(|_| anyhow::anyhow!("the world panicked"))?;
    // Other tests of this file wait for their turn in a world of their own; what they have made since is not meant.
    let left: Vec<_> = present()?.intersection(&seen).cloned().collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

#[test]
fn leftovers_of_dead_processes_are_removed() -> Result<()> {
    // No process can have this id, 4999999: it is above the kernel's own maximum.
    let uid = "004c4b3f-0001-4f10-8e6a-f10e6a6e7e57";
    let mut left = Vec::new();
    for driver in [Driver::Systemd, Driver::Cgroupfs] {
        let path = Kubelet { driver, ..Kubelet::default() }.container(uid, &objects::hex(64));
        let path = Cgroup::root()?.join(path);
        fs::create_dir_all(&path)?;
        left.push(path.parent().context("a container is in a pod")?.to_owned());
    }
    // The sweep runs at a process's first world only: ask a fresh process for one.
    let again = ["nothing_stays_behind_even_after_a_panic", "--exact"];
    run(Command::new(std::env::current_exe()?).args(again))?;
    left.retain(|path| path.exists());
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}
