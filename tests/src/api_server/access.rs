// SPDX-License-Identifier: Apache-2.0
//! Bearer tokens, and what they may do.

use std::collections::{BTreeSet, HashMap};

use super::resource::{Resource, Verb};

/// What a token may do: verbs on resources, at the scope of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Role(BTreeSet<(Resource, Verb)>);

impl Role {
    /// Get, list and watch on all four resources: what the product asks for, and more.
    pub fn reader() -> Self {
        let verbs = [Verb::Get, Verb::List, Verb::Watch];
        Role(Resource::ALL.into_iter().flat_map(|resource| verbs.map(|verb| (resource, verb))).collect())
    }

    /// The same without any right to one resource.
    pub fn without(mut self, resource: Resource) -> Self {
        self.0.retain(|(granted, _)| *granted != resource);
        self
    }

    /// The same without one verb on one resource.
    pub fn without_verb(mut self, resource: Resource, verb: Verb) -> Self {
        self.0.remove(&(resource, verb));
        self
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub name: String,
    role: Role,
}

impl User {
    /// Whoever does not say.
    fn anonymous() -> Self {
        User { name: "system:anonymous".to_owned(), role: Role::default() }
    }

    pub fn may(&self, resource: Resource, verb: Verb) -> bool {
        self.role.0.contains(&(resource, verb))
    }

    /// Versions and health are everybody's, the list of resources is for whoever has a token.
    pub fn may_see(&self, path: &str) -> bool {
        self.name != "system:anonymous" || matches!(path, "/version" | "/readyz" | "/livez" | "/healthz")
    }
}

/// All tokens.
#[derive(Debug, Default)]
pub(super) struct Access {
    tokens: HashMap<String, Role>,
}

impl Access {
    pub fn grant(&mut self, token: &str, role: Role) {
        self.tokens.insert(token.to_owned(), role);
    }

    pub fn revoke(&mut self, token: &str) {
        self.tokens.remove(token);
    }

    /// Who sends this `Authorization` header; `None` is a stranger: 401.
    pub fn user(&self, authorization: Option<&str>) -> Option<User> {
        let Some(authorization) = authorization else { return Some(User::anonymous()) };
        let (scheme, token) = authorization.split_once(' ')?;
        let role = self.tokens.get(token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer"))?;
        let name = "system:serviceaccount:monitoring:flowgauge".to_owned();
        Some(User { name, role: role.clone() })
    }
}
