// SPDX-License-Identifier: Apache-2.0
//! Packets that the kernel drops, by owner and reason, against the counters of whoever dropped them.

use std::net::{SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::sync::Mutex;

use flowgauge_tests::cgroup::Cgroup;
use flowgauge_tests::disguise::Disguise;
use flowgauge_tests::faults::{Rule, Verdict};
use flowgauge_tests::metrics::Metrics;
use flowgauge_tests::netns::Link;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::{Process, run};
use flowgauge_tests::{raw, udp};

/// One at a time: the kernel skips a program that is interrupted by itself, which a storm of drops makes likely.
static TURN: Mutex<()> = Mutex::new(());

const DROPPED: &str = "flowgauge_dropped_packets_total";

/// On a machine that is too busy, packets are lost that nobody meant to.
const BUSY: &str = "CPU_BACKLOG";

/// Something that lives in the namespace, and is the host's workload.
fn resident(host: &Host) -> Result<Process> {
    Process::spawn("resident", host.command("sleep").arg("600"))
}

fn dropped(metrics: &Metrics, workload: &str, reason: &str) -> f64 {
    metrics.sum(DROPPED, &[("workload", workload), ("reason", reason)])
}

/// A client and a server with a router between them, and somebody else beside them.
struct Road {
    client: Host,
    router: Host,
    server: Host,
    other: Host,
    to_router: Link,
    to_server: Link,
    _residents: Vec<Process>,
    world: World,
}

impl Road {
    fn new() -> Result<Self> {
        let world = World::new()?;
        let [client, router, server] = [world.host("client")?, world.host("router")?, world.host("server")?];
        let other = world.host("other")?;
        let (to_router, to_server) = (world.link(&client, &router)?, world.link(&router, &server)?);
        let beside = world.link(&other, &router)?;
        router.sysctl("net.ipv4.ip_forward", "1")?;
        client.ip(&["route", "add", "default", "via", &to_router.b.v4.to_string()])?;
        server.ip(&["route", "add", "default", "via", &to_server.a.v4.to_string()])?;
        other.ip(&["route", "add", "default", "via", &beside.b.v4.to_string()])?;
        let hosts = [&client, &router, &server, &other];
        // The kernel looks for neighbours and routers of IPv6 by itself.
        hosts.map(Host::settle6).into_iter().collect::<Result<()>>()?;
        let _residents = hosts.map(resident).into_iter().collect::<Result<_>>()?;
        Ok(Road { client, router, server, other, to_router, to_server, _residents, world })
    }

    /// The server as others dial it.
    fn to(&self, port: u16) -> String {
        self.to_server.b.at4(port).to_string()
    }

    fn to_v4(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.to_server.b.v4, port)
    }
}

/// Packets that a rule of nftables has dropped.
fn nft_counter(host: &Host) -> Result<f64> {
    let listing = run(host.command("nft").args(["list", "table", "inet", "fgt"]))?;
    let mut words = listing.split_whitespace().skip_while(|word| *word != "packets").skip(1);
    Ok(words.next().context("no counter")?.parse()?)
}

