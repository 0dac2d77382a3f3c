// SPDX-License-Identifier: Apache-2.0
//! Two nodes in two zones, a router between them, and the API server that tells of them.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use super::exporter::NodeExporter;
use super::kubelet;
use super::node::Node;
use super::pod::{Place, Pod};
use super::proxy::{self, Served};
use crate::api_server::objects::{self, Endpoint, EndpointSlice, Service, ServicePort};
use crate::api_server::{ApiServer, Kubeconfig, Resource, TOKEN};
use crate::delay::SlowLink;
use crate::netns::{Host, Link, Subnet, World};

/// The region of both nodes.
pub const REGION: &str = "region-1";

const HASH: &str = "kubernetes.io/config.hash";
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The cluster. The API server runs outside of it, on the machine's own loopback.
#[derive(Debug)]
pub struct Cluster {
    /// The API server.
    pub api: ApiServer,
    /// Lets clients in with [`TOKEN`].
    pub kubeconfig: Kubeconfig,
    /// The node `a`, in zone `zone-a`.
    pub a: Node,
    /// The node `b`, in zone `zone-b`.
    pub b: Node,
    /// Joins the nodes, and whatever is outside of the cluster.
    pub router: Host,
    served: RefCell<Vec<Served>>,
    services: Subnet,
    next_service: Cell<u8>,
    world: World,
}

