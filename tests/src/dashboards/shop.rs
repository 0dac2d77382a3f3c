// SPDX-License-Identifier: Apache-2.0
//! A shop on a cluster of two zones, with providers outside of it, busy and in trouble in every way that a dashboard shows.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::api_server::objects::{self, Service, ServicePort};
use crate::dns::dnsmasq::Dnsmasq;
use crate::dns::resolv::Resolving;
use crate::dns::scripted::Scripted;
use crate::exporter::beside_test;
use crate::kubernetes::{Cluster, Node, NodeExporter, Place, Pod};
use crate::names::NamesFile;
use crate::netns::{Host, Link};
use crate::nginx::Nginx;
use crate::prelude::*;
use crate::process::{Process, run};

/// The namespace of all of its services but the DNS server.
pub const NAMESPACE: &str = "store";

/// How long a helper may take to say that it is ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// The shop. Dropped in this order: the exporter first.
#[derive(Debug)]
pub struct Shop {
    /// The exporter of the node in zone `zone-a`, which sees both nodes' pods: they share this machine's kernel.
    pub exporter: NodeExporter,
    running: Vec<Process>,
    _nginx: Nginx,
    _dnsmasq: Dnsmasq,
    _scripted: Scripted,
    resolving: Resolving,
    pods: BTreeMap<&'static str, Pod>,
    outside: BTreeMap<&'static str, (Host, Link)>,
    _names: NamesFile,
    cluster: Cluster,
}

/// What runs in the cluster: a name for it here, its namespace, its deployment, its node.
const PODS: [(&str, &str, &str, char); 7] = [
    ("frontend", NAMESPACE, "frontend", 'a'),
    ("cart", NAMESPACE, "cart", 'a'),
    ("checkout-a", NAMESPACE, "checkout", 'a'),
    ("checkout-b", NAMESPACE, "checkout", 'b'),
    ("catalog", NAMESPACE, "catalog", 'b'),
    ("payments", NAMESPACE, "payments", 'b'),
    ("coredns", "kube-system", "coredns", 'b'),
];

/// What is outside: its name, its kind.
const OUTSIDE: [(&str, &str); 3] =
    [("card-provider", "external"), ("object-store", "external"), ("corp-dns", "host")];

impl Shop {
    /// Opens it: all serve, and all call whom they need.
    pub fn open() -> Result<Self> {
        let cluster = Cluster::new()?;
        let node = |name| if name == 'a' { &cluster.a } else { &cluster.b };
        let pod = |&(name, namespace, deployment, at): &(&'static str, &str, &str, char)| {
            Ok((name, run_pod(&cluster, node(at), namespace, deployment)?))
        };
        let pods: BTreeMap<_, _> = PODS.iter().map(pod).collect::<Result<_>>()?;
        let outside = OUTSIDE.iter().map(|(name, _)| Ok((*name, cluster.outside(name)?)));
        let outside: BTreeMap<_, (Host, Link)> = outside.collect::<Result<_>>()?;
        let names = named(&outside)?;
        let at = |name: &str| pods.get(name).with_context(|| format!("no pod {name}"));
        let upstream = &outside["corp-dns"];
        let scripted = Scripted::start(&upstream.0, &[upstream.1.b.at4(53).to_string()])?;
        let known = [
            format!("server={}", upstream.1.b.v4),
            "host-record=www.example.com,11.1.1.2".to_owned(),
            "local=/cluster.local/".to_owned(),
        ];
        let dnsmasq =
            Dnsmasq::start(at("coredns")?.main()?, &known.iter().map(String::as_str).collect::<Vec<_>>())?;
        let search =
            format!("search {NAMESPACE}.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5");
        let resolving = Resolving::new(at("coredns")?.v4.into(), &search)?;
        // 444: nginx closes the connection without an answer.
        let site = ("$status", "location /gone { return 444; }");
        let nginx = Nginx::with_site(at("catalog")?.main()?, &["8081"], &[("index.html", 5000)], 1, site)?;
        // A SYN that vanishes is given up after three seconds, not two minutes.
        at("payments")?.main()?.sysctl("net.ipv4.tcp_syn_retries", "1")?;
        let exporter =
            cluster.exporter(&cluster.a, &[&names.flag(), "--dns.timeout=1s", "--dns.names=20"])?;
        exporter.wait_for_names(SOON)?;
        let running = Vec::new();
        let mut shop = Shop {
            exporter,
            running,
            _nginx: nginx,
            _dnsmasq: dnsmasq,
            _scripted: scripted,
            resolving,
            pods,
            outside,
            _names: names,
            cluster,
        };
        shop.serve()?;
        shop.call()?;
        Ok(shop)
    }