#[test]
fn each_drop_has_its_owner_and_the_kernels_reason() -> Result<()> {
    let _turn = TURN.lock();
    let road = Road::new()?;
    let (client, router, server) = (&road.client, &road.router, &road.server);
    let app = format!("{}-app", server.workload);
    let app_host = server.beside(&app, Cgroup::new(&format!("{app}.service"))?);
    let exporter = Exporter::start(&[])?;
    let before = [Snmp::of(client)?, Snmp::of(router)?, Snmp::of(server)?];
    let send = |host: &Host, to: &str, count: &str, size: &str| {
        udp::send(host, &["--to", to, "--count", count, "--size", size, "--pause", "1000"])
    };

    // A firewall's rule.
    let rules =
        "table inet fgt { chain in { type filter hook input priority 0; udp dport 9100 counter drop; }; }";
    run(server.command("nft").arg(rules))?;
    send(client, &road.to(9100), "25", "100")?;
    // Nobody listens: UDP over both protocols, and TCP.
    send(client, &road.to(9101), "30", "100")?;
    send(router, &road.to_server.b.at6(9101).to_string(), "7", "100")?;
    for _ in 0..4 {
        let closed = SocketAddr::from(road.to_v4(9102));
        let refused = client.enter(|| Ok(TcpStream::connect(closed).is_err()))?;
        ensure!(refused, "somebody listens");
    }
    // Too many hops.
    let far = road.to_v4(9103);
    client.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_ttl(1)?;
        for _ in 0..12 {
            // The answers to earlier ones may be reported in place of sending.
            let _ = socket.send_to(b"far", far);
        }
        Ok(())
    })?;
    // Damaged on the way.
    let from = SocketAddrV4::new(road.to_router.a.v4, 4242);
    let to = road.to_v4(9104);
    client.enter(|| raw::send(*to.ip(), &vec![raw::bad_udp(from, to); 9]))?;
    client.enter(|| raw::send(*to.ip(), &vec![raw::bad_tcp(from, to); 8]))?;
    // A receive buffer that nobody empties, of somebody who is not the only one in the namespace.
    let _deaf =
        udp::Server::start(&app_host, &["--listen", "0.0.0.0:9105", "--deaf", "--receive-buffer", "20000"])?;
    send(client, &road.to(9105), "800", "1000")?;
    // A neighbour that is not there.
    let nobody = road.to_router.net.v4(77);
    send(client, &format!("{nobody}:9106"), "6", "100")?;
    // What arrives is not dropped.
    let mut well = udp::Server::start(server, &["--listen", "0.0.0.0:9107"])?;
    send(&road.other, &road.to(9107), "50", "100")?;
    assert_eq!(well.report_of(50)?.received_packets, 50);

    let nft = nft_counter(server)?;
    assert_eq!(nft, 25.0);
    let truth = || -> Result<Vec<(&str, &str, f64)>> {
        let now = [Snmp::of(client)?, Snmp::of(router)?, Snmp::of(server)?];
        let since = |host: usize, name| now[host].since(&before[host], name);
        let (unheard, refused) =
            (since(2, "UdpNoPorts")? + since(2, "Udp6NoPorts")?, since(2, "TcpOutRsts")?);
        Ok(vec![
            (&server.workload, "NETFILTER_DROP", nft),
            (&server.workload, "NO_SOCKET", unheard + refused),
            (&router.workload, "IP_INHDR", since(1, "IpInHdrErrors")?),
            (&server.workload, "UDP_CSUM", since(2, "UdpInCsumErrors")?),
            (&server.workload, "TCP_CSUM", since(2, "TcpInCsumErrors")?),
            (&app, "SOCKET_RCVBUFF", since(2, "UdpRcvbufErrors")?),
            (&client.workload, "NEIGH_FAILED", since(0, "IcmpOutDestUnreachs")?),
        ])
    };
    // The kernel gives the neighbour up after three seconds.
    let owners = [&client.workload, &router.workload, &server.workload, &app, &road.other.workload];
    let metrics = exporter.wait_until("what the kernel's counters say", &[], SOON, |metrics| {
        truth().is_ok_and(|truth| {
            let neighbour = truth.last().is_some_and(|(.., count)| *count == 6.0);
            neighbour && truth.iter().all(|(owner, reason, count)| dropped(metrics, owner, reason) == *count)
        })
    });
    let metrics = metrics.with_context(|| format!("{:?}", truth()))?;
    let truth = truth()?;
    let at_least = [25.0, 41.0, 1.0, 9.0, 8.0, 100.0, 6.0];
    for ((owner, reason, count), least) in truth.iter().zip(at_least) {
        assert!(*count >= least, "{owner} {reason}: {count}");
    }
    // And nothing else of any of them, least of all of who lost nothing.
    for owner in owners {
        let by_reason = metrics.sum_by(DROPPED, "reason", &[("workload", owner)]);
        for (reason, count) in by_reason {
            let meant = truth.iter().any(|(of, what, _)| of == owner && *what == reason);
            assert!(meant || reason == BUSY || count == 0.0, "{owner} {reason}: {count}");
        }
    }
    assert_eq!(metrics.sum("flowgauge_collector_up", &[("collector", "drops")]), 1.0);
    drop(road.world);
    Ok(())
}

#[test]
fn the_owner_is_the_sockets_process_where_its_cgroup_says_nothing() -> Result<()> {
    let _turn = TURN.lock();
    let world = World::new()?;
    let (client, server) = (world.host_without_cgroup("client")?, world.host_without_cgroup("server")?);
    let link = world.link(&client, &server)?;
    let disguise = Disguise::new()?;
    // Who has the lowest number there is not who loses something.
    let _residents = [resident(&client)?, resident(&server)?];
    client.sysctl("net.ipv4.tcp_syn_retries", "2")?;
    let exporter = Exporter::start(&[])?;
    // A client whose SYN does not get out.
    let to = link.b.at4(9200).to_string();
    let rule = Rule::new(&client, &["OUTPUT", "-p", "tcp", "--dport", "9200"], Verdict::Drop)?;
    let shape = ["--to", &to, "--connections", "1"];
    let mut command = client.command(disguise.named("shopfront")?);
    let mut shopfront = Process::spawn("shopfront", command.arg("get").args(shape))?;
    let deadline = std::time::Instant::now() + SOON;
    while rule.hits()? < 2 {
        ensure!(std::time::Instant::now() < deadline, "no SYN");
        std::thread::sleep(Duration::from_millis(50));
    }
    shopfront.kill()?;
    let hits = rule.hits()? as f64;
    let selector = [("workload", "shopfront"), ("reason", "NETFILTER_DROP")];
    exporter.wait_for(DROPPED, &selector, hits, SOON)?;
    // A server's connections that are refused at its end, by a rule for what it answers.
    let _warehouse = disguise.serve("warehouse", &server, &["--listen", "0.0.0.0:9201"])?;
    exporter.scrape()?;
    let to = link.b.at4(9201).to_string();
    let rule = Rule::new(&server, &["OUTPUT", "-p", "tcp", "--sport", "9201"], Verdict::Drop)?;
    let failed = client.enter(|| {
        let address = to.parse()?;
        Ok(TcpStream::connect_timeout(&address, Duration::from_millis(2500)).is_err())
    })?;
    ensure!(failed, "the rule does not match");
    let hits = rule.hits()? as f64;
    assert!(hits >= 1.0);
    let selector = [("workload", "warehouse"), ("reason", "NETFILTER_DROP")];
    exporter.wait_until("what the rule dropped of the server's", &selector, SOON, |metrics| {
        metrics.sum(DROPPED, &selector) == rule.hits().unwrap_or_default() as f64
    })?;
    Ok(())
}

