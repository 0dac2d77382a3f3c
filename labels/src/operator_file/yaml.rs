// SPDX-License-Identifier: Apache-2.0
//! Strict YAML: every fault is told by line and column, in an operator's words.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_saphyr::{Location, Spanned};

use crate::identity::MAX_LABEL_BYTES;

/// What is wrong with the text of a file, and where. Printed as `line:column: what`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Line, counted from 1; 0 when the fault has no place.
    pub line: u64,
    /// Column, counted from 1.
    pub column: u64,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.what),
            _ => write!(f, "{}:{}: {}", self.line, self.column, self.what),
        }
    }
}

impl Fault {
    /// At a place that the YAML library told.
    pub fn at(place: Location, what: impl Into<String>) -> Self {
        Fault { line: place.line(), column: place.column(), what: what.into() }
    }
}

/// Reads a whole file of one document. `nothing` is how an empty list is written.
///
/// # Errors
/// The first fault in the order of the file.
pub fn read<T: DeserializeOwned>(bytes: &[u8], nothing: &str) -> Result<T, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let good = &bytes[..e.valid_up_to()];
        let line_start = good.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        Fault {
            line: 1 + good.iter().filter(|b| **b == b'\n').count() as u64,
            column: 1 + (good.len() - line_start) as u64,
            what: "not UTF-8 text".into(),
        }
    })?;
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        return Err(Fault {
            line: 0,
            column: 0,
            what: format!("the file is empty; an empty list is `{nothing}`"),
        });
    }
    // The defaults stop at 250,000 nodes: some 40,000 entries, fewer than a file of the permitted size may hold.
    let options = serde_saphyr::options! {
        with_snippet: false,
        merge_keys: serde_saphyr::MergeKeyPolicy::Error,
        budget: serde_saphyr::budget! { max_events: 8_000_000, max_nodes: 8_000_000 },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| yaml_fault(&e))
}

/// The YAML library's message without its own way of telling the place, and in an operator's words.
fn yaml_fault(error: &serde_saphyr::Error) -> Fault {
    let mut what = error.to_string();
    let (line, column) = error.location().map_or((0, 0), |place| (place.line(), place.column()));
    if line != 0
        && let Some(at) = what.rfind(&format!(" at line {line}, column {column}"))
    {
        what.truncate(at);
    }
    for (theirs, ours) in [
        (", set DuplicateKeyPolicy in Options if acceptable", ""),
        ("; use from_str_multiple or from_str_multiple_with_options", "; only one is allowed"),
        ("; use Option<String>", ""),
        ("expected sequence start", "expected a list"),
        ("expected mapping start", "expected an entry with keys and values"),
        ("cannot deserialize null into string", "expected text, found nothing"),
        ("invalid i64", "expected a whole number"),
    ] {
        what = what.replace(theirs, ours);
    }
    Fault { line, column, what }
}

/// A text that may stand in a label; empty if it is not given.
///
/// # Errors
/// It may not.
pub(crate) fn label(key: &str, raw: Option<Spanned<String>>) -> Result<String, Fault> {
    let Some(raw) = raw else { return Ok(String::new()) };
    let Spanned { value, referenced, .. } = raw;
    if value.len() > MAX_LABEL_BYTES {
        let what = format!("`{key}` is {} bytes long; at most {MAX_LABEL_BYTES} are allowed", value.len());
        return Err(Fault::at(referenced, what));
    }
    if value.chars().any(char::is_control) {
        return Err(Fault::at(referenced, format!("`{key}` holds a control character: {value:?}")));
    }
    if value.trim() != value {
        return Err(Fault::at(referenced, format!("`{key}` begins or ends with white space: {value:?}")));
    }
    Ok(value)
}
