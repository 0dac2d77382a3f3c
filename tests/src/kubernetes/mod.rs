// SPDX-License-Identifier: Apache-2.0
//! A small Kubernetes cluster without Kubernetes: what a CNI plugin, kube-proxy, the kubelet and a container runtime
//! leave behind in the kernel, and an API server that tells of it.
//!
//! Nodes and pods are network namespaces. Each pod is joined to its node by a veth pair of its own and reached by a
//! route, nodes are joined by a router, Service addresses are rewritten by iptables rules in the nodes' namespaces,
//! and containers are control groups where a kubelet would make them. All nodes share the machine's kernel, so an
//! exporter sees all pods' sockets; which node it is on, it is told by flags and by the namespace of process 1.

mod cluster;
pub mod ends;
mod exporter;
mod kubelet;
pub mod mesh;
mod node;
mod pod;
mod proxy;
mod talk;
mod told;
pub mod views;

pub use cluster::{Cluster, REGION};
pub use exporter::NodeExporter;
pub(crate) use kubelet::maker_of;
pub use kubelet::{Driver, Kubelet, Qos, Runtime};
pub use node::Node;
pub use pod::{Place, Pod};
pub use talk::{Talk, grown, own_port};
pub use told::{SOURCES, Told, paper_pod};
