// SPDX-License-Identifier: Apache-2.0
//! The events of a watch.

use std::collections::VecDeque;
use std::marker::PhantomData;

use tracing::debug;

use super::access::Answer;
use super::decode::Kind;
use super::failure::{Failure, one_line};
use super::scan::{Lines, TooLong};
use super::wire;

/// What a watch says, with the resource version to go on from.
pub(super) struct Event<T> {
    pub version: String,
    pub change: Change<T>,
}

pub(super) enum Change<T> {
    Added(T),
    Modified(T),
    Deleted(T),
    /// Nothing happened. `complete` ends the list at the beginning of a stream.
    Bookmark {
        complete: bool,
    },
    /// Something that is not known here, or an object that cannot be read.
    Other,
}

/// The answer to a watch request.
pub(super) struct Events<T> {
    answer: Answer,
    lines: Lines,
    /// Of the pieces that have come.
    decoded: VecDeque<Result<Event<T>, Failure>>,
    kind: PhantomData<fn() -> T>,
}

impl<T: Kind> Events<T> {
    pub(super) fn new(answer: Answer) -> Self {
        Events { answer, lines: Lines::default(), decoded: VecDeque::new(), kind: PhantomData }
    }

    /// The next event; none when the server has ended the watch. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<Option<Event<T>>, Failure> {
        loop {
            if let Some(event) = self.decoded.pop_front() {
                return event.map(Some);
            }
            let Some(piece) = self.answer.piece().await? else { return Ok(None) };
            let Self { lines, decoded, .. } = self;
            let cut = lines.push(&piece, |line| decoded.push_back(event(line)));
            if let Err(TooLong) = cut {
                decoded.push_back(Err(Failure::Garbage("an event is too long".to_owned())));
            }
        }
    }
}

/// Reads a line of a watch.
fn event<T: Kind>(line: &[u8]) -> Result<Event<T>, Failure> {
    let Ok(event) = serde_json::from_slice::<wire::Event<T::Wire>>(line) else { return odd_event::<T>(line) };
    let version = T::metadata(&event.object).resource_version.clone().unwrap_or_default();
    let named = !T::metadata(&event.object).name().is_empty();
    let change = match event.kind.as_str() {
        "ADDED" if named => Change::Added(T::slim(event.object)),
        "MODIFIED" if named => Change::Modified(T::slim(event.object)),
        "DELETED" if named => Change::Deleted(T::slim(event.object)),
        "BOOKMARK" => {
            let marks = T::metadata(&event.object).annotations.as_ref();
            let complete = marks.and_then(|marks| marks.initial_events_end.as_deref()) == Some("true");
            Change::Bookmark { complete }
        }
        "ERROR" => return odd_event::<T>(line),
        _ => Change::Other,
    };
    Ok(Event { version, change })
}

/// Reads a line that is an error, or has an object that is none.
fn odd_event<T: Kind>(line: &[u8]) -> Result<Event<T>, Failure> {
    if let Ok(event) = serde_json::from_slice::<wire::Event<wire::Status>>(line)
        && event.kind == "ERROR"
    {
        return Err(event.object.failure(500, None));
    }
    if let Ok(event) = serde_json::from_slice::<wire::Event<wire::Object>>(line) {
        debug!(resource = T::RESOURCE, name = event.object.metadata.name(), "an object cannot be read");
        let version = event.object.metadata.resource_version.unwrap_or_default();
        return Ok(Event { version, change: Change::Other });
    }
    match serde_json::from_slice::<wire::Status>(line) {
        Ok(status) if status.kind.as_deref() == Some("Status") => Err(status.failure(500, None)),
        _ => Err(Failure::Garbage(format!("`{}`", excerpt(line)))),
    }
}

/// The beginning of an answer that is not understood.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    one_line(&String::from_utf8_lossy(&bytes[..bytes.len().min(100)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::objects::Pod;

    fn read(line: &str) -> Result<Event<Pod>, Failure> {
        event(line.as_bytes())
    }

    #[test]
    fn bookmarks_and_their_mark() {
        let bookmark = |annotations: &str| {
            let line = format!(
                r#"{{"type":"BOOKMARK","object":{{"kind":"Pod","apiVersion":"v1","metadata":{{"resourceVersion":"7",
                "creationTimestamp":null{annotations}}},"spec":{{"containers":null}},"status":{{}}}}}}"#
            );
            let event = read(&line).unwrap();
            assert_eq!(event.version, "7");
            matches!(event.change, Change::Bookmark { complete: true })
        };
        assert!(!bookmark(""));
        assert!(!bookmark(r#","annotations":{}"#));
        assert!(bookmark(r#","annotations":{"k8s.io/initial-events-end":"true"}"#));
    }

    #[test]
    fn errors_are_failures() {
        let gone = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",
            "message":"too old resource version: 1 (9)","reason":"Expired","code":410}}"#;
        assert_eq!(read(gone).err(), Some(Failure::Gone));
        let bare = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","code":403}"#;
        assert!(matches!(read(bare), Err(Failure::Refused { code: 403, .. })));
        let odd = r#"{"type":"ERROR","object":{"kind":"Status","status":"Failure"}}"#;
        assert!(matches!(read(odd), Err(Failure::Refused { code: 500, .. })));
        for garbage in ["<html>", "{", "[]", "null", r#"{"type":"ADDED"}"#, r#"{"type":7,"object":{}}"#] {
            assert!(matches!(read(garbage), Err(Failure::Garbage(_))), "{garbage}");
        }
    }

    #[test]
    fn an_object_that_cannot_be_read_ends_nothing() {
        for object in [
            r#"{"metadata":{"name":"p","resourceVersion":"7"},"status":{"podIPs":"none"}}"#,
            r#"{"metadata":{"name":"p","resourceVersion":"7"},"spec":[]}"#,
            r#"{"metadata":{"resourceVersion":"7"}}"#,
        ] {
            let event = read(&format!(r#"{{"type":"MODIFIED","object":{object}}}"#)).unwrap();
            assert!(matches!(event.change, Change::Other), "{object}");
            assert_eq!(event.version, "7");
        }
        let unknown = r#"{"type":"RENAMED","object":{"metadata":{"name":"p","resourceVersion":"7"}}}"#;
        assert!(matches!(read(unknown).unwrap().change, Change::Other));
    }
}
