// SPDX-License-Identifier: Apache-2.0
//! Objects as a cluster has them: with all that a real one carries along and nobody here needs.

mod endpoints;
mod node;
mod pod;
mod service;

use std::collections::BTreeMap;
use std::io::Read;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

pub use endpoints::{Endpoint, EndpointSlice};
pub use node::Node;
pub use pod::{Container, Part, Pod};
pub use service::{Service, ServicePort};

use super::resource::Resource;

/// An object to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// What it is.
    pub resource: Resource,
    /// All of it but `kind` and `apiVersion`.
    pub json: Value,
}

impl Object {
    /// `metadata.namespace`; empty for nodes.
    pub fn namespace(&self) -> &str {
        self.text("namespace")
    }

    /// `metadata.name`
    pub fn name(&self) -> &str {
        self.text("name")
    }

    fn text(&self, key: &str) -> &str {
        self.json["metadata"][key].as_str().unwrap_or_default()
    }

    /// Replaces what is at a JSON pointer; what leads there must be there.
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        if let Some((parent, key)) = pointer.rsplit_once('/')
            && let Some(parent) = self.json.pointer_mut(parent)
        {
            parent[key] = value;
        }
        self
    }
}

/// Labels or annotations.
pub type Pairs = BTreeMap<String, String>;

/// A controller of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// `apiVersion`
    pub api_version: &'static str,
    /// `kind`
    pub kind: &'static str,
    /// `name`
    pub name: String,
}

impl Owner {
    /// As a member of `ownerReferences`.
    fn json(&self) -> Value {
        json!({
            "apiVersion": self.api_version, "kind": self.kind, "name": self.name, "uid": uid_of(&self.name),
            "controller": true, "blockOwnerDeletion": true,
        })
    }
}

/// A new random uid (RFC 9562, version 4).
pub fn uid() -> String {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    format_uid(bytes)
}

/// `count` random hexadecimal digits: 64 for a container, 32 for a static pod's hash.
pub fn hex(count: usize) -> String {
    let mut bytes = vec![0; count.div_ceil(2)];
    fill(&mut bytes);
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(count);
    text
}

/// `count` random letters as controllers append them to names (apimachinery's `rand.String`).
pub fn suffix(count: usize) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut bytes = vec![0; count];
    fill(&mut bytes);
    bytes.iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

fn fill(bytes: &mut [u8]) {
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(bytes));
    read.expect("/dev/urandom gives bytes on every Linux");
}

fn format_uid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// The uid of an object that is known by its name only: always the same.
fn uid_of(name: &str) -> String {
    let mut bytes = [0u8; 16];
    for (index, byte) in name.bytes().enumerate() {
        let at = index % 16;
        bytes[at] = bytes[at].wrapping_mul(31).wrapping_add(byte);
    }
    format_uid(bytes)
}

/// A time as the API writes it, so long ago.
fn ago(age: Duration) -> String {
    humantime::format_rfc3339_seconds(SystemTime::now() - age).to_string()
}

/// `metadata`, without what only some kinds have.
fn metadata(namespace: &str, name: &str, uid: &str, labels: &Pairs, annotations: &Pairs) -> Value {
    let mut metadata =
        json!({ "name": name, "uid": uid, "creationTimestamp": ago(Duration::from_secs(600)) });
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    if !labels.is_empty() {
        metadata["labels"] = json!(labels);
    }
    if !annotations.is_empty() {
        metadata["annotations"] = json!(annotations);
    }
    metadata
}

/// Adds `metadata.managedFields`: who set which field, which is most of an object's size.
fn with_managed_fields(resource: Resource, mut json: Value, managers: &[(&str, &[&str])]) -> Object {
    let entries: Vec<Value> = managers
        .iter()
        .map(|(manager, parts)| {
            let fields: Map<String, Value> = parts
                .iter()
                .filter_map(|part| Some((format!("f:{part}"), fields(json.get(part)?))))
                .collect();
            let mut entry = json!({
                "manager": manager, "operation": "Update", "apiVersion": resource.api_version(),
                "time": ago(Duration::from_secs(590)), "fieldsType": "FieldsV1", "fieldsV1": fields,
            });
            if parts.contains(&"status") {
                entry["subresource"] = json!("status");
            }
            entry
        })
        .collect();
    json["metadata"]["managedFields"] = json!(entries);
    Object { resource, json }
}

/// The set of fields of a value in the notation of FieldsV1.
fn fields(value: &Value) -> Value {
    let mut set = Map::new();
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                set.insert(format!("f:{key}"), fields(member));
            }
        }
        Value::Array(members) => {
            for member in members {
                let key = ["name", "type", "uid", "ip", "containerPort"].iter().find_map(|key| {
                    let value = member.get(key)?;
                    Some(format!("k:{{\"{key}\":{value}}}"))
                });
                let mut inner = fields(member);
                inner["."] = json!({});
                set.insert(key.unwrap_or_else(|| format!("v:{member}")), inner);
            }
        }
        _ => {}
    }
    Value::Object(set)
}
