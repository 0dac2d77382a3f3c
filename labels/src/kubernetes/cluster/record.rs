// SPDX-License-Identifier: Apache-2.0
//! A pod as it is kept.

use std::net::IpAddr;
use std::sync::Arc;

use super::endpoints::{EndpointRecord, SliceRecord};
use super::text::Texts;
use crate::kubernetes::objects;
use crate::ranges::canonical;

/// `metadata.uid`, or the configuration hash by which the kubelet knows a static pod. Both are 128 bits written in
/// hexadecimal, with or without dashes; whatever else an API server may use is hashed to as many.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Uid(u128);

impl Uid {
    pub fn parse(text: &str) -> Uid {
        let mut value = 0;
        let mut digits = 0;
        for byte in text.bytes().filter(|byte| *byte != b'-') {
            match char::from(byte).to_digit(16) {
                Some(digit) if digits < 32 => value = value << 4 | u128::from(digit),
                _ => return Uid::hash(text),
            }
            digits += 1;
        }
        if digits == 32 { Uid(value) } else { Uid::hash(text) }
    }

    fn hash(text: &str) -> Uid {
        use std::hash::BuildHasher;
        let half = |seed| u128::from(foldhash::quality::FixedState::with_seed(seed).hash_one(text));
        Uid(half(1) << 64 | half(2))
    }
}

/// What names a pod.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct PodRecord {
    pub uid: Uid,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub workload: Arc<str>,
    pub node: Arc<str>,
    /// Of the endpoint, where only EndpointSlices know the pod; empty otherwise.
    pub zone: Arc<str>,
    pub ips: Box<[IpAddr]>,
    pub host_network: bool,
    pub finished: bool,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// It is about to go.
    pub deleting: bool,
    /// Made up from an endpoint's reference.
    pub derived: bool,
    /// On this node.
    pub own: bool,
    /// What only some pods have.
    pub detail: Option<Box<Detail>>,
}

/// What is kept of own pods, of those on the host's network, and of those that may be.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Detail {
    /// The configuration hash of a static pod.
    pub alias: Option<Uid>,
    /// Of pods on the host's network, and of derived ones, which may be: where they listen.
    pub host_ports: Box<[u16]>,
    /// Of own pods alone.
    pub containers: Box<[ContainerRecord]>,
}

/// A container of an own pod.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct ContainerRecord {
    pub name: Arc<str>,
    pub id: Box<str>,
    pub lasting: bool,
}

impl PodRecord {
    /// `own` is true for pods of this node.
    pub fn new(pod: &objects::Pod, own: bool, texts: &mut Texts) -> PodRecord {
        let mut text = |raw: &str| texts.share(raw);
        let container = |container: &objects::Container, name| ContainerRecord {
            name,
            id: container.id.as_str().into(),
            lasting: container.lasting,
        };
        let detail = (own || (pod.host_network && !pod.host_ports.is_empty())).then(|| {
            let containers = if own { pod.containers.as_slice() } else { &[] };
            Box::new(Detail {
                alias: pod.config_hash.as_deref().filter(|_| own).map(Uid::parse),
                host_ports: pod.host_ports.as_slice().into(),
                containers: containers.iter().map(|c| container(c, text(&c.name))).collect(),
            })
        });
        PodRecord {
            uid: Uid::parse(&pod.uid),
            namespace: text(&pod.namespace),
            name: text(&pod.name),
            workload: text(if pod.workload.is_empty() { &pod.name } else { &pod.workload }),
            node: text(&pod.node),
            zone: text(""),
            ips: pod.ips.iter().map(|addr| canonical(*addr)).collect(),
            host_network: pod.host_network,
            finished: pod.finished,
            created: pod.created,
            deleting: pod.deleting,
            derived: false,
            own,
            detail,
        }
    }

    /// The pod that an endpoint refers to, as far as its name tells.
    pub fn derived(
        slice: &SliceRecord,
        endpoint: &EndpointRecord,
        pod: &Arc<str>,
        texts: &mut Texts,
    ) -> Self {
        let detail = Detail { alias: None, host_ports: slice.ports.clone(), containers: Box::default() };
        PodRecord {
            uid: Uid(0),
            namespace: slice.pod_namespace(endpoint).clone(),
            name: pod.clone(),
            workload: texts.share(workload_of(pod)),
            node: endpoint.node.clone(),
            zone: endpoint.zone.clone(),
            ips: Box::default(),
            host_network: false,
            finished: false,
            created: 0,
            deleting: endpoint.terminating,
            derived: true,
            own: false,
            detail: Some(Box::new(detail)),
        }
    }

