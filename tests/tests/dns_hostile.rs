// SPDX-License-Identifier: Apache-2.0
//! Malformed messages at full rate through the real path: nothing breaks, nothing grows, and true ones are counted to
//! the last one at the same time and afterwards.

use flowgauge_tests::dns::client::{Asking, ask, spray};
use flowgauge_tests::dns::malformed::KINDS;
use flowgauge_tests::dns::scripted::Scripted;
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;
use flowgauge_tests::stage::expect_totals;
use flowgauge_tests::udp;

/// Resident memory of the exporter, bytes.
fn memory(exporter: &Exporter) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", exporter.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// Waits until the server has read what there was in its buffer, and its answers have been counted.
fn settle(stage: &Stage) -> Result<()> {
    let mut last = -1.0;
    for _ in 0..50 {
        std::thread::sleep(Duration::from_millis(200));
        let metrics = stage.exporter.scrape()?;
        let answers = stage.edge(53).total(&metrics, "udp_sent_packets_total", SERVER, &[]);
        if answers == last {
            return Ok(());
        }
        last = answers;
    }
    anyhow::bail!("the server still answers after ten seconds")
}

/// True queries and answers, which must be counted whatever went on before. Some of the malformed ones pass for queries of
/// the same type.
fn expect_true_ones(stage: &Stage) -> Result<Metrics> {
    let (edge, https) = (stage.edge(53), [("qtype", "HTTPS")]);
    let before = stage.exporter.scrape()?;
    let so_far = |side, more: &[(&str, &str)], metric| edge.total(&before, metric, side, more);
    let to = stage.to(53);
    let shape = ["--to", &to, "--name", "q{}.good.example.org", "--types", "HTTPS", "--count", "500"];
    let report = ask(&stage.client, &[&shape[..], &["--outstanding", "4"]].concat())?;
    assert_eq!((report.answered(), report.unmatched), (500, 0), "{report:?}");
    let mut sums = Vec::new();
    for side in [CLIENT, SERVER] {
        let asked = so_far(side, &https, "dns_queries_total");
        let answered = so_far(side, &[("rcode", "NOERROR")], "dns_responses_total");
        sums.push(("dns_queries_total", side, &https[..], asked + 500.0));
        sums.push(("dns_responses_total", side, &[("rcode", "NOERROR")], answered + 500.0));
    }
    expect_totals(&stage.exporter, &edge, &sums)
}

#[test]
fn malformed_queries_at_full_rate() -> Result<()> {
    let mut stage = Stage::new(&["--dns.timeout=1s", "--dns.names=100"])?;
    let mut scripted = Scripted::start(&stage.server, &[stage.to(53)])?;
    let to = stage.to(53);
    // One round to have memory where it will be.
    spray(&stage.client, &["--to", &to, "--count", "30000", "--seed", "7"])?;
    settle(&stage)?;
    expect_true_ones(&stage)?;
    let before = memory(&stage.exporter)?;
    let mut sent = 30_000.0;
    for seed in ["101", "202", "303", "404"] {
        let spraying =
            Asking::start(&stage.client, &["spray", "--to", &to, "--count", "50000", "--seed", seed])?;
        stage.exporter.scrape()?;
        sent += spraying.finish()?.sent as f64;
        stage.exporter.scrape()?;
    }
    assert!(stage.exporter.process().is_running());
    settle(&stage)?;
    let metrics = expect_true_ones(&stage)?;
    let grown = memory(&stage.exporter)?.saturating_sub(before);
    assert!(grown < 20 << 20, "{} MB more than before", grown >> 20);
    // Each datagram is one of the edge's, and of the malformed ones most cannot be taken for anything else.
    let edge = stage.edge(53);
    let packets = edge.total(&metrics, "udp_sent_packets_total", CLIENT, &[]);
    assert_eq!(packets, sent + 1000.0);
    for side in [CLIENT, SERVER] {
        let malformed = edge.total(&metrics, "dns_malformed_messages_total", side, &[]);
        assert!(malformed > sent * 0.4 && malformed < sent, "{side}: {malformed} of {sent}");
    }
    assert!(scripted.report()?.malformed > 10_000);
    assert!(!stage.exporter.log().contains("panic"), "{}", stage.exporter.log());
    Ok(())
}

#[test]
fn malformed_responses_at_full_rate() -> Result<()> {
    let mut stage = Stage::new(&["--dns.timeout=1s", "--dns.names=100"])?;
    // A socket at the client that the forger at the server knows: it takes whatever comes from port 53.
    let mut victim = udp::Server::start(&stage.client, &["--listen", "0.0.0.0:3053"])?;
    let to = stage.link.a.at4(3053).to_string();
    let mut sent = 0;
    for seed in ["1", "2", "3"] {
        let shape = ["--to", &to, "--count", "50000", "--seed", seed, "--responses", "--bind", "53"];
        sent += spray(&stage.server, &shape)?.sent;
    }
    assert!(stage.exporter.process().is_running());
    assert!(victim.report()?.received_packets > 0);
    let scripted = Scripted::start(&stage.server, &[stage.to(53)])?;
    let metrics = expect_true_ones(&stage)?;
    // None is an answer to anything.
    let edge = stage.edge(53);
    assert_eq!(edge.total(&metrics, "dns_responses_total", CLIENT, &[]), 500.0);
    let odd = |metric| edge.total(&metrics, metric, SERVER, &[]);
    let (malformed, unmatched) = (odd("dns_malformed_messages_total"), odd("dns_unmatched_responses_total"));
    assert!(
        malformed > 0.2 * sent as f64 && unmatched > 0.05 * sent as f64,
        "{malformed}, {unmatched} of {sent}"
    );
    assert!(malformed + unmatched <= sent as f64, "{malformed}, {unmatched} of {sent}");
    assert!(!stage.exporter.log().contains("panic"), "{}", stage.exporter.log());
    drop(scripted);
    Ok(())
}

#[test]
fn malformed_answers_to_true_queries() -> Result<()> {
    let stage = Stage::new(&["--dns.timeout=500ms"])?;
    let _scripted = Scripted::start(&stage.server, &[stage.to(53)])?;
    let to = stage.to(53);
    for kind in 0..KINDS {
        let name = format!("bad{kind}.q{{}}.example.com");
        let shape =
            ["--to", &to, "--name", &name, "--count", "200", "--outstanding", "100", "--patience", "50"];
        ask(&stage.client, &shape)?;
    }
    let all = 200.0 * KINDS as f64;
    for side in [CLIENT, SERVER] {
        let sums = [("dns_queries_total", side, &[][..], all)];
        let metrics = expect_totals(&stage.exporter, &stage.edge(53), &sums)?;
        assert!(stage.edge(53).total(&metrics, "dns_responses_total", side, &[]) < all * 0.1);
    }
    expect_totals(
        &stage.exporter,
        &stage.edge(53),
        &[("dns_timeouts_total", CLIENT, &[], all), ("dns_timeouts_total", SERVER, &[], all)],
    )
    .map(drop)
}
