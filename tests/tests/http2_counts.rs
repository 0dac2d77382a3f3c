// SPDX-License-Identifier: Apache-2.0
//! HTTP/2 with prior knowledge, against nginx's access log.

use flowgauge_tests::http::expect::{Seen, expect_http, lost};
use flowgauge_tests::http::h2load::h2load;
use flowgauge_tests::http::web::Web;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::run;

#[test]
fn many_streams_on_many_connections() -> Result<()> {
    let stage = Stage::new(&[])?;
    // Segments that overtake each other between processors hide frames: that is told, but it is not what is tested here.
    stage.pin();
    let web = Web::start(&stage.server, &["0.0.0.0:80 http2"], &[("page", 3000), ("large", 3_000_000)])?;
    let url = |path: &str| format!("http://{}/{path}", stage.to(80));
    let paths = ["page", "code/204", "code/404", "code/503", "code/301", "nowhere", "page?q=1"].map(url);
    h2load(&stage.client, &["-n", "14000", "-c", "7", "-m", "10", "--rps", "500"], &paths)?;
    // Heads that change with each request fill the header tables, and one that takes several frames.
    let long = format!("x-long: {}", "ä1b".repeat(2000));
    h2load(&stage.client, &["-n", "300", "-c", "2", "-m", "5", "--rps", "100", "-H", &long], &paths)?;
    h2load(&stage.client, &["-n", "500", "-c", "1", "-H", ":method: HEAD"], &paths)?;
    h2load(&stage.client, &["-n", "100", "-c", "1", "-m", "3"], &[url("large"), url("page")])?;
    let counts = web.counts(80, 14_900)?;
    assert_eq!(counts.values().sum::<u64>(), 14_900);
    assert!(counts.len() >= 8, "{counts:?}");
    let metrics = expect_http(&stage.exporter, &stage.edge(80), &Seen::answered(counts))?;
    assert_eq!(lost(&metrics), 0.0, "{}", metrics.describe("flowgauge_lost", &[]));
    Ok(())
}

#[test]
fn bodies_go_up_too_and_clients_differ() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.client.settle6()?;
    stage.server.settle6()?;
    let web = Web::start(&stage.server, &["[::]:80 ipv6only=off http2"], &[("page", 3000)])?;
    let curl = |arguments: &[&str], url: &str| {
        let common = ["--http2-prior-knowledge", "-s", "-o", "/dev/null"];
        run(stage.client.command("curl").args(common).args(arguments).arg(url))
    };
    let body = "b".repeat(100_000);
    for (number, to) in [stage.to(80), stage.to6(80)].iter().enumerate() {
        let file = format!("http://{to}/put/file-{number}");
        curl(&["-X", "PUT", "--data-binary", &body], &file)?;
        curl(&["-X", "DELETE"], &file)?;
        curl(&["-X", "PROPFIND"], &format!("http://{to}/page"))?;
        curl(&["-I"], &format!("http://{to}/page"))?;
        curl(&[], &format!("http://{to}/code/418"))?;
    }
    let counts = web.counts(80, 10)?;
    let metrics = expect_http(&stage.exporter, &stage.edge(80), &Seen::answered(counts))?;
    assert_eq!(lost(&metrics), 0.0, "{}", metrics.describe("flowgauge_lost", &[]));
    Ok(())
}
