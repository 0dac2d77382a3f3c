// SPDX-License-Identifier: Apache-2.0
//! Names for external addresses from the answers that clients saw, and from nothing else.

use flowgauge_tests::dns::client::ask;
use flowgauge_tests::dns::message::label_of;
use flowgauge_tests::dns::scripted::{FORGED, Scripted};
use flowgauge_tests::prelude::*;
use flowgauge_tests::stage::expect_totals;

/// Public addresses, at home in the stage's server and nowhere else: no packet leaves its namespaces.
const ABROAD: [&str; 2] = ["11.22.33.0/24", "11.66.66.66/32"];
const ABROAD6: &str = "2a00:1122::/64";

struct Scene {
    _scripted: Scripted,
    _web: Server,
    stage: Stage,
}

impl Scene {
    fn new() -> Result<Self> {
        let stage = Stage::new(&[])?;
        stage.client.settle6()?;
        stage.server.settle6()?;
        for range in ABROAD {
            stage.server.ip(&["route", "add", "local", range, "dev", "lo"])?;
            stage.client.ip(&["route", "add", range, "via", &stage.link.b.v4.to_string()])?;
        }
        stage.server.ip(&["-6", "route", "add", "local", ABROAD6, "dev", "lo"])?;
        stage.client.ip(&["-6", "route", "add", ABROAD6, "via", &stage.link.b.v6.to_string()])?;
        let scripted = Scripted::start(&stage.server, &[stage.to(53)])?;
        let web = Server::start(&stage.server, &["--listen", "[::]:80"])?;
        Ok(Scene { _scripted: scripted, _web: web, stage })
    }

    /// Has `host` ask for a name under which the server puts `address`, over UDP.
    fn ask(&self, host: &Host, address: &str, name: &str) -> Result<()> {
        self.ask_by(host, address, name, &["--patience", "300"])
    }

    fn ask_by(&self, host: &Host, address: &str, name: &str, more: &[&str]) -> Result<()> {
        let address = address.parse()?;
        let types = if matches!(address, std::net::IpAddr::V4(_)) { "A" } else { "AAAA" };
        // Labels that say what to answer stand before the name.
        let name = format!("{}.{name}", label_of(address));
        let to = self.stage.to(53);
        ask(host, &[&["--to", &to, "--name", &name, "--types", types], more].concat()).map(drop)
    }

    /// Has `host` connect and exchange `bytes`, which must be all that this client has ever sent to a server of that name.
    fn expect(&self, host: &Host, address: &str, workload: &str, bytes: f64) -> Result<()> {
        let to = std::net::SocketAddr::new(address.parse()?, 80).to_string();
        let report = get(host, &["--to", &to, "--send", "1000", "--receive", "1000"])?;
        assert_eq!(report.answered, 1, "{to}: {report:?}");
        let edge = Edge::named(&host.workload, workload, "80");
        let kind = [("server_kind", "external")];
        let sums = [("tcp_sent_bytes_total", CLIENT, &kind[..], bytes * report.sent as f64)];
        expect_totals(&self.stage.exporter, &edge, &sums)
            .with_context(|| format!("{address} is not {workload}"))?;
        Ok(())
    }
}

#[test]
fn answers_name_external_addresses() -> Result<()> {
    let scene = Scene::new()?;
    let client = &scene.stage.client;
    scene.expect(client, "11.22.33.1", "external", 1.0)?;
    scene.ask(client, "11.22.33.2", "www.shop.example.com")?;
    scene.expect(client, "11.22.33.2", "example.com", 1.0)?;
    scene.expect(client, "11.22.33.2", "example.com", 2.0)?;
    // By the name that was asked for, not by what it is an alias of.
    scene.ask(client, "11.22.33.3", "alias.cdn.example.org")?;
    scene.expect(client, "11.22.33.3", "example.org", 1.0)?;
    // Below a suffix of several labels; over TCP, in pieces; over IPv6.
    scene.ask_by(client, "11.22.33.4", "x.example.co.uk", &["--tcp", "--split", "5"])?;
    scene.expect(client, "11.22.33.4", "example.co.uk", 1.0)?;
    scene.ask(client, "2a00:1122::5", "v6.example.net")?;
    scene.expect(client, "2a00:1122::5", "example.net", 1.0)?;
    // A TTL of a second does not unname a connection a moment later.
    scene.ask(client, "11.22.33.6", "ttl1.example.edu")?;
    std::thread::sleep(Duration::from_millis(2500));
    scene.expect(client, "11.22.33.6", "example.edu", 1.0)?;
    // Still nobody's.
    scene.expect(client, "11.22.33.1", "external", 2.0)
}

