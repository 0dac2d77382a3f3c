// SPDX-License-Identifier: Apache-2.0
//! Pods whose traffic goes through real Envoys as sidecar proxies: every end of a path is counted once, and under an
//! observer of its own.

use std::net::SocketAddr;

use flowgauge_tests::api_server::objects::{self, Container, Part};
use flowgauge_tests::envoy::{Envoy, GROUP, INBOUND, Passed};
use flowgauge_tests::kubernetes::ends::{Moved, edges, end, to_pod};
use flowgauge_tests::kubernetes::mesh::*;
use flowgauge_tests::kubernetes::{Cluster, Place};
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::run;
use flowgauge_tests::traffic;

#[test]
fn every_end_of_a_path_through_two_proxies_counts_once() -> Result<()> {
    let cluster = Cluster::new()?;
    for (node, part) in [(&cluster.a, Part::Main), (&cluster.b, Part::Sidecar)] {
        let front = pod(&cluster, &cluster.a, "front", &[(PROXY, part)])?;
        let web = pod(&cluster, node, "web", &[(PROXY, part)])?;
        service(&cluster, "web", &[&web])?;
        let nginx = app(&web)?;
        let (front_proxy, web_proxy) = (sidecar(&front, PROXY)?, sidecar(&web, PROXY)?);
        let (near, far) = (exporter(&cluster, &cluster.a, &[])?, exporter(&cluster, node, &[])?);
        let before = [within_pods(&near.scrape()?), within_pods(&far.scrape()?)];
        let moved = visit(front.main()?, &nginx, APP, &addresses(&web))?;
        let at_front = expect(&near, &front, &[CLIENT, CLIENT_PROXY], moved)?;
        let at_web = expect(&far, &web, &[SERVER, SERVER_PROXY], moved)?;
        // The proxies' ends of what stays in a pod are no edges: one for each pod of the node.
        let pods_of_the_node = if node.name == "a" { 2.0 } else { 1.0 };
        for (exporter, before) in [&near, &far].into_iter().zip(before) {
            let within = before + pods_of_the_node * (moved.sent + moved.received);
            exporter.wait_for("flowgauge_proxy_pod_bytes_total", &[], within, PATIENCE)?;
        }
        let (a, b) = (["front", "zone-a"], ["web", node.zone.as_str()]);
        assert_eq!(edges(&at_front, &front, CLIENT), to_pod(a, b, "web", APP));
        assert_eq!(edges(&at_front, &front, CLIENT_PROXY), to_pod(a, b, "web", APP));
        assert_eq!(
            edges(&at_web, &web, SERVER_PROXY),
            to_pod(a, b, "", INBOUND),
            "the port of the redirection"
        );
        assert_eq!(
            edges(&at_web, &web, SERVER),
            to_pod(b, b, "web", APP),
            "the application's peer is its proxy"
        );
        let connections = moved.connections as u64;
        assert_eq!(front_proxy.passed()?, Passed { inbound: 0, outbound: connections });
        assert_eq!(web_proxy.passed()?, Passed { inbound: connections, outbound: 0 });
    }
    Ok(())
}

#[test]
fn round_trips_before_and_after_the_proxies_are_series_of_their_own() -> Result<()> {
    const ONE_WAY: Duration = Duration::from_millis(40);
    let cluster = Cluster::new()?;
    let _link = cluster.slow_down(ONE_WAY)?;
    let front = pod(&cluster, &cluster.a, "front", &[(PROXY, Part::Main)])?;
    let web = pod(&cluster, &cluster.b, "web", &[(PROXY, Part::Main)])?;
    let _server = Server::start(web.main()?, &["--listen", &format!("[::]:{APP}")])?;
    let (_front_proxy, _web_proxy) = (sidecar(&front, PROXY)?, sidecar(&web, PROXY)?);
    let (near, far) = (exporter(&cluster, &cluster.a, &[])?, exporter(&cluster, &cluster.b, &[])?);
    let to = [web.at4(APP), web.at6(APP)];
    let shape = ["--connections", "20", "--requests", "3", "--send", "200", "--receive", "1000"];
    let report = get(front.main()?, &[&["--to", &to[0], "--to", &to[1]], &shape[..]].concat())?;
    ensure!(report.answered == 60 && report.errors.is_empty(), "{report:?}");
    let moved = Moved { sent: report.sent as f64, received: report.received as f64, connections: 20.0 };
    let at_front = expect(&near, &front, &[CLIENT, CLIENT_PROXY], moved)?;
    let at_web = expect(&far, &web, &[SERVER, SERVER_PROXY], moved)?;
    let round_trip = 2.0 * ONE_WAY.as_secs_f64();
    for (metrics, pod, observer, between_pods) in [
        (&at_front, &front, CLIENT, false),
        (&at_front, &front, CLIENT_PROXY, true),
        (&at_web, &web, SERVER_PROXY, true),
        (&at_web, &web, SERVER, false),
    ] {
        let histogram = metrics.histogram("flowgauge_tcp_rtt_seconds", &end(pod, observer));
        let mean = histogram.mean();
        assert!(histogram.count >= 20.0, "{observer}: {histogram:?}");
        let fits = if between_pods { mean >= round_trip } else { mean < round_trip / 2.0 };
        assert!(fits, "{observer}: {mean} s on a link of {round_trip} s");
    }
    Ok(())
}

