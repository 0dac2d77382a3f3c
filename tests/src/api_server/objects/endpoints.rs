// SPDX-License-Identifier: Apache-2.0
//! Endpoint slices.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Object, Owner, Pairs, Pod, metadata, suffix, uid, with_managed_fields};
use crate::api_server::resource::Resource;

/// An endpoint.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `addresses`
    pub addresses: Vec<IpAddr>,
    /// `targetRef` of kind Pod: its name and uid
    pub pod: Option<(String, String)>,
    /// `nodeName`
    pub node: Option<String>,
    /// `zone`
    pub zone: Option<String>,
    /// `conditions.ready`
    pub ready: bool,
}

impl Endpoint {
    /// A pod's address of one family.
    pub fn of(pod: &Pod, address: IpAddr, zone: Option<&str>) -> Self {
        Endpoint {
            addresses: vec![address],
            pod: Some((pod.name.clone(), pod.uid.clone())),
            node: Some(pod.node.clone()),
            zone: zone.map(str::to_owned),
            ready: true,
        }
    }

    /// An address that is no pod's.
    pub fn outside(address: IpAddr) -> Self {
        Endpoint { addresses: vec![address], pod: None, node: None, zone: None, ready: true }
    }

    fn json(&self, namespace: &str) -> Value {
        let mut endpoint = json!({
            "addresses": self.addresses,
            "conditions": { "ready": self.ready, "serving": self.ready, "terminating": !self.ready },
        });
        if let Some((name, uid)) = &self.pod {
            endpoint["targetRef"] =
                json!({ "kind": "Pod", "namespace": namespace, "name": name, "uid": uid });
        }
        for (key, value) in [("nodeName", &self.node), ("zone", &self.zone)] {
            if let Some(value) = value {
                endpoint[key] = json!(value);
            }
        }
        endpoint
    }
}

/// Some endpoints of a service, of one family.
#[derive(Debug, Clone)]
pub struct EndpointSlice {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.labels["kubernetes.io/service-name"]`
    pub service: String,
    /// `addressType`
    pub family: &'static str,
    /// `ports[].port`, TCP
    pub ports: Vec<u16>,
    /// `endpoints`
    pub endpoints: Vec<Endpoint>,
}

impl EndpointSlice {
    /// A slice of a service; `family` is `IPv4` or `IPv6`.
    pub fn new(namespace: &str, service: &str, family: &'static str, ports: &[u16]) -> Self {
        EndpointSlice {
            namespace: namespace.to_owned(),
            name: format!("{service}-{}", suffix(5)),
            service: service.to_owned(),
            family,
            ports: ports.to_vec(),
            endpoints: Vec::new(),
        }
    }

    /// The same with these endpoints.
    pub fn with(mut self, endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        self.endpoints.extend(endpoints);
        self
    }
}

impl From<EndpointSlice> for Object {
    fn from(slice: EndpointSlice) -> Self {
        let labels = Pairs::from([
            (
                "endpointslice.kubernetes.io/managed-by".to_owned(),
                "endpointslice-controller.k8s.io".to_owned(),
            ),
            ("kubernetes.io/service-name".to_owned(), slice.service.clone()),
        ]);
        let mut metadata = metadata(&slice.namespace, &slice.name, &uid(), &labels, &Pairs::new());
        let owner = Owner { api_version: "v1", kind: "Service", name: slice.service.clone() };
        metadata["generateName"] = json!(format!("{}-", slice.service));
        metadata["ownerReferences"] = json!([owner.json()]);
        let ports: Vec<Value> = slice
            .ports
            .iter()
            .map(|port| json!({ "name": format!("p{port}"), "protocol": "TCP", "port": port }))
            .collect();
        let endpoints: Vec<Value> =
            slice.endpoints.iter().map(|endpoint| endpoint.json(&slice.namespace)).collect();
        let json = json!({
            "metadata": metadata, "addressType": slice.family, "endpoints": endpoints, "ports": ports,
        });
        let parts: &[&str] = &["metadata", "addressType", "endpoints", "ports"];
        with_managed_fields(Resource::EndpointSlices, json, &[("kube-controller-manager", parts)])
    }
}

impl From<&EndpointSlice> for Object {
    fn from(slice: &EndpointSlice) -> Self {
        slice.clone().into()
    }
}
