// SPDX-License-Identifier: Apache-2.0
//! What the exporter asks of the API server, of which kind it may be, what tokens may lack, and how it is configured.

use std::fs;
use std::process::Command;
use std::time::Instant;

use flowgauge_tests::api_server::objects;
use flowgauge_tests::api_server::{ApiServer, Asked, Resource, Role, TOKEN};
use flowgauge_tests::exporter::{self, binary};
use flowgauge_tests::kubernetes::{Cluster, NodeExporter, SOURCES, Talk, grown, own_port};
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::output;

const RECOVERY: Duration = Duration::from_secs(30);

/// Runs an exporter that cannot do without the API to its end: exit code and standard error.
fn refused(flags: &[&str]) -> Result<(Option<i32>, String)> {
    let mut command = Command::new("timeout");
    command
        .arg("20")
        .arg(binary()?)
        .args(["--web.listen-address=127.0.0.1:0", "--labels.kubernetes=required"]);
    let command = command.args(flags).env_remove("KUBECONFIG").env_remove("KUBERNETES_SERVICE_HOST");
    let output = output(command)?;
    Ok((output.status.code(), String::from_utf8(output.stderr)?))
}

/// A kubeconfig that says this of the cluster and of the user.
fn config(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: k\n  cluster:\n    {cluster}\nusers:\n\
         - name: u\n  user:\n    {user}\ncontexts:\n- name: c\n  context:\n    cluster: k\n    user: u\n"
    )
}

#[test]
fn what_is_wrong_with_a_configuration_is_named() -> Result<()> {
    let _world = World::new()?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("config");
    let flag = format!("--labels.kubernetes.kubeconfig={}", path.display());
    let server = "server: https://127.0.0.1:1";
    let authority = format!("{server}\n    certificate-authority: HERE/absent.crt");
    let data = format!("{server}\n    certificate-authority-data: bm90IGEgY2VydGlmaWNhdGU=");
    for (text, parts) in [
        ("clusters: [".to_owned(), &["config"][..]),
        (config(server, "token: t").replace("current-context: c\n", ""), &["config", "current-context"]),
        (config(server, "token: t").replace("context: c\n", "context: d\n"), &["config", "context d"]),
        (config(server, "tokenFile: HERE/absent-token"), &["absent-token", "No such file"]),
        (config(&authority, "token: t"), &["config", "absent.crt"]),
        (config(&data, "token: t"), &["config", "certificate"]),
        (config("server: https://", "token: t"), &["config"]),
        (config(&format!("{server}\n    proxy-url: http://p:1"), "token: t"), &["config", "proxy-url"]),
    ] {
        fs::write(&path, text.replace("HERE", &directory.path().display().to_string()))?;
        let (code, said) = refused(&[&flag])?;
        assert_eq!((code, said.lines().count()), (Some(64), 1), "{text}: {said}");
        for part in parts {
            assert!(said.contains(part), "{part} is not in {said:?} about\n{text}");
        }
    }
    let (code, said) = refused(&["--labels.kubernetes.kubeconfig=/absent/config"])?;
    assert!(code == Some(64) && said.contains("/absent/config"), "{code:?} {said}");
    let (code, said) = refused(&[])?;
    assert!(code == Some(1) && said.contains("--labels.kubernetes=required"), "{code:?} {said}");
    assert!(said.contains("--labels.kubernetes.kubeconfig or KUBECONFIG"), "{said}");
    // Where the environment says it, and the API is only welcome, all else goes on, and the same is said.
    fs::write(&path, "clusters: [")?;
    let mut command = Command::new(binary()?);
    command.arg("--web.listen-address=127.0.0.1:0").env("KUBECONFIG", &path);
    let exporter = Exporter::adopt(exporter::spawn(&mut command)?)?.wait_ready()?;
    let metrics = exporter.scrape()?;
    let selector = [("source", "kubernetes")];
    assert_eq!(metrics.select("flowgauge_label_source_up", &selector).count(), 1);
    assert_eq!(metrics.sum("flowgauge_label_source_up", &selector), 0.0);
    assert_eq!(metrics.sum("flowgauge_collector_up", &[("collector", "tcp")]), 1.0);
    let page = exporter.get("/", "text/html")?.body;
    assert!(page.contains(&path.display().to_string()) && page.contains("line 1"), "{page}");
    Ok(())
}

