// SPDX-License-Identifier: Apache-2.0
//! Packets that the kernel drops in a pod's network namespace, or of its sockets, are the pod's workload's.

use flowgauge_tests::api_server::objects;
use flowgauge_tests::faults::{Rule, Verdict};
use flowgauge_tests::kubernetes::{Cluster, Place};
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::Process;
use flowgauge_tests::udp;

const DROPPED: &str = "flowgauge_dropped_packets_total";
const NAMESPACE: &str = "lost-and-found";

#[test]
fn drops_are_the_workloads_of_their_pods() -> Result<()> {
    let cluster = Cluster::new()?;
    let web = objects::Pod::of_replica_set(NAMESPACE, "web", "7d4b9c6f5");
    let web = cluster.run(&cluster.a, web, Place::default())?;
    let front = objects::Pod::of_deployment(NAMESPACE, "front");
    let front = cluster.run(&cluster.a, front, Place::default())?;
    let _lives = Process::spawn("web", web.main()?.command("sleep").arg("600"))?;
    let exporter = cluster.exporter(&cluster.a, &[])?;
    for source in ["node_pods", "nodes"] {
        exporter.wait_for_source(&format!("kubernetes_{source}"), true, SOON)?;
    }
    let before = Snmp::of(web.main()?)?;
    // Nobody listens in the pod: it has no socket, but the namespace is the pod's.
    udp::send(front.main()?, &["--to", &web.at4(9400), "--count", "20", "--pause", "1000"])?;
    // What does not get out is its socket's.
    let rule = Rule::new(front.main()?, &["OUTPUT", "-p", "udp", "--dport", "9401"], Verdict::Drop)?;
    udp::send(front.main()?, &["--to", &web.at4(9401), "--count", "15"])?;
    // A server that does not keep up.
    let deaf = ["--listen", "0.0.0.0:9402", "--deaf", "--receive-buffer", "20000"];
    let _deaf = udp::Server::start(web.main()?, &deaf)?;
    let shape = ["--count", "500", "--size", "1000", "--pause", "1000"];
    udp::send(front.main()?, &[&["--to", &web.at4(9402)], &shape[..]].concat())?;

    let now = Snmp::of(web.main()?)?;
    let expected = [
        ("web", "NO_SOCKET", now.since(&before, "UdpNoPorts")?),
        ("front", "NETFILTER_DROP", rule.hits()? as f64),
        ("web", "SOCKET_RCVBUFF", now.since(&before, "UdpRcvbufErrors")?),
    ];
    for ((workload, reason, count), least) in expected.iter().zip([20.0, 15.0, 100.0]) {
        assert!(*count >= least, "{workload} {reason}: {count}");
        let selector = [("namespace", NAMESPACE), ("workload", workload), ("reason", *reason)];
        exporter.wait_for(DROPPED, &selector, *count, SOON)?;
    }
    let all = exporter.scrape()?.sum(DROPPED, &[("namespace", NAMESPACE)]);
    assert_eq!(all, expected.iter().map(|(.., count)| count).sum::<f64>(), "and nothing else");
    Ok(())
}
