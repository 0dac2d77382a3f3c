// SPDX-License-Identifier: Apache-2.0
//! Pods, as their controllers make them.

mod json;

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::{Owner, Pairs, hex, suffix, uid};

/// Where in a pod a container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `containers`
    Main,
    /// `initContainers`; over before the others begin
    Init,
    /// `initContainers` with `restartPolicy: Always`: a native sidecar
    Sidecar,
    /// `ephemeralContainers`: somebody is looking what is wrong
    Ephemeral,
}

/// A container of a pod.
#[derive(Debug, Clone)]
pub struct Container {
    /// `name`
    pub name: String,
    /// The runtime's id, 64 hexadecimal digits; empty as long as it does not run.
    pub id: String,
    /// Where it stands.
    pub part: Part,
    /// `ports[].containerPort`
    pub ports: Vec<u16>,
}

impl Container {
    /// A running container.
    pub fn new(name: &str, part: Part) -> Self {
        Container { name: name.to_owned(), id: hex(64), part, ports: Vec::new() }
    }
}

/// A pod. One that runs, with one container called `main`, unless made otherwise.
#[derive(Debug, Clone)]
pub struct Pod {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.labels`
    pub labels: Pairs,
    /// `metadata.annotations`
    pub annotations: Pairs,
    /// `metadata.ownerReferences`: the controller
    pub owner: Option<Owner>,
    /// `spec.nodeName`; empty as long as it is not scheduled
    pub node: String,
    /// `spec.hostNetwork`
    pub host_network: bool,
    /// `status.podIPs`
    pub addresses: Vec<IpAddr>,
    /// `status.phase`
    pub phase: &'static str,
    /// `metadata.deletionTimestamp` is set.
    pub terminating: bool,
    /// All containers.
    pub containers: Vec<Container>,
    /// The runtime's name in `containerID`: `containerd`, `cri-o`, `docker`.
    pub runtime: &'static str,
    /// How long ago it was made.
    pub age: Duration,
}

impl Pod {
    /// A pod without a controller.
    pub fn new(namespace: &str, name: &str) -> Self {
        Pod {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid(),
            labels: Pairs::new(),
            annotations: Pairs::new(),
            owner: None,
            node: String::new(),
            host_network: false,
            addresses: Vec::new(),
            phase: "Running",
            terminating: false,
            containers: vec![Container::new("main", Part::Main)],
            runtime: "containerd",
            age: Duration::from_secs(600),
        }
    }

    fn owned(
        namespace: &str,
        name: &str,
        api_version: &'static str,
        kind: &'static str,
        owner: &str,
    ) -> Self {
        let owner = Some(Owner { api_version, kind, name: owner.to_owned() });
        Pod { owner, ..Self::new(namespace, name) }
    }

    /// Of a Deployment: its ReplicaSet is named after the hash of the template.
    pub fn of_deployment(namespace: &str, deployment: &str) -> Self {
        Self::of_replica_set(namespace, deployment, &format!("{}{}", suffix(5), suffix(5)))
    }

    /// The same with a known hash: pods of one ReplicaSet share it.
    pub fn of_replica_set(namespace: &str, deployment: &str, hash: &str) -> Self {
        let set = format!("{deployment}-{hash}");
        let mut pod = Self::owned(namespace, &format!("{set}-{}", suffix(5)), "apps/v1", "ReplicaSet", &set);
        pod.labels.insert("app".to_owned(), deployment.to_owned());
        pod.labels.insert("pod-template-hash".to_owned(), hash.to_owned());
        pod
    }

    /// Of a StatefulSet.
    pub fn of_stateful_set(namespace: &str, set: &str, ordinal: u32) -> Self {
        let name = format!("{set}-{ordinal}");
        let mut pod = Self::owned(namespace, &name, "apps/v1", "StatefulSet", set);
        pod.labels.insert("statefulset.kubernetes.io/pod-name".to_owned(), name);
        pod.labels.insert("apps.kubernetes.io/pod-index".to_owned(), ordinal.to_string());
        pod
    }

    /// Of a DaemonSet.
    pub fn of_daemon_set(namespace: &str, set: &str) -> Self {
        let mut pod = Self::owned(namespace, &format!("{set}-{}", suffix(5)), "apps/v1", "DaemonSet", set);
        pod.labels.insert("controller-revision-hash".to_owned(), hex(10));
        pod
    }

    /// Of a Job.
    pub fn of_job(namespace: &str, job: &str) -> Self {
        let mut pod = Self::owned(namespace, &format!("{job}-{}", suffix(5)), "batch/v1", "Job", job);
        pod.labels.insert("job-name".to_owned(), job.to_owned());
        pod.labels.insert("batch.kubernetes.io/job-name".to_owned(), job.to_owned());
        pod
    }

    /// Of a CronJob: the Job in between is named after the minute of its schedule.
    pub fn of_cron_job(namespace: &str, cron_job: &str) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let minute = (since.as_secs() / 60).saturating_sub(10);
        Self::of_job(namespace, &format!("{cron_job}-{minute}"))
    }

    /// The mirror of a static pod: its name ends in the node's, and the kubelet knows it by another uid, which is
    /// returned too.
    pub fn of_static(namespace: &str, name: &str, node: &str) -> (Self, String) {
        let hash = hex(32);
        let mut pod = Self::owned(namespace, &format!("{name}-{node}"), "v1", "Node", node);
        pod.node = node.to_owned();
        for key in ["hash", "mirror"] {
            pod.annotations.insert(format!("kubernetes.io/config.{key}"), hash.clone());
        }
        pod.annotations.insert("kubernetes.io/config.source".to_owned(), "file".to_owned());
        (pod, hash)
    }

    /// The first container's id.
    pub fn container_id(&self) -> &str {
        self.containers.first().map_or("", |container| &container.id)
    }
}
