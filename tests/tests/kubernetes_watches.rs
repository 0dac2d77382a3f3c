// SPDX-License-Identifier: Apache-2.0
//! How much the API server is asked for, and servers that are older or remember less.

use std::collections::BTreeSet;

use flowgauge_tests::api_server::{Asked, Ending, Fault, Gone, Resource, Scope, StreamingLists};
use flowgauge_tests::kubernetes::{Cluster, SOURCES, Talk, Told, paper_pod};
use flowgauge_tests::prelude::*;

/// An old server's silence is waited for, and some attempts.
const RECOVERY: Duration = Duration::from_secs(40);

/// Waits until five watches are open and there were so many requests in all, which are returned.
fn expect_requests(told: &Told, count: usize) -> Result<Vec<Asked>> {
    let wanted = format!("{count} requests, five watches open");
    told.api.wait_until(&wanted, RECOVERY, |asked| {
        asked.len() >= count && asked.iter().filter(|request| request.open).count() == 5
    })?;
    let asked = told.api.asked();
    ensure!(asked.len() == count, "{wanted}, not {}:\n{asked:#?}", asked.len());
    Ok(asked)
}

#[test]
fn the_server_is_asked_for_five_watches_and_nothing_else() -> Result<()> {
    let cluster = Cluster::new()?;
    let talk = Talk::new(&cluster, &cluster.a, &cluster.b)?;
    let often = Some(Duration::from_millis(300));
    let told = Told::new(&cluster, &talk, |api| api.behave(|server| server.bookmarks_every = often))?;
    told.wait(true, SOON)?;
    let first = expect_requests(&told, 5)?;
    let places: BTreeSet<_> =
        first.iter().map(|asked| (asked.path.as_str(), asked.parameter("fieldSelector"))).collect();
    let wanted = [
        ("/api/v1/nodes", ""),
        ("/api/v1/pods", ""),
        ("/api/v1/pods", "spec.nodeName=a"),
        ("/api/v1/services", ""),
        ("/apis/discovery.k8s.io/v1/endpointslices", ""),
    ];
    assert_eq!(places.into_iter().collect::<Vec<_>>(), wanted);
    for asked in &first {
        assert!(asked.user_agent.starts_with("flowgauge/"), "{asked:?}");
        assert_eq!(
            (asked.parameter("sendInitialEvents"), asked.parameter("allowWatchBookmarks")),
            ("true", "true")
        );
        let seconds: u64 = asked.parameter("timeoutSeconds").parse()?;
        assert!((300..=600).contains(&seconds), "nodes do not come back all at once: {seconds}");
    }
    // Watches that end in good order, or break, go on where they were; bookmarks say where that is.
    for round in 1..=4 {
        told.api.put(paper_pod(&format!("round-{round}")));
        told.wait_for_pods(2.0 + f64::from(round), SOON)?;
        let version = told.api.change_elsewhere();
        // Long enough to count as watches that worked, and for a bookmark.
        std::thread::sleep(Duration::from_millis(1500));
        let before = told.api.asked().len();
        if round < 4 {
            told.api.end_watches(None);
        } else {
            told.api.break_watches(None);
        }
        for asked in &expect_requests(&told, before + 5)?[before..] {
            assert_eq!(asked.parameter("sendInitialEvents"), "");
            assert_eq!(asked.parameter("resourceVersion"), version.to_string(), "{asked:?}");
        }
        talk.prove(&[&told.exporter], &Talk::named())?;
    }
    let metrics = told.exporter.scrape()?;
    for source in SOURCES {
        let selector = [("source", source)];
        assert_eq!(metrics.sum("flowgauge_label_source_up", &selector), 1.0);
        assert_eq!(metrics.sum("flowgauge_label_source_reload_failures_total", &selector), 0.0, "{source}");
    }
    assert_eq!((told.streams(), told.pages()), (5, 0));
    Ok(())
}

/// More than a page would have.
const MANY: usize = 520;