/// Hundreds of thousands within a second or two: each is counted, and what the kernel skips is known.
#[test]
fn a_storm_is_counted_to_the_packet() -> Result<()> {
    let _turn = TURN.lock();
    let world = World::new()?;
    let host = world.host("host")?;
    let _resident = resident(&host)?;
    let exporter = Exporter::start(&["--no-collector.udp", "--no-collector.dns", "--no-collector.http"])?;
    let skipped = |metrics: &Metrics| {
        metrics.sum("flowgauge_bpf_program_recursion_misses_total", &[("program", "drop")])
            + metrics.sum("flowgauge_lost_events_total", &[("reason", "drops_full")])
    };
    let before = (skipped(&exporter.scrape()?), Snmp::of(&host)?);
    let senders: Vec<_> = (0..2)
        .map(|_| {
            host.enter(|| {
                let socket = UdpSocket::bind("127.0.0.1:0")?;
                Ok(std::thread::spawn(move || {
                    // Not connected: the answers would be errors of later sends.
                    (0..200_000).filter(|_| socket.send_to(b"storm", "127.0.0.1:9300").is_ok()).count()
                }))
            })
        })
        .collect::<Result<_>>()?;
    // Scrapes meanwhile lose nothing.
    while senders.iter().any(|sender| !sender.is_finished()) {
        exporter.scrape()?;
    }
    let sent: usize = senders.into_iter().map(|sender| sender.join().unwrap_or_default()).sum();
    let dropped_by_kernel = Snmp::of(&host)?.since(&before.1, "UdpNoPorts")?;
    assert_eq!(dropped_by_kernel, sent as f64);
    let metrics = exporter.scrape()?;
    let (counted, skipped) = (dropped(&metrics, &host.workload, "NO_SOCKET"), skipped(&metrics) - before.0);
    assert!(counted <= sent as f64, "{counted} of {sent}");
    // Others' packets may be among those skipped.
    assert!(counted + skipped >= sent as f64, "{counted} of {sent}, {skipped} skipped");
    assert!(counted >= 0.99 * sent as f64, "{counted} of {sent}");
    Ok(())
}

#[test]
fn what_lost_nothing_is_left_out_and_the_collector_can_be() -> Result<()> {
    let _turn = TURN.lock();
    let world = World::new()?;
    let host = world.host("host")?;
    let _resident = resident(&host)?;
    let exporter = Exporter::start(&["--no-collector.udp", "--no-collector.dns", "--no-collector.http"])?;
    let of = |metrics: &Metrics, reason| {
        metrics.sum("flowgauge_dropped_packets_left_out_total", &[("reason", reason)])
    };
    let before = exporter.scrape()?;
    // A socket that is closed with datagrams in it, and datagrams between processes that no network carries.
    host.enter(|| {
        for _ in 0..10 {
            let (receiver, sender) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
            sender.send_to(b"unread", receiver.local_addr()?)?;
            let (one, other) = std::os::unix::net::UnixDatagram::pair()?;
            one.send(b"unread")?;
            drop((one, other));
        }
        Ok(())
    })?;
    let after = exporter.scrape()?;
    let by_reason = after.sum_by(DROPPED, "reason", &[("workload", &host.workload)]);
    assert_eq!(by_reason.values().sum::<f64>(), 0.0, "{by_reason:?}");
    let left_out: f64 = ["QUEUE_PURGE", "SOCKET_CLOSE", "NOT_SPECIFIED"]
        .map(|reason| of(&after, reason) - of(&before, reason))
        .iter()
        .sum();
    assert!(left_out >= 10.0, "{left_out} left out");
    assert_eq!(after.select(DROPPED, &[("reason", "QUEUE_PURGE")]).count(), 0);
    drop(exporter);

    let without = Exporter::start(&["--no-collector.drops"])?.scrape()?;
    assert!(without.family(DROPPED).is_none() && without.sum("flowgauge_collector_up", &[]) > 0.0);
    assert_eq!(without.select("flowgauge_collector_up", &[("collector", "drops")]).count(), 0);
    assert_eq!(without.select("flowgauge_bpf_program_runs_total", &[("program", "drop")]).count(), 0);
    Ok(())
}
