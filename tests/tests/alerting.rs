// SPDX-License-Identifier: Apache-2.0
//! Real faults in a small shop, the project's rules in Debian's Prometheus, its example routes in Debian's Alertmanager: each
//! fault fires its alert and no other, whoever is to be told is told of it alone, and of its end when it is mended.

use std::collections::BTreeSet;
use std::time::Instant;

use flowgauge_tests::monitoring::{Labels, Notification};
use flowgauge_tests::prelude::*;
use flowgauge_tests::prometheus::Alert;
use flowgauge_tests::shop::{Fault, Shop};

/// How long an alert may take to come or to go. Its windows and waits take 25 s; a busy machine makes gaps in its series.
const PATIENCE: Duration = Duration::from_secs(75);
/// How long a fault goes on after its alert has been told: longer than the waits of alerts that may come later.
const LATER: Duration = Duration::from_secs(8);

/// Alerts about the whole machine, which others may well keep busy while this runs.
const OF_THE_MACHINE: [&str; 3] =
    ["FlowgaugeCostHigh", "FlowgaugeSoftirqStarvation", "FlowgaugeAuditRatioOff"];

/// Who is told of which alert: the receiver, and all labels. The instance is given by its node's name.
type Told = (&'static str, &'static str);

struct Expected {
    fault: Fault,
    told: &'static [Told],
    /// Alerts that Prometheus may have besides, and of which nobody is told.
    quiet: &'static [&'static str],
}

const EXPECTED: &[Expected] = &[
    Expected {
        fault: Fault::Loss,
        told: &[(
            "pager",
            "alertname=FlowgaugeRetransmitsHigh client_workload=shop-proxy server_workload=shop-api observer=server \
             layer=service severity=critical",
        )],
        quiet: &[],
    },
    Expected {
        fault: Fault::Refused,
        told: &[
            (
                "pager",
                "alertname=FlowgaugeConnectFailures client_workload=shop-proxy server_workload=shop-api \
                 observer=client reason=refused layer=service severity=critical",
            ),
            // The proxy answers, with 503.
            ("chat", "alertname=FlowgaugeHttpErrors server_workload=shop-proxy layer=http severity=warning"),
        ],
        quiet: &[],
    },
    Expected {
        fault: Fault::Upstream,
        told: &[(
            "pager",
            "alertname=FlowgaugeDnsUpstreamFailures client_workload=shop-dns server_workload=isp-dns \
             observer=client stage=upstream layer=dns severity=critical",
        )],
        quiet: &[],
    },
    Expected {
        fault: Fault::Resolver,
        told: &[(
            "pager",
            "alertname=FlowgaugeDnsResolverFailures server_workload=shop-dns stage=resolver layer=dns \
             severity=critical",
        )],
        quiet: &[],
    },
    Expected {
        fault: Fault::Provider,
        told: &[
            (
                "pager",
                "alertname=FlowgaugeProviderDegraded server_workload=payments.example observer=client \
                 signal=connects layer=provider severity=critical",
            ),
            // A SYN sent again is a segment sent again.
            (
                "pager",
                "alertname=FlowgaugeProviderDegraded server_workload=payments.example observer=client \
                 signal=retransmits layer=provider severity=critical",
            ),
        ],
        quiet: &["FlowgaugeSynTimeouts", "FlowgaugeRetransmitsHigh"],
    },
    Expected {
        fault: Fault::Conntrack,
        told: &[(
            "pager",
            "alertname=FlowgaugeConntrackInsertFailures instance=node-a job=node-a/flowgauge layer=node \
             severity=critical",
        )],
        quiet: &[
            "FlowgaugeConntrackNearFull",
            "FlowgaugeSynTimeouts",
            "FlowgaugeRetransmitsHigh",
            "FlowgaugeDnsUpstreamFailures",
            "FlowgaugeDnsClientTimeouts",
        ],
    },
];

/// Names and values of such labels.
fn labels(told: &Told) -> impl Iterator<Item = (&'static str, &'static str)> {
    told.1.split_whitespace().filter_map(|label| label.split_once('='))
}

/// What somebody was told, without what it says.
type Message = (String, String, Labels);

struct Watcher<'a> {
    shop: &'a Shop,
    expected: &'a Expected,
    told_before: usize,
    start: Instant,
}