#[test]
fn datagrams_are_named_like_connections() -> Result<()> {
    let scene = Scene::new()?;
    let client = &scene.stage.client;
    let _quic = flowgauge_tests::udp::Server::start(
        &scene.stage.server,
        &["--listen", "11.22.33.9:443", "--reply", "500"],
    )?;
    scene.ask(client, "11.22.33.9", "quic.example.com")?;
    let shape = ["--to", "11.22.33.9:443", "--count", "50", "--size", "700", "--replies", "--connect"];
    let report = flowgauge_tests::udp::send(client, &shape)?;
    assert_eq!(report.received_packets, 50, "{report:?}");
    let edge = Edge::named(&client.workload, "example.com", "443");
    let sums = [
        ("udp_sent_bytes_total", CLIENT, &[("server_kind", "external")][..], 35_000.0),
        ("udp_received_bytes_total", CLIENT, &[("server_kind", "external")], 25_000.0),
    ];
    expect_totals(&scene.stage.exporter, &edge, &sums).map(drop)
}

#[test]
fn forged_answers_name_nothing() -> Result<()> {
    let scene = Scene::new()?;
    let client = &scene.stage.client;
    let forged = FORGED.to_string();
    for how in ["forgeid", "forgename", "forgetype", "forgeport"] {
        let more = ["--unconnected", "--patience", "200", "--count", "20", "--outstanding", "20"];
        for true_answer in ["q{}", "silent.q{}"] {
            let name = format!("{how}.{true_answer}.evil.example.com");
            scene.ask_by(client, "11.22.33.7", &name, &more)?;
        }
    }
    // An answer that was cut off, or is otherwise not well-formed, names nothing either; nor does a SERVFAIL.
    for kind in 0..flowgauge_tests::dns::malformed::KINDS {
        scene.ask(client, "11.22.33.8", &format!("bad{kind}.evil.example.com"))?;
    }
    scene.ask(client, "11.22.33.8", "rcode2.evil.example.com")?;
    scene.ask(client, "11.22.33.8", "rcode3.evil.example.com")?;
    scene.expect(client, &forged, "external", 1.0)?;
    scene.expect(client, "11.22.33.8", "external", 2.0)?;
    // The true answers that came after forged ones do.
    scene.expect(client, "11.22.33.7", "example.com", 1.0)
}

#[test]
fn each_client_has_the_names_it_asked_for() -> Result<()> {
    let scene = Scene::new()?;
    let (stage, client) = (&scene.stage, &scene.stage.client);
    let second = stage.world.host("second")?;
    let link = stage.world.link(&second, &stage.server)?;
    for range in [&stage.link.b.v4.to_string(), ABROAD[0]] {
        second.ip(&["route", "add", range, "via", &link.b.v4.to_string()])?;
    }
    stage.rename(&[Name::of(client), Name::of(&second), Name::of(&stage.server)])?;
    // A shared front: both sites have the same address.
    scene.ask(client, "11.22.33.10", "www.first.example.com")?;
    scene.ask(&second, "11.22.33.10", "www.example.org")?;
    scene.expect(client, "11.22.33.10", "example.com", 1.0)?;
    scene.expect(&second, "11.22.33.10", "example.org", 1.0)?;
    // What it has not asked for itself is named by what others on the node asked for.
    scene.ask(client, "11.22.33.11", "www.example.net")?;
    scene.expect(&second, "11.22.33.11", "example.net", 1.0)
}
