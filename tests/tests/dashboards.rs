// SPDX-License-Identifier: Apache-2.0
//! Each query of each dashboard, on Debian's Prometheus that scrapes the exporter of a busy cluster in trouble: it is PromQL,
//! and it brings what the panel is there to show.
//!
//! With `FLOWGAUGE_PICTURES=<file>` the cluster is well for two minutes and in trouble for two more, and the results of
//! all queries over that time go into the file, from which `make pictures` draws.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::time::{Instant, SystemTime};

use flowgauge_tests::dashboards::{self, Query, Shop, substituted};
use flowgauge_tests::prelude::*;
use flowgauge_tests::prometheus::{Prometheus, Target};
use serde_json::{Value, json};

/// What a query asks for in vain on a test machine: words of its expression, and why.
const NOTHING_HERE: [(&str, &str); 6] = [
    ("interface_allowance_", "only the network cards of one cloud provider have allowances"),
    ("interface_driver_events", "the drivers of this machine's interfaces count no such events"),
    ("interface_speed_bytes", "most virtual machines' drivers tell no speed"),
    ("netstat_", "served once it has happened in a namespace; tests/node_netstat.rs makes it happen"),
    ("node_pressure", "kernels may be built or booted without pressure information"),
    ("audit_ratio", "served from a certain volume in a namespace; tests/audit.rs makes it"),
];

/// What happens here all the same.
const MADE_HERE: [&str; 2] = ["netstat_tcp_timeouts", "netstat_udp_receive_buffer_errors"];

/// The services whose dashboard is looked at: between them they do all there is.
const WORKLOADS: [&str; 4] = ["payments", "checkout", "cart", "frontend"];

/// Seconds between two scrapes, and how long one may take: the machine may be busy with other tests.
const SCRAPE: u32 = 4;

/// How long until everything has happened at least once and has been scraped often enough for a rate.
const PATIENCE: Duration = Duration::from_secs(180);

fn values(workload: &'static str, everywhere: bool) -> Vec<(&'static str, &'static str)> {
    let namespace = if everywhere { ".*" } else { "store|kube-system" };
    vec![
        ("cluster", "test"),
        ("job", "flowgauge"),
        ("namespace", namespace),
        ("workload", workload),
        ("zone", "zone-a|zone-b"),
        ("provider", "card-provider|object-store"),
        ("instance", ".*"),
        ("ends", "()"),
        ("__rate_interval", "20s"),
        ("__range", "60s"),
    ]
}

/// What a query that shows trouble only is about: without the comparison at its end.
fn without_filter(expression: &str) -> &str {
    let ends = [" > 0", " == 0"].iter().find_map(|end| expression.strip_suffix(end));
    ends.unwrap_or(expression)
}

fn is_number(value: &Value) -> bool {
    value.as_str().and_then(|text| text.parse::<f64>().ok()).is_some_and(f64::is_finite)
}

/// Whether the query brings at least one number, for one of the services if it is about one.
fn has_data(prometheus: &Prometheus, query: &Query) -> Result<bool> {
    let workloads = if query.expression.contains("$workload") { &WORKLOADS[..] } else { &WORKLOADS[..1] };
    for workload in workloads {
        let expression = substituted(&query.expression, &values(workload, false))?;
        let whole = prometheus.vector(&expression)?;
        let found = if whole.is_empty() { prometheus.vector(without_filter(&expression))? } else { whole };
        if found.iter().any(|series| is_number(&series["value"][1])) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn excused(query: &Query) -> bool {
    let has = |words: &&str| query.expression.contains(*words);
    NOTHING_HERE.iter().any(|(words, _)| has(words)) && !MADE_HERE.iter().any(has)
}

fn queries() -> Result<Vec<Query>> {
    let mut all = Vec::new();
    for dashboard in dashboards::all()? {
        all.extend(dashboard.queries());
        all.extend(dashboard.variable_queries()?);
    }
    Ok(all)
}

fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64())
}

#[test]
fn every_query_brings_data() -> Result<()> {
    let queries = queries()?;
    let mut shop = Shop::open()?;
    // The shop's nodes are namespaces, of which little of an operating system is to be seen: this is the machine's own.
    let machine = Exporter::start(&[])?;
    let own = Target {
        address: machine.address(),
        labels: dashboards::labels("machine:10950"),
        dropped: vec![("client_workload", "fgt-.*".to_owned()), ("server_workload", "fgt-.*".to_owned())],
    };
    let prometheus = Prometheus::scraping(&[shop.targets(), vec![own]].concat(), SCRAPE)?;
    if let Some(file) = env::var_os("FLOWGAUGE_PICTURES") {
        return fs::write(&file, serde_json::to_string(&recorded(&mut shop, &prometheus, &queries)?)?)
            .with_context(|| format!("writing {}", file.display()));
    }
    shop.trouble(0.08)?;
    shop.mischief()?;
    let deadline = Instant::now() + PATIENCE;
    let mut missing: Vec<&Query> = queries.iter().collect();
    while !missing.iter().all(|query| excused(query)) {
        let told = || {
            missing.iter().filter(|query| !excused(query)).map(|query| {
                format!("{} / {} {}: {}", query.uid, query.title, query.reference, query.expression)
            })
        };
        ensure!(Instant::now() < deadline, "no data:\n{}", told().collect::<Vec<_>>().join("\n"));
        shop.look_up()?;
        std::thread::sleep(Duration::from_secs(3));
        let mut still = Vec::new();
        for query in missing {
            if !has_data(&prometheus, query)? {
                still.push(query);
            }
        }
        missing = still;
    }
    suspects_are_the_guilty(&prometheus, &queries)?;
    the_map_is_whole(&prometheus, &queries)?;
    // All stands for everything, in whatever way a variable is left; and the proxies' view is PromQL too.
    for query in &queries {
        let mut values = values(WORKLOADS[0], true);
        values.iter_mut().filter(|(name, _)| *name == "ends").for_each(|(_, value)| *value = "_proxy");
        prometheus.vector(&substituted(&query.expression, &values)?)?;
    }
    for (query, (_, why)) in missing.iter().filter_map(|query| {
        Some((query, NOTHING_HERE.iter().find(|(words, _)| query.expression.contains(words))?))
    }) {
        eprintln!("no data for {} / {}: {why}", query.uid, query.title);
    }
    Ok(())
}

