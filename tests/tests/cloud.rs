// SPDX-License-Identifier: Apache-2.0
//! What cloud providers publish: names by their ranges, and the place of this machine by their metadata services.

use std::fs;
use std::path::Path;
use std::time::Instant;

use flowgauge_tests::metadata_server::{Manner, MetadataServer};
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::netns::Interface;
use flowgauge_tests::prelude::*;
use tempfile::TempDir;

const OPENED: &str = "flowgauge_tcp_connections_opened_total";
const UP: &str = "flowgauge_label_source_up";

/// A file as AWS publishes it, in which an interface's addresses are a service's.
fn aws(interface: &Interface, service: &str, region: &str) -> String {
    let Interface { v4, v6, .. } = interface;
    let rest = |service| {
        format!(r#""region": "{region}", "service": "{service}", "network_border_group": "{region}""#)
    };
    let (any, rest) = (rest("AMAZON"), rest(service));
    format!(
        r#"{{
  "syncToken": "1718000000",
  "createDate": "2024-06-10-06-13-20",
  "prefixes": [{{"ip_prefix": "{v4}/32", {any}}}, {{"ip_prefix": "{v4}/32", {rest}}}],
  "ipv6_prefixes": [{{"ipv6_prefix": "{v6}/128", {rest}}}, {{"ipv6_prefix": "{v6}/128", {any}}}]
}}"#
    )
}

/// The same as Google does.
fn google(interface: &Interface, scope: &str) -> String {
    let Interface { v4, v6, .. } = interface;
    let rest = format!(r#""service": "Google Cloud", "scope": "{scope}""#);
    format!(r#"{{"prefixes": [{{"ipv4Prefix": "{v4}/32", {rest}}}, {{"ipv6Prefix": "{v6}/128", {rest}}}]}}"#)
}

/// Puts a file in its place, atomically.
fn put(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text)?;
    Ok(fs::rename(fresh, path)?)
}

fn source_is(source: &'static str, up: f64) -> impl Fn(&Metrics) -> bool {
    move |metrics| metrics.select(UP, &[("source", source)]).any(|sample| sample.value == up)
}

#[test]
fn published_ranges_name_and_rename_both_ends() -> Result<()> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = world.link(&client, &server)?;
    let directory = TempDir::new()?;
    let files =
        ["ip-ranges.json", "cloud.json", "ServiceTags_Public.json"].map(|name| directory.path().join(name));
    put(&files[0], &aws(&link.b, "S3", "eu-west-1"))?;
    put(&files[1], &google(&link.a, "us-central1"))?;
    put(
        &files[2],
        "{\"values\": [\n  {\"name\": \"Storage\", \"properties\": {\"addressPrefixes\": [\"nonsense\"]}}]}",
    )?;
    let flag = format!("--labels.cloud-ranges={},{}", files[0].display(), files[1].display());
    let bad = format!("--labels.cloud-ranges={}", files[2].display());
    let mut exporter = Exporter::start(&[&flag, &bad, "--labels.add=server_region,client_region"])?;
    let _server = Server::start(&server, &["--listen", "[::]:7021"])?;
    let to = [link.b.at4(7021).to_string(), link.b.at6(7021).to_string()];
    let shape = ["--to", &to[0], "--to", &to[1], "--connections", "10", "--receive", "1000"];
    let seen_by_client = |workload, region| {
        [
            ("observer", CLIENT),
            ("client_workload", client.workload.as_str()),
            ("server_workload", workload),
            ("server_zone", region),
            ("server_region", region),
            ("server_kind", "external"),
            ("server_port", "7021"),
        ]
    };
    let seen_by_server = [
        ("observer", SERVER),
        ("client_workload", "google-cloud"),
        ("client_zone", "us-central1"),
        ("client_region", "us-central1"),
        ("server_workload", server.workload.as_str()),
        ("server_port", "7021"),
    ];
    get(&client, &shape)?;
    exporter.wait_for(OPENED, &seen_by_client("aws-s3", "eu-west-1"), 10.0, SOON)?;
    let metrics = exporter.wait_for(OPENED, &seen_by_server, 10.0, SOON)?;

    // The bad file is told, with the place of its fault; the others are in use.
    ensure!(source_is("cloud_ranges", 0.0)(&metrics), "a bad file goes unnoticed");
    let fault = "ServiceTags_Public.json:2:";
    let field = "values[0].properties.addressPrefixes[0]";
    let landing = exporter.get("/", "text/html")?.body;
    for text in [exporter.log(), landing] {
        ensure!(text.contains(fault) && text.contains(field), "not told: {text}");
    }

    // A changed file is found without being told, and what was counted before keeps its name.
    put(&files[0], &aws(&link.b, "DYNAMODB", "eu-north-1"))?;
    put(&files[2], &google(&link.a, "us-central1"))?;
    exporter.wait_until(
        "cloud_ranges up",
        &[("source", "cloud_ranges")],
        SOON,
        source_is("cloud_ranges", 1.0),
    )?;
    get(&client, &shape)?;
    let metrics = exporter.wait_for(OPENED, &seen_by_client("aws-dynamodb", "eu-north-1"), 10.0, SOON)?;
    ensure!(metrics.sum(OPENED, &seen_by_client("aws-s3", "eu-west-1")) == 10.0, "counted anew");

    // A file that went bad keeps its names.
    put(&files[0], "<html>")?;
    exporter.process().signal(libc::SIGHUP)?;
    exporter.wait_until(
        "cloud_ranges down",
        &[("source", "cloud_ranges")],
        SOON,
        source_is("cloud_ranges", 0.0),
    )?;
    get(&client, &shape)?;
    exporter.wait_for(OPENED, &seen_by_client("aws-dynamodb", "eu-north-1"), 20.0, SOON)?;
    exporter.stop()?;
    Ok(())
}

