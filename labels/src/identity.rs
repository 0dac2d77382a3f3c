// SPDX-License-Identifier: Apache-2.0
//! What a name consists of.

use std::sync::Arc;

/// Longest label value handed out, in bytes: the length of a DNS name, which no sane workload name exceeds.
pub const MAX_LABEL_BYTES: usize = 253;

/// What sort of thing an end of a flow is; the values of the `server_kind` label.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A Kubernetes pod.
    Pod,
    /// A Kubernetes Service of which the endpoint is not known.
    Service,
    /// A host, or something that runs on a host: a unit, a container, a process, a named private address.
    Host,
    /// Beyond the operator's own networks: a public address.
    External,
    /// Nothing is known.
    Unknown,
}

impl Kind {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Pod => "pod",
            Kind::Service => "service",
            Kind::Host => "host",
            Kind::External => "external",
            Kind::Unknown => "unknown",
        }
    }
}

/// The name of one end of a flow. A field that is not known, or means nothing here, is empty; `workload` is never
/// empty. Cloning costs reference counts only.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Identity {
    /// What sort of thing it is.
    pub kind: Kind,
    /// Kubernetes namespace, Compose project, or the namespace the names file gives.
    pub namespace: Arc<str>,
    /// The service as people call it; `unknown`, `external` and `ambiguous` are the literals for what has no name.
    pub workload: Arc<str>,
    /// Availability zone or datacentre.
    pub zone: Arc<str>,
    /// Region.
    pub region: Arc<str>,
    /// Kubernetes Service.
    pub service: Arc<str>,
    /// Kubernetes pod.
    pub pod: Arc<str>,
    /// Name of the node: its Kubernetes name, else the host name.
    pub node: Arc<str>,
    /// Container name, or runtime and short id.
    pub container: Arc<str>,
    /// Process name (comm of the leader).
    pub process: Arc<str>,
    /// No label: it is a proxy container beside others in its pod, so that what it sends and receives is theirs once
    /// more.
    pub sidecar: bool,
}

/// The strings that every nameless answer shares.
#[derive(Debug)]
pub(crate) struct Words {
    pub empty: Arc<str>,
    pub unknown: Arc<str>,
    pub external: Arc<str>,
    pub ambiguous: Arc<str>,
    pub other_external: Arc<str>,
}

impl Default for Words {
    fn default() -> Self {
        Words {
            empty: "".into(),
            unknown: "unknown".into(),
            external: "external".into(),
            ambiguous: "ambiguous".into(),
            other_external: "other-external".into(),
        }
    }
}

impl Words {
    /// An identity of which only kind and workload are known.
    pub fn identity(&self, kind: Kind, workload: Arc<str>) -> Identity {
        Identity {
            kind,
            workload,
            namespace: self.empty.clone(),
            zone: self.empty.clone(),
            region: self.empty.clone(),
            service: self.empty.clone(),
            pod: self.empty.clone(),
            node: self.empty.clone(),
            container: self.empty.clone(),
            process: self.empty.clone(),
            sidecar: false,
        }
    }
}

/// Makes a label value of text that somebody else chose: control characters become U+FFFD, surrounding white space
/// goes, the length is held to [`MAX_LABEL_BYTES`]. None when nothing is left.
pub(crate) fn clean(raw: &str) -> Option<String> {
    let raw = raw.trim();
    let mut value = String::with_capacity(raw.len().min(MAX_LABEL_BYTES));
    for c in raw.chars() {
        let c = if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        if value.len() + c.len_utf8() > MAX_LABEL_BYTES {
            break;
        }
        value.push(c);
    }
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_spelled_as_the_contract_says() {
        let all = [Kind::Pod, Kind::Service, Kind::Host, Kind::External, Kind::Unknown].map(Kind::as_str);
        assert_eq!(all, ["pod", "service", "host", "external", "unknown"]);
    }

    #[test]
    fn text_of_others_is_cleaned() {
        assert_eq!(clean("  web\n").as_deref(), Some("web"));
        assert_eq!(clean("a\nb\u{0}c").as_deref(), Some("a\u{fffd}b\u{fffd}c"));
        assert_eq!(clean(" \t"), None);
        let long = clean(&"é".repeat(500)).unwrap();
        assert_eq!((long.len(), long.chars().count()), (252, 126));
    }
}
