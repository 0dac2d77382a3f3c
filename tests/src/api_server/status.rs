// SPDX-License-Identifier: Apache-2.0
//! `Status` objects: how the API says no. Words and codes are kube-apiserver's own.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::resource::{Resource, Verb};

/// A refusal.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Status {
    pub code: StatusCode,
    pub body: Value,
}

impl Status {
    fn new(code: StatusCode, reason: &str, message: String) -> Self {
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code.as_u16(),
        });
        Status { code, body }
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.body[key] = value;
        self
    }

    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized".into())
    }

    pub fn forbidden(user: &str, verb: Verb, resource: Resource, namespace: Option<&str>) -> Self {
        let (verb, plural, group) = (verb.as_str(), resource.plural(), resource.group());
        let place = namespace.map_or_else(
            || "at the cluster scope".to_owned(),
            |namespace| format!("in the namespace {namespace:?}"),
        );
        let owner = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
        let message = format!(
            "{owner} is forbidden: User {user:?} cannot {verb} resource {plural:?} in API group {group:?} {place}"
        );
        let details = if group.is_empty() {
            json!({ "kind": plural })
        } else {
            json!({ "group": group, "kind": plural })
        };
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).with("details", details)
    }

    pub fn forbidden_path(user: &str, path: &str) -> Self {
        let message = format!("forbidden: User {user:?} cannot get path {path:?}");
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).with("details", json!({}))
    }

    pub fn no_such_path() -> Self {
        let message = "the server could not find the requested resource".to_owned();
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).with("details", json!({}))
    }

    pub fn no_such_object(resource: Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.plural());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
            .with("details", json!({ "name": name, "kind": resource.plural() }))
    }

    pub fn wrong_method() -> Self {
        let message = "the server does not allow this method on the requested resource".to_owned();
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).with("details", json!({}))
    }

    pub fn not_acceptable() -> Self {
        let message =
            "only the following media types are accepted: application/json, application/json;stream=watch";
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message.into())
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message.into())
    }

    /// A query parameter that the server does not take, or not together with another.
    pub fn forbidden_option(field: &str, message: &str) -> Self {
        let cause = format!("Forbidden: {message}");
        let whole = format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: {cause}");
        let causes = json!([{ "reason": "FieldValueForbidden", "message": cause, "field": field }]);
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", whole)
            .with("details", json!({ "group": "meta.k8s.io", "kind": "ListOptions", "causes": causes }))
    }

    /// A watch that asks for changes which are no longer known.
    pub fn too_old(asked: u64, oldest: u64) -> Self {
        Self::new(StatusCode::GONE, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// A list at a version which is no longer known.
    pub fn list_too_old() -> Self {
        let message = "The resourceVersion for the provided list is too old.";
        Self::new(StatusCode::GONE, "Expired", message.into())
    }

    /// A continue token whose snapshot is gone; `instead` goes on where that one was, with what there is now.
    pub fn continue_expired(instead: String) -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You can start \
            a new list without the continue parameter, or use the continue token in this response to retrieve the \
            remainder of the results. Continuing with the provided token results in an inconsistent list - objects \
            that were created, modified, or deleted between the time the first chunk was returned and now may show \
            up in the list.";
        Self::new(StatusCode::GONE, "Expired", message.into())
            .with("metadata", json!({ "continue": instead }))
    }

    /// A version that the server has not reached.
    pub fn too_large(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let causes = json!([{
            "reason": "ResourceVersionTooLarge", "message": "Too large resource version",
        }]);
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
            .with("details", json!({ "causes": causes, "retryAfterSeconds": 1 }))
    }
}
