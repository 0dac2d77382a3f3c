// SPDX-License-Identifier: Apache-2.0
//! Who has which address in the cluster, and which pod a socket of this node belongs to.

use std::net::IpAddr;
use std::sync::Arc;

use crate::changes::Changes;
use crate::identity::Identity;
use crate::status::SourceStatus;

/// Which pods are watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PodScope {
    /// All pods of the cluster: clients that no Service selects have names too.
    #[default]
    Cluster,
    /// Those of the own node alone. Others are known as far as EndpointSlices tell.
    Node,
}

/// What the API tells of the cluster.
#[derive(Debug)]
pub struct Cluster {
    node: Arc<str>,
    changes: Arc<Changes>,
}

impl Cluster {
    /// `node` is the name of the own node in the API, `proxy_containers` the names of containers that are sidecar
    /// proxies where they are not alone in their pod.
    pub fn new(node: &str, _scope: PodScope, _proxy_containers: Vec<String>) -> Cluster {
        Cluster { node: node.into(), changes: Arc::default() }
    }

    /// The name of the own node.
    pub fn node(&self) -> &Arc<str> {
        &self.node
    }

    pub(crate) fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    /// Who is at an address. `port` is the remote end's if it is the server.
    pub fn at(&self, _addr: IpAddr, _port: Option<u16>) -> Option<Identity> {
        None
    }

    /// Namespace and name of the Service that is dialled at an address.
    pub fn service_at(&self, _addr: IpAddr, _port: u16) -> Option<(Arc<str>, Arc<str>)> {
        None
    }

    pub(crate) fn own_place(&self) -> (Arc<str>, Arc<str>) {
        ("".into(), "".into())
    }

    pub(crate) fn needs_settling(&self) -> bool {
        false
    }

    pub(crate) fn settle(&self) {}

    pub(crate) fn tend(&self) {}

    pub(crate) fn service_version(&self) -> u64 {
        0
    }

    pub(crate) fn service_addresses(&self, _host: &[IpAddr]) -> Vec<(IpAddr, u16)> {
        Vec::new()
    }

    pub(crate) fn statuses(&self) -> Vec<SourceStatus> {
        Vec::new()
    }

    /// Every watch has delivered a first list.
    pub fn complete(&self) -> bool {
        false
    }
}
