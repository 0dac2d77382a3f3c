// SPDX-License-Identifier: Apache-2.0
//! The stub as curl sees it: another's HTTP and TLS, and no knowledge of the stub's insides.

mod faults;
mod lists;
mod watches;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::objects::{Node, Pod};
use super::{ApiServer, TOKEN};
use crate::process::{Process, output};

const SOON: Duration = Duration::from_secs(10);
const PODS: &str = "/api/v1/pods";

/// A stub and what curl needs to trust it.
struct Scene {
    server: ApiServer,
    directory: TempDir,
}

impl Scene {
    fn new() -> Result<Self> {
        let scene = Scene { server: ApiServer::start()?, directory: TempDir::new()? };
        let pem = scene.server.authority_pem().context("no authority")?;
        std::fs::write(scene.directory.path().join("ca.crt"), pem)?;
        Ok(scene)
    }

    /// With `count` pods of the namespace `shop`, on the nodes `a` and `b` by turns.
    fn with_pods(count: u32) -> Result<Self> {
        let scene = Self::new()?;
        for index in 0..count {
            scene.server.put(pod(index));
        }
        Ok(scene)
    }

    fn curl(&self, path: &str, token: Option<&str>) -> Command {
        let mut command = Command::new("curl");
        command.args(["-sSN", "--max-time", "20", "--cacert"]).arg(self.directory.path().join("ca.crt"));
        if let Some(token) = token {
            command.args(["-H", &format!("Authorization: Bearer {token}")]);
        }
        command.arg(format!("{}{path}", self.server.url()));
        command
    }

    /// Status and body of an answer.
    fn ask_as(&self, path: &str, token: Option<&str>) -> Result<(u16, Value)> {
        let mut command = self.curl(path, token);
        let output = output(command.args(["-w", "\n%{http_code}"]))?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        let (body, code) = text.rsplit_once('\n').context("no status")?;
        Ok((code.parse()?, serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()))))
    }

    fn ask(&self, path: &str) -> Result<(u16, Value)> {
        self.ask_as(path, Some(TOKEN))
    }

    /// The body of an answer that must be 200.
    fn get(&self, path: &str) -> Result<Value> {
        let (code, body) = self.ask(path)?;
        ensure!(code == 200, "{path}: {code} {body}");
        Ok(body)
    }

    fn watch(&self, path: &str) -> Result<Events> {
        Ok(Events(Process::spawn("watch", &mut self.curl(path, Some(TOKEN)))?))
    }
}

/// A watch being read.
struct Events(Process);

impl Events {
    fn line(&mut self) -> Result<Value> {
        let line = self.0.line(SOON)?;
        serde_json::from_str(&line).with_context(|| format!("line {line:?}"))
    }

    /// Type, name and version of the next event.
    fn next(&mut self) -> Result<(String, String, u64)> {
        let event = self.line()?;
        let metadata = &event["object"]["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let version = text(&metadata["resourceVersion"]).parse().with_context(|| format!("{event}"))?;
        Ok((text(&event["type"]), text(&metadata["name"]), version))
    }

    fn expect(&mut self, kind: &str, name: &str) -> Result<u64> {
        let (got_kind, got_name, version) = self.next()?;
        ensure!(
            (got_kind.as_str(), got_name.as_str()) == (kind, name),
            "{got_kind} {got_name}, not {kind} {name}"
        );
        Ok(version)
    }

    /// Nothing comes for a while.
    fn silent(&mut self) -> Result<()> {
        let line = self.0.line(Duration::from_millis(300));
        ensure!(line.is_err() && self.0.is_running(), "got {line:?}");
        Ok(())
    }

    /// curl's exit status once the server has ended it: 0 if orderly.
    fn end(&mut self) -> Result<Option<i32>> {
        Ok(self.0.wait(SOON)?.code())
    }
}

fn pod(index: u32) -> Pod {
    let node = if index.is_multiple_of(2) { "a" } else { "b" };
    let mut pod = Pod::new("shop", &format!("pod-{index:03}"));
    pod.node = node.to_owned();
    pod.labels.insert("parity".to_owned(), node.to_owned());
    pod.addresses = vec![std::net::Ipv4Addr::from(0x0af4_0000 + index).into()];
    pod
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().into_iter().flatten();
    items.map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn it_says_who_it_is_and_who_may_ask() -> Result<()> {
    let scene = Scene::with_pods(1)?;
    let (code, version) = scene.ask_as("/version", None)?;
    assert_eq!((code, version["gitVersion"].as_str()), (200, Some("v1.34.2")));
    assert_eq!(scene.ask_as("/readyz", None)?, (200, Value::String("ok".into())));
    assert_eq!(scene.get("/api")?["versions"][0], "v1");
    assert_eq!(scene.get("/apis")?["groups"][0]["name"], "discovery.k8s.io");
    assert_eq!(scene.get("/api/v1")?["resources"].as_array().map(Vec::len), Some(3));
    let (code, status) = scene.ask_as(PODS, Some("stranger"))?;
    assert_eq!((code, status["reason"].as_str()), (401, Some("Unauthorized")));
    let (code, status) = scene.ask_as(PODS, None)?;
    let message = r#"pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" at the cluster scope"#;
    assert_eq!((code, status["message"].as_str()), (403, Some(message)));
    assert_eq!(scene.ask("/api/v1/secrets")?.0, 404);
    assert_eq!(scene.ask_as("/apis", None)?.0, 403);
    Ok(())
}

#[test]
fn roles_bound_each_resource_and_verb() -> Result<()> {
    use super::{Resource, Role, Verb};
    let scene = Scene::with_pods(1)?;
    scene.server.put(Node::new("a", &[], "z1", "r1"));
    let role = Role::reader().without(Resource::EndpointSlices).without_verb(Resource::Pods, Verb::Watch);
    scene.server.grant("poor", role);
    let slices = "/apis/discovery.k8s.io/v1/endpointslices";
    let ask = |path: &str| scene.ask_as(path, Some("poor"));
    let (code, status) = ask(slices)?;
    assert_eq!((code, &status["details"]["group"]), (403, &Value::String("discovery.k8s.io".into())));
    assert_eq!(ask(PODS)?.0, 200);
    assert_eq!(ask("/api/v1/pods?watch=1&timeoutSeconds=1")?.0, 403);
    assert_eq!(ask("/api/v1/nodes/a")?.1["metadata"]["labels"]["topology.kubernetes.io/zone"], "z1");
    assert_eq!(ask("/api/v1/namespaces/shop/pods/nobody")?.0, 404);
    scene.server.revoke("poor");
    assert_eq!(ask(PODS)?.0, 401);
    assert_eq!(scene.server.count(Resource::Pods, Verb::List), 2);
    Ok(())
}

#[test]
fn objects_are_as_large_as_real_ones() -> Result<()> {
    let scene = Scene::with_pods(1)?;
    let pod = scene.get("/api/v1/namespaces/shop/pods/pod-000")?;
    let size = pod.to_string().len();
    assert!((6_000..12_000).contains(&size), "{size} bytes: {pod:#}");
    assert_eq!(pod["kind"], "Pod");
    assert_eq!(pod["status"]["podIPs"][0]["ip"], "10.244.0.0");
    assert!(pod["metadata"]["managedFields"][1]["fieldsV1"]["f:status"].is_object());
    Ok(())
}
