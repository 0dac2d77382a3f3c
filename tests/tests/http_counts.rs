// SPDX-License-Identifier: Apache-2.0
//! Responses to the last one, by method and status code, against nginx's access log and against what a real client and a real
//! server (hyper) count.

use std::time::Instant;

use flowgauge_tests::http::expect::{Seen, durations, expect_http, lost};
use flowgauge_tests::http::load::{Serving, ask};
use flowgauge_tests::http::web::Web;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::{Process, run};

/// Starts wrk with the script `clients/mixed.lua`.
fn start_wrk(host: &Host, connections: &str, url: &str) -> Result<Process> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/mixed.lua");
    let arguments = ["-c", connections, "-t", "2", "-d", "5", "-s", script, url];
    Process::spawn(format!("wrk {url}"), host.command("wrk").args(arguments))
}

/// How many requests it made.
fn asked(mut wrk: Process) -> Result<usize> {
    loop {
        let line = wrk.line(Duration::from_secs(20))?;
        if let Some((requests, _)) = line.split_once(" requests in ") {
            return requests.trim().parse().with_context(|| line.clone());
        }
    }
}

#[test]
fn wrk_at_full_speed_with_mixed_methods_and_codes() -> Result<()> {
    let stage = Stage::new(&[])?;
    let web = Web::start(&stage.server, &["[::]:80 ipv6only=off"], &[("page", 3000)])?;
    let started = Instant::now();
    let asked = asked(start_wrk(&stage.client, "64", &format!("http://{}", stage.to(80)))?)?;
    let counts = web.counts(80, asked)?;
    assert_eq!(counts.values().sum::<u64>(), asked as u64);
    assert!(counts.len() >= 17, "{counts:?}");
    let edge = stage.edge(80);
    let metrics = expect_http(&stage.exporter, &edge, &Seen::answered(counts))?;
    assert_eq!(lost(&metrics), 0.0, "{}", metrics.describe("flowgauge_lost", &[]));
    for side in [CLIENT, SERVER] {
        let times = durations(&metrics, &edge, side);
        // Each connection has one request at a time.
        let limit = 64.0 * started.elapsed().as_secs_f64();
        assert!(times.sum > 0.0 && times.sum < limit, "{side}: {} s of at most {limit}", times.sum);
    }
    Ok(())
}

#[test]
fn wrk_over_ipv6_and_loopback_and_to_several_ports() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.client.settle6()?;
    stage.server.settle6()?;
    let listen = ["[::]:80 ipv6only=off", "[::]:81 ipv6only=off", "[::]:82 ipv6only=off deferred"];
    let web = Web::start(&stage.server, &listen, &[("page", 3000)])?;
    let mut wrks = vec![start_wrk(&stage.client, "8", &format!("http://{}", stage.to6(80)))?];
    for url in ["http://127.0.0.1:81", "http://[::1]:81"] {
        wrks.push(start_wrk(&stage.server, "4", url)?);
    }
    wrks.push(start_wrk(&stage.client, "8", &format!("http://{}", stage.to(82)))?);
    let mut all = 0;
    for wrk in wrks {
        all += asked(wrk)?;
    }
    let itself = Edge::between(&stage.server, &stage.server, 81);
    for (port, edge) in [(80, stage.edge(80)), (81, itself), (82, stage.edge(82))] {
        let counts = web.counts(port, all)?;
        assert!(counts.values().sum::<u64>() > 1000, "{port}: {counts:?}");
        let metrics = expect_http(&stage.exporter, &edge, &Seen::answered(counts))?;
        assert_eq!(lost(&metrics), 0.0, "{}", metrics.describe("flowgauge_lost", &[]));
    }
    Ok(())
}

/// Bodies sent by sendfile, put together by segmentation offload, then another request on the same connection.
#[test]
fn large_files_and_uploads_on_kept_connections() -> Result<()> {
    let stage = Stage::new(&[])?;
    for (host, device) in [(&stage.client, &stage.link.a.device), (&stage.server, &stage.link.b.device)] {
        run(host.command("ethtool").args(["-K", device, "tso", "on", "gso", "on", "gro", "on"]))?;
    }
    let files = [("large", 5_000_000), ("page", 30_000), ("small", 5)];
    let web = Web::start(&stage.server, &["0.0.0.0:80"], &files)?;
    let to = stage.to(80);
    let shape = ["--paths", "/large,/small,/page,/missing", "--requests", "32", "--connections", "4"];
    let mut asked = ask(&stage.client, &[&["--to", &to], &shape[..]].concat())?;
    for (size, chunked) in [("300000", &[][..]), ("70000", &["--chunked"]), ("5", &["--chunked"])] {
        let shape = ["--to", &to, "--paths", "/put/a,/put/b", "--methods", "PUT,HEAD", "--size", size];
        let more = ask(&stage.client, &[&shape[..], &["--requests", "20"], chunked].concat())?;
        more.responses.iter().for_each(|(what, n)| *asked.responses.entry(what.clone()).or_default() += n);
    }
    assert_eq!(asked.total(), 128 + 60);
    assert_eq!(web.counts(80, 188)?, asked.counts()?);
    let metrics = expect_http(&stage.exporter, &stage.edge(80), &Seen::answered(asked.counts()?))?;
    assert_eq!(lost(&metrics), 0.0, "{}", metrics.describe("flowgauge_lost", &[]));
    Ok(())
}

