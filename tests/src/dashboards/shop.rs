// SPDX-License-Identifier: Apache-2.0
//! A shop on a cluster of two zones, with providers outside of it, busy and in trouble in every way that a dashboard shows.

mod business;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::api_server::objects;
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
use crate::prometheus::Target;

/// The namespace of all of its services but the DNS server.
const NAMESPACE: &str = "store";

/// How long a helper may take to say that it is ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// The shop. Dropped in this order: the exporter first.
#[derive(Debug)]
pub struct Shop {
    exporters: Vec<(&'static str, NodeExporter)>,
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

/// What runs in the cluster: its deployment, its namespace, its node.
const PODS: [(&str, &str, char); 7] = [
    ("frontend", NAMESPACE, 'a'),
    ("cart", NAMESPACE, 'a'),
    ("checkout", NAMESPACE, 'a'),
    ("orders", NAMESPACE, 'b'),
    ("catalog", NAMESPACE, 'b'),
    ("payments", NAMESPACE, 'b'),
    ("coredns", "kube-system", 'b'),
];

/// What is outside: its name, its kind.
const OUTSIDE: [(&str, &str); 3] =
    [("card-provider", "external"), ("object-store", "external"), ("corp-dns", "host")];

impl Shop {
    /// Opens it: all serve, all call whom they need, and all is well.
    pub fn open() -> Result<Self> {
        let cluster = Cluster::new()?;
        let node = |name| if name == 'a' { &cluster.a } else { &cluster.b };
        let pod = |&(name, namespace, at): &(&'static str, &str, char)| {
            Ok((name, run_pod(&cluster, node(at), namespace, name)?))
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
        let mut exporters = Vec::new();
        for (instance, node) in [("node-a:10950", &cluster.a), ("node-b:10950", &cluster.b)] {
            let exporter = cluster.exporter(node, &[&names.flag(), "--dns.timeout=1s", "--dns.names=20"])?;
            exporter.wait_for_names(SOON)?;
            exporters.push((instance, exporter));
        }
        let running = Vec::new();
        let mut shop = Shop {
            exporters,
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

    /// The nodes' exporters, as Prometheus is to scrape them: all pods share this machine's kernel, and what an exporter sees
    /// of another node's pods, of hosts outside and of other tests, it would not see in truth.
    pub fn targets(&self) -> Vec<Target> {
        let of = |(instance, exporter): &(&str, NodeExporter)| {
            let elsewhere = PODS.iter().filter(|(_, _, node)| !instance.contains(&format!("-{node}:")));
            let elsewhere: Vec<&str> = elsewhere.map(|(name, _, _)| *name).collect();
            let elsewhere = format!("fgt-.*|containerd:.*|{}", elsewhere.join("|"));
            let dropped = [
                ("observer, client_workload", format!("client;({elsewhere})")),
                ("observer, server_workload", format!("server;({elsewhere})")),
                ("workload", elsewhere.clone()),
                ("observer, client_namespace, server_namespace", "(client|server);;".to_owned()),
            ];
            Target { address: exporter.address(), labels: labels(instance), dropped: dropped.to_vec() }
        };
        self.exporters.iter().map(of).collect()
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
        for (pod, port) in [("checkout", 8080), ("catalog", 8080), ("payments", 8443)] {
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
}

/// Labels of a target.
pub fn labels(instance: &str) -> Vec<(&'static str, String)> {
    let labels = [("job", "flowgauge"), ("cluster", "test"), ("instance", instance)];
    labels.map(|(name, value)| (name, value.to_owned())).to_vec()
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
