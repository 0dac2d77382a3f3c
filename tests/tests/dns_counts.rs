// SPDX-License-Identifier: Apache-2.0
//! Queries and answers to the last one, against dnsmasq's query log and the client's own counts.

use std::collections::BTreeMap;

use flowgauge_tests::dns::client::{Asking, Report, ask};
use flowgauge_tests::dns::dnsmasq::Dnsmasq;
use flowgauge_tests::dns::message::TYPES;
use flowgauge_tests::dns::scripted::Scripted;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::run;
use flowgauge_tests::stage::expect_totals;

const LINES: [&str; 2] = ["address=/here.example.com/11.1.1.1", "local=/example.com/"];

/// What both observers must see of queries that were all answered, on an edge of which nothing else was seen.
fn expect_answered(stage: &Stage, edge: &Edge, report: &Report, tcp: f64) -> Result<()> {
    assert_eq!((report.unanswered, report.unmatched, report.malformed), (0, 0, 0), "{report:?}");
    let sent = report.sent as f64;
    let code = |number: u16| report.answers.get(&number).copied().unwrap_or(0) as f64;
    for side in [CLIENT, SERVER] {
        let metrics = expect_totals(
            &stage.exporter,
            edge,
            &[
                ("dns_queries_total", side, &[], sent),
                ("dns_responses_total", side, &[], sent),
                ("dns_responses_total", side, &[("rcode", "NOERROR")], code(0)),
                ("dns_responses_total", side, &[("rcode", "NXDOMAIN")], code(3)),
                ("dns_response_duration_seconds_count", side, &[], sent),
                ("dns_tcp_queries_total", side, &[], tcp),
                ("dns_timeouts_total", side, &[], 0.0),
                ("dns_unmatched_responses_total", side, &[], 0.0),
                ("dns_query_retransmits_total", side, &[], 0.0),
                ("dns_malformed_messages_total", side, &[], 0.0),
            ],
        )?;
        let sum = edge.dns_durations(&metrics, side).sum;
        assert!(
            sum > 0.0 && sum <= report.total,
            "{side}: {sum} s in all, the client measured {}",
            report.total
        );
        for (name, number) in TYPES {
            let asked = report.by_type.get(number).copied().unwrap_or(0) as f64;
            let seen = edge.total(&metrics, "dns_queries_total", side, &[("qtype", *name)]);
            assert_eq!(seen, asked, "{side}: queries of type {name}");
        }
    }
    Ok(())
}

#[test]
fn a_hundred_thousand_queries_at_full_speed() -> Result<()> {
    let stage = Stage::new(&[])?;
    let dnsmasq = Dnsmasq::start(&stage.server, &LINES)?;
    let to = stage.to(53);
    let shape = ["ask", "--to", &to, "--sockets", "4", "--outstanding", "16", "--count", "100000"];
    let names =
        ["--name", "q{}.here.example.com", "--name", "q{}.example.com", "--types", "A,AAAA,TXT,SRV,MX"];
    let asking = Asking::start(&stage.client, &[&shape[..], &names].concat())?;
    // Scrapes take what is in the kernel's maps while more comes in: nothing may fall between two of them.
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(200));
        stage.exporter.scrape()?;
    }
    let report = asking.finish()?;
    assert_eq!((report.sent, report.answered()), (100_000, 100_000), "{report:?}");
    let log = dnsmasq.log()?;
    assert_eq!(log.asked(), 100_000, "by dnsmasq's own log");
    assert_eq!(log.codes["NXDOMAIN"], report.answers[&3]);
    expect_answered(&stage, &stage.edge(53), &report, 0.0)?;
    let metrics = stage.exporter.scrape()?;
    for (name, count) in &log.queries {
        let seen = stage.edge(53).total(&metrics, "dns_queries_total", SERVER, &[("qtype", name.as_str())]);
        assert_eq!(seen, *count as f64, "{name} in dnsmasq's log");
    }
    let packets = [
        ("udp_sent_packets_total", CLIENT, &[][..], 100_000.0),
        ("udp_received_packets_total", CLIENT, &[], 100_000.0),
        ("udp_sent_packets_total", SERVER, &[], 100_000.0),
        ("udp_received_packets_total", SERVER, &[], 100_000.0),
    ];
    expect_totals(&stage.exporter, &stage.edge(53), &packets)?;
    Ok(())
}

#[test]
fn every_type_of_query() -> Result<()> {
    let stage = Stage::new(&[])?;
    stage.client.settle6()?;
    stage.server.settle6()?;
    let mut scripted = Scripted::start(&stage.server, &[stage.to(53), stage.to6(53)])?;
    let mut types: Vec<_> = TYPES.iter().map(|(name, _)| *name).collect();
    types.extend(["TYPE13", "TYPE999", "TYPE252"]);
    let count = (types.len() * 20).to_string();
    let types = types.join(",");
    let mut all = Report::default();
    for to in [stage.to(53), stage.to6(53)] {
        let shape =
            ["--to", &to, "--name", "Q{}.Example.Com", "--types", &types, "--count", &count, "--edns"];
        all.add(&ask(&stage.client, &shape)?);
    }
    assert_eq!(scripted.report()?.queries, all.by_type);
    expect_answered(&stage, &stage.edge(53), &all, 0.0)?;
    let metrics = stage.exporter.scrape()?;
    let other = stage.edge(53).total(&metrics, "dns_queries_total", SERVER, &[("qtype", "other")]);
    let transfer = stage.edge(53).total(&metrics, "dns_queries_total", SERVER, &[("qtype", "AXFR")]);
    assert_eq!((other, transfer), (80.0, 40.0));
    Ok(())
}

