// SPDX-License-Identifier: Apache-2.0
//! Edge labels: the same at both ends, from the names file, dropped and added, ports.

use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;

#[test]
fn both_observers_use_the_same_labels() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _server = Server::start(&stage.server, &["--listen", "[::]:7001"])?;
    let shape =
        ["--to", &stage.to(7001), "--to", &stage.to6(7001), "--connections", "10", "--receive", "1000"];
    get(&stage.client, &shape)?;
    let sums = [("connections_closed_total", CLIENT, 10.0), ("connections_closed_total", SERVER, 10.0)];
    let metrics = stage.expect(&stage.edge(7001), &sums)?;
    let labels = |observer| -> Vec<_> {
        let selector = [("observer", observer), ("server_port", "7001")];
        let samples = metrics.select("flowgauge_tcp_connections_opened_total", &selector);
        let mut labels: Vec<_> = samples.map(|sample| sample.labels.clone()).collect();
        labels.iter_mut().for_each(|labels| drop(labels.remove("observer")));
        labels
    };
    assert_eq!(labels(CLIENT).len(), 1);
    assert_eq!(labels(CLIENT), labels(SERVER));
    let expected = [
        "client_namespace",
        "client_workload",
        "client_zone",
        "server_kind",
        "server_namespace",
        "server_port",
        "server_service",
        "server_workload",
        "server_zone",
    ];
    assert_eq!(labels(CLIENT)[0].keys().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_eq!(labels(CLIENT)[0]["server_kind"], "host");
    Ok(())
}

#[test]
fn names_files_name_and_rename() -> Result<()> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = world.link(&client, &server)?;
    let name = |workload: &str| Name {
        zone: Some("dc-7".to_owned()),
        namespace: Some("billing".to_owned()),
        ..Name::new(workload, [link.b.v4.into(), link.b.v6.into()])
    };
    let names = NamesFile::new(&[name("ledger-db")])?;
    let mut exporter = Exporter::start(&[&names.flag()])?;
    let _server = Server::start(&server, &["--listen", "[::]:7008"])?;
    let to = [link.b.at4(7008).to_string(), link.b.at6(7008).to_string()];
    let shape = ["--to", &to[0], "--to", &to[1], "--connections", "10", "--receive", "1000"];
    let opened = "flowgauge_tcp_connections_opened_total";
    let edge = |workload| {
        [
            ("observer", CLIENT),
            ("client_workload", client.workload.as_str()),
            ("server_workload", workload),
            ("server_zone", "dc-7"),
            ("server_namespace", "billing"),
            ("server_port", "7008"),
            ("server_kind", "host"),
        ]
    };
    get(&client, &shape)?;
    exporter.wait_for(opened, &edge("ledger-db"), 10.0, SOON)?;

    // A changed file is found without being told.
    names.write(&[name("ledger-db-2")])?;
    std::thread::sleep(Duration::from_secs(3));
    get(&client, &shape)?;
    let metrics = exporter.wait_for(opened, &edge("ledger-db-2"), 10.0, SOON)?;
    assert_eq!(metrics.sum(opened, &edge("ledger-db")), 10.0, "what was counted before keeps its name");

    names.write_text("names:\n  - cidrs: [not-an-address]\n    workload: x\n")?;
    exporter.process().signal(libc::SIGHUP)?;
    let down = |metrics: &Metrics| {
        metrics.select("flowgauge_label_source_up", &[("source", "names_file")]).any(|s| s.value == 0.0)
    };
    exporter.wait_until("names_file down", &[("source", "names_file")], SOON, down)?;
    assert!(exporter.log().contains("not-an-address"), "{}", exporter.log());
    get(&client, &shape)?;
    exporter.wait_for(opened, &edge("ledger-db-2"), 20.0, SOON)?;

    names.write(&[name("ledger-db-3")])?;
    exporter.process().signal(libc::SIGHUP)?;
    let up = |metrics: &Metrics| metrics.sum("flowgauge_label_source_up", &[("source", "names_file")]) == 1.0;
    exporter.wait_until("names_file up", &[("source", "names_file")], SOON, up)?;
    get(&client, &shape)?;
    exporter.wait_for(opened, &edge("ledger-db-3"), 10.0, SOON)?;
    exporter.stop()?;
    Ok(())
}

#[test]
fn labels_are_dropped_and_added() -> Result<()> {
    let stage =
        Stage::new(&["--labels.drop=server_port,client_zone,server_zone", "--labels.add=client_process"])?;
    let listen = ["--listen", "0.0.0.0:80", "--listen", "0.0.0.0:81"];
    let _server = Server::start(&stage.server, &listen)?;
    let shape = ["--to", &stage.to(80), "--to", &stage.to(81), "--connections", "30", "--receive", "500"];
    let report = get(&stage.client, &shape)?;
    let edge = Edge::named(&stage.client.workload, &stage.server.workload, "");
    let sums = [
        ("received_bytes_total", CLIENT, report.received as f64),
        ("connections_closed_total", SERVER, 30.0),
    ];
    let metrics = stage.expect(&edge, &sums)?;
    let selector = edge.selector(CLIENT);
    let samples: Vec<_> = metrics.select("flowgauge_tcp_connections_opened_total", &selector).collect();
    assert_eq!(samples.len(), 1, "two ports are one edge now: {samples:?}");
    for gone in ["server_port", "client_zone", "server_zone"] {
        assert!(!samples[0].labels.contains_key(gone), "{gone} is still there");
    }
    assert_eq!(samples[0].labels.get("client_process").map(String::as_str), Some("fg-traffic"));
    Ok(())
}

#[test]
fn dynamic_ports_are_one_label_value() -> Result<()> {
    let stage = Stage::new(&["--labels.service-ports=50051,41000"])?;
    let ports = [40001, 40002, 41000, 50051];
    for port in ports {
        let _server = Server::start(&stage.server, &["--listen", &format!("0.0.0.0:{port}")])?;
        get(&stage.client, &["--to", &stage.to(port), "--connections", "3"])?;
    }
    for (port, count) in [("ephemeral", 6.0), ("41000", 3.0), ("50051", 3.0)] {
        let edge = Edge::named(&stage.client.workload, &stage.server.workload, port);
        stage.expect(
            &edge,
            &[("connections_closed_total", CLIENT, count), ("connections_closed_total", SERVER, count)],
        )?;
    }
    Ok(())
}
