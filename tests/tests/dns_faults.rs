// SPDX-License-Identifier: Apache-2.0
//! What goes wrong on the way: drops on either side, closed ports, a server that does not keep up, conntrack clashes.
//! A healthy server asked at the same time must look healthy throughout.

use flowgauge_tests::dns::client::{Report, ask};
use flowgauge_tests::dns::dnsmasq::Dnsmasq;
use flowgauge_tests::dns::scripted::Scripted;
use flowgauge_tests::faults::{Rule, Verdict};
use flowgauge_tests::netns::Link;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::run;
use flowgauge_tests::stage::expect_totals;
use flowgauge_tests::truth::udp_drops;

/// A stage with a second, healthy server.
struct Scene {
    _healthy: Scripted,
    well_to: String,
    well: Host,
    _link: Link,
    stage: Stage,
}

impl Scene {
    fn new() -> Result<Self> {
        let stage = Stage::new(&["--dns.timeout=500ms"])?;
        let well = stage.world.host("well")?;
        let link = stage.world.link(&stage.client, &well)?;
        stage.rename(&[Name::of(&stage.client), Name::of(&stage.server), Name::of(&well)])?;
        let well_to = link.b.at4(53).to_string();
        let healthy = Scripted::start(&well, std::slice::from_ref(&well_to))?;
        Ok(Scene { _healthy: healthy, well_to, well, _link: link, stage })
    }

    fn ask(&self, to: &str, count: u64) -> Result<Report> {
        let count = count.to_string();
        let shape = ["--to", to, "--name", "q{}.example.com", "--count", &count, "--outstanding", "20"];
        ask(&self.stage.client, &[&shape[..], &["--patience", "200"]].concat())
    }

    /// Waits for queries, responses and timeouts of the edge as each end sees them, and asks the healthy server.
    fn expect(&self, client: [u32; 3], server: [u32; 3]) -> Result<()> {
        let (before, well) =
            (self.stage.exporter.scrape()?, Edge::between(&self.stage.client, &self.well, 53));
        assert_eq!(self.ask(&self.well_to, 25)?.answered(), 25);
        let metrics = ["dns_queries_total", "dns_responses_total", "dns_timeouts_total"];
        let mut sums = Vec::new();
        for (side, counts) in [(CLIENT, client), (SERVER, server)] {
            sums.extend(
                metrics.iter().zip(counts).map(|(metric, count)| (*metric, side, &[][..], f64::from(count))),
            );
        }
        expect_totals(&self.stage.exporter, &self.stage.edge(53), &sums)?;
        for side in [CLIENT, SERVER] {
            let so_far = |metric| well.total(&before, metric, side, &[]);
            let sums = [
                ("dns_queries_total", side, &[][..], so_far("dns_queries_total") + 25.0),
                ("dns_responses_total", side, &[("rcode", "NOERROR")], so_far("dns_responses_total") + 25.0),
                ("dns_timeouts_total", side, &[], 0.0),
                ("dns_unmatched_responses_total", side, &[], 0.0),
            ];
            expect_totals(&self.stage.exporter, &well, &sums).context("the healthy server")?;
        }
        Ok(())
    }
}

#[test]
fn drops_on_either_side_show_where_they_are() -> Result<()> {
    let scene = Scene::new()?;
    let (stage, to) = (&scene.stage, scene.stage.to(53));
    let _scripted = Scripted::start(&stage.server, std::slice::from_ref(&to))?;
    assert_eq!(scene.ask(&to, 40)?.answered(), 40);
    scene.expect([40, 40, 0], [40, 40, 0])?;
    {
        // Queries do not reach the server: it has seen nothing.
        let rule = Rule::new(&stage.server, &["INPUT", "-p", "udp", "--dport", "53"], Verdict::Drop)?;
        assert_eq!(scene.ask(&to, 30)?.unanswered, 30);
        assert_eq!(rule.hits()?, 30);
        scene.expect([70, 40, 30], [40, 40, 0])?;
    }
    {
        // Answers do not reach the client: the server has done its part.
        let host = stage.link.b.v4.to_string();
        let rule = ["INPUT", "-p", "udp", "-s", &host, "--sport", "53"];
        let rule = Rule::new(&stage.client, &rule, Verdict::Drop)?;
        assert_eq!(scene.ask(&to, 20)?.unanswered, 20);
        assert_eq!(rule.hits()?, 20);
        scene.expect([90, 40, 50], [60, 60, 0])?;
    }
    assert_eq!(scene.ask(&to, 10)?.answered(), 10);
    scene.expect([100, 50, 50], [70, 70, 0])
}

#[test]
fn nobody_listens() -> Result<()> {
    let scene = Scene::new()?;
    let to = scene.stage.to(53);
    // Each refusal comes back by ICMP and is an error of the next call: none of it is an answer.
    let report = scene.ask(&to, 30)?;
    assert!(report.errors["ECONNREFUSED"] > 0 && report.answered() == 0, "{report:?}");
    let sent = (report.sent - report.errors["ECONNREFUSED"]) as u32;
    let out = Snmp::of(&scene.stage.client)?.get("UdpOutDatagrams")?;
    assert!(out >= u64::from(sent), "{out} of {sent}");
    let out = out as u32;
    scene.expect([out, 0, out], [0, 0, 0])
}