impl Watcher<'_> {
    /// What is to be told of each alert: that it is firing, or that it is over.
    fn messages(&self, status: &str) -> BTreeSet<Message> {
        let nodes = self.shop.exporters();
        let value = |name: &str, value: &str| {
            let node = nodes.iter().find(|(node, _)| name == "instance" && *node == value);
            node.map_or_else(|| value.to_owned(), |(_, address)| address.to_string())
        };
        let message = |told: &Told| {
            let labels = labels(told).map(|(name, text)| (name.to_owned(), value(name, text))).collect();
            (told.0.to_owned(), status.to_owned(), labels)
        };
        self.expected.told.iter().map(message).collect()
    }

    fn notifications(&self) -> Vec<Notification> {
        let all = self.shop.watch.webhook.since(self.told_before).into_iter();
        all.filter(|told| !is_of_the_machine(&told.labels)).collect()
    }

    fn told(&self) -> BTreeSet<Message> {
        self.notifications().into_iter().map(|told| (told.receiver, told.status, told.labels)).collect()
    }

    /// Waits until everything of `wanted` has been told. Meanwhile nothing but it is told, and nothing else fires.
    fn wait_told(&self, wanted: &BTreeSet<Message>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.told().is_superset(wanted) {
            self.check(wanted)?;
            ensure!(
                Instant::now() < deadline,
                "after {PATIENCE:?} {:#?} are not told; told are {:#?}, alerts are {:#?}, load {:?}; Alertmanager says {}",
                wanted.difference(&self.told()),
                self.told(),
                self.shop.watch.prometheus.alerts()?,
                self.load(),
                self.shop.watch.alertmanager.log(),
            );
            std::thread::sleep(Duration::from_millis(500));
        }
        self.check(wanted)
    }

    /// Nothing but `wanted` is told, and nothing fires that should not.
    fn check(&self, wanted: &BTreeSet<Message>) -> Result<()> {
        let told = self.told();
        ensure!(told.is_subset(wanted), "told besides: {:#?}", told.difference(wanted));
        let named = |alert: &Alert| {
            let name = &alert.labels["alertname"];
            let told = self.expected.told.iter().flat_map(labels);
            let mut names = told.filter(|(label, _)| *label == "alertname").map(|(_, value)| value);
            names.any(|told| told == name) || self.expected.quiet.contains(&name.as_str())
        };
        let alerts = firing(self.shop)?;
        ensure!(alerts.iter().all(named), "firing: {alerts:#?}; load: {:?}", self.load());
        Ok(())
    }

    fn load(&self) -> Vec<(&str, Option<(u64, u64)>)> {
        self.shop.loads.iter().map(|load| (load.what.as_str(), load.counts())).collect()
    }

    fn say(&self, what: &str) {
        println!("{:5.1} s  {what}: {}", self.start.elapsed().as_secs_f64(), self.expected.fault.title());
    }
}

fn is_of_the_machine(labels: &Labels) -> bool {
    OF_THE_MACHINE.contains(&labels["alertname"].as_str())
}

fn alerts(shop: &Shop) -> Result<Vec<Alert>> {
    let all = shop.watch.prometheus.alerts()?.into_iter();
    Ok(all.filter(|alert| !is_of_the_machine(&alert.labels)).collect())
}

fn firing(shop: &Shop) -> Result<Vec<Alert>> {
    Ok(alerts(shop)?.into_iter().filter(|alert| alert.state == "firing").collect())
}

/// Waits until no alert is firing or about to.
fn wait_well(shop: &Shop) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let alerts = alerts(shop)?;
        if alerts.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "nothing is broken, but {alerts:#?}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn break_and_mend(shop: &Shop, expected: &Expected) -> Result<Vec<Notification>> {
    wait_well(shop)?;
    let told_before = shop.watch.webhook.count();
    let watcher = Watcher { shop, expected, told_before, start: Instant::now() };
    let made = shop.make(expected.fault)?;
    watcher.say("broken");
    let broken = watcher.messages("firing");
    watcher.wait_told(&broken)?;
    watcher.say("told");
    let later = Instant::now() + LATER;
    while Instant::now() < later {
        watcher.check(&broken)?;
        std::thread::sleep(Duration::from_millis(500));
    }
    drop(made);
    watcher.say("mended");
    let all: BTreeSet<_> = broken.into_iter().chain(watcher.messages("resolved")).collect();
    watcher.wait_told(&all)?;
    wait_well(shop)?;
    watcher.check(&all)?;
    watcher.say("told that it is mended");
    Ok(watcher.notifications())
}

/// The annotation of the first notification of an alert.
fn annotation<'a>(told: &'a [Notification], alert: &str, name: &str) -> Result<&'a str> {
    let alert = told.iter().find(|told| told.labels["alertname"] == alert).context("it was not told")?;
    alert.annotations.get(name).map(String::as_str).context("it does not say")
}

#[test]
fn each_fault_pages_for_itself_alone_and_ends() -> Result<()> {
    let shop = Shop::open(Duration::from_secs(900))?;
    // Two windows in which nothing is broken: nothing is told.
    let well = Instant::now() + Duration::from_secs(20);
    while Instant::now() < well {
        let firing = firing(&shop)?;
        ensure!(firing.is_empty(), "nothing is broken, but {firing:#?}");
        std::thread::sleep(Duration::from_secs(1));
    }
    for expected in EXPECTED {
        let told = break_and_mend(&shop, expected).with_context(|| format!("{:?}", expected.fault))?;
        match expected.fault {
            Fault::Refused => {
                let network = annotation(&told, "FlowgaugeHttpErrors", "network")?;
                assert!(network.starts_with("The network is fine"), "{network}");
            }
            Fault::Provider => {
                let says = annotation(&told, "FlowgaugeProviderDegraded", "description")?;
                let node_b = shop.exporters()[1].1;
                let link = format!("http://{node_b}/flows?sort=");
                assert!(says.contains(&link) && says.contains("server_workload=payments.example"), "{says}");
            }
            _ => {}
        }
    }
    Ok(())
}