    /// From now on a share of the packets that arrive at `payments` is lost, and one of the provider's addresses is silent.
    pub fn trouble(&self, share: f64) -> Result<()> {
        let payments = self.pods["payments"].main()?;
        let share = share.to_string();
        let random = ["-m", "statistic", "--mode", "random", "--probability", &share];
        let rule = [&["-w", "-A", "INPUT", "-i", "eth0", "-p", "tcp"], &random[..], &["-j", "DROP"]].concat();
        run(payments.command("iptables").args(rule))?;
        let silent = self.provider(11).to_string();
        let rule = ["-w", "-A", "INPUT", "-d", &silent, "-p", "tcp", "--syn", "-j", "DROP"];
        run(self.outside["card-provider"].0.command("iptables").args(rule))?;
        Ok(())
    }

    /// What people at the shop do now and then: a lookup through the search list.
    pub fn look_up(&self) -> Result<()> {
        let frontend = self.pods["frontend"].main()?;
        run(&mut self.resolving.getent(frontend, "ahostsv4", "www.example.com")).map(drop)
    }

    fn start(&mut self, host: &str, program: &Path, arguments: &[&str], serves: bool) -> Result<()> {
        let host = match self.pods.get(host) {
            Some(pod) => pod.main()?,
            None => &self.outside.get(host).with_context(|| format!("no host {host}"))?.0,
        };
        let what = format!("{} {}", program.display(), arguments.join(" "));
        let mut process = Process::spawn(&what, host.command(program).args(arguments))?;
        if serves {
            let ready = process.line(PATIENCE)?;
            ensure!(ready == "ready", "{what} said {ready:?}; its log:\n{}", process.log());
        }
        self.running.push(process);
        Ok(())
    }

    fn server(&mut self, host: &str, program: &str, arguments: &[&str]) -> Result<()> {
        self.start(host, &beside_test(program)?, &[&["serve"], arguments].concat(), true)
    }

    fn client(&mut self, host: &str, program: &str, arguments: &[&str]) -> Result<()> {
        self.start(host, &beside_test(program)?, arguments, false)
    }

