// SPDX-License-Identifier: Apache-2.0
//! Where UDP meets limits: full receive buffers, very many peers; and another program on the same hook.

use flowgauge_tests::cgroup::Cgroup;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::run;
use flowgauge_tests::stage::expect_totals;
use flowgauge_tests::truth::udp_drops;
use flowgauge_tests::udp::{self, Sender};

const DROPS: &str = "flowgauge_udp_receive_drops_total";

#[test]
fn drops_are_charged_to_the_socket_that_had_no_room() -> Result<()> {
    let stage = Stage::new(&[])?;
    let before = Snmp::of(&stage.server)?;
    let deaf = ["--listen", "0.0.0.0:9000", "--deaf", "--receive-buffer", "20000"];
    let full = udp::Server::start(&stage.server, &deaf)?;
    let mut well = udp::Server::start(&stage.server, &["--listen", "0.0.0.0:9001"])?;
    let (full_to, well_to) = (stage.to(9000), stage.to(9001));
    let shape = ["--to", &full_to, "--to", &well_to, "--count", "2000", "--size", "1000", "--pause", "1000"];
    assert_eq!(udp::send(&stage.client, &shape)?.sent_packets, 2000);
    assert_eq!(well.report_of(1000)?.received_packets, 1000);
    let dropped = udp_drops(&stage.server, 9000)? as f64;
    assert!(dropped > 500.0, "{dropped} dropped");
    assert_eq!(Snmp::of(&stage.server)?.since(&before, "UdpRcvbufErrors")?, dropped);
    let at = |port| [("workload", stage.server.workload.as_str()), ("port", port)];
    stage.exporter.wait_for(DROPS, &at("9000"), dropped, SOON)?;
    stage.exporter.wait_for(DROPS, &at("9001"), 0.0, SOON)?;
    // What arrived is counted whether or not there was room.
    let sums = [
        ("udp_sent_packets_total", CLIENT, &[][..], 1000.0),
        ("udp_received_packets_total", SERVER, &[], 1000.0),
        ("udp_received_bytes_total", SERVER, &[], 1e6),
    ];
    expect_totals(&stage.exporter, &stage.edge(9000), &sums)?;
    // A socket that is closed takes its count along, and the series does not fall.
    drop(full);
    stage.exporter.wait_for(DROPS, &at("9000"), dropped, SOON)?;
    let again = udp::Server::start(&stage.server, &deaf)?;
    udp::send(&stage.client, &["--to", &full_to, "--count", "500", "--size", "1000", "--pause", "1000"])?;
    let more = udp_drops(&stage.server, 9000)? as f64;
    assert!(more > 200.0, "{more} dropped");
    stage.exporter.wait_for(DROPS, &at("9000"), dropped + more, SOON)?;
    drop(again);
    Ok(())
}

/// A hundred thousand peers: whatever is lost is counted, memory stays, and the exporter goes on.
#[test]
fn a_hundred_thousand_peers() -> Result<()> {
    let stage = Stage::new(&[])?;
    // All of them are behind a host that forwards nothing.
    stage.client.ip(&["route", "add", "10.64.0.0/14", "via", &stage.link.b.v4.to_string()])?;
    let memory = || -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", stage.exporter.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    };
    stage.exporter.scrape()?;
    let before = memory()?;
    const PEERS: f64 = 100_000.0;
    let shape = ["--to", "10.64.0.1:9000", "--spread", "100000", "--count", "100000", "--pause", "1500"];
    let report = udp::send(&stage.client, &shape)?;
    assert_eq!(report.sent_packets as f64, PEERS, "{report:?}");
    let client = stage.client.workload.as_str();
    let sent = [("observer", CLIENT), ("client_workload", client)];
    let lost = |metrics: &flowgauge_tests::metrics::Metrics| metrics.sum("flowgauge_lost_events_total", &[]);
    let accounted = |metrics: &flowgauge_tests::metrics::Metrics| {
        let folded = [("observer", CLIENT), ("client_workload", "other")];
        metrics.sum("flowgauge_udp_sent_packets_total", &sent)
            + metrics.sum("flowgauge_udp_sent_packets_total", &folded)
            + lost(metrics)
    };
    let metrics = stage
        .exporter
        .wait_until("100,000 datagrams or losses", &sent, SOON, |metrics| accounted(metrics) >= PEERS)?;
    let seen = metrics.sum("flowgauge_udp_sent_packets_total", &sent);
    assert!(seen + lost(&metrics) >= PEERS && seen <= PEERS, "{seen} seen, {} lost", lost(&metrics));
    // One workload, one port: unknown private addresses are one edge.
    let edges = metrics.select("flowgauge_udp_sent_packets_total", &sent).count();
    assert!(edges <= 4, "{edges} edges of one client");
    let grown = memory()?.saturating_sub(before);
    assert!(grown < 60 << 20, "{} MB more than before", grown >> 20);
    // Where flows are that many, those that went quiet make room within seconds: it goes on as before.
    for _ in 0..12 {
        std::thread::sleep(Duration::from_millis(500));
        stage.exporter.scrape()?;
    }
    let before = lost(&stage.exporter.scrape()?);
    let mut serving = udp::Server::start(&stage.server, &["--listen", "0.0.0.0:9001", "--reply", "50"])?;
    let shape = ["--to", &stage.to(9001), "--count", "5000", "--sockets", "1000", "--replies"];
    let (_open, report) = Sender::start(&stage.client, &shape)?;
    assert_eq!((report.received_packets, serving.report()?.received_packets), (5000, 5000));
    let sums = [
        ("udp_sent_packets_total", CLIENT, &[][..], 5000.0),
        ("udp_received_packets_total", CLIENT, &[], 5000.0),
        ("udp_received_packets_total", SERVER, &[], 5000.0),
    ];
    let metrics = expect_totals(&stage.exporter, &stage.edge(9001), &sums)?;
    assert_eq!(lost(&metrics), before, "lost after room was made");
    Ok(())
}

