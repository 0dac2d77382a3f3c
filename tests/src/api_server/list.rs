// SPDX-License-Identifier: Apache-2.0
//! Lists: whole or in pages, now or as of a version.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::body::{Closed, Sink};
use super::options::Options;
use super::resource::Resource;
use super::state::State;
use super::status::Status;
use super::store::{Key, Snapshot, Store, Stored};

/// What one list request is answered with.
#[derive(Debug)]
pub(super) struct Page {
    version: u64,
    items: Arc<Vec<Arc<Stored>>>,
    from: usize,
    to: usize,
    next: Option<String>,
    /// Members of the list behind this page, where the API says how many those are.
    remaining: Option<usize>,
}

impl Page {
    /// Finds what a request asks for, waiting a little for a version that is not there yet.
    pub async fn find(state: &State, resource: Resource, options: &Options) -> Result<Self, Status> {
        state.wait_for(options.version.unwrap_or(0)).await?;
        let lifetime = state.behaviour().continue_lifetime;
        let mut store = state.store();
        if let Some(oldest) = Instant::now().checked_sub(lifetime) {
            store.expire(oldest);
        }
        Self::read(&mut store, resource, options)
    }

    fn read(store: &mut Store, resource: Resource, options: &Options) -> Result<Self, Status> {
        let select = |mut items: Vec<Arc<Stored>>| {
            items.retain(|object| options.selector.matches(object));
            Arc::new(items)
        };
        if let Some(token) = &options.continue_token {
            let token = Token::decode(token)
                .ok_or_else(|| Status::bad_request(format!("continue key is not valid: {token:?}")))?;
            let after = |object: &Arc<Stored>| object.key <= token.after;
            return match token.snapshot.map(|id| (id, store.snapshot(id))) {
                Some((id, Some(snapshot))) => {
                    let from = snapshot.items.partition_point(after);
                    Ok(Self::cut(&snapshot, from, options, |_| id))
                }
                Some((_, None)) => Err(Status::continue_expired(Token { snapshot: None, ..token }.encode())),
                None => {
                    let items = select(store.all(resource));
                    let snapshot = Snapshot { taken: Instant::now(), version: store.version(), items };
                    let from = snapshot.items.partition_point(after);
                    Ok(Self::cut(&snapshot, from, options, |snapshot| store.keep(snapshot.clone())))
                }
            };
        }
        // With a limit and a version, but without a word on how to match it, the version is meant exactly.
        let vague = !options.exact && !options.not_older && options.limit > 0;
        let exactly = options.version.filter(|version| *version != 0 && (options.exact || vague));
        let (version, items) = match exactly {
            Some(version) => (version, store.all_at(resource, version).map_err(|_| Status::list_too_old())?),
            None => (store.version(), store.all(resource)),
        };
        let snapshot = Snapshot { taken: Instant::now(), version, items: select(items) };
        Ok(Self::cut(&snapshot, 0, options, |snapshot| store.keep(snapshot.clone())))
    }

    fn cut(snapshot: &Snapshot, from: usize, options: &Options, keep: impl FnOnce(&Snapshot) -> u64) -> Self {
        let total = snapshot.items.len();
        // Version 0 is answered from a cache that takes no notice of the limit.
        let unlimited =
            options.limit == 0 || (options.version == Some(0) && options.continue_token.is_none());
        let to = if unlimited { total } else { total.min(from.saturating_add(options.limit)) };
        let next = (to < total).then(|| {
            let after = snapshot.items[to - 1].key.clone();
            Token { snapshot: Some(keep(snapshot)), after }.encode()
        });
        let remaining = (to < total && !options.selector.is_narrow()).then_some(total - to);
        let (version, items) = (snapshot.version, Arc::clone(&snapshot.items));
        Page { version, items, from, to, next, remaining }
    }

    /// Writes it as the API does.
    pub async fn write(self, resource: Resource, sink: &mut Sink) -> Result<(), Closed> {
        let mut metadata = json!({ "resourceVersion": self.version.to_string() });
        if let Some(next) = self.next {
            metadata["continue"] = json!(next);
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = json!(remaining);
        }
        let (kind, version) = (resource.kind(), resource.api_version());
        let mut text =
            format!(r#"{{"kind":"{kind}List","apiVersion":"{version}","metadata":{metadata},"items":["#);
        for (index, item) in self.items[self.from..self.to].iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(item.item());
            if text.len() > 64 << 10 {
                sink.send(std::mem::take(&mut text)).await?;
            }
        }
        text.push_str("]}\n");
        sink.send(text).await
    }
}

/// Where a list goes on. Clients must not look into it, so it is written in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    /// The list that was begun; absent for one that takes what there is now.
    snapshot: Option<u64>,
    after: Key,
}

impl Token {
    fn encode(&self) -> String {
        let text = json!([self.snapshot, self.after.namespace, self.after.name]).to_string();
        text.bytes().map(|byte| format!("{byte:02x}")).collect()
    }

    fn decode(text: &str) -> Option<Self> {
        let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(digits).collect();
        let (snapshot, namespace, name) = serde_json::from_slice(&bytes?).ok()?;
        Some(Token { snapshot, after: Key { namespace, name } })
    }
}
