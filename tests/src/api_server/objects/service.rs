// SPDX-License-Identifier: Apache-2.0
//! Services of all types.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Object, Pairs, metadata, uid, with_managed_fields};
use crate::api_server::resource::Resource;

/// A port of a service.
#[derive(Debug, Clone)]
pub struct ServicePort {
    /// `port`
    pub port: u16,
    /// `targetPort`: a number or a name
    pub target: Value,
    /// `nodePort`
    pub node_port: Option<u16>,
    /// `protocol`
    pub protocol: &'static str,
}

impl ServicePort {
    /// A TCP port that leads to a port of the pods.
    pub fn tcp(port: u16, target: u16) -> Self {
        ServicePort { port, target: json!(target), node_port: None, protocol: "TCP" }
    }

    /// A UDP port that leads to a port of the pods.
    pub fn udp(port: u16, target: u16) -> Self {
        ServicePort { protocol: "UDP", ..Self::tcp(port, target) }
    }
}

/// A service.
#[derive(Debug, Clone)]
pub struct Service {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// `spec.type`
    pub kind: &'static str,
    /// `spec.clusterIPs`; none makes it headless
    pub cluster_addresses: Vec<IpAddr>,
    /// `spec.externalIPs`
    pub external_addresses: Vec<IpAddr>,
    /// `status.loadBalancer.ingress[].ip`
    pub ingress: Vec<IpAddr>,
    /// `spec.externalName`
    pub external_name: Option<String>,
    /// `spec.ports`
    pub ports: Vec<ServicePort>,
    /// `spec.selector`; none for services whose endpoints somebody else writes
    pub selector: Pairs,
}

impl Service {
    /// A ClusterIP service that selects the pods labelled `app=<name>`. Without addresses it is headless.
    pub fn new(namespace: &str, name: &str, addresses: &[IpAddr], ports: &[ServicePort]) -> Self {
        Service {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid(),
            kind: "ClusterIP",
            cluster_addresses: addresses.to_vec(),
            external_addresses: Vec::new(),
            ingress: Vec::new(),
            external_name: None,
            ports: ports.to_vec(),
            selector: Pairs::from([("app".to_owned(), name.to_owned())]),
        }
    }

    fn spec(&self) -> Value {
        let ports: Vec<Value> = self
            .ports
            .iter()
            .map(|port| {
                let mut entry = json!({
                    "name": format!("{}{}", if port.protocol == "TCP" { "p" } else { "u" }, port.port), "protocol": port.protocol, "port": port.port,
                    "targetPort": port.target,
                });
                if let Some(node_port) = port.node_port {
                    entry["nodePort"] = json!(node_port);
                }
                entry
            })
            .collect();
        let mut spec = json!({ "ports": ports, "type": self.kind, "sessionAffinity": "None" });
        if !self.selector.is_empty() {
            spec["selector"] = json!(self.selector);
        }
        if let Some(name) = &self.external_name {
            spec["externalName"] = json!(name);
            return spec;
        }
        let addresses =
            if self.cluster_addresses.is_empty() { json!(["None"]) } else { json!(self.cluster_addresses) };
        spec["clusterIP"] = addresses[0].clone();
        spec["clusterIPs"] = addresses;
        let family = |address: &IpAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let families: Vec<&str> = self.cluster_addresses.iter().map(family).collect();
        spec["ipFamilies"] = if families.is_empty() { json!(["IPv4"]) } else { json!(families) };
        let policy = if families.len() > 1 { "RequireDualStack" } else { "SingleStack" };
        spec["ipFamilyPolicy"] = json!(policy);
        spec["internalTrafficPolicy"] = json!("Cluster");
        if self.kind != "ClusterIP" {
            spec["externalTrafficPolicy"] = json!("Cluster");
        }
        if !self.external_addresses.is_empty() {
            spec["externalIPs"] = json!(self.external_addresses);
        }
        spec
    }
}

impl From<Service> for Object {
    fn from(service: Service) -> Self {
        let labels = Pairs::from([("app".to_owned(), service.name.clone())]);
        let metadata = metadata(&service.namespace, &service.name, &service.uid, &labels, &Pairs::new());
        let mut balancer = json!({});
        if !service.ingress.is_empty() {
            let ingress = service.ingress.iter().map(|address| json!({ "ip": address, "ipMode": "VIP" }));
            balancer["ingress"] = ingress.collect();
        }
        let json = json!({
            "metadata": metadata, "spec": service.spec(), "status": { "loadBalancer": balancer },
        });
        with_managed_fields(Resource::Services, json, &[("kubectl-client-side-apply", &["metadata", "spec"])])
    }
}

impl From<&Service> for Object {
    fn from(service: &Service) -> Self {
        service.clone().into()
    }
}
