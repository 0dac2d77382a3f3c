// SPDX-License-Identifier: Apache-2.0
//! The API server is away, is another one, is slow, or talks nonsense: names stay, metrics go on, watches recover.

use std::time::Instant;

use flowgauge_tests::api_server::objects;
use flowgauge_tests::api_server::{Fault, Scope};
use flowgauge_tests::kubernetes::{Cluster, SOURCES, Talk, Told, paper_pod};
use flowgauge_tests::prelude::*;

/// What watches may take to recover: the longest pause between attempts after so short an outage, the pause in which
/// not all nodes list at once, and some time for a busy machine.
const RECOVERY: Duration = Duration::from_secs(35);

#[test]
fn it_starts_without_the_api_and_names_when_it_comes() -> Result<()> {
    let mut cluster = Cluster::new()?;
    let talk = Talk::new(&cluster, &cluster.a, &cluster.b)?;
    cluster.api.stop();
    let begin = Instant::now();
    let exporter = cluster.exporter(&cluster.a, &[])?;
    exporter.scrape()?;
    // The budget is 2 s on a machine of its own.
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(10), "the first metrics took {took:?}");
    eprintln!("first metrics without the API after {took:?}");
    // Nothing is lost for want of names, and the log says once what is wrong.
    talk.prove(&[&exporter], &[("server_workload", "unknown")])?;
    for source in SOURCES {
        exporter.wait_for_source(source, false, SOON)?;
    }
    let page = exporter.get("/", "text/html")?.body;
    assert!(page.contains("cannot reach the API server at"), "{page}");
    cluster.api.listen()?;
    exporter.wait_for_names(RECOVERY)?;
    talk.prove(&[&exporter], &Talk::named())?;
    let log = exporter.stop()?;
    let told = log.lines().filter(|line| line.contains("cannot reach the API") && line.contains("watch="));
    assert_eq!(told.count(), SOURCES.len(), "once for each watch:\n{log}");
    Ok(())
}

/// Four API servers go away in different ways, for more or for less than the 20 s after which they may be other ones.
#[test]
fn names_stay_and_bytes_count_while_the_api_is_away() -> Result<()> {
    let cluster = Cluster::new()?;
    let talk = Talk::new(&cluster, &cluster.a, &cluster.b)?;
    let told = || Told::new(&cluster, &talk, |_| {});
    let (mut refused, mut restored, swallowed, gateway) = (told()?, told()?, told()?, told()?);
    let all = [&refused, &restored, &swallowed, &gateway];
    for told in all {
        told.wait(true, SOON)?;
        assert_eq!((told.streams(), told.pages()), (5, 0));
    }
    talk.prove(&all.map(|told| &*told.exporter), &Talk::named())?;

    refused.api.stop();
    restored.api.stop();
    swallowed.api.black_hole(true);
    swallowed.api.close_connections();
    gateway.api.fail(Scope::ALL, Fault::bad_gateway());
    gateway.api.close_connections();
    let begin = Instant::now();
    for (told, why) in
        [(&refused, "cannot reach the API server"), (&restored, "cannot reach"), (&gateway, "answers 502")]
    {
        told.wait(false, SOON)?;
        let page = told.exporter.get("/", "text/html")?.body;
        assert!(page.contains(why) && page.contains("the last known 2 pods stay"), "{page}");
    }
    let all = [&refused, &restored, &swallowed, &gateway];
    talk.prove(&all.map(|told| &*told.exporter), &Talk::named())?;

    // A short absence: the watches go on where they were.
    refused.api.put(paper_pod("late"));
    refused.api.listen()?;
    assert!(begin.elapsed() < Duration::from_secs(18), "too slow a machine to tell short from long");
    refused.wait(true, RECOVERY)?;
    refused.wait_for_pods(3.0, SOON)?;
    assert_eq!((refused.streams(), refused.pages()), (5, 0), "nothing is listed again");

    swallowed.wait(false, RECOVERY)?;
    let all = [&refused, &restored, &swallowed, &gateway];
    talk.prove(&all.map(|told| &*told.exporter), &Talk::named())?;

    // A long absence: what comes back may be another server, at a lower version, with other pods at the same addresses.
    std::thread::sleep(Duration::from_secs(22).saturating_sub(begin.elapsed()));
    restored.api.restore(700);
    for node in [&cluster.a, &cluster.b] {
        restored.api.put(cluster.object_of(node));
    }
    restored.api.put(&talk.client.object);
    let mut other = objects::Pod::of_deployment("other", "till");
    other.node.clone_from(&cluster.b.name);
    other.addresses.clone_from(&talk.server.object.addresses);
    restored.api.put(other);
    restored.api.put(paper_pod("third"));
    restored.api.listen()?;
    swallowed.api.black_hole(false);
    gateway.api.mend();
    for told in [&restored, &swallowed, &gateway] {
        told.wait(true, RECOVERY)?;
    }
    restored.wait_for_pods(3.0, SOON)?;
    assert!(restored.streams() >= 10, "all is listed again");
    let renamed = [("client_workload", "front"), ("server_namespace", "other"), ("server_workload", "till")];
    talk.prove(&[&restored.exporter], &renamed)?;
    talk.prove(&[&swallowed.exporter, &gateway.exporter], &Talk::named())?;
    for told in [refused, restored, swallowed, gateway] {
        let log = told.exporter.stop()?;
        let warnings = log.lines().filter(|line| line.contains("level=warn") && line.contains("watch="));
        assert!(warnings.count() <= 2 * SOURCES.len(), "an outage is told, not each attempt:\n{log}");
    }
    Ok(())
}
