// SPDX-License-Identifier: Apache-2.0
//! What the kernel counts by network namespace, by workload, against `nstat`'s source.

use flowgauge_tests::faults::{Rule, Verdict};
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::{Process, run};
use flowgauge_tests::traffic::command;
use flowgauge_tests::udp;

const NODE_ALONE: [&str; 5] = [
    "--no-collector.tcp",
    "--no-collector.udp",
    "--no-collector.dns",
    "--no-collector.http",
    "--no-collector.drops",
];

/// New namespaces are looked for every 10 s.
const FOUND: Duration = Duration::from_secs(30);

fn counted(metrics: &Metrics, metric: &str, host: &Host) -> f64 {
    metrics.sum(&format!("flowgauge_netstat_{metric}_total"), &[("workload", &host.workload)])
}

/// Something that lives in the namespace, and is the host's workload.
fn resident(host: &Host) -> Result<Process> {
    Process::spawn("resident", host.command("sleep").arg("600"))
}

/// Waits until so many packets without a route are told of the host.
fn wait_for(exporter: &Exporter, host: &Host, count: f64) -> Result<Metrics> {
    let name = "flowgauge_netstat_ip_no_route_discards_total";
    exporter.wait_for(name, &[("workload", &host.workload)], count, FOUND)
}

#[test]
fn what_went_wrong_is_told_of_the_workload_it_happened_to() -> Result<()> {
    let world = World::new()?;
    let [client, server, other] = [world.host("client")?, world.host("server")?, world.host("other")?];
    let link = world.link(&client, &server)?;
    let _others = world.link(&other, &server)?;
    // What there was before is not the exporter's to tell.
    udp::send(&client, &["--to", "192.0.2.1:9", "--count", "7"])?;
    let _residents = [&client, &server, &other].map(resident);
    // The kernel looks for neighbours and routers of IPv6 by itself.
    [&client, &server, &other].map(Host::settle6).into_iter().collect::<Result<()>>()?;
    let exporter = Exporter::start(&NODE_ALONE)?;
    let before = exporter.scrape()?;
    assert!(counted(&before, "ip_no_route_discards", &client) < 7.0);
    let earlier = [Snmp::of(&client)?, Snmp::of(&server)?];
    let told = |metrics: &Metrics, metric: &str, host: &Host| {
        counted(metrics, metric, host) - counted(&before, metric, host)
    };
    // Nowhere to go.
    udp::send(&client, &["--to", "192.0.2.1:9", "--count", "11"])?;
    // An accept queue that is full.
    client.sysctl("net.ipv4.tcp_syn_retries", "1")?;
    let _server = Server::start(&server, &["--listen", "0.0.0.0:80", "--backlog", "5", "--deaf"])?;
    let step = ["connect", "--to", &link.b.at4(80).to_string(), "--count", "30", "--keep"];
    let mut connecting = Process::spawn("connect", &mut command(&client, &step))?;
    connecting.line(Duration::from_secs(60))?;
    // A receive buffer that nobody empties.
    let deaf = server.enter(|| Ok(std::net::UdpSocket::bind("0.0.0.0:9000")?))?;
    udp::send(&client, &["--to", &link.b.at4(9000).to_string(), "--count", "2000", "--size", "1000"])?;
    // Packets of which only the first fragment arrives.
    server.sysctl("net.ipv4.ipfrag_time", "1")?;
    run(server.command("iptables").args(["-w", "-t", "raw", "-A", "PREROUTING", "-f", "-j", "DROP"]))?;
    udp::send(&client, &["--to", &link.b.at4(9001).to_string(), "--count", "5", "--size", "4000"])?;
    // A peer that falls silent.
    let _talk = Server::start(&server, &["--listen", "0.0.0.0:81"])?;
    let (mut talk, _) = Client::start(&client, &["--to", &link.b.at4(81).to_string()])?;
    let silence = Rule::new(&server, &["INPUT", "-p", "tcp", "--dport", "81"], Verdict::Drop)?;
    let timeouts = "TcpExtTCPTimeouts";
    let quiet = Snmp::of(&client)?;
    std::thread::scope(|scope| -> Result<()> {
        let talking = scope.spawn(|| talk.again());
        let deadline = std::time::Instant::now() + SOON;
        while Snmp::of(&client)?.since(&quiet, timeouts)? < 2.0 {
            ensure!(std::time::Instant::now() < deadline, "no timeouts");
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(silence);
        talking.join().map_err(|_| anyhow::anyhow!("the client panicked"))??;
        Ok(())
    })?;
    // The first fragments have waited for a second then.
    let deadline = std::time::Instant::now() + SOON;
    while Snmp::of(&server)?.since(&earlier[1], "IpReasmFails")? < 5.0 {
        ensure!(std::time::Instant::now() < deadline, "no fragment was given up");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(500));
    let metrics = exporter.scrape()?;
    let now = [Snmp::of(&client)?, Snmp::of(&server)?];
    for (at, host, metric, counter, at_least) in [
        (
            0,
            &client,
            "ip_no_route_discards",
            "IpOutNoRoutes+IpExtInNoRoutes+Ip6OutNoRoutes+Ip6InNoRoutes",
            11.0,
        ),
        (0, &client, "tcp_timeouts", timeouts, 2.0),
        (1, &server, "tcp_listen_overflows", "TcpExtListenOverflows", 10.0),
        (1, &server, "tcp_listen_drops", "TcpExtListenDrops", 10.0),
        (1, &server, "udp_receive_buffer_errors", "UdpRcvbufErrors", 100.0),
        (1, &server, "ip_reassembly_failures", "IpReasmFails", 5.0),
    ] {
        let shown = told(&metrics, metric, host);
        let counters = counter.split('+').map(|counter| now[at].since(&earlier[at], counter));
        assert_eq!(shown, counters.sum::<Result<f64>>()?, "{metric}");
        assert!(shown >= at_least, "{metric}: {shown}");
    }
    drop(deaf);
    // Nothing but what is not nothing.
    assert_eq!(counted(&metrics, "tcp_listen_drops", &client), 0.0);
    let of_other = [("workload", &*other.workload)];
    assert_eq!(metrics.select("flowgauge_netstat_tcp_listen_drops_total", &of_other).count(), 0);
    assert!(
        metrics
            .samples()
            .filter(|sample| sample.name.starts_with("flowgauge_netstat"))
            .all(|sample| sample.value > 0.0)
    );
    Ok(())
}

#[test]
fn namespaces_come_and_go_and_sums_stay() -> Result<()> {
    let world = World::new()?;
    let exporter = Exporter::start(&NODE_ALONE)?;
    let first = exporter.scrape()?.sum("flowgauge_netstat_namespaces", &[]);
    assert!(first >= 1.0, "{}", exporter.log());
    let fail = |host: &Host, count: &str| udp::send(host, &["--to", "192.0.2.1:9", "--count", count]);
    let (one, two) = (world.host("one")?, world.host("two")?);
    let mut residents = [resident(&one)?, resident(&two)?];
    // A namespace that is new is told of from its beginning.
    fail(&one, "5")?;
    fail(&two, "3")?;
    let before = wait_for(&exporter, &one, 5.0)?;
    assert_eq!(counted(&before, "ip_no_route_discards", &two), 3.0);
    fail(&one, "6")?;
    assert_eq!(counted(&exporter.scrape()?, "ip_no_route_discards", &one), 11.0);
    // The process that stood for it goes, another stays. The other namespace is gone.
    let stays = resident(&one)?;
    residents[0].kill()?;
    residents[1].kill()?;
    let gone = two.workload.clone();
    drop(two);
    fail(&one, "4")?;
    let after = wait_for(&exporter, &one, 15.0)?;
    let of_gone = [("workload", &*gone)];
    assert_eq!(after.sum("flowgauge_netstat_ip_no_route_discards_total", &of_gone), 3.0, "sums stay");
    drop(stays);
    after.ensure_monotone_since(&before, false)
}

/// Requests that nobody finishes: the queue of half-open connections fills, and then there are cookies, or nothing.
#[test]
fn half_open_connections_that_fill_their_queue() -> Result<()> {
    let stage = Stage::new(&["--no-collector.udp", "--no-collector.dns", "--no-collector.http"])?;
    let _resident = resident(&stage.server)?;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80", "--backlog", "8"])?;
    // The server's answers do not arrive.
    let _silence = Rule::new(&stage.client, &["INPUT", "-p", "tcp", "--sport", "80"], Verdict::Drop)?;
    let workload = [("workload", stage.server.workload.as_str())];
    let waiting =
        |metrics: &Metrics| metrics.sum("flowgauge_tcp_syn_queue_length", &[workload[0], ("port", "80")]);
    assert_eq!(waiting(&stage.exporter.scrape()?), 0.0);
    for (cookies, metric, counter) in [
        ("1", "tcp_syn_cookies_sent", "TcpExtSyncookiesSent"),
        ("0", "tcp_syn_queue_drops", "TcpExtTCPReqQFullDrop"),
    ] {
        stage.server.sysctl("net.ipv4.tcp_syncookies", cookies)?;
        let step = ["connect", "--to", &stage.to(80), "--count", "60", "--give-up", "3000"];
        let mut connecting = Process::spawn("connect", &mut command(&stage.client, &step))?;
        let full =
            stage.exporter.wait_until("a full queue", &workload, SOON, |metrics| waiting(metrics) >= 8.0)?;
        assert!(waiting(&full) <= 12.0, "{}", full.describe("flowgauge_tcp_syn_queue", &[]));
        connecting.line(Duration::from_secs(60))?;
        let name = format!("flowgauge_netstat_{metric}_total");
        // The namespace is found within 10 s; it did not count before it was.
        let shown = stage.exporter.wait_until(metric, &workload, FOUND, |metrics| {
            Snmp::of(&stage.server)
                .and_then(|snmp| snmp.get(counter))
                .is_ok_and(|made| made > 20 && metrics.sum(&name, &workload) == made as f64)
        })?;
        assert!(shown.sum(&name, &workload) > 20.0);
    }
    Ok(())
}
