// SPDX-License-Identifier: Apache-2.0
//! What the API server allows, for people who set things up.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::access::{Access, Answer, encoded};
use super::connection::Connection;
use super::decode::Kind;
use super::events::excerpt;
use super::failure::Failure;
use super::scan::{Items, TooLong};
use super::thread::runtime;
use super::timing::Timing;
use super::wire;
use crate::kubernetes::objects::{EndpointSlice, Node, Pod, Service};

/// What is asked, and what is known of it or how to mend it.
type Finding = (String, Result<String, String>);

/// Time for each request.
const LIMIT: Duration = Duration::from_secs(5);
/// Longer answers than this are no answers to what is asked here.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Asks the API server for all that the watches need, with the same kinds of requests: its version, this node's object
/// (no name: not asked for), and list and watch of each resource. Takes at most some 10 s; blocks.
#[must_use]
pub fn probe(connection: Connection, node: &str) -> Vec<Finding> {
    let timing = Timing { connect: LIMIT, answer: LIMIT, ..Timing::default() };
    let node = node.to_owned();
    // The caller may be in a runtime, where another one cannot be waited for.
    let findings = thread::spawn(move || {
        let runtime = runtime().map_err(|error| error.to_string())?;
        let findings = runtime.block_on(ask_all(Arc::new(Access::new(connection, timing)), node));
        runtime.shutdown_background();
        Ok(findings)
    });
    let failed = |reason: String| vec![("api server".to_owned(), Err(reason))];
    match findings.join() {
        Ok(findings) => findings.unwrap_or_else(failed),
        Err(_) => failed("internal error".to_owned()),
    }
}

async fn ask_all(access: Arc<Access>, node: String) -> Vec<Finding> {
    let mut asked: Vec<(&str, JoinHandle<Result<String, String>>)> = Vec::new();
    asked.push(("api server", tokio::spawn(version(Arc::clone(&access)))));
    if !node.is_empty() {
        asked.push(("node", tokio::spawn(own_node(Arc::clone(&access), node))));
    }
    asked.push((Pod::RESOURCE, tokio::spawn(resource::<Pod>(Arc::clone(&access)))));
    asked.push((Service::RESOURCE, tokio::spawn(resource::<Service>(Arc::clone(&access)))));
    asked.push((EndpointSlice::RESOURCE, tokio::spawn(resource::<EndpointSlice>(Arc::clone(&access)))));
    asked.push((Node::RESOURCE, tokio::spawn(resource::<Node>(access))));
    let mut findings = Vec::with_capacity(asked.len());
    for (what, task) in asked {
        let finding = task.await.unwrap_or_else(|error| Err(error.to_string()));
        findings.push((what.to_owned(), finding));
    }
    findings
}

async fn version(access: Arc<Access>) -> Result<String, String> {
    match read(&access, "/version").await {
        Ok(answer) => match serde_json::from_slice::<wire::Version>(&answer) {
            Ok(version) => Ok(format!("Kubernetes {} at {}", version.git_version, access.server)),
            Err(_) => Err(garbage(&answer).text("reading", "/version", "", &access.server)),
        },
        // Not everybody may ask, and nothing depends on it.
        Err(Failure::Refused { code: 403, .. }) => {
            Ok(format!("{}, which does not tell its version", access.server))
        }
        Err(failure) => Err(failure.text("reading", "/version", "", &access.server)),
    }
}

async fn own_node(access: Arc<Access>, name: String) -> Result<String, String> {
    match read(&access, &format!("{}/{}", Node::PATH, encoded(&name))).await {
        Ok(answer) if serde_json::from_slice::<wire::Node>(&answer).is_ok() => Ok(name),
        Ok(answer) => Err(garbage(&answer).text("getting", Node::RESOURCE, "", &access.server)),
        Err(Failure::Refused { code: 404, .. }) => {
            Err(format!("the cluster has no node {name}: give its name with NODE_NAME"))
        }
        Err(failure) => Err(failure.text("getting", Node::RESOURCE, "", &access.server)),
    }
}

async fn resource<T: Kind>(access: Arc<Access>) -> Result<String, String> {
    let text = |doing: &str, failure: Failure| failure.text(doing, T::RESOURCE, T::GROUP, &access.server);
    let version = list_one::<T>(&access).await.map_err(|failure| text("listing", failure))?;
    let path = format!("{}?watch=1&timeoutSeconds=1&resourceVersion={}", T::PATH, encoded(&version));
    access.get(&path).await.map_err(|failure| text("watching", failure))?;
    Ok("list and watch allowed".to_owned())
}

async fn list_one<T: Kind>(access: &Access) -> Result<String, Failure> {
    let answer = read(access, &format!("{}?limit=1", T::PATH)).await?;
    let mut items = Items::default();
    items.push(&answer, |_| {}).map_err(|TooLong| garbage(&answer))?;
    let list = serde_json::from_slice::<wire::List>(&items.finish()).map_err(|_| garbage(&answer))?;
    list.metadata.resource_version.ok_or_else(|| garbage(&answer))
}

async fn read(access: &Access, path: &str) -> Result<Vec<u8>, Failure> {
    let mut answer = access.get(path).await?;
    timeout(LIMIT, collect(&mut answer)).await.unwrap_or(Err(Failure::Late(LIMIT)))
}

async fn collect(answer: &mut Answer) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(piece) = answer.piece().await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > MAX_ANSWER_BYTES {
            return Err(garbage(&bytes));
        }
    }
    Ok(bytes)
}

fn garbage(answer: &[u8]) -> Failure {
    Failure::Garbage(format!("`{}`", excerpt(answer)))
}

#[cfg(test)]
mod tests;