    fn caller(&mut self, host: &str, pause: &str, urls: &[String]) -> Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/caller.py");
        let script = script.to_string_lossy().into_owned();
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        self.start(host, Path::new("python3"), &[&[script.as_str(), pause], &urls[..]].concat(), false)
    }

    fn serve(&mut self) -> Result<()> {
        for (pod, port) in [("checkout-a", 8080), ("checkout-b", 8080), ("catalog", 8080), ("payments", 8443)]
        {
            self.server(pod, "fg-http", &["--listen", &format!("[::]:{port}")])?;
        }
        self.server("catalog", "fg-traffic", &["--listen", "[::]:9100"])?;
        self.server("cart", "fg-grpc", &["--listen", "0.0.0.0:50051"])?;
        let deaf = ["--listen", "0.0.0.0:9000", "--deaf", "--receive-buffer", "20000"];
        self.server("cart", "fg-udp", &deaf)?;
        let provider = &self.outside["card-provider"];
        for number in [10, 11] {
            let address = format!("{}/24", provider.1.net.v4(number));
            provider.0.ip(&["addr", "add", &address, "dev", &provider.1.b.device])?;
        }
        self.server("card-provider", "fg-http", &["--listen", "0.0.0.0:80"])?;
        self.server("card-provider", "fg-traffic", &["--listen", "0.0.0.0:443"])?;
        self.server("object-store", "fg-traffic", &["--listen", "0.0.0.0:443"])
    }

    fn provider(&self, number: u8) -> IpAddr {
        self.outside["card-provider"].1.net.v4(number).into()
    }

    fn pod(&self, name: &str, port: u16) -> String {
        self.pods[name].at4(port)
    }

    fn call(&mut self) -> Result<()> {
        let pods = [&self.pods["checkout-a"], &self.pods["checkout-b"]];
        let addresses = self.cluster.service_addresses()?;
        let service = Service::new(NAMESPACE, "checkout", &addresses, &[ServicePort::tcp(80, 8080)]);
        self.cluster.serve(&service, self.cluster.slices(&service, &pods)?)?;
        let checkout = SocketAddr::new(addresses[0], 80).to_string();
        let (catalog, payments) = (self.pod("catalog", 8080), self.pod("payments", 8443));

        let forever = ["--rounds", "1000000", "--requests", "20"];
        let http = [
            (
                "frontend",
                checkout.as_str(),
                "3",
                "/200?delay=60&size=3000,/200?delay=90,/404?delay=20,/200?delay=40,/503?delay=30",
            ),
            ("frontend", &catalog, "2", "/200?delay=80&size=30000,/200?delay=50&size=9000"),
            ("checkout-a", &payments, "2", "/200?delay=120&size=2000"),
            ("checkout-b", &payments, "2", "/200?delay=120&size=2000"),
        ];
        for (from, to, connections, paths) in http {
            let shape = ["ask", "--to", to, "--connections", connections, "--paths", paths];
            self.client(from, "fg-http", &[&shape[..], &forever[..]].concat())?;
        }
        self.client(
            "checkout-a",
            "fg-grpc",
            &["ask", "--to", &self.pod("cart", 50051), "--rounds", "1000000", "--pause", "1000"],
        )?;
        self.transfers()?;
        self.lookups()?;
        // Nobody listens there; the provider's second address will be silent; and one is closed without an answer.
        let nobody = format!("tcp://{}", self.pod("cart", 9999));
        let gone = format!("http://{}/gone", self.pod("catalog", 8081));
        let index = format!("http://{}/", self.pod("catalog", 8081));
        self.caller("frontend", "400", &[nobody, gone, index.clone(), index])?;
        let fresh: Vec<String> = (0..3).map(|_| format!("http://{payments}/200")).collect();
        self.caller("checkout-a", "200", &fresh)?;
        let provider = [10, 11, 10].map(|number| format!("http://{}/200", self.provider(number)));
        self.caller("payments", "300", &provider)
    }

    fn transfers(&mut self) -> Result<()> {
        let store = self.outside["object-store"].1.b.at4(443).to_string();
        let card = SocketAddr::new(self.provider(10), 443).to_string();
        let reset = self.pod("catalog", 9100);
        let forever = "1000000";
        let many = ["get", "--requests", forever];
        self.client(
            "catalog",
            "fg-traffic",
            &[
                &many[..],
                &[
                    "--to",
                    &store,
                    "--connections",
                    "3",
                    "--gap",
                    "40",
                    "--receive",
                    "60000",
                    "--send",
                    "2000",
                ],
            ]
            .concat(),
        )?;
        self.client(
            "payments",
            "fg-traffic",
            &[
                &many[..],
                &["--to", &card, "--connections", "2", "--gap", "60", "--receive", "3000", "--send", "9000"],
            ]
            .concat(),
        )?;
        self.client(
            "checkout-b",
            "fg-traffic",
            &[
                "get",
                "--connections",
                forever,
                "--concurrency",
                "1",
                "--to",
                &reset,
                "--gap",
                "400",
                "--close",
                "server-reset",
            ],
        )?;
        let deaf = self.pod("cart", 9000);
        self.client(
            "frontend",
            "fg-udp",
            &["send", "--to", &deaf, "--count", "1000000000", "--size", "1000", "--pause", "2000000"],
        )
    }

    fn lookups(&mut self) -> Result<()> {
        let resolver = self.pod("coredns", 53);
        // What the names make the upstream do: see `crate::dns::scripted`.
        let good = "11-1-1-1.q{}.example.com";
        let asked: [(&str, &str, &[&str]); 6] = [
            ("frontend", "50", &[good, "11-1-1-2.q{}.example.org"]),
            ("checkout-b", "120", &[good, good, "rcode2.q{}.broken.example.net"]),
            ("payments", "300", &["silent.q{}.broken.example.net", "delay200.11-1-1-1.q{}.example.com"]),
            (
                "catalog",
                "500",
                &["twice.11-1-1-1.q{}.example.com", "tc.q{}.example.com", "rcode3.q{}.example.com"],
            ),
            ("cart", "400", &[good]),
            ("cart", "700", &[good]),
        ];
        for (number, (from, pause, names)) in asked.into_iter().enumerate() {
            let mut shape =
                vec!["ask", "--to", &resolver, "--count", "1000000", "--pause", pause, "--patience", "1500"];
            names.iter().for_each(|name| shape.extend(["--name", name]));
            match number {
                0 => shape.extend(["--types", "A,AAAA"]),
                4 => shape.push("--tcp"),
                5 => shape.extend(["--copies", "2"]),
                _ => {}
            }
            self.client(from, "fg-dns", &shape)?;
        }
        Ok(())
    }
}

fn run_pod(cluster: &Cluster, node: &Node, namespace: &str, deployment: &str) -> Result<Pod> {
    cluster.run(node, objects::Pod::of_deployment(namespace, deployment), Place::default())
}

/// A names file for what is outside: every address of each one's network that is its own.
fn named(outside: &BTreeMap<&'static str, (Host, Link)>) -> Result<NamesFile> {
    let file = NamesFile::new(&[])?;
    let mut yaml = String::from("names:\n");
    for (name, kind) in OUTSIDE {
        let link = &outside[name].1;
        let own = [2, 10, 11].map(|number| link.net.v4(number).to_string());
        writeln!(yaml, "  - cidrs: {own:?}\n    workload: {name}\n    kind: {kind}")?;
    }
    file.write_text(&yaml)?;
    Ok(file)
}
