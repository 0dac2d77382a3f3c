// SPDX-License-Identifier: Apache-2.0
//! `/flows`: which addresses of a provider it is, by the counts of `ss`, nginx and the kernel.

use std::collections::BTreeMap;

use flowgauge_tests::faults::{Rule, Verdict};
use flowgauge_tests::nginx::Nginx;
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::{output, run};
use flowgauge_tests::provider::{PROVIDER, Provider, ask, ask_until, row, validate};
use flowgauge_tests::truth::{SocketInfo, sockets, total};
use serde_json::{Value, json};

/// What `ss` counts of the client's connections to each address, in the words of `/flows`.
fn by_ss(provider: &Provider) -> Result<BTreeMap<String, Value>> {
    let mut by_address: BTreeMap<String, Vec<SocketInfo>> = BTreeMap::new();
    for socket in sockets(&provider.stage.client, &["dport", "=", ":80"])? {
        let address = socket.remote.rsplit_once(':').context("no address")?.0.to_owned();
        by_address.entry(address).or_default().push(socket);
    }
    let counts = by_address.into_iter().map(|(address, sockets)| {
        let connections = sockets.len() as u64;
        let retransmitted: f64 = sockets.iter().map(SocketInfo::retransmitted).sum();
        let of = |field| total(&sockets, field) as u64;
        let counts = json!({
            // ss counts the SYN as a byte sent.
            "sent_bytes": of("bytes_acked") - connections,
            "received_bytes": of("bytes_received"),
            "sent_segments": of("segs_out"),
            "received_segments": of("segs_in"),
            "retransmitted_segments": retransmitted as u64,
            "connections": connections,
            "connections_opened": connections,
            "connect_attempts": connections,
        });
        (address, counts)
    });
    Ok(counts.collect())
}

/// Whether each row says of its address what `ss` does.
fn agrees(answer: &Value, truth: &BTreeMap<String, Value>) -> bool {
    let rows = answer["rows"].as_array().map_or(&[][..], Vec::as_slice);
    rows.len() == truth.len()
        && rows.iter().all(|row| {
            let truth = row["address"].as_str().and_then(|address| truth.get(address)?.as_object());
            truth.is_some_and(|truth| truth.iter().all(|(name, value)| row["tcp"][name] == *value))
        })
}

#[test]
fn the_address_that_loses_packets_is_found() -> Result<()> {
    const ADDRESSES: u8 = 8;
    let provider = Provider::new(&[])?;
    let Provider { stage, .. } = &provider;
    let of_provider = provider.question();
    let exporter = &stage.exporter;
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let to = provider.to(ADDRESSES, 80);
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let shape = ["--connections", "16", "--send", "1000000", "--receive", "5000"];
    let (mut open, _) = Client::start(&stage.client, &[&to[..], &shape[..]].concat())?;
    let truth = by_ss(&provider)?;
    assert_eq!(truth.len(), usize::from(ADDRESSES));
    let before = ask_until(exporter, &of_provider, |answer| agrees(answer, &truth))?;
    assert!(truth.values().all(|counts| counts["retransmitted_segments"] == 0), "loss before there is any");

    let bad = provider.address(5);
    let share = ["-p", "tcp", "-m", "statistic", "--mode", "random", "--probability", "0.05"];
    let loss =
        Rule::new(&stage.server, &[&["INPUT", "-d", &bad.to_string()], &share[..]].concat(), Verdict::Drop)?;
    let report = open.again()?;
    assert!(report.errors.is_empty(), "{report:?}");
    assert!(loss.hits()? > 20, "{} packets were dropped", loss.hits()?);
    drop(loss);
    std::thread::sleep(Duration::from_millis(500));
    let truth = by_ss(&provider)?;
    let answer = ask_until(exporter, &format!("{of_provider}&sort=retransmit_ratio"), |answer| {
        agrees(answer, &truth)
    })?;
    let lost = truth[&bad.to_string()]["retransmitted_segments"].as_u64().unwrap_or_default();
    assert!(lost > 20);
    for (at, row) in answer["rows"].as_array().context("no rows")?.iter().enumerate() {
        assert_eq!(row["address"] == bad.to_string(), at == 0, "the worst comes first: {answer:#}");
        let counted = row["tcp"]["retransmitted_segments"].as_u64();
        assert_eq!(counted, Some(if at == 0 { lost } else { 0 }), "{row:#}");
        let history = row["history"]["retransmitted_segments"].as_array().context("no history")?;
        assert_eq!(history.iter().filter_map(Value::as_u64).sum::<u64>(), counted.unwrap_or_default());
        let rtt = &row["tcp"]["rtt_seconds"];
        let [last, mean, max] = ["last", "mean", "max"].map(|name| rtt[name].as_f64().unwrap_or(f64::NAN));
        assert!(last > 0.0 && last <= max && mean <= max && max < 5.0, "{row:#}");
    }
    // As a person sees it.
    let page = exporter.get(&format!("{of_provider}&sort=retransmit_ratio"), "text/html")?.body;
    let all = format!("1 of {ADDRESSES} addresses has all {lost} retransmits.");
    assert!(page.replace('\u{202f}', "").contains(&all), "{page}");

    // By edge, and in the metrics, it is the same sum.
    let edge = ask(exporter, &format!("{of_provider}&by=edge"))?;
    assert_eq!((&edge["matched"], &edge["rows"][0]["addresses"]), (&json!(1), &json!(ADDRESSES)));
    assert_eq!(edge["rows"][0]["tcp"]["retransmitted_segments"], lost);
    let metrics = exporter.scrape()?;
    let edge_of = Edge::named(&stage.client.workload, PROVIDER, "80");
    assert_eq!(edge_of.sum(&metrics, "retransmitted_segments_total", CLIENT), lost as f64);
    let only = ask(exporter, &format!("{of_provider}&address={bad}"))?;
    assert_eq!((&only["matched"], &only["rows"][0]["address"]), (&json!(1), &json!(bad.to_string())));

    // Connections that end leave what they counted, once.
    open.finish()?;
    let closed = ask_until(exporter, &of_provider, |answer| {
        let rows = answer["rows"].as_array().map_or(&[][..], Vec::as_slice);
        rows.iter().all(|row| row["tcp"]["connections"] == 0 && row["tcp"]["connections_closed"]["fin"] == 2)
    })?;
    for row in closed["rows"].as_array().context("no rows")? {
        let truth = &truth[row["address"].as_str().unwrap_or_default()];
        for name in ["sent_bytes", "received_bytes", "retransmitted_segments", "connections_opened"] {
            assert_eq!(row["tcp"][name], truth[name], "{name} of {row:#}");
        }
    }
    validate(&[&before, &answer, &edge, &only, &closed])
}