#[test]
fn a_client_without_proxy_comes_to_one() -> Result<()> {
    let cluster = Cluster::new()?;
    let plain = pod(&cluster, &cluster.a, "plain", &[])?;
    let web = pod(&cluster, &cluster.b, "web", &[(PROXY, Part::Main)])?;
    let service = service(&cluster, "web", &[&web])?;
    let nginx = app(&web)?;
    let _proxy = sidecar(&web, PROXY)?;
    let (near, far) = (exporter(&cluster, &cluster.a, &[])?, exporter(&cluster, &cluster.b, &[])?);
    let moved = visit(plain.main()?, &nginx, 80, &addresses_of(&service))?;
    let at_plain = expect(&near, &plain, &[CLIENT], moved)?;
    let at_web = expect(&far, &web, &[SERVER, SERVER_PROXY], moved)?;
    let (a, b) = (["plain", "zone-a"], ["web", "zone-b"]);
    assert_eq!(edges(&at_plain, &plain, CLIENT), to_pod(a, b, "web", APP));
    assert_eq!(edges(&at_web, &web, SERVER_PROXY), to_pod(a, b, "", INBOUND));
    assert_eq!(edges(&at_web, &web, SERVER), to_pod(b, b, "web", APP));
    Ok(())
}

#[test]
fn a_proxy_goes_out_to_a_service_without_one() -> Result<()> {
    let cluster = Cluster::new()?;
    let front = pod(&cluster, &cluster.a, "front", &[(PROXY, Part::Main)])?;
    let plain = pod(&cluster, &cluster.b, "plain", &[])?;
    let service = service(&cluster, "plain", &[&plain])?;
    let nginx = app(&plain)?;
    let _proxy = sidecar(&front, PROXY)?;
    let (near, far) = (exporter(&cluster, &cluster.a, &[])?, exporter(&cluster, &cluster.b, &[])?);
    let moved = visit(front.main()?, &nginx, 80, &addresses_of(&service))?;
    let at_front = expect(&near, &front, &[CLIENT, CLIENT_PROXY], moved)?;
    let at_plain = expect(&far, &plain, &[SERVER], moved)?;
    // The application's connection ends at the proxy, which alone knows to which backend it goes on: it is named by the one
    // workload that answers for the Service, on the port that was dialled.
    let dialled = to_pod(["front", "zone-a"], ["plain", "zone-b"], "plain", 80);
    assert_eq!(edges(&at_front, &front, CLIENT), dialled);
    let through = to_pod(["front", "zone-a"], ["plain", "zone-b"], "plain", APP);
    assert_eq!(edges(&at_front, &front, CLIENT_PROXY), through);
    assert_eq!(edges(&at_plain, &plain, SERVER), through);
    Ok(())
}

