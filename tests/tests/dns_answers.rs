// SPDX-License-Identifier: Apache-2.0
//! What answers say and when they come: every rcode, delays, late and second answers, truncation, queries sent again.

use flowgauge_tests::delay::SlowLink;
use flowgauge_tests::dns::client::ask;
use flowgauge_tests::dns::scripted::Scripted;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::run;
use flowgauge_tests::stage::expect_totals;

fn scene(flags: &[&str]) -> Result<(Stage, Scripted)> {
    let stage = Stage::new(flags)?;
    let scripted = Scripted::start(&stage.server, &[stage.to(53)])?;
    Ok((stage, scripted))
}

#[test]
fn every_rcode() -> Result<()> {
    let (stage, mut scripted) = scene(&[])?;
    let codes = [
        (0, "NOERROR"),
        (1, "FORMERR"),
        (2, "SERVFAIL"),
        (3, "NXDOMAIN"),
        (4, "NOTIMP"),
        (5, "REFUSED"),
        (6, "YXDOMAIN"),
        (7, "YXRRSET"),
        (8, "NXRRSET"),
        (9, "NOTAUTH"),
        (10, "NOTZONE"),
        (16, "BADVERS"),
        (23, "BADCOOKIE"),
        (11, "other"),
        (22, "other"),
        (4095, "other"),
    ];
    let to = stage.to(53);
    for (times, (code, _)) in codes.iter().enumerate() {
        let name = format!("rcode{code}.q{{}}.example.com");
        let shape = ["--to", &to, "--name", &name, "--edns", "--count", &(times + 1).to_string()];
        for way in [&[][..], &["--tcp"]] {
            let report = ask(&stage.client, &[&shape[..], way].concat())?;
            assert_eq!(report.answers[code], times as u64 + 1, "{report:?}");
        }
    }
    let all = codes.len() * (codes.len() + 1);
    assert_eq!(scripted.report()?.answers.values().sum::<u64>(), all as u64);
    for side in [CLIENT, SERVER] {
        let mut sums = vec![("dns_responses_total", side, vec![], all as f64)];
        for (times, (_, name)) in codes.iter().enumerate().take(13) {
            sums.push(("dns_responses_total", side, vec![("rcode", *name)], 2.0 * (times as f64 + 1.0)));
        }
        sums.push(("dns_responses_total", side, vec![("rcode", "other")], 2.0 * (14.0 + 15.0 + 16.0)));
        let sums: Vec<_> =
            sums.iter().map(|(metric, side, more, sum)| (*metric, *side, &more[..], *sum)).collect();
        expect_totals(&stage.exporter, &stage.edge(53), &sums)?;
    }
    Ok(())
}

#[test]
fn the_time_an_answer_takes_at_both_ends() -> Result<()> {
    let (stage, _scripted) = scene(&[])?;
    let slow = SlowLink::new(&stage.world, &stage.client, &stage.server, Duration::from_millis(20))?;
    stage.rename(&[Name::of(&stage.client), Name::of(&stage.server)])?;
    let _far = Scripted::start(&stage.server, &[slow.b.at4(53).to_string()])?;
    let edge = stage.edge(53);
    // Over the slow link: 40 ms for the client, next to nothing for the server.
    let far = slow.b.at4(53).to_string();
    let shape = ["--name", "q{}.example.com", "--count", "40", "--outstanding", "10"];
    let there = ask(&stage.client, &[&["--to", &far], &shape[..]].concat())?;
    let sums = [("dns_responses_total", CLIENT, &[][..], 40.0), ("dns_responses_total", SERVER, &[], 40.0)];
    let before = expect_totals(&stage.exporter, &edge, &sums)?;
    let (client, server) = (edge.dns_durations(&before, CLIENT), edge.dns_durations(&before, SERVER));
    assert_eq!((client.count, server.count), (40.0, 40.0));
    assert_eq!(client.quantile_bucket(0.0), Some((0.032_768, 0.065_536)), "{client:?}");
    assert_eq!(client.quantile_bucket(1.0), Some((0.032_768, 0.065_536)), "{client:?}");
    assert!(client.sum > 40.0 * 0.04 && client.sum <= there.total, "{} s, {there:?}", client.sum);
    assert!(server.quantile_bucket(0.9).is_some_and(|(_, high)| high < 0.02), "{server:?}");
    assert!(server.sum < 40.0 * 0.02, "{server:?}");
    // A server that takes 150 ms: both see it. 600 ms more for some.
    let near = stage.to(53);
    for (name, count) in [("delay150.q{}.example.com", "30"), ("delay600.q{}.example.com", "10")] {
        let shape = ["--to", &near, "--name", name, "--count", count, "--outstanding", "10"];
        assert_eq!(ask(&stage.client, &shape)?.answered().to_string(), count);
    }
    let sums = [("dns_responses_total", CLIENT, &[][..], 80.0), ("dns_responses_total", SERVER, &[], 80.0)];
    let after = expect_totals(&stage.exporter, &edge, &sums)?;
    for (side, earlier) in [(CLIENT, client), (SERVER, server)] {
        let grown = edge.dns_durations(&after, side).since(&earlier);
        assert_eq!(grown.quantile_bucket(0.1), Some((0.131_072, 0.262_144)), "{side}: {grown:?}");
        assert_eq!(grown.quantile_bucket(0.9), Some((0.524_288, 1.048_576)), "{side}: {grown:?}");
        assert!((10.5..11.5).contains(&grown.sum), "{side}: {} s", grown.sum);
    }
    Ok(())
}