#[test]
fn servers_without_streaming_lists_are_read_in_pages() -> Result<()> {
    let cluster = Cluster::new()?;
    let talk = Talk::new(&cluster, &cluster.a, &cluster.b)?;
    let many: Vec<_> = (2..MANY).map(|number| paper_pod(&format!("many-{number}"))).collect();
    let told = |streaming_lists| {
        Told::new(&cluster, &talk, |api| {
            many.iter().for_each(|pod| {
                api.put(pod);
            });
            api.behave(|server| server.streaming_lists = streaming_lists);
        })
    };
    let (refused, by_match) = (told(StreamingLists::Refused)?, told(StreamingLists::RefusedByMatch)?);
    let ignored = told(StreamingLists::Ignored)?;
    let tolds = [&refused, &by_match, &ignored];
    for told in tolds {
        told.wait(true, RECOVERY)?;
        told.wait_for_pods(MANY as f64, SOON)?;
    }
    talk.prove(&tolds.map(|told| &*told.exporter), &Talk::named())?;
    for told in tolds {
        let asked = told.api.asked();
        assert_eq!((told.streams(), told.pages()), (5, 5), "{asked:#?}");
        // From what the server has in memory, which is whole; a server without that gives it in pages.
        let pages = asked.iter().filter(|asked| asked.parameter("limit") == "500");
        assert!(pages.clone().all(|asked| asked.parameter("resourceVersion") == "0"), "{asked:#?}");
        assert_eq!(pages.count(), 5);
        assert_eq!(Resource::ALL.map(|resource| told.api.open_watches(resource)), [2, 1, 1, 1]);
    }
    Ok(())
}

/// Each API server says something else that is none of its words, or says it slowly: names stay, bytes are counted, and
/// what happens next in the cluster is known.
#[test]
fn nonsense_changes_no_names() -> Result<()> {
    let cluster = Cluster::new()?;
    let talk = Talk::new(&cluster, &cluster.a, &cluster.b)?;
    let html = "<html><body>maintenance</body></html>".to_owned();
    let faults = [
        None,
        Some(Fault::Garbage(html.clone())),
        Some(Fault::Cut { after: 100, ending: Ending::Abrupt }),
        Some(Fault::Cut { after: 100, ending: Ending::Clean }),
        Some(Fault::too_many_requests()),
        Some(Fault::Slow { before: Duration::from_secs(1), piece: 4000, pause: Duration::from_millis(5) }),
    ];
    let tolds = faults.iter().map(|_| Told::new(&cluster, &talk, |_| {})).collect::<Result<Vec<_>>>()?;
    tolds.iter().try_for_each(|told| told.wait(true, SOON))?;
    for (fault, told) in faults.iter().zip(&tolds) {
        if let Some(fault) = fault {
            told.api.fail(Scope::ALL, fault.clone());
            told.api.close_connections();
        } else {
            // In the middle of watches that go well.
            told.api.send_line(None, &html);
            told.api.send_line(None, "{\"type\":\"ADDED\"");
        }
    }
    std::thread::sleep(Duration::from_millis(1500));
    let exporters: Vec<&Exporter> = tolds.iter().map(|told| &*told.exporter).collect();
    talk.prove(&exporters, &Talk::named())?;
    for (fault, told) in faults.iter().zip(&tolds) {
        // Slowness is no failure: it is stood, not waited for.
        if !matches!(fault, Some(Fault::Slow { .. })) {
            told.api.mend();
        }
        told.api.put(paper_pod("late"));
    }
    for (fault, told) in faults.iter().zip(&tolds) {
        told.wait(true, RECOVERY)
            .and_then(|()| told.wait_for_pods(3.0, SOON))
            .with_context(|| format!("{fault:?}"))?;
    }
    talk.prove(&exporters, &Talk::named())
}

#[test]
fn what_a_server_has_forgotten_is_listed_anew() -> Result<()> {
    let cluster = Cluster::new()?;
    let talk = Talk::new(&cluster, &cluster.a, &cluster.b)?;
    let mut tolds = [
        Told::new(&cluster, &talk, |api| api.behave(|server| server.gone = Gone::Event))?,
        Told::new(&cluster, &talk, |api| api.behave(|server| server.gone = Gone::Status))?,
    ];
    for told in &mut tolds {
        told.wait(true, SOON)?;
        told.api.put(paper_pod("goes"));
        told.wait_for_pods(3.0, SOON)?;
        told.api.stop();
        told.api.delete(paper_pod("goes"))?;
        told.api.put(paper_pod("comes"));
        told.api.put(paper_pod("comes-too"));
        for node in [&cluster.a, &cluster.b] {
            told.api.put(cluster.object_of(node));
        }
        told.api.compact();
        told.api.listen()?;
    }
    for told in &tolds {
        told.wait_for_pods(4.0, RECOVERY)?;
        told.wait(true, RECOVERY)?;
        // Each watch finds out once, and lists once.
        told.api.wait_until("all listed twice", RECOVERY, |asked| {
            asked.iter().filter(|asked| asked.parameter("sendInitialEvents") == "true").count() == 10
        })?;
        assert_eq!(told.pages(), 0);
    }
    talk.prove(&[&tolds[0].exporter, &tolds[1].exporter], &Talk::named())
}