#[test]
fn a_gateway_is_an_application() -> Result<()> {
    let cluster = Cluster::new()?;
    let mut object = objects::Pod::of_deployment(NAMESPACE, "gateway");
    object.containers = vec![Container::new("setup", Part::Init), Container::new(PROXY, Part::Main)];
    let gateway = cluster.run(&cluster.a, object, Place::default())?;
    let web = pod(&cluster, &cluster.b, "web", &[(PROXY, Part::Main)])?;
    let service = service(&cluster, "web", &[&web])?;
    let nginx = app(&web)?;
    let _web_proxy = sidecar(&web, PROXY)?;
    let host = gateway.container(PROXY)?;
    let target = SocketAddr::new(service.cluster_addresses[0], 80);
    let _gateway_proxy = Envoy::gateway(|program| host.command(program), 8443, target)?;
    let (outside, _link) = cluster.outside("outside")?;
    let (near, far) = (exporter(&cluster, &cluster.a, &[])?, exporter(&cluster, &cluster.b, &[])?);
    let before = within_pods(&near.scrape()?);
    let moved = visit(&outside, &nginx, 8443, &addresses(&gateway))?;
    let at_gateway = expect(&near, &gateway, &[SERVER, CLIENT], moved)?;
    let at_web = expect(&far, &web, &[SERVER, SERVER_PROXY], moved)?;
    assert_eq!(within_pods(&at_gateway), before);
    let (a, b) = (["gateway", "zone-a"], ["web", "zone-b"]);
    assert_eq!(edges(&at_gateway, &gateway, SERVER), to_pod(["unknown", ""], a, "", 8443));
    assert_eq!(edges(&at_gateway, &gateway, CLIENT), to_pod(a, b, "web", APP));
    assert_eq!(edges(&at_web, &web, SERVER_PROXY), to_pod(a, b, "", INBOUND));
    Ok(())
}

#[test]
fn the_flag_says_which_containers_are_proxies() -> Result<()> {
    let cluster = Cluster::new()?;
    let front = pod(&cluster, &cluster.a, "front", &[(PROXY, Part::Main)])?;
    let web = pod(&cluster, &cluster.a, "web", &[("our-mesh", Part::Main)])?;
    let nginx = app(&web)?;
    let (_front_proxy, _web_proxy) = (sidecar(&front, PROXY)?, sidecar(&web, "our-mesh")?);
    let usual = exporter(&cluster, &cluster.a, &[])?;
    let changed = exporter(&cluster, &cluster.a, &["--labels.proxy-containers=our-mesh"])?;
    let before = [within_pods(&usual.scrape()?), within_pods(&changed.scrape()?)];
    let moved = visit(front.main()?, &nginx, APP, &addresses(&web))?;
    expect(&usual, &front, &[CLIENT, CLIENT_PROXY], moved)?;
    expect(&changed, &web, &[SERVER, SERVER_PROXY], moved)?;
    // A container that is no proxy, for all that is known, counts as client and as server of what it passes on.
    for (exporter, before, pod, both, once) in
        [(&usual, before[0], &web, SERVER, CLIENT), (&changed, before[1], &front, CLIENT, SERVER)]
    {
        let observers = [
            (both, moved.times(2.0)),
            (once, moved),
            (CLIENT_PROXY, Moved::NOTHING),
            (SERVER_PROXY, Moved::NOTHING),
        ];
        exporter.wait_until(
            &format!("{observers:?} of {}", pod.object.name),
            &OURS,
            PATIENCE,
            |metrics| observers.iter().all(|(observer, moved)| Moved::at(metrics, pod, observer) == *moved),
        )?;
        let within = before + moved.sent + moved.received;
        exporter.wait_for("flowgauge_proxy_pod_bytes_total", &[], within, PATIENCE)?;
    }
    Ok(())
}

