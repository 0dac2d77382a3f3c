// SPDX-License-Identifier: Apache-2.0
//! Which server this is, and what it serves.

use serde_json::{Value, json};

use super::resource::Resource;

/// What stands at a path that is no resource's.
pub(super) fn at(path: &str) -> Option<Value> {
    match path.trim_end_matches('/') {
        "/version" => Some(json!({
            "major": "1", "minor": "34", "gitVersion": "v1.34.2", "gitTreeState": "clean",
            "goVersion": "go1.24.9", "compiler": "gc", "platform": "linux/amd64",
        })),
        "/api" => Some(json!({ "kind": "APIVersions", "versions": ["v1"] })),
        "/apis" => {
            let version = json!({ "groupVersion": "discovery.k8s.io/v1", "version": "v1" });
            let group =
                json!({ "name": "discovery.k8s.io", "versions": [version], "preferredVersion": version });
            Some(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [group] }))
        }
        "/api/v1" => Some(resources("v1")),
        "/apis/discovery.k8s.io/v1" => Some(resources("discovery.k8s.io/v1")),
        _ => None,
    }
}

fn resources(version: &str) -> Value {
    let members = Resource::ALL.into_iter().filter(|resource| resource.api_version() == version);
    let members: Vec<Value> = members
        .map(|resource| {
            json!({
                "name": resource.plural(), "singularName": resource.kind().to_lowercase(),
                "namespaced": resource.namespaced(), "kind": resource.kind(),
                "shortNames": short_names(resource), "verbs": ["get", "list", "watch"],
            })
        })
        .collect();
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": members })
}

fn short_names(resource: Resource) -> &'static [&'static str] {
    match resource {
        Resource::Pods => &["po"],
        Resource::Services => &["svc"],
        Resource::EndpointSlices => &[],
        Resource::Nodes => &["no"],
    }
}
