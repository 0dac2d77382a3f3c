// SPDX-License-Identifier: Apache-2.0
//! What was asked of the stub.

use std::collections::HashMap;
use std::time::Instant;

use super::resource::{Resource, Verb};

/// One request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// When its head had arrived.
    pub at: Instant,
    /// Path, without the query.
    pub path: String,
    /// Query parameters.
    pub query: HashMap<String, String>,
    /// What it was for; absent for paths that are no resource's.
    pub target: Option<(Resource, Verb)>,
    /// `User-Agent`.
    pub user_agent: String,
    /// The token it came with, without `Bearer `.
    pub token: Option<String>,
    /// HTTP status of the answer; absent as long as there is none.
    pub status: Option<u16>,
    /// The body is being sent.
    pub open: bool,
}

impl Asked {
    /// Whether it was for this resource with this verb.
    pub fn is(&self, resource: Resource, verb: Verb) -> bool {
        self.target == Some((resource, verb))
    }

    /// A query parameter; empty if absent.
    pub fn parameter(&self, key: &str) -> &str {
        self.query.get(key).map_or("", String::as_str)
    }
}

/// All requests, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Log(Vec<Asked>);

impl Log {
    /// Notes a request and returns its number.
    pub fn note(&mut self, request: Asked) -> usize {
        self.0.push(request);
        self.0.len() - 1
    }

    pub fn update(&mut self, number: usize, change: impl FnOnce(&mut Asked)) {
        if let Some(request) = self.0.get_mut(number) {
            change(request);
        }
    }

    /// All but the first `skip`.
    pub fn since(&self, skip: usize) -> Vec<Asked> {
        self.0.get(skip..).unwrap_or_default().to_vec()
    }
}
