// SPDX-License-Identifier: Apache-2.0
//! Nodes.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;

use super::{Object, Pairs, ago, metadata, uid, with_managed_fields};
use crate::api_server::resource::Resource;

/// A node.
#[derive(Debug, Clone)]
pub struct Node {
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.labels`, besides those every node has
    pub labels: Pairs,
    /// `status.addresses[]` of type InternalIP
    pub addresses: Vec<IpAddr>,
    /// `status.addresses[]` of type ExternalIP
    pub external_addresses: Vec<IpAddr>,
}

impl Node {
    /// A node with the well-known labels of zone and region.
    pub fn new(name: &str, addresses: &[IpAddr], zone: &str, region: &str) -> Self {
        let label = |key: &str, value: &str| (format!("topology.kubernetes.io/{key}"), value.to_owned());
        Node {
            name: name.to_owned(),
            uid: uid(),
            labels: Pairs::from([label("zone", zone), label("region", region)]),
            addresses: addresses.to_vec(),
            external_addresses: Vec::new(),
        }
    }
}

impl From<Node> for Object {
    fn from(node: Node) -> Self {
        let mut labels = node.labels.clone();
        for (key, value) in [("arch", "amd64"), ("os", "linux"), ("hostname", node.name.as_str())] {
            labels.insert(format!("kubernetes.io/{key}"), value.to_owned());
        }
        let annotations = Pairs::from([("node.alpha.kubernetes.io/ttl".to_owned(), "0".to_owned())]);
        let of = |kind: &'static str| move |address: &IpAddr| json!({ "type": kind, "address": address });
        let addresses = node.addresses.iter().map(of("InternalIP"));
        let mut addresses: Vec<_> =
            addresses.chain(node.external_addresses.iter().map(of("ExternalIP"))).collect();
        addresses.push(json!({ "type": "Hostname", "address": node.name }));
        let conditions = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"].map(|kind| {
            json!({
                "type": kind, "status": if kind == "Ready" { "True" } else { "False" },
                "lastHeartbeatTime": ago(Duration::ZERO), "lastTransitionTime": ago(Duration::from_secs(86_400)),
                "reason": "KubeletReady", "message": "kubelet is posting ready status",
            })
        });
        let images: Vec<_> = (0..30)
            .map(|index| {
                json!({
                    "names": [format!("registry.invalid/image-{index}@sha256:{index:0>64}")],
                    "sizeBytes": 31_000_000 + index,
                })
            })
            .collect();
        let json = json!({
            "metadata": metadata("", &node.name, &node.uid, &labels, &annotations),
            "spec": { "podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24"], "providerID": format!("test://{}", node.name) },
            "status": {
                "capacity": { "cpu": "8", "memory": "32Gi", "pods": "110" },
                "allocatable": { "cpu": "7910m", "memory": "30Gi", "pods": "110" },
                "conditions": conditions, "addresses": addresses, "images": images,
                "daemonEndpoints": { "kubeletEndpoint": { "Port": 10250 } },
                "nodeInfo": {
                    "kernelVersion": "6.12.0", "osImage": "Debian GNU/Linux 13 (trixie)",
                    "containerRuntimeVersion": "containerd://2.1.4", "kubeletVersion": "v1.34.2",
                    "operatingSystem": "linux", "architecture": "amd64",
                },
            },
        });
        let managers: [(&str, &[&str]); 2] =
            [("kubelet", &["metadata", "status"]), ("kube-controller-manager", &["spec"])];
        with_managed_fields(Resource::Nodes, json, &managers)
    }
}

impl From<&Node> for Object {
    fn from(node: &Node) -> Self {
        node.clone().into()
    }
}
