// SPDX-License-Identifier: Apache-2.0
//! What lies below and around HTTP: requests in the SYN, streams longer than sequence numbers, a proxy, peers that make codes up.

use flowgauge_tests::http::cases::framing::{exchange, talk};
use flowgauge_tests::http::cases::{Case, Path, check};
use flowgauge_tests::http::expect::{Seen, expect_http, lost};
use flowgauge_tests::http::load::{Serving, ask};
use flowgauge_tests::http::message::{request, response};
use flowgauge_tests::http::play::{Scene, play};
use flowgauge_tests::http::web::Web;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::run;

/// TCP Fast Open (RFC 7413): the first request is in the SYN, and what follows on the connection is counted like others.
#[test]
fn a_request_in_the_syn() -> Result<()> {
    let stage = Stage::new(&[])?;
    for host in [&stage.client, &stage.server] {
        // Both roles, on every listener, without cookies.
        host.sysctl("net.ipv4.tcp_fastopen", &0x607.to_string())?;
    }
    let mut serving = Serving::start(&stage.server, &["--listen", "[::]:80"])?;
    let to = stage.to(80);
    let shape = ["--to", &to, "--fast-open", "--rounds", "20", "--requests", "4", "--connections", "2"];
    let mix = ["--methods", "GET,POST", "--size", "3000", "--paths", "/200,/404?size=5000"];
    let asked = ask(&stage.client, &[&shape[..], &mix].concat())?;
    assert_eq!((asked.total(), serving.report()?.total()), (160, 160));
    let opened = Snmp::of(&stage.server)?.get("TcpExtTCPFastOpenPassive")?;
    assert!(opened >= 30, "{opened} connections opened fast");
    let metrics = expect_http(&stage.exporter, &stage.edge(80), &Seen::answered(asked.counts()?))?;
    assert_eq!(lost(&metrics), 0.0, "{}", metrics.describe("flowgauge_lost", &[]));
    Ok(())
}

/// Sequence numbers come round again within a body; what follows is found where it is.
#[test]
fn more_than_four_gigabytes_on_a_connection() -> Result<()> {
    let stage = Stage::new(&[])?;
    let mut serving = Serving::start(&stage.server, &["--listen", "127.0.0.1:80"])?;
    let mut curl = stage.server.command("curl");
    for path in ["200?size=4500000000", "204", "404?size=9", "201?size=90000&chunked=1", "500"] {
        curl.args(["-s", "-o", "/dev/null", &format!("http://127.0.0.1/{path}")]);
    }
    run(&mut curl)?;
    let report = serving.report()?;
    assert_eq!((report.total(), report.connections), (5, 1));
    let edge = Edge::between(&stage.server, &stage.server, 80);
    let metrics = expect_http(&stage.exporter, &edge, &Seen::answered(report.counts()?))?;
    assert!(edge.sum(&metrics, "received_bytes_total", CLIENT) > 4.5e9);
    assert_eq!(lost(&metrics), 0.0, "{}", metrics.describe("flowgauge_lost", &[]));
    Ok(())
}

/// The proxy is server of one edge and client of the other; each has its own counts.
#[test]
fn through_a_proxy() -> Result<()> {
    let stage = Stage::new(&[])?;
    let behind = stage.world.host("behind")?;
    let link = stage.world.link(&stage.server, &behind)?;
    stage.rename(&[&stage.client, &stage.server, &behind].map(Name::of))?;
    let web = Web::start(&behind, &["0.0.0.0:8080"], &[("page", 50_000)])?;
    let proxy = Web::proxy(&stage.server, &["0.0.0.0:80"], link.b.at4(8080))?;
    let to = stage.to(80);
    let shape = ["--to", &to, "--paths", "/page,/code/404,/code/304,/code/503,/code/201", "--size", "20000"];
    let more = ["--methods", "GET,POST,HEAD,DELETE", "--connections", "6", "--requests", "60"];
    let asked = ask(&stage.client, &[&shape[..], &more].concat())?;
    assert_eq!(asked.total(), 360);
    let (before, after) = (proxy.counts(80, 360)?, web.counts(8080, 360)?);
    assert_eq!((&before, &after), (&asked.counts()?, &asked.counts()?));
    expect_http(&stage.exporter, &stage.edge(80), &Seen::answered(before))?;
    let edge = Edge::between(&stage.server, &behind, 8080);
    let metrics = expect_http(&stage.exporter, &edge, &Seen::answered(after))?;
    assert_eq!(lost(&metrics), 0.0, "{}", metrics.describe("flowgauge_lost", &[]));
    Ok(())
}

/// An edge has a bounded number of series; what is beyond is counted together, and none of it is missing.
#[test]
fn peers_that_make_codes_up() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.pin();
    let methods = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"];
    let conversation = |method| {
        let codes = 200..600;
        codes.fold(talk(), |all, code| all.then(exchange(request(method), response(code, ""))))
    };
    let conversations: Vec<_> = methods.map(conversation).into();
    play(&stage.client, &stage.server, &[Scene { address: stage.link.b.at4(80), conversations }])?;
    let total = 400.0 * methods.len() as f64;
    let edge = stage.edge(80);
    let sums = [
        ("http_responses_total", CLIENT, &[][..], total),
        ("http_responses_total", SERVER, &[], total),
        ("http_response_duration_seconds_count", CLIENT, &[], total),
        ("http_response_duration_seconds_count", SERVER, &[], total),
    ];
    let metrics = flowgauge_tests::stage::expect_totals(&stage.exporter, &edge, &sums)?;
    for side in [CLIENT, SERVER] {
        let series = metrics.select("flowgauge_http_responses_total", &edge.selector(side)).count();
        assert_eq!(series, 65, "{side}");
        assert!(edge.total(&metrics, "http_responses_total", side, &[("code", "other")]) > total / 2.0);
    }
    assert_eq!(lost(&metrics), 0.0, "{}", metrics.describe("flowgauge_lost", &[]));
    // Others are not touched by it.
    let case = Case::new("another edge", exchange(request("GET"), response(599, "x")), &[("GET", 599, 1)]);
    check(&stage, Path::Link4, 81, &[case])
}
