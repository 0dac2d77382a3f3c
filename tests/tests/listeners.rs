// SPDX-License-Identifier: Apache-2.0
//! Different programs that listen on one port, on different addresses of one host. All are in the root cgroup: only
//! address and process tell them apart.

use std::collections::BTreeMap;

use flowgauge_tests::disguise::Disguise;
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;

const PORT: &str = "7021";

/// Connections opened by the server's name, as one observer has them.
fn opened(metrics: &Metrics, observer: &str) -> BTreeMap<String, f64> {
    let selector = [("observer", observer), ("server_port", PORT)];
    let mut sums = metrics.sum_by("flowgauge_tcp_connections_opened_total", "server_workload", &selector);
    sums.retain(|_, count| *count > 0.0);
    sums
}

/// Starts a server for each `(address, name)` and connects to each address in turn, 10 times to the first, 20 times to
/// the second and so on. Whoever dials knows the address, so its view must have the right name for each. At the
/// server the program may be ambiguous, but must not be another one.
fn expect_servers(servers: &[(&str, &str)]) -> Result<()> {
    let world = World::new()?;
    let host = world.host_without_cgroup("both")?;
    let exporter = Exporter::start(&[])?;
    let disguise = Disguise::new()?;
    let mut running = Vec::new();
    for (address, name) in servers {
        let listen = ["--listen", &format!("{address}:{PORT}"), "--reuse-port"];
        running.push(disguise.serve(name, &host, &listen)?);
    }
    let (mut truth, mut all) = (BTreeMap::new(), 0.0);
    for (number, (address, name)) in servers.iter().enumerate() {
        let to = format!("{}:{PORT}", address.replace("0.0.0.0", "127.0.0.1"));
        let connections = (number as u64 + 1) * 10;
        let shape = ["--to", &to, "--connections", &connections.to_string(), "--receive", "100"];
        let report = disguise.get("shopfront", &host, &shape)?;
        assert_eq!((report.answered, report.errors.len()), (connections, 0), "{report:?}");
        assert_eq!(running[number].report()?.accepted, connections, "{name} took the connections to {to}");
        truth.insert((*name).to_owned(), connections as f64);
        all += connections as f64;
        for side in [CLIENT, SERVER] {
            let selector = [("observer", side), ("server_port", PORT)];
            exporter.wait_for("flowgauge_tcp_connections_closed_total", &selector, all, SOON)?;
        }
        let metrics = exporter.scrape()?;
        assert_eq!(opened(&metrics, CLIENT), truth, "dialled {to}");
        let served = opened(&metrics, SERVER);
        let right = served.iter().all(|(server, count)| {
            server == "ambiguous" || truth.get(server).is_some_and(|truth| count <= truth)
        });
        assert!(right, "connections to {to} were accepted by {truth:?}, and named {served:?}");
    }
    Ok(())
}

#[test]
fn one_program_on_each_address() -> Result<()> {
    expect_servers(&[("127.0.0.1", "warehouse"), ("127.0.0.2", "library"), ("[::1]", "archive")])
}

#[test]
fn one_program_on_an_address_and_another_on_the_rest() -> Result<()> {
    expect_servers(&[("0.0.0.0", "warehouse"), ("127.0.0.2", "library")])
}

/// What listens on loopback alone cannot have accepted a connection from elsewhere.
#[test]
fn a_connection_from_elsewhere_is_not_named_after_a_loopback_listener() -> Result<()> {
    let world = World::new()?;
    let (client, server) = (world.host_without_cgroup("client")?, world.host_without_cgroup("server")?);
    let link = world.link(&client, &server)?;
    let exporter = Exporter::start(&[])?;
    let disguise = Disguise::new()?;
    let listen = |address| ["--listen".to_owned(), format!("{address}:{PORT}"), "--reuse-port".to_owned()];
    let [all, loopback] = [listen("0.0.0.0"), listen("127.0.0.1")];
    let mut warehouse = disguise.serve("warehouse", &server, &all.each_ref().map(String::as_str))?;
    let _library = disguise.serve("library", &server, &loopback.each_ref().map(String::as_str))?;
    let to = format!("{}:{PORT}", link.b.v4);
    disguise.get("shopfront", &client, &["--to", &to, "--connections", "10"])?;
    assert_eq!(warehouse.report()?.accepted, 10);
    let selector = [("observer", SERVER), ("server_port", PORT)];
    exporter.wait_for("flowgauge_tcp_connections_closed_total", &selector, 10.0, SOON)?;
    let served = opened(&exporter.scrape()?, SERVER);
    let right = served.keys().all(|server| ["warehouse", "ambiguous"].contains(&server.as_str()));
    assert!(right, "connections that warehouse accepted were named {served:?}");
    Ok(())
}