#[test]
fn a_port_that_the_proxy_had_before_is_no_way_to_its_backend() -> Result<()> {
    let cluster = Cluster::new()?;
    let front = pod(&cluster, &cluster.a, "front", &[(PROXY, Part::Main)])?;
    let plain = pod(&cluster, &cluster.b, "plain", &[])?;
    let service = service(&cluster, "plain", &[&plain])?;
    let _server = Server::start(plain.main()?, &["--listen", &format!("[::]:{APP}")])?;
    let _proxy = sidecar(&front, PROXY)?;
    let near = exporter(&cluster, &cluster.a, &[])?;
    let to = SocketAddr::new(service.cluster_addresses[0], 80).to_string();
    let from = format!("{}:40000", front.v4);
    let shape = ["--to", &to, "--from", &from, "--send", "100", "--receive", "2000", "--close", "server"];
    // What the proxy itself dials is not redirected: it may have had any port that the application has later.
    let mut command = front.container(PROXY)?.command("setpriv");
    command.args(["--regid", GROUP, "--clear-groups"]).arg(traffic::binary()?).arg("get").args(shape);
    run(&mut command)?;
    let zone = ["front", "zone-a"];
    let backend = to_pod(zone, ["plain", "zone-b"], "plain", APP);
    near.wait_until("the proxy's edge", &OURS, PATIENCE, |metrics| {
        edges(metrics, &front, CLIENT_PROXY) == backend
    })?;
    let report = get(front.main()?, &shape)?;
    ensure!(report.answered == 1, "{report:?}");
    let moved = Moved { sent: report.sent as f64, received: report.received as f64, connections: 1.0 };
    let metrics = near.wait_until("the application's connection", &OURS, PATIENCE, |metrics| {
        Moved::at(metrics, &front, CLIENT) == moved
            && Moved::at(metrics, &front, CLIENT_PROXY) == moved.times(2.0)
    })?;
    assert_eq!(edges(&metrics, &front, CLIENT), to_pod(zone, ["plain", "zone-b"], "plain", 80));
    assert_eq!(edges(&metrics, &front, CLIENT_PROXY), backend);
    Ok(())
}

#[test]
fn connections_older_than_the_exporter_count_once_too() -> Result<()> {
    const CONNECTIONS: f64 = 8.0;
    let cluster = Cluster::new()?;
    let front = pod(&cluster, &cluster.a, "front", &[(PROXY, Part::Main)])?;
    let web = pod(&cluster, &cluster.a, "web", &[(PROXY, Part::Main)])?;
    let _server = Server::start(web.main()?, &["--listen", &format!("[::]:{APP}")])?;
    let (_front_proxy, _web_proxy) = (sidecar(&front, PROXY)?, sidecar(&web, PROXY)?);
    let to = [web.at4(APP), web.at6(APP)];
    let shape = ["--connections", "8", "--send", "3000", "--receive", "50000"];
    let (mut open, before) =
        Client::start(front.main()?, &[&["--to", &to[0], "--to", &to[1]], &shape[..]].concat())?;
    let near = exporter(&cluster, &cluster.a, &[])?;
    let within = within_pods(&near.scrape()?);
    for _ in 0..3 {
        open.again()?;
    }
    let report = open.finish()?;
    let (sent, received) = ((report.sent - before.sent) as f64, (report.received - before.received) as f64);
    let moved = Moved { sent, received, connections: CONNECTIONS };
    expect(&near, &front, &[CLIENT, CLIENT_PROXY], moved)?;
    expect(&near, &web, &[SERVER, SERVER_PROXY], moved)?;
    near.wait_for("flowgauge_proxy_pod_bytes_total", &[], within + 2.0 * (sent + received), PATIENCE)?;
    Ok(())
}

#[test]
fn the_proxy_alone_sees_that_nobody_listens() -> Result<()> {
    const CONNECTIONS: f64 = 12.0;
    let cluster = Cluster::new()?;
    let front = pod(&cluster, &cluster.a, "front", &[(PROXY, Part::Main)])?;
    let plain = pod(&cluster, &cluster.b, "plain", &[])?;
    let _proxy = sidecar(&front, PROXY)?;
    let near = exporter(&cluster, &cluster.a, &[])?;
    let report = get(front.main()?, &["--to", &plain.at4(9000), "--connections", "12", "--send", "100"])?;
    ensure!(report.connected == 12, "{report:?}");
    let failures = |metrics: &Metrics, observer| {
        let refused = [&end(&front, observer)[..], &[("reason", "refused")]].concat();
        let all = metrics.sum("flowgauge_tcp_connect_failures_total", &end(&front, observer));
        (metrics.sum("flowgauge_tcp_connect_failures_total", &refused), all)
    };
    // To the application the connection was made, and broke.
    near.wait_until("refusals at the proxy alone", &OURS, PATIENCE, |metrics| {
        let opened = metrics.sum("flowgauge_tcp_connections_opened_total", &end(&front, CLIENT));
        failures(metrics, CLIENT_PROXY) == (CONNECTIONS, CONNECTIONS)
            && failures(metrics, CLIENT) == (0.0, 0.0)
            && opened == CONNECTIONS
    })?;
    Ok(())
}
