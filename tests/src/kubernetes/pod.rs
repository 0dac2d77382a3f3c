// SPDX-License-Identifier: Apache-2.0
//! A running pod: its network namespace and its containers' control groups.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};

use super::kubelet::Kubelet;
use crate::api_server::objects;
use crate::cgroup::Cgroup;
use crate::netns::Host;

/// How and where a pod is run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place {
    /// Its control groups.
    pub kubelet: Kubelet,
    /// The number of its address in the node's range; the next that nobody had if absent.
    pub number: Option<u8>,
}

/// A pod's network namespace. Its addresses are the node's, if the pod is on the host's network.
#[derive(Debug)]
pub(super) struct Sandbox {
    pub host: Host,
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
}

/// A pod that runs on a node. Dropping it ends what is left of its processes; the API server is not told.
#[derive(Debug)]
pub struct Pod {
    /// What the API server says of it.
    pub object: objects::Pod,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
    /// The uid in its control groups' names; another than the API's for static pods.
    uid: String,
    kubelet: Kubelet,
    containers: Vec<Host>,
    pub(super) sandbox: Arc<Sandbox>,
}

impl Pod {
    /// Makes the control groups of a pod in a namespace that is there.
    pub(super) fn new(
        sandbox: Arc<Sandbox>,
        mut object: objects::Pod,
        uid: String,
        kubelet: Kubelet,
    ) -> Result<Self> {
        let (v4, v6) = (sandbox.v4, sandbox.v6);
        object.addresses = vec![v4.into(), v6.into()];
        object.runtime = kubelet.runtime.scheme();
        let mut pod = Pod { object, v4, v6, uid, kubelet, containers: Vec::new(), sandbox };
        let running: Vec<_> =
            pod.object.containers.iter().filter(|container| !container.id.is_empty()).collect();
        pod.containers =
            running.iter().map(|container| pod.process_group(&container.id)).collect::<Result<_>>()?;
        Ok(pod)
    }

    /// A container's host: processes started in it are in the container's control group and the pod's namespace.
    pub fn container(&self, name: &str) -> Result<&Host> {
        let running = self.object.containers.iter().filter(|container| !container.id.is_empty());
        let found = running.zip(&self.containers).find(|(container, _)| container.name == name);
        found
            .map(|(_, host)| host)
            .with_context(|| format!("{} has no running container {name}", self.object.name))
    }

    /// The first container's host.
    pub fn main(&self) -> Result<&Host> {
        self.containers.first().with_context(|| format!("{} has no running container", self.object.name))
    }

    /// A control group of this pod that the API server does not know as a container: the pause container's, or that
    /// of a container whose start has not been told yet.
    pub fn process_group(&self, id: &str) -> Result<Host> {
        let cgroup = Cgroup::nested(&self.kubelet.container(&self.uid, id))?;
        Ok(self.sandbox.host.beside(&self.object.name, cgroup))
    }

    /// Somebody from outside the pod who has entered its network namespace only.
    pub fn visitor(&self) -> Result<Host> {
        self.sandbox.host.visitor()
    }

    /// `port` on its IPv4 address.
    pub fn at4(&self, port: u16) -> String {
        SocketAddr::new(self.v4.into(), port).to_string()
    }

    /// `port` on its IPv6 address.
    pub fn at6(&self, port: u16) -> String {
        SocketAddr::new(self.v6.into(), port).to_string()
    }

    /// Its address of the family of another.
    pub(super) fn address_like(&self, other: &IpAddr) -> IpAddr {
        if other.is_ipv4() { self.v4.into() } else { self.v6.into() }
    }
}