#[test]
fn off_asks_nobody_and_required_waits_for_every_list() -> Result<()> {
    let cluster = Cluster::new()?;
    let off = cluster.exporter(&cluster.a, &["--labels.kubernetes=off"])?;
    let metrics = off.scrape()?;
    for source in SOURCES {
        assert_eq!(metrics.select("flowgauge_label_source_up", &[("source", source)]).count(), 0);
    }
    off.stop()?;
    assert_eq!(cluster.api.asked().len(), 0);

    cluster.api.grant(TOKEN, Role::reader().without(Resource::Nodes));
    let flags = ["--labels.kubernetes=required", &cluster.kubeconfig.flag()];
    let exporter = cluster.exporter_unready(&cluster.a, &flags)?;
    exporter.wait_for_source("kubernetes_pods", true, SOON)?;
    exporter.wait_for_source("kubernetes_nodes", false, SOON)?;
    let ready = exporter.get("/-/ready", "*/*")?;
    assert_eq!(ready.status, 503, "{ready:?}");
    assert_eq!(exporter.get("/-/healthy", "*/*")?.status, 200);
    cluster.api.grant(TOKEN, Role::reader());
    exporter.wait_for_names(RECOVERY)?;
    assert_eq!(exporter.get("/-/ready", "*/*")?.status, 200);
    // What was known once is enough to be ready.
    cluster.api.revoke(TOKEN);
    cluster.api.close_connections();
    exporter.wait_for_source("kubernetes_nodes", false, SOON)?;
    assert_eq!(exporter.get("/-/ready", "*/*")?.status, 200);
    Ok(())
}

fn state(exporter: &Exporter, up: bool, patience: Duration) -> Result<()> {
    let value = f64::from(u8::from(up)) * SOURCES.len() as f64;
    let sum = |metrics: &flowgauge_tests::metrics::Metrics| {
        let up = SOURCES.map(|source| metrics.sum("flowgauge_label_source_up", &[("source", source)]));
        up.iter().sum::<f64>()
    };
    let found = exporter.wait_until("all sources alike", &[], patience, |metrics| sum(metrics) == value);
    found.map(drop).with_context(|| exporter.log())
}

/// As a pod's service account: two environment variables, and a directory at a fixed place, which this test puts there
/// in a mount namespace of the exporter's.
#[test]
fn a_service_account_is_used_and_its_token_rotated() -> Result<()> {
    const SCRIPT: &str = "mount -t tmpfs tmpfs /var/run && mkdir -p /var/run/secrets/kubernetes.io/serviceaccount && \
        mount --bind \"$0\" /var/run/secrets/kubernetes.io/serviceaccount && exec \"$@\"";
    let cluster = Cluster::new()?;
    let talk = Talk::new(&cluster, &cluster.a, &cluster.b)?;
    let account = cluster.api.kubeconfig_with_token_file(TOKEN)?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT]);
    command.arg(account.service_account()).arg(binary()?).arg("--web.listen-address=127.0.0.1:0");
    let port = cluster.api.address().port().to_string();
    command.envs([("KUBERNETES_SERVICE_HOST", "127.0.0.1"), ("KUBERNETES_SERVICE_PORT", &port)]);
    let process = exporter::spawn(command.env("NODE_NAME", "a").env_remove("KUBECONFIG"))?;
    let exporter = Exporter::adopt(process)?.wait_ready()?;
    state(&exporter, true, SOON)?;
    talk.prove(&[&exporter], &Talk::named())?;

    // The kubelet writes a new token well before the old one expires: nobody may notice.
    account.rotate("the-second")?;
    cluster.api.grant("the-second", Role::reader());
    cluster.api.revoke(TOKEN);
    cluster.api.close_connections();
    state(&exporter, true, RECOVERY)?;
    let with_new = |asked: &[Asked]| {
        asked.iter().filter(|asked| asked.open && asked.token.as_deref() == Some("the-second")).count() == 5
    };
    cluster.api.wait_until("five watches with the second token", RECOVERY, with_new)?;

    // A token that nobody knows any more: names stay, and it says what to do.
    cluster.api.revoke("the-second");
    cluster.api.close_connections();
    state(&exporter, false, SOON)?;
    let said = |page: &str| page.matches("does not accept the credentials (401").count() == SOURCES.len();
    let deadline = Instant::now() + SOON;
    while !said(&exporter.get("/", "text/html")?.body) {
        ensure!(Instant::now() < deadline, "{}", exporter.get("/", "text/html")?.body);
        std::thread::sleep(Duration::from_millis(50));
    }
    talk.prove(&[&exporter], &Talk::named())?;
    account.rotate("the-third")?;
    cluster.api.grant("the-third", Role::reader());
    state(&exporter, true, RECOVERY)?;
    talk.prove(&[&exporter], &Talk::named())
}

