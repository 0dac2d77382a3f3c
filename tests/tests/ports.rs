// SPDX-License-Identifier: Apache-2.0
//! Local ports that a client uses up, against what the kernel let it have.

use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::Process;
use flowgauge_tests::traffic::{command, run_step};

const USED: &str = "flowgauge_tcp_local_ports_used";

#[test]
fn the_busiest_destination_of_a_workload_runs_out() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.client.sysctl("net.ipv4.ip_local_port_range", "50000 50299")?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80", "--listen", "0.0.0.0:81"])?;
    let client = [("workload", stage.client.workload.as_str())];
    let at = |metrics: &Metrics| metrics.sum(USED, &client);
    // Few are not told.
    let (few, _) = Client::start(&stage.client, &["--to", &stage.to(81), "--connections", "90"])?;
    stage.expect(&stage.edge(81), &[("connections", CLIENT, 90.0)])?;
    let metrics = stage.exporter.scrape()?;
    assert_eq!(metrics.select(USED, &client).count(), 0);
    // The same ports do for another destination: all of them.
    let (all, report) = Client::start(&stage.client, &["--to", &stage.to(80), "--connections", "300"])?;
    assert_eq!(report.connected, 300, "{report:?}");
    let metrics = stage.expect(&stage.edge(80), &[("connections", CLIENT, 300.0)])?;
    assert_eq!(at(&metrics), 300.0, "not those of another destination as well");
    assert_eq!(
        metrics.sum(USED, &[("workload", stage.server.workload.as_str())]),
        0.0,
        "a server takes none"
    );
    let refused = run_step(&stage.client, &["connect", "--to", &stage.to(80), "--count", "7"])?;
    assert_eq!(refused.errors.get("EADDRNOTAVAIL"), Some(&7), "{refused:?}");
    let edge = stage.edge(80);
    let metrics = stage.expect(&edge, &[("connect_failures_total", CLIENT, 7.0)])?;
    let without = edge.sum_of(&metrics, "connect_failures_total", CLIENT, ("reason", "no_local_port"));
    assert_eq!((at(&metrics), without), (300.0, 7.0));
    all.finish()?;
    let closed = [("connections", CLIENT, 0.0), ("connections_closed_total", CLIENT, 300.0)];
    let metrics = stage.expect(&edge, &closed)?;
    assert_eq!(metrics.select(USED, &client).count(), 0);
    few.finish().map(drop)
}

#[test]
fn ports_of_several_processes_of_a_workload_add_up() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let shape = ["get", "--pause", "--to", &stage.to(80), "--connections", "70"];
    let start = || -> Result<Client> {
        let process = Process::spawn("client", &mut command(&stage.client, &shape))?;
        Client::adopt(process).map(|(client, _)| client)
    };
    let clients = [start()?, start()?];
    stage.exporter.wait_for(USED, &[("workload", stage.client.workload.as_str())], 140.0, SOON)?;
    clients.into_iter().try_for_each(|client| client.finish().map(drop))
}