#[test]
fn late_second_and_forged_answers_are_no_answers() -> Result<()> {
    let (stage, mut scripted) = scene(&["--dns.timeout=300ms"])?;
    let to = stage.to(53);
    let edge = stage.edge(53);
    for (name, count) in [
        ("delay700.q{}.example.com", "7"),
        ("silent.q{}.example.com", "5"),
        ("twice.q{}.example.com", "11"),
        ("forgeid.11-1-1-1.q{}.example.com", "3"),
        ("forgename.11-1-1-1.q{}.example.com", "4"),
        ("forgetype.11-1-1-1.q{}.example.com", "6"),
        ("forgeport.11-1-1-1.q{}.example.com", "2"),
    ] {
        let shape = ["--to", &to, "--name", name, "--count", count, "--outstanding", "8", "--unconnected"];
        ask(&stage.client, &[&shape[..], &["--patience", "1200"]].concat())?;
    }
    let report = scripted.report()?;
    assert_eq!((report.asked(), report.copies, report.forged), (38, 11, 15), "{report:?}");
    // The forged ones from another port belong to no edge of port 53. The server's own kernel sees what it sends: the
    // same in reverse.
    for side in [CLIENT, SERVER] {
        let sums = [
            ("dns_queries_total", side, &[][..], 38.0),
            ("dns_responses_total", side, &[], 26.0),
            ("dns_response_duration_seconds_count", side, &[], 26.0),
            ("dns_timeouts_total", side, &[], 12.0),
            ("dns_unmatched_responses_total", side, &[("reason", "late")], 7.0),
            ("dns_unmatched_responses_total", side, &[("reason", "unsolicited")], 24.0),
            ("dns_malformed_messages_total", side, &[], 0.0),
        ];
        expect_totals(&stage.exporter, &edge, &sums)?;
    }
    Ok(())
}

#[test]
fn queries_sent_again() -> Result<()> {
    let (stage, mut scripted) = scene(&["--dns.timeout=400ms"])?;
    let to = stage.to(53);
    for (name, copies) in [("delay100.q{}.example.com", "2"), ("silent.q{}.example.com", "3")] {
        let shape = ["--to", &to, "--name", name, "--count", "20", "--outstanding", "20", "--copies", copies];
        ask(&stage.client, &[&shape[..], &["--patience", "300"]].concat())?;
    }
    assert_eq!(scripted.report()?.asked(), 100);
    for side in [CLIENT, SERVER] {
        let sums = [
            ("dns_queries_total", side, &[][..], 100.0),
            ("dns_query_retransmits_total", side, &[], 60.0),
            ("dns_responses_total", side, &[], 20.0),
            // The server answers each copy.
            ("dns_unmatched_responses_total", side, &[("reason", "unsolicited")], 20.0),
            ("dns_timeouts_total", side, &[], 20.0),
        ];
        expect_totals(&stage.exporter, &stage.edge(53), &sums)?;
    }
    Ok(())
}

#[test]
fn dig_asks_again_over_tcp_when_the_answer_is_truncated() -> Result<()> {
    let (stage, mut scripted) = scene(&[])?;
    let server = format!("@{}", stage.link.b.v4);
    for number in 0..5 {
        let name = format!("tc.11-1-1-{number}.example.com");
        let said = run(stage.client.command("dig").args([&server, &name, "+short"]))?;
        assert!(said.contains(&format!("11.1.1.{number}")), "{said}");
    }
    assert_eq!((scripted.report()?.asked(), scripted.report()?.tcp_queries), (10, 5));
    for side in [CLIENT, SERVER] {
        let sums = [
            ("dns_queries_total", side, &[("qtype", "A")][..], 10.0),
            ("dns_tcp_queries_total", side, &[], 5.0),
            ("dns_truncated_responses_total", side, &[], 5.0),
            ("dns_responses_total", side, &[("rcode", "NOERROR"), ("search", "false")], 10.0),
            ("dns_unmatched_responses_total", side, &[], 0.0),
            ("dns_timeouts_total", side, &[], 0.0),
        ];
        expect_totals(&stage.exporter, &stage.edge(53), &sums)?;
    }
    Ok(())
}
