// SPDX-License-Identifier: Apache-2.0

use std::fs;
use std::time::Duration;

use super::tests::{Running, watch, watch_with};
use super::*;
use crate::kubernetes::api::testing::*;
use crate::kubernetes::api::timing::Timing;
use crate::kubernetes::objects::Pod;

async fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "{what} did not happen");
        sleep(Duration::from_millis(2)).await;
    }
}

fn last_is(told: &[String], line: &str) -> bool {
    told.last().is_some_and(|last| last == line)
}

#[tokio::test]
async fn a_server_that_comes_later() {
    let server = Server::start(|_| hold());
    let (access, address) = (server.access(fast()), server.address);
    drop(server);
    let sink = Arc::<Recorder>::default();
    let mut watch = Watch::<Pod>::new(access, sink.clone(), "pods", None);
    let running = Running { sink, task: tokio::spawn(async move { watch.run().await }) };
    running.sink.wait("two failures", |told| told.len() == 2).await;
    let said = format!(
        "down: listing pods: cannot reach the API server at http://{address}: tcp connect error: \
         Connection refused (os error 111)"
    );
    assert_eq!(running.sink.told()[..2], [said.clone(), said]);
    let _server = Server::start_at(address, |_| (200, stream(&["a"], 7)));
    running.sink.wait("up", |told| last_is(told, "up")).await;
    assert!(running.sink.told().ends_with(&["begin", "+a", "end", "up"].map(str::to_owned)));
}

#[tokio::test]
async fn after_an_outage_the_server_may_have_other_data() {
    let server = Server::start(|_| (200, stream(&["old"], 1000)));
    let running = watch(&server);
    running.sink.told_exactly(&["begin", "+old", "end", "up"]).await;
    let address = server.address;
    drop(server);
    sleep(Duration::from_millis(300)).await;
    // As the real one does for a version that it has not come to: accepts, and is silent.
    let server = Server::start_at(address, |asked| match asked.kind() {
        "stream" => (200, stream(&["new"], 5)),
        _ => hold(),
    });
    running.sink.wait("the new list", |told| told.ends_with(&["+new", "end", "up"].map(str::to_owned))).await;
    let kinds: Vec<_> = server.asked().iter().map(Asked::kind).collect();
    assert_eq!(kinds, ["watch", "stream"]);
    assert!(running.sink.count("down: ") > 0);
}

#[tokio::test]
async fn after_a_short_interruption_it_goes_on() {
    let gate = Gate::default();
    let closed = Arc::clone(&gate);
    let server = Server::start(move |asked| match (asked.kind(), asked.earlier) {
        ("stream", 0) => (200, vec![added("a", 7), mark(7), Step::Gate(Arc::clone(&closed)), Step::Cut]),
        ("watch", 0..3) => (503, vec![Step::Send("busy".to_owned())]),
        ("watch", _) => (200, vec![added("b", 8), Step::Hold]),
        _ => refuse(500, "unexpected"),
    });
    let timing = Timing { outage: Duration::from_secs(60), ..fast() };
    let running = watch_with(&server, timing);
    running.sink.told_exactly(&["begin", "+a", "end", "up"]).await;
    open(&gate);
    running.sink.wait("up", |told| last_is(told, "up") && told.len() > 4).await;
    let told = running.sink.told();
    assert!(told[4].ends_with(" answers 503 Service Unavailable"), "{told:?}");
    assert_eq!(told[told.len() - 2..], ["=b", "up"]);
    assert_eq!(running.sink.count("begin"), 1);
}

fn silent() -> Timing {
    Timing { idle: Duration::from_millis(300), stable: Duration::from_millis(100), ..fast() }
}

#[tokio::test]
async fn silence_of_a_server_that_sends_bookmarks_is_suspect() {
    let server = Server::start(|asked| match (asked.kind(), asked.earlier) {
        ("stream", 0) => (200, vec![added("a", 7), mark(7), bookmark(8), Step::Hold]),
        _ => (200, stream(&["b"], 9)),
    });
    let running = watch_with(&server, silent());
    running.sink.told_exactly(&["begin", "+a", "end", "up", "begin", "+b", "end"]).await;
}

