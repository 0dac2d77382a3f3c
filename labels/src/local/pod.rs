// SPDX-License-Identifier: Apache-2.0
//! Local sockets of pods: by the container's control group, else by the network namespace.

use std::path::Path as FilePath;
use std::sync::Arc;

use super::{CacheKey, LocalNames, Named, Place, better};
use crate::changes::Subject;
use crate::identity::Identity;
use crate::kubernetes::cluster::{Cluster, ContainerHint, Uid};
use crate::pod_netns::PodNetns;
use crate::process::process_name;
use crate::status::SourceStatus;

/// The pods of this node, as the Kubernetes API tells of them.
#[derive(Debug)]
pub(crate) struct LocalPods {
    cluster: Arc<Cluster>,
    netns: PodNetns,
}

impl LocalPods {
    pub fn new(procfs: &FilePath, cluster: Arc<Cluster>) -> Self {
        LocalPods { cluster, netns: PodNetns::new(procfs) }
    }

    /// Reads which pods the network namespaces are of, if it is time.
    pub fn refresh(&self) {
        self.cluster.changes().mark(self.netns.refresh());
    }

    /// Makes the next refresh read.
    pub fn expire(&self) {
        self.netns.expire();
    }

    fn is_alive(&self, uid: Uid) -> bool {
        self.cluster.is_alive(uid)
    }

    /// The pod that a network namespace is of.
    fn in_netns(&self, netns: u32) -> Option<(Uid, Identity)> {
        let (found, changed) = self.netns.look_up(netns, &|uid| self.is_alive(uid));
        self.cluster.changes().mark(changed);
        let uid = found?;
        let pod = self.cluster.local_pod(uid, None, [Subject::Netns(netns)])?;
        (!pod.host_network).then_some((uid, pod.identity))
    }
}

impl LocalNames {
    /// The pod of an owner, if its control group or network namespace leads to one that the API knows.
    pub(super) fn of_pod(
        &self,
        key: &CacheKey,
        own: Option<&Place>,
        of_process: Option<&Place>,
    ) -> Option<Named> {
        let pods = self.pods.as_ref()?;
        let best = better(own, of_process);
        let (uid, identity) = match best.and_then(|place| place.pod) {
            Some(uid) => {
                let container = best.and_then(|place| place.path.container.as_ref());
                let name = best.and_then(|place| place.container.as_ref()).map(|name| name.workload.as_str());
                let hint = container.map(|container| ContainerHint { id: &container.id, name });
                let groups = [key.cgroup, key.process_cgroup].into_iter().filter(|group| *group != 0);
                let pod = pods.cluster.local_pod(uid, hint, groups.map(Subject::Cgroup))?;
                if !pod.host_network && pods.netns.learn(key.netns, uid, &|uid| pods.is_alive(uid)) {
                    pods.cluster.changes().mark([Subject::Netns(key.netns)]);
                }
                (uid, pod.identity)
            }
            None => pods.in_netns(key.netns)?,
        };
        let process = key.comm.as_deref().and_then(process_name);
        let process = process.map_or_else(|| self.words.empty.clone(), Arc::from);
        let node = if identity.node.is_empty() { self.node.clone() } else { identity.node };
        Some(Named { identity: Identity { process, node, ..identity }, pod: Some(uid) })
    }

    /// The pod that a network namespace is of.
    pub fn within(&self, netns: u32) -> Option<Identity> {
        let (_, identity) = self.pods.as_ref()?.in_netns(netns)?;
        Some(identity)
    }

    /// True for the network namespace of the host itself.
    pub fn is_on_host(&self, netns: u32) -> bool {
        self.pods.as_ref().is_some_and(|pods| pods.netns.is_host(netns))
    }

    /// How the network namespaces are doing, if there is a cluster.
    pub fn netns_status(&self) -> Option<SourceStatus> {
        self.pods.as_ref().map(|pods| pods.netns.status())
    }
}
