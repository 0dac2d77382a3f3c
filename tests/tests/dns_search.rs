// SPDX-License-Identifier: Apache-2.0
//! Search lists: what glibc makes up is set apart from what was asked for. And counters by domain.

use flowgauge_tests::dns::client::ask;
use flowgauge_tests::dns::dnsmasq::Dnsmasq;
use flowgauge_tests::dns::resolv::Resolving;
use flowgauge_tests::dns::scripted::Scripted;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::output;
use flowgauge_tests::stage::expect_totals;

const KUBERNETES: &str = "search default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5";

struct Scene {
    dnsmasq: Dnsmasq,
    resolving: Resolving,
    stage: Stage,
}

impl Scene {
    fn new(lines: &str) -> Result<Self> {
        let stage = Stage::new(&[])?;
        let known = [
            "host-record=app.default.svc.cluster.local,11.1.1.1",
            "host-record=www.example.com,11.1.1.2,2a00::2",
            "local=/#/",
        ];
        let dnsmasq = Dnsmasq::start(&stage.server, &known)?;
        let resolving = Resolving::new(stage.link.b.v4.into(), lines)?;
        Ok(Scene { dnsmasq, resolving, stage })
    }

    /// Looks a name up by glibc, and says whether it was found.
    fn look_up(&self, database: &str, name: &str) -> Result<bool> {
        Ok(output(&mut self.resolving.getent(&self.stage.client, database, name))?.status.success())
    }

    /// Both ends must see so many NXDOMAINs that were made up, and real, and so many other answers.
    fn expect(&self, made_up: f64, real: f64, found: f64) -> Result<()> {
        let log = self.dnsmasq.log()?;
        let asked = made_up + real + found;
        assert_eq!(log.asked() as f64, asked, "{:?}", log.names);
        for side in [CLIENT, SERVER] {
            let sums = [
                ("dns_queries_total", side, &[][..], asked),
                ("dns_responses_total", side, &[("rcode", "NXDOMAIN"), ("search", "true")], made_up),
                ("dns_responses_total", side, &[("rcode", "NXDOMAIN"), ("search", "false")], real),
                ("dns_responses_total", side, &[("rcode", "NOERROR"), ("search", "false")], found),
                ("dns_responses_total", side, &[], asked),
            ];
            expect_totals(&self.stage.exporter, &self.stage.edge(53), &sums)
                .with_context(|| format!("{side}: {:?}", log.names))?;
        }
        Ok(())
    }
}

#[test]
fn a_name_that_is_found_in_the_end_has_no_errors() -> Result<()> {
    let scene = Scene::new(KUBERNETES)?;
    // Three made-up names, A and AAAA of each, before the name itself.
    assert!(scene.look_up("ahosts", "www.example.com")?);
    scene.expect(6.0, 0.0, 2.0)?;
    // Found at once: the first of the list.
    assert!(scene.look_up("ahostsv4", "app")?);
    scene.expect(6.0, 0.0, 3.0)?;
    // Found as second: app.default is asked for as app.default.default.svc.cluster.local first.
    assert!(scene.look_up("ahostsv4", "app.default")?);
    scene.expect(7.0, 0.0, 4.0)
}

#[test]
fn a_name_that_is_not_found_is_one_error() -> Result<()> {
    let scene = Scene::new(KUBERNETES)?;
    assert!(!scene.look_up("ahostsv4", "nosuch.example.com")?);
    scene.expect(3.0, 1.0, 0.0)?;
    assert!(!scene.look_up("ahosts", "other.example.com")?);
    scene.expect(9.0, 3.0, 0.0)?;
    // A missing Service asked for by its full name, which has fewer dots than five.
    assert!(!scene.look_up("ahostsv4", "nosuch.default.svc.cluster.local")?);
    scene.expect(12.0, 4.0, 0.0)
}

#[test]
fn without_a_search_list_every_error_is_real() -> Result<()> {
    let scene = Scene::new("options ndots:1")?;
    for number in 0..5 {
        assert!(!scene.look_up("ahostsv4", &format!("db{number}.example.com"))?);
    }
    scene.expect(0.0, 5.0, 0.0)?;
    // As fast as a program can: still nothing but errors.
    let to = scene.stage.to(53);
    let shape = ["--to", &to, "--name", "db{}.corp.example.com", "--count", "50", "--outstanding", "5"];
    assert_eq!(ask(&scene.stage.client, &shape)?.answers[&3], 50);
    scene.expect(0.0, 55.0, 0.0)
}

#[test]
fn a_list_after_the_name_itself() -> Result<()> {
    // Dots enough: glibc asks for the name as it is first, and goes through the list when it is not there.
    let scene = Scene::new("search corp.example.com example.com\noptions ndots:1")?;
    assert!(!scene.look_up("ahostsv4", "nosuch.example.net")?);
    scene.expect(2.0, 1.0, 0.0)
}

#[test]
fn the_busiest_domains_have_counters_of_their_own() -> Result<()> {
    let stage = Stage::new(&["--dns.names=2"])?;
    let _scripted = Scripted::start(&stage.server, &[stage.to(53)])?;
    let to = stage.to(53);
    for (name, count) in [
        ("q{}.shop.example.com", "300"),
        ("rcode3.q{}.api.example.co.uk", "200"),
        ("rcode2.q{}.API.Example.CO.UK", "100"),
        ("q{}.rare.example.org", "7"),
    ] {
        let shape = ["--to", &to, "--name", name, "--count", count];
        assert_eq!(ask(&stage.client, &shape)?.answered().to_string(), count);
    }
    let by = |domain, rcode, count: f64| {
        let selector = [("domain", domain), ("rcode", rcode)];
        let metrics =
            stage.exporter.wait_for("flowgauge_dns_domain_responses_total", &selector, count, SOON)?;
        let domains = metrics.sum_by("flowgauge_dns_domain_responses_total", "domain", &[]);
        assert!(domains.len() <= 3, "{domains:?}");
        Ok::<_, anyhow::Error>(())
    };
    by("example.com", "NOERROR", 300.0)?;
    by("example.co.uk", "NXDOMAIN", 200.0)?;
    by("example.co.uk", "SERVFAIL", 100.0)?;
    by("other", "NOERROR", 7.0)
}