#[test]
fn a_server_that_stands_still_drops_and_answers_late() -> Result<()> {
    let scene = Scene::new()?;
    let (stage, to) = (&scene.stage, scene.stage.to(53));
    let before = Snmp::of(&stage.server)?;
    let mut dnsmasq = Dnsmasq::start(&stage.server, &["local=/example.com/"])?;
    dnsmasq.process().signal(libc::SIGSTOP)?;
    let shape = ["--to", &to, "--name", "q{}.example.com", "--count", "2000", "--outstanding", "1000"];
    let report = ask(&stage.client, &[&shape[..], &["--sockets", "2", "--patience", "900"]].concat())?;
    assert_eq!((report.sent, report.unanswered), (2000, 2000), "{report:?}");
    scene.expect([2000, 0, 2000], [2000, 0, 2000])?;
    let dropped = udp_drops(&stage.server, 53)?;
    assert!((500..2000).contains(&dropped), "{dropped} dropped");
    assert_eq!(Snmp::of(&stage.server)?.since(&before, "UdpRcvbufErrors")?, dropped as f64);
    let drops = [("workload", stage.server.workload.as_str()), ("port", "53")];
    stage.exporter.wait_for("flowgauge_udp_receive_drops_total", &drops, dropped as f64, SOON)?;
    // Now it answers what is in its buffer. The client has closed its sockets: only the server sees the late answers.
    dnsmasq.process().signal(libc::SIGCONT)?;
    let kept = (2000 - dropped) as f64;
    let late = [("reason", "late")];
    expect_totals(
        &stage.exporter,
        &stage.edge(53),
        &[("dns_unmatched_responses_total", SERVER, &late, kept)],
    )?;
    assert_eq!(dnsmasq.log()?.asked(), 2000 - dropped);
    stage.exporter.wait_for("flowgauge_udp_receive_drops_total", &drops, dropped as f64, SOON)?;
    scene.expect([2000, 0, 2000], [2000, 0, 2000])
}

/// Pairs of packets that conntrack took for two new connections, whether it could mend that or dropped one.
fn clashes_of(router: &Host) -> Result<u64> {
    let text = run(router.command("conntrack").arg("-S"))?;
    let counts = text.split_whitespace().filter_map(|word| word.split_once('='));
    let clashes = counts.filter(|(name, _)| matches!(*name, "clash_resolve" | "insert_failed" | "drop"));
    clashes.map(|(_, count)| count.parse::<u64>().context("a count of conntrack")).sum()
}

/// Two threads send on one socket at once, as some resolvers ask A and AAAA. A masquerading router on the way takes both
/// for new connections. Newer kernels mend most of that; what they drop times out at the client, and the server has
/// never seen it.
#[test]
fn conntrack_clashes() -> Result<()> {
    let stage = Stage::new(&["--dns.timeout=500ms"])?;
    let (world, router) = (&stage.world, stage.world.host("router")?);
    let (near, far) = (world.link(&stage.client, &router)?, world.link(&router, &stage.server)?);
    let target = far.b.v4.to_string();
    stage.client.ip(&["route", "add", &target, "via", &near.b.v4.to_string()])?;
    router.sysctl("net.ipv4.ip_forward", "1")?;
    let masquerade = ["-w", "-t", "nat", "-A", "POSTROUTING", "-o", &far.a.device, "-j", "MASQUERADE"];
    run(router.command("iptables").args(masquerade).arg("--random-fully"))?;
    stage.rename(&[Name::of(&stage.client), Name::of(&stage.server), Name::of(&router)])?;
    let dnsmasq = Dnsmasq::start(&stage.server, &["local=/example.com/"])?;
    let to = far.b.at4(53).to_string();
    let mut all = Report::default();
    let mut clashes = 0;
    for _ in 0..20 {
        let shape =
            ["--to", &to, "--name", "q{}.example.com", "--types", "A,AAAA", "--together", "--sockets", "200"];
        all.add(&ask(&stage.client, &[&shape[..], &["--count", "400", "--patience", "200"]].concat())?);
        clashes = clashes_of(&router)?;
        if clashes >= 5 {
            break;
        }
    }
    assert!(clashes > 0, "no clash in {} queries", all.sent);
    assert!(all.errors.is_empty() && all.unmatched == 0, "{all:?}");
    let (sent, answered, lost) = (all.sent as f64, all.answered() as f64, all.unanswered as f64);
    assert_eq!(dnsmasq.log()?.asked() as f64, answered, "{clashes} clashes");
    let sums = [
        ("dns_queries_total", CLIENT, &[][..], sent),
        ("dns_responses_total", CLIENT, &[], answered),
        ("dns_timeouts_total", CLIENT, &[], lost),
    ];
    expect_totals(&stage.exporter, &stage.edge(53), &sums)?;
    // The server sees them come from the router.
    let sums = [
        ("dns_queries_total", SERVER, &[][..], answered),
        ("dns_responses_total", SERVER, &[], answered),
        ("dns_timeouts_total", SERVER, &[], 0.0),
    ];
    expect_totals(&stage.exporter, &Edge::between(&router, &stage.server, 53), &sums)?;
    Ok(())
}
