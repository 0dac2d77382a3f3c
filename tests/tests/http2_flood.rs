// SPDX-License-Identifier: Apache-2.0
//! HTTP/2 faster than its frames may be read. By itself: what is lost is told for the whole host.

use flowgauge_tests::http::h2load::h2load;
use flowgauge_tests::http::web::Web;
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;

/// Whatever was lost of HTTP, on the way or for want of what was.
fn lost(metrics: &Metrics) -> f64 {
    let lost = metrics.sum_by("flowgauge_lost_events_total", "reason", &[]);
    lost.iter().filter(|(reason, _)| reason.starts_with("http")).map(|(_, count)| count).sum()
}

/// Faster than the ring may be emptied: what is lost is told, and nothing is told that was not.
#[test]
fn at_full_speed() -> Result<()> {
    let stage = Stage::new(&[])?;
    let web = Web::start(&stage.server, &["0.0.0.0:80 http2"], &[("page", 300)])?;
    h2load(
        &stage.client,
        &["-n", "60000", "-c", "8", "-m", "20"],
        &[format!("http://{}/page", stage.to(80))],
    )?;
    assert_eq!(web.counts(80, 60_000)?.values().sum::<u64>(), 60_000);
    let edge = stage.edge(80);
    let told =
        |metrics: &Metrics, side| edge.total(metrics, "http_responses_total", side, &[("code", "200")]);
    let complete = |metrics: &Metrics| {
        [CLIENT, SERVER].iter().all(|side| told(metrics, side) + lost(metrics) >= 60_000.0)
    };
    let metrics = stage.exporter.wait_until("60,000 told or lost", &edge.selector(CLIENT), SOON, complete)?;
    for side in [CLIENT, SERVER] {
        assert!(told(&metrics, side) <= 60_000.0, "{side}: {}", told(&metrics, side));
        assert_eq!(edge.total(&metrics, "http_responses_total", side, &[]), told(&metrics, side), "{side}");
        assert_eq!(edge.total(&metrics, "http_requests_failed_total", side, &[]), 0.0, "{side}");
    }
    Ok(())
}