/// Another program on the same hook, attached as old tools do, goes on beside ours, whoever was there first.
#[test]
fn another_program_on_the_same_hook() -> Result<()> {
    let directory = tempfile::TempDir::new()?;
    let (source, object) = (directory.path().join("pass.c"), directory.path().join("pass.o"));
    std::fs::write(
        &source,
        "__attribute__((section(\"cgroup_skb/egress\"), used)) int pass(void *packet) { return 1; }\n\
         __attribute__((section(\"license\"), used)) char terms[] = \"GPL\";\n",
    )?;
    run(std::process::Command::new("clang")
        .args(["-target", "bpf", "-O2", "-c", "-o"])
        .arg(&object)
        .arg(&source))?;
    let other = Other::attach(&object)?;
    let stage = Stage::new(&[])?;
    let _server = udp::Server::start(&stage.server, &["--listen", "0.0.0.0:9000", "--reply", "50"])?;
    let to = stage.to(9000);
    let shape = ["--to", &to, "--count", "100", "--replies"];
    let mut packets = 0.0;
    let mut expect = |stage: &Stage| -> Result<()> {
        assert_eq!(udp::send(&stage.client, &shape)?.received_packets, 100);
        packets += 100.0;
        let sums = [
            ("udp_sent_packets_total", CLIENT, &[][..], packets),
            ("udp_received_packets_total", CLIENT, &[], packets),
        ];
        expect_totals(&stage.exporter, &stage.edge(9000), &sums).map(drop)
    };
    expect(&stage).context("the other was first")?;
    assert!(other.is_attached()?, "the exporter's start detached the other");
    drop(other);
    expect(&stage).context("the other is gone")?;
    let other = Other::attach(&object)?;
    expect(&stage).context("the other came later")?;
    stage.exporter.stop()?;
    assert!(other.is_attached()?, "the exporter's end detached the other");
    Ok(())
}

/// A program attached to the root by `bpftool`, beside others.
struct Other {
    pin: std::path::PathBuf,
    root: std::path::PathBuf,
}

impl Other {
    fn attach(object: &std::path::Path) -> Result<Self> {
        let pin = std::path::Path::new("/sys/fs/bpf").join(format!("fgt-{}", std::process::id()));
        let root = Cgroup::root()?;
        run(bpftool(&["prog", "load"]).arg(object).arg(&pin).args(["type", "cgroup/skb"]))?;
        let other = Other { pin, root };
        run(bpftool(&["cgroup", "attach"])
            .arg(&other.root)
            .args(["egress", "pinned"])
            .arg(&other.pin)
            .arg("multi"))?;
        Ok(other)
    }

    fn is_attached(&self) -> Result<bool> {
        Ok(run(bpftool(&["cgroup", "show"]).arg(&self.root))?.contains(" pass"))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let detached =
            run(bpftool(&["cgroup", "detach"]).arg(&self.root).args(["egress", "pinned"]).arg(&self.pin));
        let removed = std::fs::remove_file(&self.pin);
        if detached.is_err() || removed.is_err() {
            eprintln!("{} stays: {detached:?}, {removed:?}", self.pin.display());
        }
    }
}

fn bpftool(arguments: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new("bpftool");
    command.args(arguments);
    command
}