#[tokio::test]
async fn silence_of_others_is_only_asked_after() {
    let server = Server::start(|asked| match asked.kind() {
        "stream" => (200, stream(&["a"], 7)),
        _ => hold(),
    });
    let running = watch_with(&server, silent());
    wait_for("two more watches", || server.count("watch") == 2).await;
    assert!(server.asked()[1..].iter().all(|asked| asked.has("resourceVersion=7")));
    assert_eq!(running.sink.told(), ["begin", "+a", "end", "up"]);
}

#[tokio::test]
async fn an_event_from_before_the_list_is_of_other_data() {
    let server = Server::start(|asked| match (asked.kind(), asked.earlier) {
        ("stream", 0) => (200, vec![added("a", 70), mark(70), Step::Sleep(30)]),
        ("stream", _) => (200, stream(&["c"], 9)),
        _ => (200, vec![added("b", 8), Step::Hold]),
    });
    let running = watch(&server);
    running.sink.told_exactly(&["begin", "+a", "end", "up", "begin", "+c", "end"]).await;
}

#[tokio::test]
async fn a_rotated_token_is_read_again_when_the_old_one_is_refused() {
    let server = Server::start(|asked| match asked.token.as_str() {
        "new" => (200, stream(&["a"], 7)),
        _ => refuse(401, "Unauthorized"),
    });
    let dir = tempfile::tempdir().unwrap();
    let access = Arc::new(Access::new(server.connection(dir.path(), "old\n"), fast()));
    let sink = Arc::<Recorder>::default();
    let mut watch = Watch::<Pod>::new(access, sink.clone(), "pods", None);
    let running = Running { sink, task: tokio::spawn(async move { watch.run().await }) };
    running.sink.wait("refusal", |told| !told.is_empty()).await;
    assert!(running.sink.told()[0].contains("does not accept the credentials (401 Unauthorized)"));
    // Gone for a moment, as when it is replaced: the last one is used.
    let refused = server.asked().len();
    fs::remove_file(dir.path().join("token")).unwrap();
    wait_for("another attempt", || server.asked().len() > refused + 1).await;
    fs::write(dir.path().join("token"), "new\n").unwrap();
    running.sink.wait("up", |told| last_is(told, "up")).await;
    assert!(server.asked().iter().all(|asked| matches!(asked.token.as_str(), "old" | "new")));
}

#[tokio::test]
async fn a_rotated_token_is_used_before_the_old_one_is_refused() {
    let server = Server::start(|asked| match (asked.kind(), asked.token.as_str()) {
        ("stream", "old") => (200, vec![mark(7), Step::Sleep(60)]),
        ("watch", "new") => hold(),
        _ => (200, vec![Step::Sleep(60), bookmark(8), Step::Sleep(60)]),
    });
    let dir = tempfile::tempdir().unwrap();
    let timing = Timing { credentials: Duration::from_millis(10), ..fast() };
    let access = Arc::new(Access::new(server.connection(dir.path(), "old"), timing));
    let sink = Arc::<Recorder>::default();
    let mut watch = Watch::<Pod>::new(access, sink.clone(), "pods", None);
    let running = Running { sink, task: tokio::spawn(async move { watch.run().await }) };
    running.sink.told_exactly(&["begin", "end", "up"]).await;
    fs::write(dir.path().join("token"), "new").unwrap();
    wait_for("the new token", || server.asked().iter().any(|asked| asked.token == "new")).await;
    assert_eq!(running.sink.told(), ["begin", "end", "up"]);
}

#[tokio::test]
async fn is_asked_to_wait() {
    let server = Server::start(|_| (429, vec![Step::Send("later".to_owned())]));
    let running = watch(&server);
    running.sink.wait("refusals", |told| told.len() > 2).await;
    assert_eq!(running.sink.count("down: listing pods: "), running.sink.told().len());
    assert!(running.sink.told()[0].ends_with("answers 429 Too Many Requests"));
}
