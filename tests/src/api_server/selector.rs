// SPDX-License-Identifier: Apache-2.0
//! Label and field selectors.

use super::resource::Resource;
use super::status::Status;
use super::store::Stored;

/// What a request wants to see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selector {
    namespace: Option<String>,
    fields: Vec<(&'static str, bool, String)>,
    labels: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    Is(String, bool, String),
    In(String, bool, Vec<String>),
    Exists(String, bool),
}

impl Selector {
    /// Only objects of this namespace.
    pub fn within(&mut self, namespace: Option<&str>) {
        self.namespace = namespace.map(str::to_owned);
    }

    /// Whether it selects by anything but the namespace.
    pub fn is_narrow(&self) -> bool {
        !self.fields.is_empty() || !self.labels.is_empty()
    }

    /// Adds `spec.nodeName=a,status.phase!=Failed`.
    pub fn fields(&mut self, resource: Resource, text: &str) -> Result<(), Status> {
        for term in text.split(',').filter(|term| !term.is_empty()) {
            let (field, equal, value) = comparison(term)
                .ok_or_else(|| Status::bad_request(format!("invalid field selector: {term:?}")))?;
            let known = resource.selectable().iter().find(|(name, _)| *name == field);
            let (name, _) =
                known.ok_or_else(|| Status::bad_request(format!("field label not supported: {field}")))?;
            self.fields.push((name, equal, value.to_owned()));
        }
        Ok(())
    }

    /// Adds `app=web,tier!=db,zone in (a,b),!legacy`.
    pub fn labels(&mut self, text: &str) -> Result<(), Status> {
        for term in terms(text) {
            let requirement = requirement(term)
                .ok_or_else(|| Status::bad_request(format!("unable to parse requirement: {term:?}")))?;
            self.labels.push(requirement);
        }
        Ok(())
    }

    pub fn matches(&self, object: &Stored) -> bool {
        let label = |key: &str| object.labels.get(key).map(String::as_str);
        self.namespace.as_ref().is_none_or(|namespace| *namespace == object.key.namespace)
            && self.fields.iter().all(|(field, equal, value)| {
                (object.fields.get(field).map_or("", String::as_str) == value.as_str()) == *equal
            })
            && self.labels.iter().all(|requirement| match requirement {
                Requirement::Is(key, equal, value) => (label(key) == Some(value)) == *equal,
                Requirement::In(key, within, values) => {
                    label(key).is_some_and(|label| values.iter().any(|value| value == label)) == *within
                }
                Requirement::Exists(key, there) => label(key).is_some() == *there,
            })
    }
}

fn comparison(term: &str) -> Option<(&str, bool, &str)> {
    term.split_once("!=")
        .map(|(key, value)| (key, false, value))
        .or_else(|| term.split_once("==").map(|(key, value)| (key, true, value)))
        .or_else(|| term.split_once('=').map(|(key, value)| (key, true, value)))
        .map(|(key, equal, value)| (key.trim(), equal, value.trim()))
}

fn requirement(term: &str) -> Option<Requirement> {
    if let Some((key, equal, value)) = comparison(term) {
        return Some(Requirement::Is(key.to_owned(), equal, value.to_owned()));
    }
    if let Some(list) = term.strip_suffix(')') {
        let (head, values) = list.split_once('(')?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        let (key, word) = head.trim().split_once(' ')?;
        let within = match word.trim() {
            "in" => true,
            "notin" => false,
            _ => return None,
        };
        return Some(Requirement::In(key.to_owned(), within, values));
    }
    let (key, there) = term.strip_prefix('!').map_or((term, true), |key| (key, false));
    (!key.is_empty() && !key.contains([' ', '('])).then(|| Requirement::Exists(key.to_owned(), there))
}

/// Splits at commas outside of parentheses.
fn terms(text: &str) -> Vec<&str> {
    let mut depth = 0usize;
    let split = text.split(|letter| {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    });
    split.map(str::trim).filter(|term| !term.is_empty()).collect()
}
