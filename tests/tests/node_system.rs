// SPDX-License-Identifier: Apache-2.0
//! Neighbours, sockets and limits; and what is seen from outside of the host's network namespace.

use std::fs;
use std::path::Path;

use flowgauge_tests::inside::Inside;
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::{Process, run};
use flowgauge_tests::udp;

/// The exporter of this machine, with nothing but what is tested here.
const NODE_ALONE: [&str; 5] = [
    "--no-collector.tcp",
    "--no-collector.udp",
    "--no-collector.dns",
    "--no-collector.http",
    "--no-collector.drops",
];

fn node(metrics: &Metrics, metric: &str) -> f64 {
    metrics.sum(&format!("flowgauge_node_{metric}"), &[])
}

fn up(metrics: &Metrics, item: &str) -> f64 {
    metrics.sum("flowgauge_node_item_up", &[("item", item)])
}

/// The sum of a column of `/proc/net/stat/arp_cache` over the CPUs.
fn arp_cache(column: &str) -> Result<f64> {
    let text = fs::read_to_string("/proc/net/stat/arp_cache")?;
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default().split_whitespace().position(|name| name == column);
    let column = header.with_context(|| format!("no column {column}"))?;
    lines.try_fold(0.0, |sum, line| {
        let word = line.split_whitespace().nth(column).context("a short line")?;
        Ok(sum + u64::from_str_radix(word, 16)? as f64)
    })
}

#[test]
fn a_neighbour_that_does_not_answer() -> Result<()> {
    let world = World::new()?;
    let (host, peer) = (world.host("host")?, world.host("peer")?);
    let link = world.link(&host, &peer)?;
    let exporter = Exporter::start(&NODE_ALONE)?;
    let of_ipv4 = [("family", "ipv4")];
    let metric = "flowgauge_node_neighbour_resolution_failures_total";
    let before = exporter.scrape()?.sum(metric, &of_ipv4);
    let nobody = format!("{}:9", link.net.v4(77));
    udp::send(&host, &["--to", &nobody, "--count", "3"])?;
    let metrics =
        exporter.wait_until("a failure", &[], SOON, |metrics| metrics.sum(metric, &of_ipv4) > before)?;
    let shown = metrics.sum(metric, &of_ipv4);
    assert!(shown <= arp_cache("res_failed")?, "{shown}");
    Ok(())
}

