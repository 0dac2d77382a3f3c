// SPDX-License-Identifier: Apache-2.0

//! What the names of a cluster cost: 10,000 pods behind 2,000 services, from an API server on this machine.

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::account;
use super::machine::Cgroup;
use super::rig::Exporter;
use super::table::Table;
use crate::api_server::objects::{Endpoint, EndpointSlice, Node, Pod, Service, ServicePort};
use crate::api_server::{ApiServer, StreamingLists, TOKEN};

const SERVICES: u32 = 2_000;
const PODS_PER_SERVICE: u32 = 5;
const NODES: u32 = 100;

fn address(base: [u8; 4], number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(u32::from_be_bytes(base) + number))
}

fn node(number: u32) -> String {
    format!("node-{}", number % NODES)
}

fn pod(number: u32, hash: &str) -> Pod {
    let service = number / PODS_PER_SERVICE;
    let mut pod =
        Pod::of_replica_set(&format!("team-{}", service % 50), &format!("deployment-{service}"), hash);
    pod.node = node(number);
    pod.addresses = vec![address([10, 128, 0, 1], number)];
    pod
}

fn fill(api: &ApiServer) {
    for number in 0..NODES {
        let zone = format!("zone-{}", number % 3);
        api.put(Node::new(&node(number), &[address([10, 0, 0, 1], number)], &zone, "region-1"));
    }
    for number in 0..SERVICES {
        let (namespace, name) = (format!("team-{}", number % 50), format!("deployment-{number}"));
        let ports = [ServicePort::tcp(80, 8080), ServicePort::tcp(443, 8443)];
        api.put(Service::new(&namespace, &name, &[address([10, 96, 0, 1], number)], &ports));
        let mut slice = EndpointSlice::new(&namespace, &name, "IPv4", &[8080, 8443]);
        for at in 0..PODS_PER_SERVICE {
            let pod = pod(number * PODS_PER_SERVICE + at, "7d4b9c6f5");
            slice = slice.with([Endpoint::of(&pod, pod.addresses[0], Some("zone-1"))]);
            api.put(pod);
        }
        api.put(slice);
    }
}

/// Start to the first complete table of names, and 50 pods a second after that.
pub fn cluster(table: &mut Table) -> Result<()> {
    let api = ApiServer::start()?;
    fill(&api);
    let kubeconfig = api.kubeconfig(TOKEN)?;
    let cgroup = Cgroup::root()?;
    let alone = Exporter::start(&cgroup, &["--labels.kubernetes=off"])?;
    let (cpu_alone, memory_alone) = (account::cpu_of(alone.pid())?, account::memory_of(alone.pid())?);
    drop(alone);
    let pods = SERVICES * PODS_PER_SERVICE;
    for (lists, streaming) in [("streamed", StreamingLists::Served), ("in pages", StreamingLists::Refused)] {
        api.behave(|behaviour| behaviour.streaming_lists = streaming);
        let flags = [&*kubeconfig.flag(), "--labels.kubernetes=required", "--labels.kubernetes.node=node-1"];
        let exporter = Exporter::start(&cgroup, &flags)?;
        let cpu = account::cpu_of(exporter.pid())?.saturating_sub(cpu_alone);
        let memory = account::memory_of(exporter.pid())?;
        let what = format!("{pods} pods, {SERVICES} services, lists {lists}");
        let figure = format!(
            "{:.2} s CPU, {:.2} s from the start",
            cpu.as_secs_f64(),
            exporter.started_in.as_secs_f64()
        );
        table.row(&[&format!("{what}: first complete names"), &figure, "3 s CPU"]);
        let more = memory.anonymous as f64 - memory_alone.anonymous as f64;
        table.row(&[&format!("{what}: memory"), &format!("{:.1} MB", more / 1e6), "30 MB"]);
        if streaming == StreamingLists::Served {
            churn(&api, &exporter, table)?;
        }
    }
    Ok(())
}

/// A pod that goes and one that comes in its place, 50 times a second for ten seconds.
fn churn(api: &ApiServer, exporter: &Exporter, table: &mut Table) -> Result<()> {
    const SECONDS: u32 = 10;
    const RATE: u32 = 50;
    let quiet = account::cpu_of(exporter.pid())?;
    thread::sleep(Duration::from_secs(SECONDS.into()));
    let before = account::cpu_of(exporter.pid())?;
    let started = Instant::now();
    for number in 0..SECONDS * RATE {
        let old = api.put(pod(number, "6c8d5b7f4"));
        anyhow::ensure!(old > 0, "the API server has no version");
        let due = started + Duration::from_secs(1) * number / RATE;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    thread::sleep(Duration::from_millis(200));
    let after = account::cpu_of(exporter.pid())?;
    let (idle, busy) = (before - quiet, after - before);
    let each = busy.checked_sub(idle).context("less to do with more to do")? / (SECONDS * RATE);
    let figure = format!("{:.0} µs CPU", each.as_secs_f64() * 1e6);
    table.row(&["a pod that comes, of 50 a second, decoding and encryption included", &figure, ""]);
    Ok(())
}
