// SPDX-License-Identifier: Apache-2.0
//! Where a pod on the host's network listens, as far as it tells.

use std::net::IpAddr;

use super::super::wire;
use super::{is_lasting, is_tcp, port};

/// The TCP ports that containers declare, and those at which the kubelet probes them: many that are on the host's
/// network, such as the API server's static pod, declare none. `ips` are the pod's.
pub(super) fn of_host(spec: &wire::PodSpec, ips: &[IpAddr]) -> Vec<u16> {
    let containers = spec.containers.iter().flatten();
    let sidecars = spec.init_containers.iter().flatten().filter(|c| is_lasting(c, false));
    let mut ports: Vec<u16> = containers
        .chain(sidecars)
        .flat_map(|container| declared(container).chain(probed(container, ips)))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn declared(container: &wire::Container) -> impl Iterator<Item = u16> {
    let ports = container.ports.iter().flatten().filter(|p| is_tcp(p.protocol.as_deref()));
    ports.filter_map(|p| port(p.container_port))
}

fn probed(container: &wire::Container, ips: &[IpAddr]) -> impl Iterator<Item = u16> {
    let probes = [&container.liveness_probe, &container.readiness_probe, &container.startup_probe];
    let actions = probes.into_iter().flatten().flat_map(|p| [&p.http_get, &p.tcp_socket, &p.grpc]).flatten();
    actions.filter(|action| is_at_home(action, ips)).filter_map(|action| match action.port {
        Some(wire::PortOrName::Number(number)) => port(Some(number)),
        Some(wire::PortOrName::Name(_)) | None => None,
    })
}

/// The pod itself is probed, and not something elsewhere.
fn is_at_home(action: &wire::ProbedPort, ips: &[IpAddr]) -> bool {
    let host = action.host.as_deref().unwrap_or_default();
    let is_own = |addr: IpAddr| addr.is_loopback() || ips.contains(&addr);
    host.is_empty() || host == "localhost" || host.parse().is_ok_and(is_own)
}
