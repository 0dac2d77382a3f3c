// SPDX-License-Identifier: Apache-2.0
//! Connection tracking that has come to its limits, against what `conntrack` says.

use std::fs;
use std::net::{SocketAddr, TcpStream};

use flowgauge_tests::inside::Inside;
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::run;
use flowgauge_tests::udp;

const LIMIT: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

/// The limit of every table of this machine, as it was again when dropped.
struct Limit(String);

impl Limit {
    fn set(limit: u32) -> Result<Self> {
        let before = fs::read_to_string(LIMIT).with_context(|| format!("reading {LIMIT}"))?;
        fs::write(LIMIT, limit.to_string()).with_context(|| format!("writing {LIMIT}"))?;
        Ok(Limit(before))
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        if let Err(error) = fs::write(LIMIT, &self.0) {
            eprintln!("{LIMIT} stays changed: {error}");
        }
    }
}

/// What `conntrack -S` says of an event, of all CPUs.
fn counted(host: &Host, event: &str) -> Result<f64> {
    let text = run(host.command("conntrack").arg("-S"))?;
    let words = text.split_whitespace().filter_map(|word| word.split_once('='));
    let counts: Vec<f64> =
        words.filter(|(name, _)| *name == event).map(|(_, count)| count.parse()).collect::<Result<_, _>>()?;
    ensure!(!counts.is_empty(), "conntrack -S says nothing of {event}: {text}");
    Ok(counts.iter().sum())
}

fn event(metrics: &Metrics, event: &str) -> f64 {
    metrics.sum("flowgauge_node_conntrack_events_total", &[("event", event)])
}

/// Tracks connections, as any rule with a state or a translation does; but not scrapes, for which a full table has no room.
fn track(host: &Host, rule: &[&str]) -> Result<()> {
    for (chain, direction) in [("OUTPUT", "-o"), ("PREROUTING", "-i")] {
        let scrapes = ["-w", "-t", "raw", "-A", chain, direction, "lo", "-j", "CT", "--notrack"];
        run(host.command("iptables").args(scrapes))?;
    }
    run(host.command("iptables").args(["-w", "-t", "nat", "-A", "POSTROUTING"]).args(rule)).map(drop)
}

#[test]
fn a_full_table_drops_what_is_new() -> Result<()> {
    let world = World::new()?;
    let (host, peer) = (world.host("host")?, world.host("peer")?);
    let link = world.link(&host, &peer)?;
    track(&host, &["-m", "conntrack", "--ctstate", "NEW", "-j", "ACCEPT"])?;
    let exporter = Inside::start(&host, &[])?;
    let before = exporter.scrape()?;
    assert_eq!(event(&before, "drop"), 0.0);
    let limit = Limit::set(2_000)?;
    let to = link.b.at4(9).to_string();
    // Each socket is a connection that nobody answers: 3,000 cannot be in the table.
    let sent = udp::send(&host, &["--to", &to, "--count", "3000", "--sockets", "3000"])?;
    assert!(sent.errors.values().sum::<u64>() > 500, "{sent:?}");
    let after = exporter.scrape()?;
    for (name, of_conntrack) in
        [("drop", "drop"), ("early_drop", "early_drop"), ("insert_failed", "insert_failed")]
    {
        assert_eq!(event(&after, name), counted(&host, of_conntrack)?, "{name}");
    }
    assert!(event(&after, "drop") > 500.0, "{}", after.describe("flowgauge_node_conntrack", &[]));
    assert_eq!(after.sum("flowgauge_node_conntrack_limit", &[]), 2_000.0);
    let entries: f64 = run(host.command("conntrack").arg("-C"))?.trim().parse()?;
    let shown = after.sum("flowgauge_node_conntrack_entries", &[]);
    assert!((shown - entries).abs() <= 5.0 && shown > 1_900.0, "{shown}, conntrack -C says {entries}");
    after.ensure_monotone_since(&before, false)?;
    drop(limit);
    assert!(exporter.scrape()?.sum("flowgauge_node_conntrack_limit", &[]) > 2_000.0);
    Ok(())
}

#[test]
fn two_connections_that_are_translated_to_the_same() -> Result<()> {
    let world = World::new()?;
    let (host, peer) = (world.host("host")?, world.host("peer")?);
    let link = world.link(&host, &peer)?;
    let source = format!("{}:4000", link.a.v4);
    track(&host, &["-p", "tcp", "--dport", "80", "-j", "SNAT", "--to-source", &source])?;
    let _server = Server::start(&peer, &["--listen", "0.0.0.0:80"])?;
    let exporter = Inside::start(&host, &[])?;
    let to = link.b.at4(80);
    let connect =
        |to: SocketAddr| host.enter(move || Ok(TcpStream::connect_timeout(&to, Duration::from_millis(500))));
    let first = connect(to)?.context("the first connection has the port")?;
    assert_eq!(event(&exporter.scrape()?, "insert_failed"), 0.0);
    assert!(connect(to)?.is_err(), "the second has no other port");
    let metrics = exporter.scrape()?;
    let failed = event(&metrics, "insert_failed");
    assert!(failed >= 1.0, "{}", metrics.describe("flowgauge_node_conntrack", &[]));
    assert_eq!(failed, counted(&host, "insert_failed")?);
    drop(first);
    Ok(())
}