/// Responses by address and class, as nginx logged them.
fn by_nginx(nginx: &Nginx, requests: usize) -> Result<BTreeMap<String, BTreeMap<String, u64>>> {
    let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for line in nginx.lines(requests)? {
        let (address, status) = line.split_once(' ').context("a line without status")?;
        let class = format!("{}xx", &status[..1]);
        *counts.entry(address.to_owned()).or_default().entry(class).or_default() += 1;
    }
    Ok(counts)
}

#[test]
fn failures_and_errors_are_told_by_address() -> Result<()> {
    let provider = Provider::new(&["--dns.timeout=500ms"])?;
    let Provider { stage, .. } = &provider;
    let of_provider = provider.question();
    let site = ("$server_addr $status", "location /broken { return 503; }");
    let nginx = Nginx::with_site(&stage.server, &["0.0.0.0:80"], &[("page", 1000)], 1, site)?;
    let [good, broken, refusing, mute] = [1, 2, 3, 4].map(|number| provider.address(number));
    let _refuse =
        Rule::new(&stage.server, &["INPUT", "-d", &refusing.to_string(), "-p", "tcp"], Verdict::TcpReset)?;
    let _swallow = Rule::new(&stage.server, &["INPUT", "-d", &mute.to_string(), "-p", "udp"], Verdict::Drop)?;
    let curl = |address, path: &str| {
        let url = format!("http://{address}{path}");
        output(stage.client.command("curl").args(["-sS", "-o", "/dev/null", "--max-time", "10", &url]))
    };
    for (address, path, times) in [
        (good, "/page", 4),
        (good, "/missing", 2),
        (broken, "/page", 1),
        (broken, "/broken", 3),
        (refusing, "/", 5),
    ] {
        for _ in 0..times {
            curl(address, path)?;
        }
    }
    let dig = [&format!("@{mute}"), "+tries=1", "+time=1", "+noedns", "example.org"];
    output(stage.client.command("dig").args(dig))?;
    let truth = by_nginx(&nginx, 10)?;
    assert_eq!(truth[&broken.to_string()]["5xx"], 3);

    let answer = ask_until(&stage.exporter, &of_provider, |answer| {
        let of = |address| row(answer, address).cloned().unwrap_or_default();
        truth.iter().all(|(address, classes)| {
            let row = address.parse().map(of).unwrap_or_default();
            row["http"]["responses"] == json!(classes)
        }) && of(refusing)["tcp"]["connect_failures"] == json!({ "refused": 5 })
            && of(mute)["dns"]["timeouts"] == 1
    })?;
    let errors = |address| -> Result<u64> {
        let row = row(&answer, address)?;
        let errors = row["history"]["errors"].as_array().context("no history")?;
        Ok(errors.iter().filter_map(Value::as_u64).sum())
    };
    assert_eq!([good, broken, refusing, mute].map(|address| errors(address).ok()), [0, 3, 5, 1].map(Some));
    assert_eq!(row(&answer, broken)?["http"]["errors"], 3);
    assert_eq!(row(&answer, refusing)?["tcp"]["connect_attempts"], 5);
    assert_eq!(row(&answer, refusing)?["http"], Value::Null, "nothing is made up");
    assert_eq!(row(&answer, mute)?["dns"]["errors"], 1);
    assert_eq!(row(&answer, mute)?["udp"]["sent_packets"], 1);
    assert_eq!(row(&answer, mute)?["tcp"], Value::Null);
    let worst = ask(&stage.exporter, &format!("{of_provider}&sort=connect_failures&limit=1"))?;
    assert_eq!((&worst["rows"][0]["address"], &worst["returned"]), (&json!(refusing.to_string()), &json!(1)));

    // Where the control group says nothing, the process is known, and told.
    let visitor = stage.client.visitor()?;
    run(visitor.command("curl").args(["-sS", "-o", "/dev/null", &format!("http://{good}/page")]))?;
    let by_process = ask_until(
        &stage.exporter,
        "/flows?observer=client&client_workload=curl&server_workload=provider&server_port=80",
        |answer| answer["matched"].as_u64() >= Some(1),
    )?;
    assert_eq!(row(&by_process, good)?["process"], "curl", "{by_process:#}");
    validate(&[&answer, &worst, &by_process])
}