/// A token that lacks one resource, and what its absence costs: labels of the edge from a pod on this node to one on the
/// other, dialled at its own address and at the Service's.
struct Lack {
    resource: Resource,
    sources: &'static [&'static str],
    direct: &'static [(&'static str, &'static str)],
    by_service: &'static [(&'static str, &'static str)],
    api: ApiServer,
    exporter: NodeExporter,
}

const ALL: &[(&str, &str)] = &[
    ("client_workload", "front"),
    ("client_zone", "zone-a"),
    ("server_workload", "web"),
    ("server_zone", "zone-b"),
    ("server_service", "web"),
];

const NO_NODES: &[(&str, &str)] =
    &[("client_workload", "front"), ("client_zone", ""), ("server_zone", "zone-b")];

#[test]
fn a_token_that_lacks_a_resource_costs_what_that_gives() -> Result<()> {
    let cluster = Cluster::new()?;
    let talk = Talk::new(&cluster, &cluster.a, &cluster.b)?;
    let port = objects::ServicePort::tcp(own_port(), own_port());
    let service = cluster.cluster_ip("shop", "web", port, &[&talk.server])?;
    let slices = cluster.slices(&service, &[&talk.server])?;
    let lack = |resource, sources, direct, by_service| {
        let api = ApiServer::start()?;
        [&cluster.a, &cluster.b].iter().for_each(|node| {
            api.put(cluster.object_of(node));
        });
        [&talk.client, &talk.server].iter().for_each(|pod| {
            api.put(&pod.object);
        });
        api.put(&service);
        slices.iter().for_each(|slice| {
            api.put(slice);
        });
        api.grant(TOKEN, Role::reader().without(resource));
        let flag = api.kubeconfig(TOKEN)?;
        let exporter = cluster.exporter_unready(&cluster.a, &[&flag.flag()])?;
        Ok::<_, anyhow::Error>((Lack { resource, sources, direct, by_service, api, exporter }, flag))
    };
    // Without pods, the other end's name is told from the endpoint's; without slices, the dialled address tells the
    // Service; without services, nobody knows who has that address; without nodes, slices still tell zones.
    let (lacks, _configs): (Vec<_>, Vec<_>) = [
        lack(Resource::Pods, &["kubernetes_node_pods", "kubernetes_pods"], &ALL[2..], &ALL[2..])?,
        lack(Resource::Services, &["kubernetes_services"], &ALL[..4], &ALL[..2])?,
        lack(Resource::EndpointSlices, &["kubernetes_endpointslices"], &ALL[..4], ALL)?,
        lack(Resource::Nodes, &["kubernetes_nodes"], NO_NODES, NO_NODES)?,
    ]
    .into_iter()
    .unzip();
    let exporters: Vec<&Exporter> = lacks.iter().map(|lack| &*lack.exporter).collect();
    for Lack { resource, sources, exporter, .. } in &lacks {
        for source in SOURCES {
            exporter.wait_for_source(source, !sources.contains(&source), SOON)?;
        }
        let name = resource.plural();
        let page = exporter.get("/", "text/html")?.body;
        let said = format!("{name} is forbidden for this token: the ClusterRole needs list, watch on {name}");
        assert!(page.contains(&said), "{said} is not in {page}");
        assert_eq!(page.matches("is forbidden").count(), sources.len(), "{page}");
    }
    let vip =
        |family: usize| std::net::SocketAddr::new(service.cluster_addresses[family], own_port()).to_string();
    let scrape = || exporters.iter().map(|exporter| exporter.scrape()).collect::<Result<Vec<_>>>();
    let before = scrape()?;
    let bytes = talk.exchange()?;
    for (lack, before) in lacks.iter().zip(&before) {
        let found = grown(&lack.exporter, before, lack.direct, bytes);
        found.with_context(|| format!("without {}, dialled directly", lack.resource.plural()))?;
    }
    let before = scrape()?;
    let bytes = talk.ask(&vip(0))? + talk.ask(&vip(1))?;
    for (lack, before) in lacks.iter().zip(&before) {
        let found = grown(&lack.exporter, before, lack.by_service, bytes);
        found.with_context(|| format!("without {}, by its service", lack.resource.plural()))?;
    }
    // The role is mended while it runs.
    lacks.iter().for_each(|lack| lack.api.grant(TOKEN, Role::reader()));
    lacks.iter().try_for_each(|lack| lack.exporter.wait_for_names(RECOVERY))?;
    talk.prove(&exporters, ALL)
}
