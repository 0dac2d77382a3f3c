// SPDX-License-Identifier: Apache-2.0
//! The four resources the stub serves, and how the API spells them.

/// A resource of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// core/v1 Pod
    Pods,
    /// core/v1 Service
    Services,
    /// discovery.k8s.io/v1 EndpointSlice
    EndpointSlices,
    /// core/v1 Node
    Nodes,
}

impl Resource {
    /// All of them.
    pub const ALL: [Resource; 4] =
        [Resource::Pods, Resource::Services, Resource::EndpointSlices, Resource::Nodes];

    /// Its name in paths and in rules of RBAC.
    pub fn plural(self) -> &'static str {
        match self {
            Resource::Pods => "pods",
            Resource::Services => "services",
            Resource::EndpointSlices => "endpointslices",
            Resource::Nodes => "nodes",
        }
    }

    /// `kind` of its objects.
    pub fn kind(self) -> &'static str {
        match self {
            Resource::Pods => "Pod",
            Resource::Services => "Service",
            Resource::EndpointSlices => "EndpointSlice",
            Resource::Nodes => "Node",
        }
    }

    /// API group; empty for the core group.
    pub fn group(self) -> &'static str {
        match self {
            Resource::EndpointSlices => "discovery.k8s.io",
            _ => "",
        }
    }

    /// `apiVersion` of its objects.
    pub fn api_version(self) -> &'static str {
        match self {
            Resource::EndpointSlices => "discovery.k8s.io/v1",
            _ => "v1",
        }
    }

    /// Whether its objects live in namespaces.
    pub fn namespaced(self) -> bool {
        self != Resource::Nodes
    }

    /// The resource of this group that goes by this plural.
    pub(super) fn find(group: &str, plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.group() == group && resource.plural() == plural)
    }

    /// The fields that `fieldSelector` may speak of, and where they are in an object.
    pub(super) fn selectable(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Resource::Pods => &[
                ("metadata.name", "/metadata/name"),
                ("metadata.namespace", "/metadata/namespace"),
                ("spec.nodeName", "/spec/nodeName"),
                ("spec.restartPolicy", "/spec/restartPolicy"),
                ("spec.schedulerName", "/spec/schedulerName"),
                ("spec.serviceAccountName", "/spec/serviceAccountName"),
                ("spec.hostNetwork", "/spec/hostNetwork"),
                ("status.phase", "/status/phase"),
                ("status.podIP", "/status/podIP"),
                ("status.nominatedNodeName", "/status/nominatedNodeName"),
            ],
            Resource::Services => &[
                ("metadata.name", "/metadata/name"),
                ("metadata.namespace", "/metadata/namespace"),
                ("spec.clusterIP", "/spec/clusterIP"),
                ("spec.type", "/spec/type"),
            ],
            Resource::EndpointSlices => {
                &[("metadata.name", "/metadata/name"), ("metadata.namespace", "/metadata/namespace")]
            }
            Resource::Nodes => {
                &[("metadata.name", "/metadata/name"), ("spec.unschedulable", "/spec/unschedulable")]
            }
        }
    }
}

/// What a request does with a resource; the words of RBAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// One object.
    Get,
    /// All of them.
    List,
    /// Their changes.
    Watch,
}

impl Verb {
    /// As RBAC spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
        }
    }
}
