// SPDX-License-Identifier: Apache-2.0
//! Complete lists: as the beginning of a watch where the server can, else in pages.

use tokio::time::{Duration, Instant, timeout, timeout_at};
use tracing::debug;

use super::access::encoded;
use super::decode::Kind;
use super::events::{Change, Events, excerpt};
use super::failure::Failure;
use super::scan::{Items, TooLong};
use super::watch::{Doing, Watch};
use super::wire;

/// Objects in a page. Of pods, that is some MiB.
const PAGE: u32 = 500;

impl<T: Kind> Watch<T> {
    /// Lists, and then watches from there. What the server has in memory will do: it is at most moments old, what came
    /// after follows as events, and its database is left in peace.
    pub(super) async fn list(&mut self) -> Result<Events<T>, Failure> {
        self.doing = Doing::Listing;
        if self.access.streams() {
            if let Some(events) = self.list_stream().await? {
                return Ok(events);
            }
            self.access.stop_streams();
        }
        let version = self.list_pages().await?;
        self.listed(version.clone());
        self.open(&version).await
    }

    /// None if the server has no streaming lists.
    async fn list_stream(&mut self) -> Result<Option<Events<T>>, Failure> {
        let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=0";
        let mut events = match self.request_events(query).await {
            Ok(events) => events,
            // Forbidden parameters are invalid (422). Some proxies in front of servers make it 400.
            Err(Failure::Refused { code: 400 | 422, .. }) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let timing = self.access.timing;
        let end = Instant::now() + timing.stream;
        let mut patience = timing.mark;
        // Deleted while the list is sent, if at all.
        let mut deleted: Vec<T> = Vec::new();
        self.sink.begin_list();
        loop {
            // Old servers take the parameters for none of theirs, and send all objects but no mark.
            let limit = end.min(Instant::now() + patience);
            let Ok(event) = timeout_at(limit, events.next()).await else { return Ok(None) };
            let Some(event) = event? else {
                return Err(Failure::Broken("the stream ended before the list was complete".to_owned()));
            };
            patience = timing.mark;
            match event.change {
                Change::Added(object) | Change::Modified(object) => {
                    deleted.retain(|gone| gone.key() != object.key());
                    self.sink.listed(object);
                }
                Change::Deleted(object) => deleted.push(object),
                Change::Bookmark { complete: true } if event.version.is_empty() => {
                    return Err(Failure::Garbage("a list without resourceVersion".to_owned()));
                }
                Change::Bookmark { complete: true } => {
                    self.sink.end_list();
                    deleted.into_iter().for_each(|object| self.sink.deleted(object));
                    self.listed(event.version);
                    return Ok(Some(events));
                }
                Change::Bookmark { complete: false } | Change::Other => {}
            }
        }
    }

    /// The version of the list.
    async fn list_pages(&mut self) -> Result<String, Failure> {
        self.sink.begin_list();
        let mut from = "resourceVersion=0".to_owned();
        loop {
            let limit = self.access.timing.page;
            let page = timeout(limit, self.list_page(&from)).await;
            let page = page.unwrap_or(Err(Failure::Late(limit)))?;
            match page.next.filter(|next| !next.is_empty()) {
                Some(next) => from = format!("continue={}", encoded(&next)),
                None => {
                    let version = page.resource_version.filter(|version| !version.is_empty());
                    let none = || Failure::Garbage("a list without resourceVersion".to_owned());
                    let version = version.ok_or_else(none)?;
                    self.sink.end_list();
                    return Ok(version);
                }
            }
        }
    }

    async fn list_page(&self, from: &str) -> Result<wire::ListMetadata, Failure> {
        let path = format!("{}?limit={PAGE}&{from}{}", T::PATH, self.selector);
        let mut answer = self.access.get(&path).await?;
        let mut items = Items::default();
        let patience: Duration = self.access.timing.piece;
        loop {
            let piece = timeout(patience, answer.piece()).await.unwrap_or(Err(Failure::Late(patience)))?;
            let Some(piece) = piece else { break };
            let cut = items.push(&piece, |item| match serde_json::from_slice::<T::Wire>(item) {
                Ok(object) if !T::metadata(&object).name().is_empty() => self.sink.listed(T::slim(object)),
                Ok(_) => {}
                Err(error) => debug!(resource = T::RESOURCE, %error, "an object cannot be read"),
            });
            if let Err(TooLong) = cut {
                return Err(Failure::Garbage("an object of the list is too long".to_owned()));
            }
        }
        let envelope = items.finish();
        let list = serde_json::from_slice::<wire::List>(&envelope);
        Ok(list.map_err(|_| Failure::Garbage(format!("`{}`", excerpt(&envelope))))?.metadata)
    }
}