#[test]
fn what_has_no_room_is_counted() -> Result<()> {
    let provider = Provider::new(&["--web.flows.addresses=100"])?;
    let Provider { stage, .. } = &provider;
    let of_provider = provider.question();
    let _server = Server::start(&stage.server, &["--listen", "0.0.0.0:80"])?;
    let to = provider.to(150, 80);
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    get(&stage.client, &[&to[..], &["--connections", "150", "--receive", "1000"][..]].concat())?;
    let exporter = &stage.exporter;
    let edge = Edge::named(&stage.client.workload, PROVIDER, "80");
    let metrics = stage.expect(&edge, &[("connections_closed_total", CLIENT, 150.0)])?;
    assert_eq!(edge.sum(&metrics, "received_bytes_total", CLIENT), 150_000.0, "the metrics lack nothing");
    let lost = |reason| metrics.sum("flowgauge_flow_addresses_lost_total", &[("reason", reason)]);
    assert!(metrics.sum("flowgauge_flow_addresses", &[]) <= 100.0);
    assert_eq!(metrics.sum("flowgauge_flow_addresses_limit", &[]), 100.0);
    assert!(lost("evicted") + lost("refused") >= 50.0, "{} {}", lost("evicted"), lost("refused"));
    let answer = ask(exporter, &of_provider)?;
    assert!(answer["matched"].as_u64() <= Some(100) && answer["tracked"].as_u64() <= Some(100), "{answer:#}");
    let told = answer["evicted_total"].as_u64().zip(answer["refused_total"].as_u64());
    assert!(told.is_some_and(|(evicted, refused)| evicted + refused >= 50), "{answer:#}");
    assert!(exporter.get("/flows", "text/html")?.body.contains("Not all is here"));
    validate(&[&answer])
}

#[test]
fn questions_that_make_no_sense_are_refused() -> Result<()> {
    let exporter =
        Exporter::start(&["--labels.drop=client_zone,server_zone", "--labels.add=server_process"])?;
    for (query, begin) in [
        ("window=2m", "window: \"2m\": must be 1m, 5m or 15m\n"),
        ("limit=0", "limit: \"0\":"),
        ("sort=zone", "sort: \"zone\": no such column"),
        ("address=1.2.3", "address: \"1.2.3\":"),
        ("zone=a", "zone: \"a\":"),
        ("client_zone=a", "client_zone: \"a\": no such parameter"),
        ("%00=%0a", "\u{fffd}: \"\u{fffd}\": no such parameter"),
    ] {
        let response = exporter.get(&format!("/flows?{query}"), "text/html")?;
        assert_eq!((response.status, response.body.lines().count()), (400, 1), "{query}: {response:?}");
        assert!(response.body.starts_with(begin), "{query}: {response:?}");
    }
    for path in ["/flows/", "/flowsx", "/Flows"] {
        assert_eq!(exporter.get(path, "*/*")?.status, 404, "{path}");
    }
    let answer = ask(&exporter, "/flows?server_process=x&sort=server_process&window=15m")?;
    assert_eq!(answer["slot_seconds"], 60);
    assert!(answer["labels"].as_array().is_some_and(|labels| labels.contains(&json!("server_process"))));
    validate(&[&answer])?;

    let off = Exporter::start(&["--web.flows=off"])?;
    let response = off.get("/flows?x=y", "text/html")?;
    assert_eq!(
        (response.status, response.body.as_str()),
        (404, "the drill-down by address is off (--web.flows=off)\n")
    );
    assert_eq!(
        off.scrape()?.samples().filter(|sample| sample.name.starts_with("flowgauge_flow_a")).count(),
        0
    );
    assert!(!off.get("/", "text/html")?.body.contains("\"/flows"));
    Ok(())
}