    /// The same pod, though one of them may be known by its name alone.
    pub fn is_same_pod(&self, other: &PodRecord) -> bool {
        self.name == other.name && self.namespace == other.namespace
    }

    /// True if both give the same labels.
    pub fn is_named_alike(&self, other: &PodRecord) -> bool {
        self.is_same_pod(other)
            && self.workload == other.workload
            && self.node == other.node
            && self.zone == other.zone
    }

    pub fn alias(&self) -> Option<Uid> {
        self.detail.as_ref()?.alias
    }

    /// The pod declares the port, or the EndpointSlice that it is derived from does.
    pub fn listens_on(&self, port: u16) -> bool {
        self.detail.as_ref().is_some_and(|detail| detail.host_ports.contains(&port))
    }

    pub fn containers(&self) -> &[ContainerRecord] {
        self.detail.as_ref().map_or(&[], |detail| &detail.containers)
    }
}

/// What the names of generated pods are made of (`k8s.io/apimachinery/pkg/util/rand`): no vowels, and nothing that is
/// mistaken for another.
fn is_generated(text: &str) -> bool {
    text.bytes().all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte))
}

/// The controller, guessed from the name of a pod: `<deployment>-<hash>-<5>`, `<set>-<5>`, `<set>-<ordinal>`.
pub(crate) fn workload_of(pod: &str) -> &str {
    let Some((rest, last)) = pod.rsplit_once('-').filter(|(rest, _)| !rest.is_empty()) else { return pod };
    if last.len() == 5 && is_generated(last) {
        return match rest.rsplit_once('-') {
            Some((name, hash))
                if !name.is_empty() && (6..=10).contains(&hash.len()) && is_generated(hash) =>
            {
                name
            }
            _ => rest,
        };
    }
    let ordinal = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    if ordinal { rest } else { pod }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids() {
        let uuid = Uid::parse("6f1f0b6e-0c5a-4f2f-9f0e-3a4b5c6d7e8f");
        assert_eq!(uuid, Uid(0x6f1f_0b6e_0c5a_4f2f_9f0e_3a4b_5c6d_7e8f));
        assert_eq!(Uid::parse("6f1f0b6e0c5a4f2f9f0e3a4b5c6d7e8f"), uuid);
        assert_eq!(Uid::parse("6F1F0B6E0C5A4F2F9F0E3A4B5C6D7E8F"), uuid);
        let odd =
            ["", "x", "6f1f0b6e0c5a4f2f9f0e3a4b5c6d7e8", "6f1f0b6e0c5a4f2f9f0e3a4b5c6d7e8f0", "pod-1", "é"];
        let different: std::collections::HashSet<_> = odd.iter().map(|text| Uid::parse(text)).collect();
        assert_eq!(different.len(), odd.len());
        assert_eq!(Uid::parse("pod-1"), Uid::parse("pod-1"));
    }

    #[test]
    fn workloads_of_pod_names() {
        for (pod, workload) in [
            ("web-7d4b9c6f5-x2x7p", "web"),
            ("my-app-6b474476c4-bbtr9", "my-app"),
            ("agent-x2x7p", "agent"),
            ("node-exporter-x2x7p", "node-exporter"),
            ("db-0", "db"),
            ("kafka-broker-12", "kafka-broker"),
            ("etcd-control-plane", "etcd-control-plane"),
            ("bare", "bare"),
            // Vowels, and characters that are not generated.
            ("web-7d4b9c6f5-abcde", "web-7d4b9c6f5-abcde"),
            ("web-7d4b9c6f51-x2x7p", "web-7d4b9c6f51"),
            ("-x2x7p", "-x2x7p"),
            ("web-", "web-"),
            ("", ""),
        ] {
            assert_eq!(workload_of(pod), workload, "{pod}");
        }
    }
}
