// SPDX-License-Identifier: Apache-2.0

use super::*;
use crate::kubernetes::api::testing::*;

fn probed(server: &Server, node: &str) -> Vec<(String, Result<String, String>)> {
    let dir = tempfile::tempdir().unwrap();
    probe(server.connection(dir.path(), "t"), node)
}

fn version() -> Reply {
    (200, vec![Step::Send(r#"{"major":"1","minor":"33","gitVersion":"v1.33.2"}"#.to_owned())])
}

#[tokio::test]
async fn everything_is_allowed() {
    let server = Server::start(|asked| match (asked.path.as_str(), asked.kind()) {
        ("/version", _) => version(),
        ("/api/v1/nodes/node-1", _) => (200, vec![Step::Send(object("node-1", 7).to_string())]),
        (_, "list") => page(&["x"], 7, "more"),
        _ => hold(),
    });
    let findings = probed(&server, "node-1");
    let names: Vec<_> = findings.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["api server", "node", "pods", "services", "endpointslices", "nodes"]);
    assert!(findings.iter().all(|(_, finding)| finding.is_ok()), "{findings:?}");
    assert_eq!(findings[0].1, Ok(format!("Kubernetes v1.33.2 at http://{}", server.address)));
    let lists = server.asked().into_iter().filter(|asked| asked.has("limit=1")).count();
    let watches = server.asked().into_iter().filter(|asked| asked.has("resourceVersion=7")).count();
    assert_eq!((lists, watches), (4, 4));
}

#[test]
fn tells_what_is_missing() {
    let server = Server::start(|asked| match (asked.path.as_str(), asked.kind()) {
        ("/version", _) => refuse(403, "no"),
        ("/api/v1/nodes/node-2", _) => refuse(404, "nodes \"node-2\" not found"),
        ("/api/v1/services", "watch") => refuse(403, "no"),
        ("/api/v1/nodes", _) => refuse(403, "no"),
        ("/api/v1/pods", _) => (200, vec![Step::Send("<html>".to_owned())]),
        (_, "list") => page(&[], 7, ""),
        _ => hold(),
    });
    let findings: Vec<_> = probed(&server, "node-2").into_iter().map(|(_, finding)| finding).collect();
    let address = server.address;
    let wanted: [Result<String, String>; 6] = [
        Ok(format!("http://{address}, which does not tell its version")),
        Err("the cluster has no node node-2: give its name with NODE_NAME".to_owned()),
        Err(format!("listing pods: http://{address} does not answer as a Kubernetes API server: `<html>`")),
        Err("watching services is forbidden for this token: the ClusterRole needs list, watch on services"
            .to_owned()),
        Ok("list and watch allowed".to_owned()),
        Err("listing nodes is forbidden for this token: the ClusterRole needs list, watch on nodes"
            .to_owned()),
    ];
    assert_eq!(findings, wanted);
}

#[test]
fn tells_that_nobody_is_there() {
    let server = Server::start(|_| hold());
    let dir = tempfile::tempdir().unwrap();
    let connection = server.connection(dir.path(), "t");
    drop(server);
    let findings = probe(connection, "");
    assert_eq!(findings.len(), 5);
    for (_, finding) in findings {
        assert!(finding.unwrap_err().contains(": cannot reach the API server at http://127.0.0.1:"));
    }
}