#[test]
fn dnsperf_asks_as_many_as_it_says() -> Result<()> {
    let stage = Stage::new(&[])?;
    let dnsmasq = Dnsmasq::start(&stage.server, &LINES)?;
    let file = tempfile::NamedTempFile::new()?;
    let lines: String =
        (0..500).map(|n| format!("q{n}.here.example.com A\nq{n}.example.com AAAA\n")).collect();
    std::fs::write(file.path(), lines)?;
    let server = stage.link.b.v4.to_string();
    let arguments = ["-s", &server, "-n", "10", "-q", "50", "-c", "8", "-d"];
    let said = run(stage.client.command("dnsperf").args(arguments).arg(file.path()))?;
    let count = |what: &str| {
        let line = said.lines().find(|line| line.contains(what));
        line.and_then(|line| line.split_whitespace().nth(2)?.parse::<f64>().ok())
    };
    let (sent, completed) = (count("Queries sent:"), count("Queries completed:"));
    assert_eq!((sent, completed), (Some(10_000.0), Some(10_000.0)), "{said}");
    assert_eq!(dnsmasq.log()?.asked(), 10_000);
    for side in [CLIENT, SERVER] {
        let sums = [
            ("dns_queries_total", side, &[("qtype", "A")][..], 5_000.0),
            ("dns_queries_total", side, &[("qtype", "AAAA")], 5_000.0),
            ("dns_responses_total", side, &[("rcode", "NOERROR")], 5_000.0),
            ("dns_responses_total", side, &[("rcode", "NXDOMAIN")], 5_000.0),
        ];
        expect_totals(&stage.exporter, &stage.edge(53), &sums)?;
    }
    Ok(())
}

#[test]
fn over_tcp_pipelined_and_cut_anywhere() -> Result<()> {
    let stage = Stage::new(&[])?;
    // On several CPUs, segments overtake each other between namespaces: that is counted as a gap.
    stage.pin();
    let mut scripted = Scripted::start(&stage.server, &[stage.to(53)])?;
    let to = stage.to(53);
    let mut all = Report::default();
    let name = [
        "--to",
        &to,
        "--tcp",
        "--name",
        "rcode3.q{}.example.com",
        "--name",
        "q{}.example.com",
        "--types",
        "A,AAAA",
    ];
    for (count, shape) in [
        ("400", &["--outstanding", "20", "--sockets", "2"][..]),
        ("8", &["--split", "1", "--outstanding", "2"]),
        ("24", &["--split", "2", "--outstanding", "3"]),
        ("60", &["--split", "7", "--outstanding", "5"]),
        ("60", &["--split", "33", "--outstanding", "6"]),
        ("3000", &["--outstanding", "200"]),
    ] {
        let report = ask(&stage.client, &[&name[..], shape, &["--count", count]].concat())?;
        assert_eq!(report.answered().to_string(), count, "{shape:?}: {report:?}");
        all.add(&report);
        let sent = all.sent as f64;
        expect_answered(&stage, &stage.edge(53), &all, sent).with_context(|| format!("{shape:?}"))?;
    }
    let said = scripted.report()?;
    assert_eq!((said.tcp_queries, said.asked()), (all.sent, all.sent));
    Ok(())
}

#[test]
fn parallel_questions_on_one_socket_with_reordered_answers() -> Result<()> {
    let stage = Stage::new(&[])?;
    let _scripted = Scripted::start(&stage.server, &[stage.to(53)])?;
    let to = stage.to(53);
    let mut all = Report::default();
    for (name, outstanding, more) in
        [("hold2.q{}.example.com", "2", "--unconnected"), ("hold50.q{}.example.com", "50", "--edns")]
    {
        let shape = ["--to", &to, "--name", name, "--types", "A,AAAA", "--outstanding", outstanding, more];
        all.add(&ask(&stage.client, &[&shape[..], &["--count", "1000"]].concat())?);
    }
    expect_answered(&stage, &stage.edge(53), &all, 0.0)
}

#[test]
fn a_resolver_on_the_same_host() -> Result<()> {
    let stage = Stage::new(&[])?;
    let lines = ["listen-address=127.0.0.53,::1", "bind-interfaces", LINES[0], LINES[1]];
    let dnsmasq = Dnsmasq::start(&stage.server, &lines)?;
    let mut all = Report::default();
    for to in ["127.0.0.53:53", "[::1]:53"] {
        let shape = ["--to", to, "--name", "q{}.example.com", "--count", "500", "--sockets", "5"];
        all.add(&ask(&stage.server, &shape)?);
    }
    assert_eq!(dnsmasq.log()?.queries, BTreeMap::from([("A".to_owned(), 1000)]));
    expect_answered(&stage, &Edge::between(&stage.server, &stage.server, 53), &all, 0.0)
}
