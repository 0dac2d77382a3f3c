// SPDX-License-Identifier: Apache-2.0
//! The API server is away, is another one, is slow, or talks nonsense: names stay, metrics go on, watches recover.

use std::time::Instant;

use flowgauge_tests::api_server::objects::{self, Object};
use flowgauge_tests::api_server::{ApiServer, Ending, Fault, Kubeconfig, Resource, Scope, TOKEN, Verb};
use flowgauge_tests::kubernetes::{Cluster, NodeExporter, Place, Pod, Talk, own_port};
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;

const SOURCES: [&str; 5] = [
    "kubernetes_node_pods",
    "kubernetes_pods",
    "kubernetes_services",
    "kubernetes_endpointslices",
    "kubernetes_nodes",
];

/// What watches may take to recover: the longest pause between attempts after so short an outage, the pause in which
/// not all nodes list at once, and some time for a busy machine.
const RECOVERY: Duration = Duration::from_secs(35);

#[test]
fn it_starts_without_the_api_and_names_when_it_comes() -> Result<()> {
    let mut cluster = Cluster::new()?;
    let talk = Talk::new(&cluster, &cluster.a, &cluster.b)?;
    cluster.api.stop();
    let begin = Instant::now();
    let exporter = cluster.exporter(&cluster.a, &[])?;
    exporter.scrape()?;
    // The budget is 2 s on a machine of its own.
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(10), "the first metrics took {took:?}");
    eprintln!("first metrics without the API after {took:?}");
    // Nothing is lost for want of names, and the log says once what is wrong.
    talk.prove(&[&exporter], &[("server_workload", "unknown")])?;
    for source in SOURCES {
        exporter.wait_for_source(source, false, SOON)?;
    }
    let page = exporter.get("/", "text/html")?.body;
    assert!(page.contains("cannot reach the API server at"), "{page}");
    cluster.api.listen()?;
    exporter.wait_for_names(RECOVERY)?;
    talk.prove(&[&exporter], &Talk::named())?;
    let log = exporter.stop()?;
    let told = log.lines().filter(|line| line.contains("cannot reach the API") && line.contains("watch="));
    assert_eq!(told.count(), SOURCES.len(), "once for each watch:\n{log}");
    Ok(())
}