impl Cluster {
    /// Sets up two nodes without pods and tells the API server of them.
    pub fn new() -> Result<Self> {
        let world = World::new()?;
        let api = ApiServer::start()?;
        let kubeconfig = api.kubeconfig(TOKEN)?;
        let router = world.host("router")?;
        for key in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
            router.sysctl(key, "1")?;
        }
        let a = Node::new(&world, &router, "a", "zone-a")?;
        let b = Node::new(&world, &router, "b", "zone-b")?;
        let (served, services, next_service) = (RefCell::default(), Subnet::next(), Cell::new(1));
        let cluster = Cluster { api, kubeconfig, a, b, router, served, services, next_service, world };
        for node in [&cluster.a, &cluster.b] {
            cluster.api.put(cluster.object_of(node));
        }
        cluster.program()?;
        Ok(cluster)
    }

    /// What the API server says of a node.
    pub fn object_of(&self, node: &Node) -> objects::Node {
        objects::Node::new(&node.name, &[node.v4().into(), node.v6().into()], &node.zone, REGION)
    }

    /// Joins a host outside of the cluster to the router. It reaches pods and nodes, and is reached at the link's `b` end.
    pub fn outside(&self, name: &str) -> Result<(Host, Link)> {
        let host = self.world.host(name)?;
        let link = self.world.link(&self.router, &host)?;
        host.ip(&["route", "add", "default", "via", &link.a.v4.to_string()])?;
        host.ip(&["route", "add", "default", "via", &link.a.v6.to_string()])?;
        Ok((host, link))
    }

    /// Has everything between pods of the one node and of the other take `one_way` longer, as long as the link is kept.
    pub fn slow_down(&self, one_way: Duration) -> Result<SlowLink> {
        let link = SlowLink::new(&self.world, &self.a.host, &self.b.host, one_way)?;
        for (node, own, other) in [(&self.a, &link.a, &self.b), (&self.b, &link.b, &self.a)] {
            for range in [format!("{}/24", other.pods.v4(0)), format!("{}/64", other.pods.v6(0))] {
                node.host.ip(&["route", "add", &range, "dev", &own.device])?;
            }
        }
        Ok(link)
    }

    /// Runs a pod in a namespace of its own, or in the node's if it is on the host's network, and tells the API server.
    pub fn run(&self, node: &Node, object: objects::Pod, place: Place) -> Result<Pod> {
        let pod = self.run_untold(node, object, place)?;
        self.api.put(&pod.object);
        Ok(pod)
    }

    /// The same without telling the API server.
    pub fn run_untold(&self, node: &Node, object: objects::Pod, place: Place) -> Result<Pod> {
        let sandbox =
            if object.host_network { node.host_network()? } else { node.sandbox(&self.world, place.number)? };
        let (object, uid) = known_to_kubelet(node, object);
        Pod::new(sandbox, object, uid, place.kubelet)
    }

    /// Runs a pod in the namespace, and so at the addresses, of another that has ended: the quickest way for an address
    /// to come to somebody else. The API server is told of the end of the one and of the other.
    pub fn replace(&self, node: &Node, old: Pod, object: objects::Pod, place: Place) -> Result<Pod> {
        let sandbox = Arc::clone(&old.sandbox);
        self.end(old)?;
        let (object, uid) = known_to_kubelet(node, object);
        let pod = Pod::new(sandbox, object, uid, place.kubelet)?;
        self.api.put(&pod.object);
        Ok(pod)
    }

    /// Ends a pod's processes and tells the API server that it is gone.
    pub fn end(&self, pod: Pod) -> Result<()> {
        let object = pod.object.clone();
        drop(pod);
        self.api.delete(&object).map(drop)
    }

    /// A service address of both families that no other service has.
    pub fn service_addresses(&self) -> Result<[IpAddr; 2]> {
        let number = self.next_service.get();
        self.next_service.set(number.checked_add(1).context("no service address is left")?);
        Ok([self.services.v4(number).into(), self.services.v6(number.into()).into()])
    }

    /// A ClusterIP service with one port in front of pods.
    pub fn cluster_ip(
        &self,
        namespace: &str,
        name: &str,
        port: ServicePort,
        pods: &[&Pod],
    ) -> Result<Service> {
        let service = Service::new(namespace, name, &self.service_addresses()?, &[port]);
        self.serve(&service, self.slices(&service, pods)?)?;
        Ok(service)
    }

    /// The endpoint slices of a service that selects these pods: one for each family.
    pub fn slices(&self, service: &Service, pods: &[&Pod]) -> Result<Vec<EndpointSlice>> {
        let number = |port: &ServicePort| {
            let number = port.target.as_u64().and_then(|number| u16::try_from(number).ok());
            number
                .with_context(|| format!("{}: a slice needs the number of port {}", service.name, port.port))
        };
        let ports: Vec<u16> = service.ports.iter().map(number).collect::<Result<_>>()?;
        let slice = |family, like: IpAddr| {
            let endpoints = pods.iter().map(|pod| {
                let zone = [&self.a, &self.b].into_iter().find(|node| node.name == pod.object.node);
                Endpoint::of(&pod.object, pod.address_like(&like), zone.map(|node| node.zone.as_str()))
            });
            EndpointSlice::new(&service.namespace, &service.name, family, &ports).with(endpoints)
        };
        let [v4, v6] = [self.services.v4(0).into(), self.services.v6(0).into()];
        Ok(vec![slice("IPv4", v4), slice("IPv6", v6)])
    }

    /// Puts a service and its slices into the API server and both nodes' rules, in place of the one of that name.
    pub fn serve(&self, service: &Service, slices: Vec<EndpointSlice>) -> Result<()> {
        self.forget(service)?;
        self.api.put(service);
        for slice in &slices {
            self.api.put(slice);
        }
        self.served.borrow_mut().push(Served { service: service.clone(), slices });
        self.program()
    }

    /// Deletes a service and its slices.
    pub fn unserve(&self, service: &Service) -> Result<()> {
        self.forget(service)?;
        self.api.delete(service)?;
        self.program()
    }

    fn forget(&self, service: &Service) -> Result<()> {
        let mut served = self.served.borrow_mut();
        let same = |other: &Served| {
            (&other.service.namespace, &other.service.name) == (&service.namespace, &service.name)
        };
        for slice in served.iter().filter(|other| same(other)).flat_map(|other| &other.slices) {
            self.api.delete(slice)?;
        }
        served.retain(|other| !same(other));
        Ok(())
    }

    fn program(&self) -> Result<()> {
        let served = self.served.borrow();
        [&self.a, &self.b].into_iter().try_for_each(|node| proxy::program(&node.host, &served))
    }

    /// Starts the exporter of a node with the cluster's kubeconfig and waits until it is ready.
    pub fn exporter(&self, node: &Node, flags: &[&str]) -> Result<NodeExporter> {
        NodeExporter::start(node, &[&[self.kubeconfig.flag().as_str()], flags].concat(), true)
    }

    /// The same, waiting only until it listens, and with no other flags than these.
    pub fn exporter_unready(&self, node: &Node, flags: &[&str]) -> Result<NodeExporter> {
        NodeExporter::start(node, flags, false)
    }

    /// How many watches of a resource the API server has open.
    pub fn open_watches(&self, resource: Resource) -> usize {
        self.api.open_watches(resource)
    }
}

/// The pod with its node and with a uid that tells who made it; and the uid that its control groups bear.
fn known_to_kubelet(node: &Node, mut object: objects::Pod) -> (objects::Pod, String) {
    object.node.clone_from(&node.name);
    object.uid = kubelet::uid();
    if !object.annotations.contains_key(HASH) {
        let uid = object.uid.clone();
        return (object, uid);
    }
    let hash = kubelet::config_hash();
    for key in [HASH, MIRROR] {
        object.annotations.insert(key.to_owned(), hash.clone());
    }
    (object, hash)
}