/// The labels of `flowgauge_instance_info`, and those of a connection between two hosts of this machine.
fn placed(provider: &str, manner: Manner, sysfs: Option<&Path>) -> Result<(Vec<String>, String, String)> {
    let service = MetadataServer::start(manner)?;
    let sysfs = sysfs.map(|path| format!("--path.sysfs={}", path.display()));
    let ask = format!("--labels.cloud-metadata={provider}");
    let mut flags = vec![ask, service.flag()];
    flags.extend(sysfs);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let stage = Stage::new(&flags)?;
    let up = source_is("cloud_metadata", 1.0);
    stage.exporter.wait_until("cloud_metadata up", &[("source", "cloud_metadata")], SOON, up)?;
    // Names given before the answer came are given anew at the next pass.
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:7022"])?;
    get(&stage.client, &["--to", &stage.to(7022), "--connections", "5"])?;
    let edge = stage.edge(7022);
    let sums = [("connections_closed_total", CLIENT, 5.0), ("connections_closed_total", SERVER, 5.0)];
    let metrics = stage.expect(&edge, &sums)?;
    let zone = |observer, label: &str| {
        let mut zones = metrics.sum_by(OPENED, label, &edge.selector(observer)).into_keys();
        zones.next().unwrap_or_default()
    };
    let told =
        metrics.select("flowgauge_instance_info", &[]).flat_map(|sample| sample.labels.values().cloned());
    Ok((told.collect(), zone(CLIENT, "client_zone"), zone(SERVER, "server_zone")))
}

#[test]
fn every_providers_service_places_this_machine() -> Result<()> {
    for (provider, manner, instance) in [
        ("aws", Manner::Aws, ["i-0123456789abcdef0", "aws", "eu-west-1", "eu-west-1b"]),
        ("gcp", Manner::Google, ["4520031799277581759", "gcp", "us-central1", "us-central1-a"]),
        ("azure", Manner::Azure, ["02aab8a4-74ef-476e-8182-f6d2ba4166a6", "azure", "eastus", "eastus-1"]),
    ] {
        let (told, client_zone, server_zone) = placed(provider, manner, None)?;
        // In the order of the labels' names.
        ensure!(told == instance, "{provider} told {told:?}");
        ensure!(
            [&*client_zone, &*server_zone] == [instance[3]; 2],
            "{provider}: {client_zone:?}, {server_zone:?}"
        );
    }
    Ok(())
}

#[test]
fn the_firmware_says_whom_to_ask_and_else_nobody_is() -> Result<()> {
    let sysfs = TempDir::new()?;
    let dmi = sysfs.path().join("class/dmi/id");
    fs::create_dir_all(&dmi)?;
    fs::write(dmi.join("sys_vendor"), "QEMU\n")?;
    let service = MetadataServer::start(Manner::Aws)?;
    let path = format!("--path.sysfs={}", sysfs.path().display());
    {
        let exporter = Exporter::start(&[&path, &service.flag()])?;
        std::thread::sleep(Duration::from_secs(2));
        let metrics = exporter.scrape()?;
        ensure!(
            metrics.select(UP, &[("source", "cloud_metadata")]).next().is_none(),
            "a source without a service"
        );
        ensure!(metrics.family("flowgauge_instance_info").is_none(), "an instance of nobody's");
        ensure!(service.connections() == 0, "somebody was asked on a plain host");
        exporter.stop()?;
    }
    fs::write(dmi.join("sys_vendor"), "Amazon EC2\n")?;
    let (told, zone, _) = placed("auto", Manner::Aws, Some(sysfs.path()))?;
    ensure!(
        told.first().is_some_and(|id| id == "i-0123456789abcdef0") && zone == "eu-west-1b",
        "{told:?} {zone}"
    );
    Ok(())
}

#[test]
fn services_that_do_not_answer_delay_nothing() -> Result<()> {
    for (manner, provider, reason) in [
        (Manner::Silent, "gcp", "no complete answer from http://127.0.0.1:"),
        (Manner::Garbage, "azure", "length limit exceeded"),
        // Speaks another provider's language.
        (Manner::Google, "aws", "/latest/api/token: status 403"),
    ] {
        let service = MetadataServer::start(manner)?;
        let ask = format!("--labels.cloud-metadata={provider}");
        let start = Instant::now();
        let exporter = Exporter::start(&[&ask, &service.flag()])?;
        let ready = start.elapsed();
        let down = |metrics: &Metrics| {
            source_is("cloud_metadata", 0.0)(metrics) && exporter.log().contains("did not tell where")
        };
        exporter.wait_until("cloud_metadata down", &[("source", "cloud_metadata")], SOON, down)?;
        let told = start.elapsed();
        ensure!(exporter.log().contains(reason), "{manner:?}: {}", exporter.log());
        ensure!(exporter.get("/", "text/html")?.body.contains(reason), "the landing page does not tell");
        println!("{manner:?}: ready after {ready:?}, given up after {told:?} or less");
        if manner == Manner::Silent {
            ensure!(ready < told, "the exporter waited for the service");
        }
        exporter.stop()?;
    }
    Ok(())
}
