// SPDX-License-Identifier: Apache-2.0
//! A real Envoy as the sidecar proxy of a pod: all TCP into and out of the pod's network namespace is led through it by
//! REDIRECT rules, as service meshes do.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::process::{Process, output, run};

/// Where connections that leave the pod are led to.
pub const OUTBOUND: u16 = 15001;
/// Where connections that come to the pod are led to.
pub const INBOUND: u16 = 15006;
const ADMIN: u16 = 15000;

/// Envoy's own connections are told from the application's by this group id: they are not led anywhere.
pub const GROUP: &str = "1337";

/// Connections that a proxy has passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// To the pod's application.
    pub inbound: u64,
    /// From the pod's application to wherever it dialled.
    pub outbound: u64,
}

/// A running Envoy. The rules go with the pod's namespace.
pub struct Envoy<'a> {
    command: Box<dyn Fn(&str) -> Command + 'a>,
    process: Process,
    _config: TempDir,
}

impl<'a> Envoy<'a> {
    /// Starts Envoy, and leads the pod's TCP through it: what comes in goes on to `app` on 127.0.0.1 (whatever port was
    /// dialled), what goes out to where it was bound for. `command` makes commands that run in the pod's network
    /// namespace and in the sidecar's control group.
    pub fn start(command: impl Fn(&str) -> Command + 'a, app: u16) -> Result<Self> {
        let listeners = [("inbound", INBOUND, ""), ("outbound", OUTBOUND, ORIGINAL)];
        let envoy =
            Self::run(command, &config(&listeners, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), app)))?;
        for iptables in ["iptables", "ip6tables"] {
            envoy.redirect(iptables)?;
        }
        Ok(envoy)
    }

    /// Starts Envoy as a gateway: what comes to `port` goes on to `target`, and nothing is led through it unasked.
    pub fn gateway(command: impl Fn(&str) -> Command + 'a, port: u16, target: SocketAddr) -> Result<Self> {
        Self::run(command, &config(&[("inbound", port, "")], target))
    }

    fn run(command: impl Fn(&str) -> Command + 'a, config: &str) -> Result<Self> {
        let directory = TempDir::new().context("making a directory for envoy")?;
        let file = directory.path().join("envoy.yaml");
        fs::write(&file, config)?;
        let mut start = command("setpriv");
        start
            .args(["--regid", GROUP, "--clear-groups"])
            .arg(crate::python::program("envoy")?)
            .arg("--config-path")
            .arg(&file);
        start.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]);
        let process = Process::spawn("envoy", &mut start)?;
        let mut envoy = Envoy { command: Box::new(command), process, _config: directory };
        envoy.wait_until_ready()?;
        Ok(envoy)
    }

    /// The process, to stop or kill it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Connections passed on so far, by Envoy's own count.
    pub fn passed(&self) -> Result<Passed> {
        let text = self.admin("stats?filter=^cluster.(inbound|outbound).upstream_cx_total$")?;
        let of = |cluster: &str| {
            let prefix = format!("cluster.{cluster}.upstream_cx_total: ");
            let value = text.lines().find_map(|line| line.strip_prefix(&prefix));
            value.with_context(|| format!("no {prefix:?} in {text:?}"))?.trim().parse().context("a count")
        };
        Ok(Passed { inbound: of("inbound")?, outbound: of("outbound")? })
    }

    fn admin(&self, path: &str) -> Result<String> {
        let url = format!("http://127.0.0.1:{ADMIN}/{path}");
        run((self.command)("curl").args(["-sS", "--globoff", "--fail", "--max-time", "5", &url]))
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let url = format!("http://127.0.0.1:{ADMIN}/ready");
            let answer = output((self.command)("curl").args(["-sS", "--fail", "--max-time", "5", &url]))?;
            if answer.status.success() {
                return Ok(());
            }
            ensure!(self.process.is_running(), "envoy has ended; its log:\n{}", self.process.log());
            if Instant::now() > deadline {
                bail!("envoy is not ready after 20 s; its log:\n{}", self.process.log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn redirect(&self, iptables: &str) -> Result<()> {
        let [inbound, outbound] = [INBOUND, OUTBOUND].map(|port| port.to_string());
        let tcp = ["-p", "tcp"];
        let rules: [&[&str]; 4] = [
            &["OUTPUT", "-m", "owner", "--gid-owner", GROUP, "-j", "RETURN"],
            &["OUTPUT", "-o", "lo", "-j", "RETURN"],
            &["OUTPUT", "-j", "REDIRECT", "--to-ports", &outbound],
            &["PREROUTING", "-j", "REDIRECT", "--to-ports", &inbound],
        ];
        for rule in rules {
            let (chain, rest) = rule.split_at(1);
            run((self.command)(iptables).args(["-w", "-t", "nat", "-A"]).args(chain).args(tcp).args(rest))?;
        }
        Ok(())
    }
}

/// For a listener whose connections go on to where they were bound for before the redirection.
const ORIGINAL: &str = r#"listener_filters:
    - name: envoy.filters.listener.original_dst
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst"#;

/// Listeners are named after the cluster that they pass connections on to; `inbound` is `target`.
fn config(listeners: &[(&str, u16, &str)], target: SocketAddr) -> String {
    let listener = |(name, port, rest): &(&str, u16, &str)| {
        format!(
            r#"
  - name: {name}
    address: {{socket_address: {{address: "::", ipv4_compat: true, port_value: {port}}}}}
    {rest}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: {name}
          cluster: {name}"#
        )
    };
    format!(
        r#"admin:
  address: {{socket_address: {{address: 127.0.0.1, port_value: {ADMIN}}}}}
static_resources:
  listeners:{listeners}
  clusters:
  - name: inbound
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: inbound
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: "{address}", port_value: {port}}}}}}}
  - name: outbound
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    connect_timeout: 5s
"#,
        listeners = listeners.iter().map(listener).collect::<String>(),
        address = target.ip(),
        port = target.port(),
    )
}