#[test]
fn http_1_0_without_keep_alive() -> Result<()> {
    let stage = Stage::new(&[])?;
    let web = Web::start(&stage.server, &["0.0.0.0:80"], &[("page", 30_000)])?;
    let to = stage.to(80);
    let shape = ["--old", "--rounds", "300", "--connections", "6", "--paths", "/page,/code/404,/code/500"];
    let asked = ask(&stage.client, &[&["--to", &to], &shape[..]].concat())?;
    assert_eq!(asked.total(), 1800);
    assert!(web.log(1800)?.iter().all(|line| line.protocol == "HTTP/1.0"));
    assert_eq!((web.connections(1800)?, web.counts(80, 1800)?), (1800, asked.counts()?));
    let metrics = expect_http(&stage.exporter, &stage.edge(80), &Seen::answered(asked.counts()?))?;
    assert_eq!(lost(&metrics), 0.0, "{}", metrics.describe("flowgauge_lost", &[]));
    Ok(())
}

#[test]
fn curl_and_nginx() -> Result<()> {
    let stage = Stage::new(&[])?;
    let web = Web::start(&stage.server, &["0.0.0.0:80"], &[("page", 30_000), ("large", 2_000_000)])?;
    let url = |path: &str| format!("http://{}/{path}", stage.to(80));
    let quiet = ["-s", "-o", "/dev/null"];
    let upload = tempfile::NamedTempFile::new()?;
    std::fs::write(upload.path(), vec![b'u'; 1_500_000])?;
    let upload = upload.path().to_str().context("a path that is no text")?;
    for arguments in [
        &[][..],
        &["-I"],
        &["--http1.0"],
        &["-X", "OPTIONS"],
        &["-X", "REPORT"],
        &["-r", "100-200"],
        // Above a megabyte curl waits for 100 Continue.
        &["-T", upload],
        &["-T", upload, "-H", "Transfer-Encoding: chunked"],
    ] {
        let to = url(if arguments.contains(&"-T") { "put/it" } else { "page" });
        let next = [url("large"), url("code/404"), url("code/204")];
        let more =
            ["--next", "-s", "-o", "/dev/null", &next[0], "-o", "/dev/null", &next[1], "-o", "/dev/null"];
        run(stage.client.command("curl").args(quiet).args(arguments).arg(&to).args(more).arg(&next[2]))
            .with_context(|| format!("{arguments:?}"))?;
    }
    let counts = web.counts(80, 8 * 4)?;
    assert_eq!(counts.values().sum::<u64>(), 8 * 4);
    assert_eq!(counts[&("GET".to_owned(), 206)], 1);
    assert_eq!(counts[&("PUT".to_owned(), 201)] + counts[&("PUT".to_owned(), 204)], 2);
    let metrics = expect_http(&stage.exporter, &stage.edge(80), &Seen::answered(counts))?;
    // Two processors may deliver segments of an upload in the wrong order; where chunks begin is not known then.
    let early = Snmp::of(&stage.server)?.get("TcpExtTCPOFOQueue")? as f64;
    let said = metrics.describe("flowgauge_lost_events_total", &[]);
    assert!(lost(&metrics) <= early, "{early} segments came too early: {said}");
    Ok(())
}

/// Scrapes, and the passes that they make, come while requests are under way.
#[test]
fn hyper_at_both_ends_while_scraped() -> Result<()> {
    let stage = Stage::new(&[])?;
    let mut serving = Serving::start(&stage.server, &["--listen", "[::]:80"])?;
    let to = stage.to(80);
    let paths = "/200,/404?size=10000,/500?size=3000&chunked=1,/204,/201?size=1&chunked=1,/304";
    let methods = "GET,POST,PUT,DELETE,OPTIONS,PROPFIND,HEAD,PATCH,TRACE,MKCOL";
    let shape = ["--to", &to, "--paths", paths, "--methods", methods, "--size", "5000", "--requests", "700"];
    let more = ["--connections", "20", "--rounds", "2"];
    let asking = flowgauge_tests::http::load::Asking::start(&stage.client, &[&shape[..], &more].concat())?;
    for _ in 0..15 {
        stage.exporter.scrape()?;
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut asked = asking.finish()?;
    let chunked = ask(&stage.client, &[&shape[..], &["--chunked", "--connections", "3"]].concat())?;
    chunked.responses.iter().for_each(|(what, n)| *asked.responses.entry(what.clone()).or_default() += n);
    assert_eq!(serving.report()?.responses, asked.responses);
    assert_eq!(asked.total(), 700 * 43);
    let metrics = expect_http(&stage.exporter, &stage.edge(80), &Seen::answered(asked.counts()?))?;
    assert_eq!(lost(&metrics), 0.0, "{}", metrics.describe("flowgauge_lost", &[]));
    Ok(())
}

#[test]
fn python_asks_as_many_as_nginx_logs() -> Result<()> {
    let stage = Stage::new(&[])?;
    let files = [("small", 10), ("page", 30_000), ("large", 2_000_000)];
    let web = Web::start(&stage.server, &["[::]:80 ipv6only=off"], &files)?;
    let (v4, v6) = (stage.link.b.v4.to_string(), stage.link.b.v6.to_string());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/http_client.py");
    let arguments = [script, "80", "30", "12", &v4, &v6];
    let mut client = Process::spawn("http client", stage.client.command("python3").args(arguments))?;
    let status = client.wait(Duration::from_secs(60))?;
    assert!(status.success(), "{status}: {}", client.log());
    let counts = web.counts(80, 360)?;
    assert_eq!(counts.values().sum::<u64>(), 360, "{counts:?}");
    expect_http(&stage.exporter, &stage.edge(80), &Seen::answered(counts)).map(drop)
}
