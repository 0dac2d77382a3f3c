// SPDX-License-Identifier: Apache-2.0
//! The objects, their versions and a bounded memory of their changes, as etcd and the watch cache keep them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::objects::Object;
use super::resource::Resource;

/// Where an object is; their order is that of lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub namespace: String,
    pub name: String,
}

/// One version of an object.
#[derive(Debug)]
pub(super) struct Stored {
    pub key: Key,
    pub labels: BTreeMap<String, String>,
    pub fields: BTreeMap<&'static str, String>,
    /// Without `kind` and `apiVersion`, as objects are within a list.
    json: String,
}

impl Stored {
    fn new(resource: Resource, mut value: Value, version: u64) -> Self {
        value["metadata"]["resourceVersion"] = json!(version.to_string());
        let text = |pointer: &str| match value.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        };
        let key = Key { namespace: text("/metadata/namespace"), name: text("/metadata/name") };
        let fields = resource.selectable().iter().map(|(field, pointer)| (*field, text(pointer))).collect();
        let labels = value.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
        let labels =
            labels.map(|(key, label)| (key.clone(), label.as_str().unwrap_or_default().to_owned())).collect();
        Stored { key, labels, fields, json: value.to_string() }
    }

    /// As a member of a list.
    pub fn item(&self) -> &str {
        &self.json
    }

    /// As an object by itself.
    pub fn whole(&self, resource: Resource) -> String {
        let (kind, version) = (resource.kind(), resource.api_version());
        format!(r#"{{"kind":"{kind}","apiVersion":"{version}",{}"#, self.json.get(1..).unwrap_or_default())
    }

    /// The same object as of another version, as it is shown when it has gone.
    pub fn as_of(&self, resource: Resource, version: u64) -> Self {
        Stored::new(resource, self.value(), version)
    }

    pub fn value(&self) -> Value {
        serde_json::from_str(&self.json).unwrap_or_default()
    }
}

/// A change: what was there before and what is there now.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub version: u64,
    pub before: Option<Arc<Stored>>,
    pub now: Option<Arc<Stored>>,
}

/// All of one resource.
#[derive(Debug, Default)]
struct Shelf {
    objects: BTreeMap<Key, Arc<Stored>>,
    changes: VecDeque<Change>,
    /// The newest change that is not remembered any more.
    forgotten: u64,
}

/// A list that is being read in pages.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub taken: Instant,
    pub version: u64,
    pub items: Arc<Vec<Arc<Stored>>>,
}

/// Everything stored.
#[derive(Debug)]
pub(super) struct Store {
    version: u64,
    shelves: HashMap<Resource, Shelf>,
    snapshots: HashMap<u64, Snapshot>,
    next_snapshot: u64,
}

/// A version that is no longer known; the oldest that is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooOld(pub u64);

impl Store {
    /// An empty store at a version: what was before it is not remembered.
    pub fn new(version: u64) -> Self {
        let shelf = || Shelf { forgotten: version, ..Shelf::default() };
        let shelves = Resource::ALL.into_iter().map(|resource| (resource, shelf())).collect();
        Store { version, shelves, snapshots: HashMap::new(), next_snapshot: 0 }
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    fn shelf(&mut self, resource: Resource) -> &mut Shelf {
        self.shelves.entry(resource).or_default()
    }

    /// Adds or replaces an object and returns the version.
    pub fn put(&mut self, object: Object, history: usize) -> u64 {
        self.version += 1;
        let version = self.version;
        let now = Arc::new(Stored::new(object.resource, object.json, version));
        let shelf = self.shelf(object.resource);
        let before = shelf.objects.insert(now.key.clone(), Arc::clone(&now));
        shelf.remember(Change { version, before, now: Some(now) }, history);
        version
    }

    /// Removes an object; the version if it was there.
    pub fn delete(&mut self, resource: Resource, key: &Key, history: usize) -> Option<u64> {
        let before = self.shelf(resource).objects.remove(key)?;
        self.version += 1;
        let version = self.version;
        self.shelf(resource).remember(Change { version, before: Some(before), now: None }, history);
        Some(version)
    }

    /// Something not served here changed: the version grows.
    pub fn elsewhere(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    pub fn get(&self, resource: Resource, key: &Key) -> Option<Arc<Stored>> {
        self.shelves.get(&resource)?.objects.get(key).cloned()
    }

    /// Everything of a resource, in order.
    pub fn all(&self, resource: Resource) -> Vec<Arc<Stored>> {
        self.shelves.get(&resource).map(|shelf| shelf.objects.values().cloned().collect()).unwrap_or_default()
    }

    /// Everything of a resource as it was at a version, not newer than the current one.
    pub fn all_at(&self, resource: Resource, version: u64) -> Result<Vec<Arc<Stored>>, TooOld> {
        let Some(shelf) = self.shelves.get(&resource) else { return Ok(Vec::new()) };
        if version < shelf.forgotten {
            return Err(TooOld(shelf.forgotten));
        }
        let mut objects = shelf.objects.clone();
        for change in shelf.changes.iter().rev().take_while(|change| change.version > version) {
            match (&change.before, &change.now) {
                (Some(before), _) => objects.insert(before.key.clone(), Arc::clone(before)),
                (None, Some(now)) => objects.remove(&now.key),
                (None, None) => None,
            };
        }
        Ok(objects.into_values().collect())
    }

    /// What changed after `version`.
    pub fn changes(&self, resource: Resource, version: u64) -> Result<Vec<Change>, TooOld> {
        let Some(shelf) = self.shelves.get(&resource) else { return Ok(Vec::new()) };
        if version < shelf.forgotten {
            return Err(TooOld(shelf.forgotten));
        }
        let first = shelf.changes.partition_point(|change| change.version <= version);
        Ok(shelf.changes.iter().skip(first).cloned().collect())
    }

    /// Forgets all changes so far, and all lists half read.
    pub fn compact(&mut self) {
        let version = self.version;
        for shelf in self.shelves.values_mut() {
            shelf.changes.clear();
            shelf.forgotten = version;
        }
        self.snapshots.clear();
    }

    /// Keeps a list for whoever comes for its next page.
    pub fn keep(&mut self, snapshot: Snapshot) -> u64 {
        self.next_snapshot += 1;
        self.snapshots.insert(self.next_snapshot, snapshot);
        self.next_snapshot
    }

    pub fn snapshot(&self, id: u64) -> Option<Snapshot> {
        self.snapshots.get(&id).cloned()
    }

    /// Forgets lists taken before `oldest`.
    pub fn expire(&mut self, oldest: Instant) {
        self.snapshots.retain(|_, snapshot| snapshot.taken >= oldest);
    }
}

impl Shelf {
    fn remember(&mut self, change: Change, history: usize) {
        self.changes.push_back(change);
        while self.changes.len() > history {
            if let Some(oldest) = self.changes.pop_front() {
                self.forgotten = oldest.version;
            }
        }
    }
}
