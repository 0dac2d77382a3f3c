// SPDX-License-Identifier: Apache-2.0
//! Watches.

use super::super::{Gone, Resource, StreamingLists};
use super::*;

const STREAM: &str =
    "/api/v1/pods?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";

fn from(version: u64) -> String {
    format!("/api/v1/pods?watch=1&resourceVersion={version}")
}

#[test]
fn changes_come_in_order() -> Result<()> {
    let scene = Scene::with_pods(1)?;
    let start = scene.server.version();
    let added = scene.server.put(pod(1));
    let mut events = scene.watch(&from(start))?;
    assert_eq!(events.expect("ADDED", "pod-001")?, added);
    let modified = scene.server.put(pod(0));
    assert_eq!(events.expect("MODIFIED", "pod-000")?, modified);
    let deleted = scene.server.delete(pod(0))?;
    assert_eq!(events.expect("DELETED", "pod-000")?, deleted, "with the version of the deletion");
    scene.server.put(Node::new("a", &[], "z", "r"));
    events.silent()
}

#[test]
fn without_a_version_everything_there_comes_first() -> Result<()> {
    let scene = Scene::with_pods(2)?;
    for version in ["", "&resourceVersion=0"] {
        let mut events = scene.watch(&format!("/api/v1/pods?watch=true{version}"))?;
        events.expect("ADDED", "pod-000")?;
        events.expect("ADDED", "pod-001")?;
        events.silent()?;
    }
    Ok(())
}

#[test]
fn leaving_the_selector_is_a_deletion() -> Result<()> {
    let scene = Scene::with_pods(1)?;
    let mut events = scene.watch("/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Da")?;
    events.expect("ADDED", "pod-000")?;
    let mut moved = pod(0);
    moved.node = "b".to_owned();
    let version = scene.server.put(moved);
    assert_eq!(events.expect("DELETED", "pod-000")?, version);
    scene.server.put(pod(0));
    events.expect("ADDED", "pod-000").map(drop)
}

#[test]
fn bookmarks_tell_the_version() -> Result<()> {
    let scene = Scene::with_pods(1)?;
    let start = scene.server.version();
    scene.server.behave(|behaviour| behaviour.bookmarks_every = Some(Duration::from_millis(300)));
    let mut without = scene.watch(&from(start))?;
    let mut with = scene.watch(&format!("{}&allowWatchBookmarks=true", from(start)))?;
    let elsewhere = scene.server.change_elsewhere();
    while with.expect("BOOKMARK", "")? != elsewhere {}
    without.silent()?;
    // The end of a watch has one too, and is an orderly one.
    let mut short = scene.watch(&format!("{}&allowWatchBookmarks=true&timeoutSeconds=1", from(start)))?;
    assert_eq!(short.end()?, Some(0));
    short.expect("BOOKMARK", "").map(drop)
}

#[test]
fn too_old_a_version_is_gone() -> Result<()> {
    let scene = Scene::with_pods(3)?;
    let start = scene.server.version();
    scene.server.behave(|behaviour| behaviour.history = 2);
    scene.server.put(pod(3));
    scene.server.put(pod(4));
    scene.watch(&from(start))?.expect("ADDED", "pod-003")?;
    scene.server.put(pod(5));
    let mut late = scene.watch(&from(start))?;
    let event = late.line()?;
    assert_eq!((event["type"].as_str(), event["object"]["code"].as_u64()), (Some("ERROR"), Some(410)));
    assert_eq!(late.end()?, Some(0));
    scene.server.behave(|behaviour| behaviour.gone = Gone::Status);
    let (code, status) = scene.ask(&from(start))?;
    let message = format!("too old resource version: {start} ({})", start + 1);
    assert_eq!((code, status["message"].as_str()), (410, Some(message.as_str())));
    Ok(())
}

#[test]
fn a_version_to_come_is_waited_for_in_silence() -> Result<()> {
    let scene = Scene::with_pods(1)?;
    scene.server.behave(|behaviour| behaviour.bookmarks_every = Some(Duration::from_millis(50)));
    let mut events =
        scene.watch(&format!("{}&allowWatchBookmarks=true", from(scene.server.version() + 2)))?;
    scene.server.put(pod(1));
    scene.server.put(pod(2));
    scene.server.put(pod(3));
    assert_eq!(events.next()?.1, "pod-003", "what is not newer than the version asked for is known");
    Ok(())
}

#[test]
fn streaming_lists_end_in_a_marked_bookmark() -> Result<()> {
    let scene = Scene::with_pods(2)?;
    let mut events = scene.watch(STREAM)?;
    events.expect("ADDED", "pod-000")?;
    events.expect("ADDED", "pod-001")?;
    let mark = events.line()?;
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(mark["object"]["metadata"]["resourceVersion"], scene.server.version().to_string());
    scene.server.delete(pod(0))?;
    events.expect("DELETED", "pod-000")?;
    assert_eq!(scene.ask("/api/v1/pods?watch=1&sendInitialEvents=true")?.0, 422, "without a match");
    Ok(())
}

#[test]
fn older_servers_refuse_or_ignore_streaming_lists() -> Result<()> {
    let scene = Scene::with_pods(1)?;
    let serve = |lists| scene.server.behave(|behaviour| behaviour.streaming_lists = lists);
    for (lists, field) in [
        (StreamingLists::Refused, "sendInitialEvents"),
        (StreamingLists::RefusedByMatch, "resourceVersionMatch"),
    ] {
        serve(lists);
        let (code, status) = scene.ask(STREAM)?;
        assert_eq!((code, &status["details"]["causes"][0]["field"]), (422, &Value::from(field)));
    }
    serve(StreamingLists::Ignored);
    let mut events = scene.watch(STREAM)?;
    events.expect("ADDED", "pod-000")?;
    events.silent()
}

#[test]
fn open_watches_are_known() -> Result<()> {
    let scene = Scene::with_pods(1)?;
    let events = scene.watch(&from(scene.server.version()))?;
    scene
        .server
        .wait_until("one watch", SOON, |asked| asked.iter().any(|request| request.status == Some(200)))?;
    assert_eq!(scene.server.open_watches(Resource::Pods), 1);
    drop(events);
    scene.server.wait_until("no watch", SOON, |asked| asked.iter().all(|request| !request.open))
}