/// A setting of this machine, as it was again when dropped.
struct Setting(&'static str, String);

impl Setting {
    fn set(path: &'static str, value: &str) -> Result<Self> {
        let before = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
        fs::write(path, value).with_context(|| format!("writing {path}"))?;
        Ok(Setting(path, before))
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if let Err(error) = fs::write(self.0, &self.1) {
            eprintln!("{} stays changed: {error}", self.0);
        }
    }
}

#[test]
fn more_neighbours_than_the_table_takes() -> Result<()> {
    let world = World::new()?;
    let (host, peer) = (world.host("host")?, world.host("peer")?);
    let link = world.link(&host, &peer)?;
    let exporter = Exporter::start(&NODE_ALONE)?;
    let of_ipv4 = [("family", "ipv4")];
    let metric = "flowgauge_node_neighbour_overflows_total";
    let before = exporter.scrape()?;
    assert_eq!(up(&before, "neighbours"), 1.0, "{}", exporter.log());
    let limit = before.sum("flowgauge_node_neighbour_entries", &of_ipv4) as u64 + 100;
    let setting = Setting::set("/proc/sys/net/ipv4/neigh/default/gc_thresh3", &limit.to_string())?;
    // Each address is a neighbour to be asked for.
    let first = format!("{}:9", link.net.v4(3));
    let sent = udp::send(&host, &["--to", &first, "--spread", "240", "--count", "240"])?;
    let full = exporter.scrape()?;
    drop(setting);
    let overflows = full.sum(metric, &of_ipv4) - before.sum(metric, &of_ipv4);
    assert!(overflows >= 100.0, "{sent:?}\n{}", full.describe("flowgauge_node_neighbour", &[]));
    assert!(full.sum(metric, &of_ipv4) <= arp_cache("table_fulls")?);
    assert_eq!(full.sum("flowgauge_node_neighbour_limit", &of_ipv4), limit as f64);
    let entries = full.sum("flowgauge_node_neighbour_entries", &of_ipv4);
    assert!(entries >= limit as f64, "{entries} of {limit}");
    Ok(())
}

#[test]
fn sockets_and_ports_are_those_of_ss_and_sysctl() -> Result<()> {
    let world = World::new()?;
    let (host, peer) = (world.host("host")?, world.host("peer")?);
    let link = world.link(&host, &peer)?;
    let _server = Server::start(&peer, &["--listen", "0.0.0.0:80"])?;
    let exporter = Inside::start(&host, &[])?;
    // 40 connections that the host closes first, and 30 that stay.
    let to = link.b.at4(80).to_string();
    get(&host, &["--to", &to, "--connections", "40"])?;
    let (_open, _) = Client::start(&host, &["--to", &to, "--connections", "30"])?;
    let metrics = exporter.scrape()?;
    let summary = run(host.command("ss").arg("-s"))?;
    let waiting =
        summary.split("timewait ").nth(1).and_then(|rest| rest.split(')').next()).map(str::parse::<f64>);
    let waiting = waiting.with_context(|| summary.clone())??;
    // Each scrape leaves one behind, and so does what waited for the start.
    let shown = node(&metrics, "tcp_time_wait");
    assert!(shown >= 40.0 && (0.0..=1.0).contains(&(waiting - shown)), "{shown}: {summary}");
    assert!(node(&metrics, "sockets") >= 30.0);
    let sysctl = |key: &str| run(host.command("sysctl").args(["-n", key]));
    let most: f64 = sysctl("net.ipv4.tcp_max_tw_buckets")?.trim().parse()?;
    assert_eq!(node(&metrics, "tcp_time_wait_limit"), most);
    host.sysctl("net.ipv4.ip_local_port_range", "40000 40999")?;
    assert_eq!(node(&exporter.scrape()?, "local_ports_limit"), 1_000.0);
    host.sysctl("net.ipv4.ip_local_reserved_ports", "39000-40009,40500,50000")?;
    assert_eq!(node(&exporter.scrape()?, "local_ports_limit"), 989.0);
    Ok(())
}

#[test]
fn busy_cpus_are_seen_to_be() -> Result<()> {
    let _world = World::new()?;
    let exporter = Exporter::start(&NODE_ALONE)?;
    let before = exporter.scrape()?;
    // More work than CPUs.
    let cpus = node(&before, "cpus") as usize;
    assert_eq!(cpus, std::thread::available_parallelism()?.get(), "{}", exporter.log());
    let spin =
        || Process::spawn("spin", std::process::Command::new("sh").args(["-c", "while :; do :; done"]));
    let _spinning = (0..3 * cpus).map(|_| spin()).collect::<Result<Vec<_>>>()?;
    std::thread::sleep(Duration::from_secs(2));
    let after = exporter.scrape()?;
    let some = [("resource", "cpu"), ("kind", "some")];
    let stalled = |metrics: &Metrics| metrics.sum("flowgauge_node_pressure_stalled_seconds_total", &some);
    let waited = stalled(&after) - stalled(&before);
    assert!((1.0..10.0).contains(&waited), "tasks waited for a CPU {waited} s");
    after.ensure_monotone_since(&before, false)
}

/// A procfs of a host, mounted where an exporter outside can read it; gone when dropped.
struct Procfs {
    directory: tempfile::TempDir,
    _init: Process,
}

impl Procfs {
    fn of(host: &Host) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let script = "mount -t proc proc \"$1\" && echo mounted && exec sleep infinity";
        let mut command = host.command("unshare");
        command.args(["--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"]).arg(directory.path());
        let mut init = Process::spawn("a process 1", &mut command)?;
        assert_eq!(init.line(SOON)?, "mounted");
        Ok(Procfs { directory, _init: init })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Procfs {
    fn drop(&mut self) {
        if let Err(error) = run(std::process::Command::new("umount").arg(self.path())) {
            eprintln!("{} stays mounted: {error:#}", self.path().display());
        }
    }
}

#[test]
fn from_outside_only_what_is_certainly_the_hosts_is_served() -> Result<()> {
    let world = World::new()?;
    let (host, peer) = (world.host("host")?, world.host("peer")?);
    let link = world.link(&host, &peer)?;
    let rule = ["-w", "-A", "OUTPUT", "-m", "conntrack", "--ctstate", "NEW", "-j", "ACCEPT"];
    run(host.command("iptables").args(rule))?;
    udp::send(&host, &["--to", &link.b.at4(9).to_string(), "--count", "20", "--sockets", "20"])?;
    let procfs = Procfs::of(&host)?;
    let flag = format!("--path.procfs={}", procfs.path().display());
    let exporter = Exporter::start(&[&NODE_ALONE[..], &[&*flag]].concat())?;
    let metrics = exporter.scrape()?;
    assert_eq!(metrics.sum("flowgauge_collector_up", &[("collector", "node")]), 1.0);
    let bytes = metrics.sum_by("flowgauge_node_interface_sent_bytes_total", "device", &[]);
    assert_eq!(bytes.keys().map(String::as_str).collect::<Vec<_>>(), ["lo", &*link.a.device]);
    assert_eq!(node(&metrics, "conntrack_entries"), 20.0);
    for item in ["conntrack", "conntrack_limit", "softnet", "interfaces", "sockets", "cpu", "memory_limits"] {
        assert_eq!(up(&metrics, item), 1.0, "{item}: {}", exporter.log());
    }
    // The settings, the sysfs and the drivers are this process's, and the neighbours' counts are in the first namespace alone.
    for item in ["links", "driver_statistics", "queues", "namespace_limits", "local_ports", "neighbours"] {
        assert_eq!(up(&metrics, item), 0.0, "{item}");
        let told = exporter.log().lines().filter(|line| line.contains(&format!("item={item} "))).count();
        assert_eq!(told, 1, "{item} is told once, whatever the number of scrapes: {}", exporter.log());
    }
    for absent in
        ["interface_carrier", "local_ports_limit", "neighbour_entries", "interface_driver_events_total"]
    {
        let name = format!("flowgauge_node_{absent}");
        assert_eq!(metrics.select(&name, &[]).count(), 0, "{absent}");
    }
    Ok(())
}

#[test]
fn without_the_collector_nothing_is_served() -> Result<()> {
    let _world = World::new()?;
    let metrics = Exporter::start(&[&NODE_ALONE[..], &["--no-collector.node"]].concat())?.scrape()?;
    assert!(metrics.families().all(|(name, _)| !name.starts_with("flowgauge_node_")));
    assert_eq!(metrics.select("flowgauge_collector_up", &[("collector", "node")]).count(), 0);
    Ok(())
}
