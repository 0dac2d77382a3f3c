// SPDX-License-Identifier: Apache-2.0
//! One watch: lists, follows, and lists anew when what it knows can no longer be trusted.

use std::sync::Arc;

use tokio::time::{Instant, sleep, timeout_at};

use super::access::{Access, encoded};
use super::decode::Kind;
use super::events::{Change, Event, Events};
use super::failure::Failure;
use super::health::Health;
use super::timing::random;
use crate::kubernetes::objects::Watched;

/// What a watch does just now, for people.
#[derive(Clone, Copy)]
pub(super) enum Doing {
    Listing,
    Watching,
}

/// Keeps what `sink` knows as the API server has it, for ever.
pub(super) struct Watch<T: Kind> {
    pub(super) access: Arc<Access>,
    pub(super) sink: Arc<dyn Watched<T>>,
    /// `fieldSelector` ready for a query, with `&` before it; empty for all objects.
    pub(super) selector: String,
    /// What the sink has; none before the first list, and if it has to be made anew.
    pub(super) version: Option<String>,
    pub(super) doing: Doing,
    health: Health,
    /// The server has sent bookmarks: when it is silent, it is not because nothing happens.
    bookmarks: bool,
    /// Answers in a row that were not understood, or refused, after the last event.
    rejected: u32,
}

impl<T: Kind> Watch<T> {
    /// `name` is for the log. `node` selects the objects on one node.
    pub(super) fn new(
        access: Arc<Access>,
        sink: Arc<dyn Watched<T>>,
        name: &'static str,
        node: Option<&str>,
    ) -> Self {
        let selector =
            node.map(|node| format!("&fieldSelector={}", encoded(&format!("spec.nodeName={node}"))));
        Watch {
            health: Health::new(name, access.timing),
            access,
            sink,
            selector: selector.unwrap_or_default(),
            version: None,
            doing: Doing::Listing,
            bookmarks: false,
            rejected: 0,
        }
    }

    /// Never ends.
    pub(super) async fn run(&mut self) {
        loop {
            if let Err(failure) = self.session().await {
                self.reconsider(&failure);
                let text = self.text(&failure);
                let change = self.health.failed(&failure, text);
                if let Some(text) = change.down {
                    self.sink.down(text);
                }
                sleep(change.wait).await;
            }
        }
    }

    /// From a request to the end of its answer. An end in good order is no failure.
    async fn session(&mut self) -> Result<(), Failure> {
        let events = match self.version.clone() {
            None => self.list().await?,
            Some(version) if self.health.in_outage() => {
                // The server may be back as another one, to which nothing ever happens after that version. All nodes
                // see this at about the same time.
                match self.open(&version).await.map(drop) {
                    Ok(()) | Err(Failure::Gone) => sleep(random(self.access.timing.spread)).await,
                    Err(failure) => return Err(failure),
                }
                self.version = None;
                self.list().await?
            }
            Some(version) => self.open(&version).await?,
        };
        // A server that has just started sends none for a resource before anything happens to it.
        self.bookmarks = false;
        self.follow(events).await
    }

    /// Asks for what has happened since.
    pub(super) async fn open(&mut self, version: &str) -> Result<Events<T>, Failure> {
        self.doing = Doing::Watching;
        let query = format!("resourceVersion={}", encoded(version));
        self.request_events(&query).await
    }

    pub(super) async fn request_events(&self, query: &str) -> Result<Events<T>, Failure> {
        let seconds = self.access.timing.watch_seconds();
        let path = format!(
            "{}?watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}&{query}{}",
            T::PATH,
            self.selector
        );
        Ok(Events::new(self.access.get(&path).await?))
    }

    /// The list is complete, at this version.
    pub(super) fn listed(&mut self, version: String) {
        self.version = Some(version);
        self.works();
    }

    fn works(&mut self) {
        if self.health.works() {
            self.sink.up();
        }
    }

    async fn follow(&mut self, mut events: Events<T>) -> Result<(), Failure> {
        self.doing = Doing::Watching;
        let timing = self.access.timing;
        let opened = Instant::now();
        let (mut last, mut settled) = (opened, self.health.is_working());
        loop {
            let patience = if settled { last + timing.idle } else { opened + timing.settle };
            match timeout_at(patience, events.next()).await {
                Ok(Ok(Some(event))) => {
                    if self.is_from_before(&event) {
                        // Not the server, or not the data, that the list was from.
                        return Err(Failure::Gone);
                    }
                    (last, settled) = (Instant::now(), true);
                    self.apply(event);
                    self.works();
                }
                Ok(Ok(None)) if opened.elapsed() < timing.brief => return Err(Failure::Ended),
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(failure)) => return Err(failure),
                Err(_) if !settled => {
                    settled = true;
                    self.works();
                }
                Err(_) => return Err(Failure::Silent(timing.idle)),
            }
        }
    }

    fn apply(&mut self, event: Event<T>) {
        self.rejected = 0;
        match event.change {
            Change::Added(object) | Change::Modified(object) => self.sink.applied(object),
            Change::Deleted(object) => self.sink.deleted(object),
            Change::Bookmark { .. } => self.bookmarks = true,
            Change::Other => {}
        }
        if !event.version.is_empty() {
            self.version = Some(event.version);
        }
    }

    /// Versions only grow, as long as the server's data are the same.
    fn is_from_before(&self, event: &Event<T>) -> bool {
        let number = |version: &str| version.parse::<u128>().ok();
        let known = self.version.as_deref().and_then(number);
        known.zip(number(&event.version)).is_some_and(|(known, new)| new < known)
    }

    /// Whether to go on from the version known after this.
    fn reconsider(&mut self, failure: &Failure) {
        let anew = match failure {
            Failure::Gone => true,
            // With bookmarks, a healthy server is never silent for so long.
            Failure::Silent(_) => self.bookmarks,
            // What the server does not accept again and again may be the version.
            Failure::Garbage(_) | Failure::Ended | Failure::Refused { code: 400 | 422, .. } => {
                self.rejected += 1;
                self.rejected >= 3
            }
            _ => false,
        };
        if anew {
            self.rejected = 0;
            self.version = None;
        }
    }

    fn text(&self, failure: &Failure) -> String {
        let doing = match self.doing {
            Doing::Listing => "listing",
            Doing::Watching => "watching",
        };
        failure.text(doing, T::RESOURCE, T::GROUP, &self.access.server)
    }
}

#[cfg(test)]
mod outage_tests;
#[cfg(test)]
mod tests;
