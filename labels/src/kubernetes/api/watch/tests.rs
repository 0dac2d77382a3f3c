// SPDX-License-Identifier: Apache-2.0

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;

use super::*;
use crate::kubernetes::api::testing::*;
use crate::kubernetes::api::timing::Timing;
use crate::kubernetes::objects::Pod;

/// A running watch of pods.
pub(super) struct Running {
    pub sink: Arc<Recorder>,
    pub task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn watch(server: &Server) -> Running {
    watch_with(server, fast())
}

pub(super) fn watch_with(server: &Server, timing: Timing) -> Running {
    let sink = Arc::<Recorder>::default();
    let mut watch =
        Watch::<Pod>::new(server.access(timing), Arc::clone(&sink) as Arc<dyn Watched<Pod>>, "pods", None);
    Running { sink, task: tokio::spawn(async move { watch.run().await }) }
}

fn gone() -> Step {
    event("ERROR", &status(410, "too old resource version: 7 (9)"))
}

#[tokio::test]
async fn lists_as_a_stream_and_follows() {
    let server = Server::start(|_| {
        let mut steps = stream(&["a", "b"], 7);
        steps.pop();
        steps.extend([
            added("c", 8),
            event("MODIFIED", &object("a", 9)),
            bookmark(10),
            event("DELETED", &object("b", 11)),
            Step::Hold,
        ]);
        (200, steps)
    });
    let running = watch(&server);
    running.sink.told_exactly(&["begin", "+a", "+b", "end", "up", "=c", "=a", "-b"]).await;
    let asked = &server.asked()[0];
    assert_eq!((server.asked().len(), asked.path.as_str()), (1, "/api/v1/pods"));
    for parameter in ["watch=1", "sendInitialEvents=true", "resourceVersionMatch=NotOlderThan"] {
        assert!(asked.has(parameter), "{}", asked.query);
    }
    assert!(asked.has("resourceVersion=0") && asked.has("allowWatchBookmarks=true"), "{}", asked.query);
    assert_eq!(asked.token, "secret");
    assert_eq!(asked.agent, format!("flowgauge/{}", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn asks_for_one_nodes_pods() {
    let server = Server::start(|_| (200, stream(&[], 1)));
    let sink = Arc::<Recorder>::default();
    let mut watch = Watch::<Pod>::new(server.access(fast()), sink.clone(), "pods", Some("node a&b"));
    let task = tokio::spawn(async move { watch.run().await });
    sink.told_exactly(&["begin", "end", "up"]).await;
    assert!(server.asked()[0].has("fieldSelector=spec.nodeName%3Dnode%20a%26b"), "{:?}", server.asked());
    task.abort();
}

#[tokio::test]
async fn pods_deleted_while_they_are_listed() {
    let server = Server::start(|_| {
        let deleted = |name| event("DELETED", &object(name, 5));
        let steps = vec![
            added("a", 1),
            added("b", 2),
            deleted("a"),
            deleted("b"),
            added("b", 6),
            mark(7),
            Step::Hold,
        ];
        (200, steps)
    });
    watch(&server).sink.told_exactly(&["begin", "+a", "+b", "+b", "end", "-a", "up"]).await;
}

#[tokio::test]
async fn lists_in_pages_where_streams_are_refused() {
    for code in [422, 400] {
        let server = Server::start(move |asked| match asked.kind() {
            "stream" => refuse(code, "sendInitialEvents is forbidden"),
            "list" if asked.has("continue=next%2F1") => page(&["c"], 7, ""),
            "list" if asked.has("resourceVersion=0") => page(&["a", "b"], 7, "next/1"),
            "watch" if asked.has("resourceVersion=7") && asked.earlier == 0 => {
                (200, vec![added("d", 8), Step::Sleep(30), gone()])
            }
            "watch" => hold(),
            _ => refuse(500, "unexpected"),
        });
        let running = watch(&server);
        let list = ["begin", "+a", "+b", "+c", "end"];
        let told = [&list[..], &["up", "=d"], &list[..]].concat();
        running.sink.told_exactly(&told).await;
        // What the server does not have is asked for once.
        assert_eq!((server.count("stream"), server.count("list")), (1, 4), "{code}");
        assert!(server.asked().iter().filter(|a| a.kind() == "list").all(|a| a.has("limit=500")));
    }
}

#[tokio::test]
async fn lists_in_pages_where_streams_are_not_known() {
    // Such a server takes the request for a watch from any version.
    let server = Server::start(|asked| match asked.kind() {
        "stream" => (200, vec![added("a", 5), added("b", 6), Step::Hold]),
        "list" => page(&["a", "b"], 7, ""),
        _ => hold(),
    });
    let running = watch_with(&server, Timing { mark: Duration::from_millis(100), ..fast() });
    running.sink.told_exactly(&["begin", "+a", "+b", "begin", "+a", "+b", "end", "up"]).await;
}

#[tokio::test]
async fn a_busy_server_that_knows_no_streams() {
    let server = Server::start(|asked| match asked.kind() {
        "stream" => (200, (0..500).flat_map(|n| [added("a", n), Step::Sleep(20)]).collect()),
        "list" => page(&["b"], 700, ""),
        _ => hold(),
    });
    let timing = Timing { stream: Duration::from_millis(300), ..fast() };
    let running = watch_with(&server, timing);
    running
        .sink
        .wait("the list", |told| told.ends_with(&["begin", "+b", "end", "up"].map(str::to_owned)))
        .await;
}

#[tokio::test]
async fn lists_anew_when_the_history_is_gone() {
    // Once as an event, once as the answer's status.
    let server = Server::start(|asked| match (asked.kind(), asked.earlier) {
        ("stream", 0) => (200, vec![added("a", 7), mark(7), Step::Sleep(30), gone()]),
        ("stream", 1) => (200, vec![added("b", 9), mark(9), Step::Sleep(30)]),
        ("stream", _) => (200, stream(&["c"], 12)),
        _ => refuse(410, "too old"),
    });
    let running = watch_with(&server, Timing { stable: Duration::ZERO, ..fast() });
    let lists = ["begin", "+a", "end", "up", "begin", "+b", "end", "begin", "+c", "end"];
    running.sink.told_exactly(&lists).await;
    assert!(server.asked()[2].has("resourceVersion=9"));
}

#[tokio::test]
async fn a_list_whose_pages_expire_starts_over() {
    let server = Server::start(|asked| match asked.kind() {
        "stream" => refuse(422, "no"),
        "list" if asked.has("continue=x") && asked.earlier == 1 => {
            refuse(410, "The provided continue parameter is too old")
        }
        "list" if asked.has("continue=x") => page(&["b"], 7, ""),
        "list" => page(&["a"], 7, "x"),
        _ => hold(),
    });
    let running = watch(&server);
    running.sink.wait("the list", |told| told.last().is_some_and(|line| line == "up")).await;
    let told = running.sink.told();
    assert_eq!(told[..2], ["begin", "+a"]);
    assert!(told[2].starts_with("down: "), "{told:?}");
    assert_eq!(told[3..], ["begin", "+a", "+b", "end", "up"]);
}

#[tokio::test]
async fn goes_on_where_the_server_ended_the_watch() {
    let server = Server::start(|asked| match asked.kind() {
        "stream" => (200, vec![added("a", 7), mark(7), bookmark(9), Step::Sleep(40)]),
        "watch" if asked.earlier == 0 => (200, vec![added("b", 10), Step::Sleep(40)]),
        // Broken off, and in the middle of a line.
        "watch" if asked.earlier == 1 => {
            (200, vec![added("c", 11), Step::Send("{\"type\"".to_owned()), Step::Cut])
        }
        _ => hold(),
    });
    let running = watch(&server);
    running.sink.wait("the event", |told| told.last().is_some_and(|line| line == "=c")).await;
    while server.count("watch") < 3 {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(running.sink.told(), ["begin", "+a", "end", "up", "=b", "=c"]);
    let versions = ["resourceVersion=9", "resourceVersion=10", "resourceVersion=11"];
    for (asked, version) in server.asked()[1..].iter().zip(versions) {
        assert!(asked.has(version), "{}", asked.query);
    }
}

#[tokio::test]
async fn does_not_ask_without_pause_when_watches_end_at_once() {
    let server = Server::start(|asked| match asked.kind() {
        "stream" => (200, vec![added("a", 7), mark(7), Step::Sleep(30)]),
        _ => (200, vec![bookmark(8)]),
    });
    let running = watch_with(&server, Timing { brief: Duration::from_millis(25), ..fast() });
    sleep(Duration::from_millis(500)).await;
    assert!(server.asked().len() < 30, "{}", server.asked().len());
    assert!(running.sink.count("down: watching pods: http://127.0.0.1") > 0, "{:?}", running.sink.told());
}

#[tokio::test]
async fn garbage_costs_neither_names_nor_the_place() {
    let server = Server::start(|asked| match (asked.kind(), asked.earlier) {
        ("stream", 0) => (200, vec![added("a", 7), mark(7), Step::Sleep(30)]),
        ("stream", _) => (200, stream(&["c"], 20)),
        ("watch", 0) => {
            (200, vec![added("b", 8), Step::Send("<html>502 Bad Gateway</html>\n".to_owned()), Step::Hold])
        }
        _ => (200, vec![Step::Send("\u{0}\u{1}}{\n".to_owned()), Step::Hold]),
    });
    let running = watch(&server);
    running.sink.wait("the list", |told| told.iter().filter(|line| *line == "end").count() == 2).await;
    running.sink.wait("up", |told| told.last().is_some_and(|line| line == "up")).await;
    let told = running.sink.told();
    assert_eq!(told[..5], ["begin", "+a", "end", "up", "=b"]);
    assert!(
        told[5].ends_with("does not answer as a Kubernetes API server: `<html>502 Bad Gateway</html>`"),
        "{told:?}"
    );
    assert_eq!(told[told.len() - 4..], ["begin", "+c", "end", "up"]);
    // Tried from where it was, and only then anew.
    assert!(server.asked()[2..4].iter().all(|asked| asked.has("resourceVersion=8")), "{:?}", server.asked());
}

#[tokio::test]
async fn lists_that_end_early_count_for_nothing() {
    let server = Server::start(|asked| match (asked.kind(), asked.earlier) {
        ("stream", 0) => (200, vec![added("a", 1)]),
        ("stream", 1) => (200, vec![added("a", 1), Step::Cut]),
        ("stream", _) => refuse(422, "no"),
        ("list", 0) => {
            (200, vec![Step::Send(r#"{"metadata":{"resourceVersion":"7"},"items":[{"metadata":"#.to_owned())])
        }
        ("list", 1) => (200, vec![Step::Send(r#"{"items":[],"metadata":{}}"#.to_owned())]),
        ("list", 2) => (200, vec![Step::Send("<html>".to_owned())]),
        ("list", 3) => (200, vec![Step::Send(r#"{"items":["#.to_owned()), Step::Hold]),
        ("list", _) => page(&["a"], 7, ""),
        _ => hold(),
    });
    let running = watch_with(&server, Timing { piece: Duration::from_millis(200), ..fast() });
    running.sink.wait("up", |told| told.last().is_some_and(|line| line == "up")).await;
    assert_eq!(running.sink.count("end"), 1);
    assert_eq!(running.sink.count("down: listing pods: "), 6, "{:?}", running.sink.told());
}

#[tokio::test]
async fn one_odd_object_does_not_break_the_list() {
    let odd = json!({ "metadata": { "name": "odd", "resourceVersion": "8" }, "spec": "?" });
    let answer =
        json!({ "metadata": { "resourceVersion": "7" }, "items": [object("a", 1), odd, object("b", 2)] });
    let lines = [event("ADDED", &odd), event("ADDED", &object("c", 9))];
    let lines = lines.map(|step| match step {
        Step::Send(text) => text,
        _ => String::new(),
    });
    let server = Server::start(move |asked| match asked.kind() {
        "stream" => refuse(422, "no"),
        "list" => (200, vec![Step::Send(answer.to_string())]),
        _ => (200, vec![Step::Send(lines.concat()), Step::Hold]),
    });
    watch(&server).sink.told_exactly(&["begin", "+a", "+b", "end", "up", "=c"]).await;
}

#[tokio::test]
async fn slow_answers_are_waited_for() {
    let server = Server::start(|asked| match asked.kind() {
        "stream" => (200, vec![Step::Sleep(300), added("a", 7), Step::Sleep(100), mark(7), Step::Sleep(50)]),
        _ => (200, vec![Step::Sleep(300), added("b", 8), Step::Hold]),
    });
    watch(&server).sink.told_exactly(&["begin", "+a", "end", "up", "=b"]).await;
}

#[tokio::test]
async fn a_server_that_never_answers_is_told() {
    let server = Server::start(|_| (200, vec![Step::Hold]));
    let running = watch_with(&server, Timing { answer: Duration::from_millis(50), ..fast() });
    running.sink.wait("down", |told| !told.is_empty()).await;
    assert!(running.sink.told()[0].ends_with("within 50ms"), "{:?}", running.sink.told());
}