/// What a panel shows now.
fn shown(prometheus: &Prometheus, queries: &[Query], title: &str, reference: &str) -> Result<Vec<Value>> {
    let query = queries.iter().find(|query| query.title == title && query.reference == reference);
    let query = query.with_context(|| format!("no query {reference} of {title}"))?;
    prometheus.vector(&substituted(&query.expression, &values(WORKLOADS[0], false))?)
}

/// The first row of Overview names who was made to fail.
fn suspects_are_the_guilty(prometheus: &Prometheus, queries: &[Query]) -> Result<()> {
    let one = |title: &str| -> Result<Value> {
        let mut found = shown(prometheus, queries, title, "A")?;
        ensure!(found.len() == 1, "{title}: {found:?}");
        Ok(found.remove(0))
    };
    let pair = one("Whose: worst service pair")?;
    let ends = ["client_workload", "server_workload"].map(|label| pair["metric"][label].as_str());
    ensure!(ends.contains(&Some("payments")), "the worst pair is {pair}");
    let zones = one("Where: worst pair of zones")?;
    ensure!(zones["metric"].to_string().contains("zone-b"), "the worst pair of zones is {zones}");
    let refuses = one("Refuses or does not answer")?;
    let silent = refuses["metric"]["server_workload"] == "cart" && refuses["value"][1] == "1";
    ensure!(silent, "nobody listens on that port of cart, and all of it fails: {refuses}");
    Ok(())
}

/// What Grafana's node graph would trip over: an arrow to or from nowhere, or two nodes or arrows of one id.
fn the_map_is_whole(prometheus: &Prometheus, queries: &[Query]) -> Result<()> {
    let field = |series: &Value, name: &str| series["metric"][name].as_str().unwrap_or_default().to_owned();
    let ids = |all: &[Value]| all.iter().map(|series| field(series, "id")).collect::<BTreeSet<_>>();
    let nodes = shown(prometheus, queries, "Service map", "nodes")?;
    let arrows = shown(prometheus, queries, "Service map", "edges")?;
    ensure!(ids(&nodes).len() == nodes.len() && ids(&arrows).len() == arrows.len(), "{nodes:?} {arrows:?}");
    for arrow in &arrows {
        let ends = [field(arrow, "source"), field(arrow, "target")];
        ensure!(ends.iter().all(|end| ids(&nodes).contains(end)), "an end of {arrow} is no node: {nodes:?}");
        ensure!(["#73bf69", "#ff9830", "#f2495c"].contains(&field(arrow, "color").as_str()), "{arrow}");
        ensure!(field(arrow, "secondarystat").ends_with(" Mbit/s"), "{arrow}");
    }
    let known = |id: &str| arrows.iter().any(|arrow| field(arrow, "id") == id);
    for id in [
        "store/frontend → store/checkout",
        "store/checkout → store/payments",
        "store/payments → /card-provider",
    ] {
        ensure!(known(id), "no arrow {id}: {arrows:?}");
    }
    Ok(())
}

/// The results of all queries over two minutes of peace and two of trouble.
fn recorded(shop: &mut Shop, prometheus: &Prometheus, queries: &[Query]) -> Result<Value> {
    let wait = |shop: &Shop, seconds: u64| -> Result<()> {
        for _ in 0..seconds / 4 {
            shop.look_up()?;
            std::thread::sleep(Duration::from_secs(4));
        }
        Ok(())
    };
    wait(shop, 30)?;
    let from = now()?;
    wait(shop, 110)?;
    shop.trouble(0.08)?;
    shop.mischief()?;
    wait(shop, 120)?;
    let to = now()?;
    let answered = prometheus.query("min(min_over_time(up[200s]))")?;
    ensure!(
        answered == Some(1.0),
        "an exporter did not answer in time: the machine is too busy for pictures"
    );
    let mut results = Vec::new();
    for query in queries.iter().filter(|query| query.panel.is_some()) {
        let expression = substituted(&query.expression, &values(WORKLOADS[0], false))?;
        let result = if query.instant {
            prometheus.vector(&expression)?
        } else {
            prometheus.matrix(&expression, from, to, SCRAPE.into())?
        };
        results.push(json!({
            "uid": query.uid, "panel": query.panel, "reference": query.reference, "result": result,
        }));
    }
    let shown: serde_json::Map<_, _> = values(WORKLOADS[0], false)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    Ok(json!({ "from": from, "to": to, "step": SCRAPE, "values": shown, "queries": results }))
}
