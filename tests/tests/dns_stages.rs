// SPDX-License-Identifier: Apache-2.0
//! Client, resolver, upstream: two edges. Each stage is broken in turn, and the edge that leads to it tells.

use flowgauge_tests::dns::client::{Report, ask};
use flowgauge_tests::dns::dnsmasq::Dnsmasq;
use flowgauge_tests::dns::scripted::Scripted;
use flowgauge_tests::dns::unbound::Unbound;
use flowgauge_tests::faults::{Rule, Verdict};
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::netns::Link;
use flowgauge_tests::prelude::*;
use flowgauge_tests::stage::expect_totals;

/// The stage's server is the resolver; an upstream is behind it.
struct Chain {
    scripted: Scripted,
    behind: Link,
    upstream: Host,
    stage: Stage,
}

/// What an edge's ends saw: queries, NOERROR, SERVFAIL, timeouts.
type Seen = [f64; 4];

impl Chain {
    fn new() -> Result<Self> {
        let stage = Stage::new(&["--dns.timeout=400ms"])?;
        let upstream = stage.world.host("upstream")?;
        let behind = stage.world.link(&stage.server, &upstream)?;
        stage.rename(&[Name::of(&stage.client), Name::of(&stage.server), Name::of(&upstream)])?;
        let scripted = Scripted::start(&upstream, &[behind.b.at4(53).to_string()])?;
        Ok(Chain { scripted, behind, upstream, stage })
    }

    fn ask(&self, name: &str, count: u64) -> Result<Report> {
        let (to, count) = (self.stage.to(53), count.to_string());
        let name = format!("{name}.q{{}}.example.com");
        let shape =
            ["--to", &to, "--name", &name, "--count", &count, "--outstanding", "10", "--patience", "300"];
        ask(&self.stage.client, &shape)
    }

    fn edges(&self) -> [Edge; 2] {
        [self.stage.edge(53), Edge::between(&self.stage.server, &self.upstream, 53)]
    }

    /// Waits until the edges to the resolver and to the upstream have grown by so much since `before`, seen by both
    /// ends of each, and returns what has been seen by then.
    fn expect(&self, before: &Metrics, grown: [[Seen; 2]; 2]) -> Result<Metrics> {
        let mut last = None;
        for (edge, grown) in self.edges().iter().zip(grown) {
            for (side, grown) in [CLIENT, SERVER].into_iter().zip(grown) {
                let sums = [
                    ("dns_queries_total", &[][..]),
                    ("dns_responses_total", &[("rcode", "NOERROR")]),
                    ("dns_responses_total", &[("rcode", "SERVFAIL")]),
                    ("dns_timeouts_total", &[]),
                ];
                let wanted = sums.iter().zip(grown).map(|((metric, more), grown)| {
                    (*metric, side, *more, edge.total(before, metric, side, more) + grown)
                });
                last = Some(expect_totals(&self.stage.exporter, edge, &wanted.collect::<Vec<_>>())?);
            }
        }
        last.context("nothing expected")
    }
}

/// All ends of an edge saw the same.
fn both(seen: Seen) -> [Seen; 2] {
    [seen, seen]
}

const NOTHING: [Seen; 2] = [[0.0; 4]; 2];

#[test]
fn each_stage_broken_in_turn_before_and_behind_dnsmasq() -> Result<()> {
    let mut chain = Chain::new()?;
    let upstream = format!("server={}", chain.behind.b.v4);
    let mut resolver = Dnsmasq::start(&chain.stage.server, &[&upstream])?;
    let before = chain.stage.exporter.scrape()?;
    // All is well.
    assert_eq!(chain.ask("11-1-1-1", 30)?.answered(), 30);
    let well = both([30.0, 30.0, 0.0, 0.0]);
    let seen = chain.expect(&before, [well, well]).context("all is well")?;
    assert_eq!((resolver.log()?.asked(), resolver.log()?.forwarded), (30, 30));
    assert_eq!(chain.scripted.report()?.asked(), 30);
    // The upstream fails: both edges say SERVFAIL. dnsmasq asks again before it says so itself.
    assert_eq!(chain.ask("rcode2", 20)?.answers[&2], 20);
    let asked = (chain.scripted.report()?.asked() - 30) as f64;
    assert!((20.0..=40.0).contains(&asked), "{asked} queries for 20");
    let failed = both([20.0, 0.0, 20.0, 0.0]);
    let seen = chain.expect(&seen, [failed, both([asked, 0.0, asked, 0.0])]).context("the upstream fails")?;
    // The upstream cannot be reached: it sees nothing, the resolver sees no answers, and so does the client.
    let rule = Rule::new(&chain.upstream, &["INPUT", "-p", "udp", "--dport", "53"], Verdict::Drop)?;
    assert_eq!(chain.ask("11-1-1-1", 15)?.unanswered, 15);
    drop(rule);
    let silent = [15.0, 0.0, 0.0, 15.0];
    let seen = chain.expect(&seen, [both(silent), [silent, [0.0; 4]]]).context("no way to the upstream")?;
    // The resolver stands still: nothing goes to the upstream.
    resolver.process().signal(libc::SIGSTOP)?;
    assert_eq!(chain.ask("11-1-1-1", 12)?.unanswered, 12);
    let seen =
        chain.expect(&seen, [both([12.0, 0.0, 0.0, 12.0]), NOTHING]).context("the resolver stands still")?;
    resolver.process().kill()?;
    // The client's own filter drops the answers: only the client lacks them.
    let _resolver = Dnsmasq::start(&chain.stage.server, &[&upstream])?;
    let _rule = Rule::new(&chain.stage.client, &["INPUT", "-p", "udp", "--sport", "53"], Verdict::Drop)?;
    assert_eq!(chain.ask("11-1-1-1", 10)?.unanswered, 10);
    let well = [10.0, 10.0, 0.0, 0.0];
    chain.expect(&seen, [[[10.0, 0.0, 0.0, 10.0], well], both(well)]).context("the client is deaf")?;
    Ok(())
}

#[test]
fn unbound_hides_a_slow_upstream_from_nobody() -> Result<()> {
    let chain = Chain::new()?;
    let listen = chain.stage.link.b.v4.into();
    let unbound = Unbound::start(&chain.stage.server, listen, chain.behind.b.at4(53))?;
    let before = chain.stage.exporter.scrape()?;
    assert_eq!(chain.ask("delay150.11-1-1-1", 20)?.answered(), 20);
    assert_eq!(unbound.asked(), 20);
    let well = both([20.0, 20.0, 0.0, 0.0]);
    let seen = chain.expect(&before, [well, well])?;
    // The upstream's delay is in the times of both edges, as each end saw them.
    for edge in chain.edges() {
        for side in [CLIENT, SERVER] {
            let times = edge.dns_durations(&seen, side);
            assert_eq!(times.quantile_bucket(0.5), Some((0.131_072, 0.262_144)), "{edge:?} {side}");
        }
    }
    Ok(())
}
