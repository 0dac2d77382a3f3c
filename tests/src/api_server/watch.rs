// SPDX-License-Identifier: Apache-2.0
//! Watches: the changes since a version, and those to come.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep_until};

use super::behaviour::Gone;
use super::body::{Closed, Sink};
use super::options::Options;
use super::resource::Resource;
use super::state::{Order, State};
use super::status::Status;
use super::store::{Change, Stored};

/// One watch.
#[derive(Debug)]
pub(super) struct Watch {
    state: Arc<State>,
    resource: Resource,
    options: Options,
    /// What the client knows so far.
    seen: u64,
    initial: Vec<Arc<Stored>>,
    /// The initial events are followed by a bookmark that says so.
    marked: bool,
    refused: Option<Status>,
    // Listened to from before the first look at the changes, so that none falls between.
    changed: watch::Receiver<()>,
    orders: broadcast::Receiver<(Option<Resource>, Order)>,
}

impl Watch {
    /// Prepares a watch. A version too old is an error at once only from servers that say so by status.
    pub async fn new(state: &Arc<State>, resource: Resource, options: Options) -> Result<Self, Status> {
        let streaming = options.initial_events == Some(true);
        if streaming {
            // Initial events are those of a version at least as new: the server waits for it, but not for ever.
            state.wait_for(options.version.unwrap_or(0)).await?;
        }
        let (changed, orders) = (state.changed(), state.orders());
        let store = state.store();
        let now = store.version();
        let from_any = options.version.is_none_or(|version| version == 0);
        let with_initial = streaming || (from_any && options.initial_events.is_none());
        let seen = match options.version {
            Some(version) if version != 0 && !streaming => version,
            _ => now,
        };
        let known = store.changes(resource, seen).map_err(|oldest| Status::too_old(seen, oldest.0));
        let mut initial = if with_initial { store.all(resource) } else { Vec::new() };
        initial.retain(|object| options.selector.matches(object));
        drop(store);
        let refused = match (known, state.behaviour().gone) {
            (Err(status), Gone::Status) => return Err(status),
            (known, _) => known.err(),
        };
        let marked = streaming && options.bookmarks;
        let state = Arc::clone(state);
        Ok(Watch { state, resource, options, seen, initial, marked, refused, changed, orders })
    }

    /// Sends events until the client goes, the time is up or the stub is told to end it.
    pub async fn run(mut self, sink: &mut Sink) -> Result<(), Closed> {
        let behaviour = self.state.behaviour();
        let lifetime = self.options.timeout.unwrap_or(behaviour.watch_lifetime);
        let end = Instant::now() + lifetime;
        if let Some(status) = self.refused.take() {
            return sink.send(event("ERROR", &status.body.to_string())).await;
        }
        for object in std::mem::take(&mut self.initial) {
            sink.send(event("ADDED", &object.whole(self.resource))).await?;
        }
        if self.marked {
            sink.send(self.bookmark(true)).await?;
        }
        let mut next_bookmark = Instant::now() + behaviour.bookmarks_every.unwrap_or(lifetime);
        loop {
            if self.catch_up(sink).await? {
                return Ok(());
            }
            let every = self.state.behaviour().bookmarks_every.filter(|_| self.options.bookmarks);
            // Whoever knows a version that is still to come is told nothing.
            let every = every.filter(|_| self.seen <= self.state.store().version());
            let due = every.map_or(end, |every| next_bookmark.min(Instant::now() + every));
            tokio::select! {
                _ = self.changed.changed() => {}
                order = self.orders.recv() => match order {
                    Ok((resource, Order::Line(line))) if self.concerns(resource) => {
                        sink.send(line + "\n").await?;
                    }
                    Ok((resource, Order::End)) if self.concerns(resource) => return Ok(()),
                    Ok((resource, Order::Break)) if self.concerns(resource) => {
                        sink.abort().await;
                        return Err(Closed);
                    }
                    Ok(_) | Err(_) => {}
                },
                () = sleep_until(due), if due < end => {
                    sink.send(self.bookmark(false)).await?;
                    next_bookmark = Instant::now() + every.unwrap_or(lifetime);
                }
                () = sleep_until(end) => {
                    // kube-apiserver sends one more just before the end.
                    if every.is_some() {
                        sink.send(self.bookmark(false)).await?;
                    }
                    return Ok(());
                }
                () = sink.closed() => return Err(Closed),
            }
        }
    }

    fn concerns(&self, resource: Option<Resource>) -> bool {
        resource.is_none_or(|resource| resource == self.resource)
    }

    /// Sends what has changed; true if the watch has fallen behind what is remembered, which ends it.
    async fn catch_up(&mut self, sink: &mut Sink) -> Result<bool, Closed> {
        let (changes, version) = {
            let store = self.state.store();
            (store.changes(self.resource, self.seen), store.version())
        };
        let Ok(changes) = changes else { return Ok(true) };
        for change in changes {
            if let Some(line) = self.translate(&change) {
                sink.send(line).await?;
            }
        }
        // A version in the future stays what it is: nothing is said before it has passed.
        self.seen = self.seen.max(version);
        Ok(false)
    }

    /// What a change is for somebody who sees only what the selector shows.
    fn translate(&self, change: &Change) -> Option<String> {
        let shown = |object: &Option<Arc<Stored>>| {
            object.clone().filter(|object| self.options.selector.matches(object))
        };
        match (shown(&change.before), shown(&change.now)) {
            (None, Some(now)) => Some(event("ADDED", &now.whole(self.resource))),
            (Some(_), Some(now)) => Some(event("MODIFIED", &now.whole(self.resource))),
            (Some(before), None) => {
                let last = before.as_of(self.resource, change.version);
                Some(event("DELETED", &last.whole(self.resource)))
            }
            (None, None) => None,
        }
    }

    fn bookmark(&self, end_of_initial_events: bool) -> String {
        let mut metadata = json!({ "resourceVersion": self.seen.to_string(), "creationTimestamp": null });
        if end_of_initial_events {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let mut object = json!({
            "kind": self.resource.kind(), "apiVersion": self.resource.api_version(), "metadata": metadata,
        });
        // Fields that are never left out appear in the empty object too.
        match self.resource {
            Resource::Pods => {
                object["spec"] = json!({ "containers": null });
                object["status"] = json!({});
            }
            Resource::Services => {
                object["spec"] = json!({});
                object["status"] = json!({ "loadBalancer": {} });
            }
            Resource::EndpointSlices => {
                object["addressType"] = json!("");
                object["endpoints"] = json!(null);
                object["ports"] = json!(null);
            }
            Resource::Nodes => {
                object["spec"] = json!({});
                object["status"] =
                    json!({ "daemonEndpoints": { "kubeletEndpoint": { "Port": 0 } }, "nodeInfo": {} });
            }
        }
        event("BOOKMARK", &object.to_string())
    }
}

fn event(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}
