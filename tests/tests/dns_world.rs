// SPDX-License-Identifier: Apache-2.0
//! Proves the DNS part of the world without the exporter: servers answer and log as the other tests take for granted.

use flowgauge_tests::dns::client::{ask, spray};
use flowgauge_tests::dns::dnsmasq::Dnsmasq;
use flowgauge_tests::dns::resolv::Resolving;
use flowgauge_tests::dns::scripted::Scripted;
use flowgauge_tests::dns::unbound::Unbound;
use flowgauge_tests::netns::Link;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::{output, run};

fn pair() -> Result<(World, Host, Host, Link)> {
    let world = World::new()?;
    let (client, server) = (world.host("client")?, world.host("server")?);
    let link = world.link(&client, &server)?;
    client.settle6()?;
    server.settle6()?;
    Ok((world, client, server, link))
}

#[test]
fn dnsmasq_logs_every_query_at_full_speed() -> Result<()> {
    let (_world, client, server, link) = pair()?;
    let dnsmasq = Dnsmasq::start(&server, &["address=/here.example.com/11.1.1.1", "local=/example.com/"])?;
    let to = link.b.at4(53).to_string();
    let shape = ["--sockets", "4", "--outstanding", "16", "--count", "40000", "--types", "A,AAAA,TXT,HTTPS"];
    let report = ask(
        &client,
        &[&["--to", &to, "--name", "q{}.here.example.com", "--name", "q{}.example.com"], &shape[..]].concat(),
    )?;
    assert_eq!((report.sent, report.answered(), report.unanswered), (40_000, 40_000, 0), "{report:?}");
    let log = dnsmasq.log()?;
    assert_eq!(log.asked(), 40_000, "{log:?}");
    assert_eq!((log.queries["A"], log.queries["AAAA"], log.queries["TXT"]), (10_000, 10_000, 10_000));
    assert_eq!(log.codes["NXDOMAIN"], report.answers[&3]);
    eprintln!("{:.0} queries a second", 40_000.0 / report.seconds);
    Ok(())
}

#[test]
fn the_scripted_server_does_as_the_name_says() -> Result<()> {
    let (_world, client, server, link) = pair()?;
    let mut scripted = Scripted::start(&server, &[link.b.at4(53).to_string(), link.b.at6(53).to_string()])?;
    let (to, to6) = (link.b.at4(53).to_string(), link.b.at6(53).to_string());
    let one = |name: &str, more: &[&str]| {
        let name = format!("{name}.example.com");
        ask(&client, &[&["--to", &to, "--name", &name, "--patience", "400"], more].concat())
    };
    for rcode in [0, 1, 2, 3, 4, 5, 9, 16, 23] {
        let report = one(&format!("rcode{rcode}"), &["--edns"])?;
        assert_eq!(report.answers.get(&rcode), Some(&1), "{report:?}");
    }
    assert!(one("delay150", &[])?.longest > 0.15);
    assert_eq!(one("delay600", &[])?.unanswered, 1);
    assert_eq!(one("silent", &[])?.unanswered, 1);
    assert_eq!(one("twice", &[])?.unmatched, 1);
    assert_eq!(one("tc", &[])?.truncated, 1);
    assert_eq!(one("tc", &["--tcp"])?.truncated, 0);
    // Forged by id: nobody waits for it. By port: the kernel keeps it from a connected socket. The client here does not
    // compare questions.
    assert_eq!(one("forgeid", &[])?.unmatched, 1);
    assert_eq!(one("forgeport", &["--unconnected"])?.unmatched, 1);
    assert_eq!(one("forgeport", &[])?.unmatched, 0);
    let report = one("hold8.q{}", &["--count", "16", "--outstanding", "8"])?;
    assert_eq!(report.answered(), 16, "{report:?}");
    let report = ask(&client, &["--to", &to6, "--name", "x.example.com", "--copies", "2", "--bind", "5000"])?;
    assert_eq!((report.sent, report.answered(), report.unmatched), (2, 1, 1), "{report:?}");
    let report =
        one("q{}", &["--tcp", "--split", "1", "--count", "20", "--outstanding", "5", "--sockets", "2"])?;
    assert_eq!(report.answered(), 20, "{report:?}");
    let said = scripted.report()?;
    assert_eq!((said.asked(), said.tcp_queries, said.copies, said.forged), (56, 21, 1, 3), "{said:?}");
    let sprayed = spray(&client, &["--to", &to, "--count", "5000"])?;
    assert_eq!(sprayed.sent, 5000, "{sprayed:?}");
    std::thread::sleep(Duration::from_millis(200));
    assert!(scripted.report()?.malformed > 1000);
    Ok(())
}

#[test]
fn dig_and_glibc_ask_as_told() -> Result<()> {
    let (_world, client, server, link) = pair()?;
    let lines = ["address=/app.default.svc.cluster.local/11.1.1.1", "local=/#/"];
    let dnsmasq = Dnsmasq::start(&server, &lines)?;
    let to = format!("@{}", link.b.v4);
    let answer = run(client.command("dig").args([&to, "app.default.svc.cluster.local", "+short"]))?;
    assert_eq!(answer, "11.1.1.1\n");
    let resolving = Resolving::new(
        link.b.v4.into(),
        "search default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5",
    )?;
    assert!(!output(&mut resolving.getent(&client, "ahostsv4", "www.example.com"))?.status.success());
    let log = dnsmasq.log()?;
    let asked = ["app", "www.example.com", "www.example.com", "www.example.com"];
    let suffixes =
        [".default.svc.cluster.local", ".default.svc.cluster.local", ".svc.cluster.local", ".cluster.local"];
    let mut names: Vec<_> =
        asked.iter().zip(suffixes).map(|(name, suffix)| format!("{name}{suffix}")).collect();
    names.push("www.example.com".to_owned());
    assert_eq!(log.names, names);
    Ok(())
}

#[test]
fn unbound_forwards_what_it_is_asked() -> Result<()> {
    let (world, client, resolver, link) = pair()?;
    let upstream = world.host("upstream")?;
    let behind = world.link(&resolver, &upstream)?;
    let mut scripted = Scripted::start(&upstream, &[behind.b.at4(53).to_string()])?;
    let unbound = Unbound::start(&resolver, link.b.v4.into(), behind.b.at4(53))?;
    let to = link.b.at4(53).to_string();
    let report = ask(&client, &["--to", &to, "--name", "11-2-3-4.q{}.example.com", "--count", "50"])?;
    assert_eq!(report.answers.get(&0), Some(&50), "{report:?}");
    assert_eq!((unbound.asked(), scripted.report()?.asked()), (50, 50));
    Ok(())
}
