// SPDX-License-Identifier: Apache-2.0
//! What can go wrong.

use std::time::Instant;

use super::super::{Ending, Fault, Resource, Scope, Verb};
use super::*;

/// curl's exit statuses.
const REFUSED: Option<i32> = Some(7);
const PARTIAL: Option<i32> = Some(18);
const TIMEOUT: Option<i32> = Some(28);
const TORN: [Option<i32>; 2] = [PARTIAL, Some(56)];

fn exit(command: &mut Command) -> Result<Option<i32>> {
    Ok(output(command)?.status.code())
}

#[test]
fn it_goes_down_and_comes_back_on_the_same_port() -> Result<()> {
    let mut scene = Scene::with_pods(2)?;
    let address = scene.server.address();
    let mut events = scene.watch("/api/v1/pods?watch=1&resourceVersion=100002")?;
    scene.server.wait_until("a watch", SOON, |asked| asked.iter().any(|request| request.status.is_some()))?;
    scene.server.stop();
    assert!(TORN.contains(&events.end()?));
    assert_eq!(exit(&mut scene.curl(PODS, Some(TOKEN)))?, REFUSED);
    scene.server.restore(7);
    scene.server.put(pod(9));
    scene.server.listen()?;
    assert_eq!(scene.server.address(), address);
    let list = scene.get(PODS)?;
    assert_eq!(
        (names(&list), &list["metadata"]["resourceVersion"]),
        (vec!["pod-009".into()], &Value::from("8"))
    );
    Ok(())
}

#[test]
fn a_black_hole_swallows_and_lets_go() -> Result<()> {
    let scene = Scene::with_pods(1)?;
    let mut events = scene.watch("/api/v1/pods?watch=1")?;
    events.expect("ADDED", "pod-000")?;
    scene.server.black_hole(true);
    scene.server.put(pod(1));
    events.silent()?;
    assert_eq!(exit(scene.curl(PODS, Some(TOKEN)).args(["--max-time", "0.5"]))?, TIMEOUT);
    scene.server.black_hole(false);
    events.expect("ADDED", "pod-001")?;
    assert_eq!(names(&scene.get(PODS)?).len(), 2);
    Ok(())
}

#[test]
fn faults_befall_what_they_are_meant_for() -> Result<()> {
    let scene = Scene::with_pods(3)?;
    let fail = |fault| scene.server.fail(Scope::of(Resource::Pods), fault);
    fail(Fault::bad_gateway());
    let (code, body) = scene.ask(PODS)?;
    assert!(code == 502 && body.as_str().is_some_and(|body| body.contains("<html>")), "{code} {body}");
    assert_eq!(scene.ask("/api/v1/nodes")?.0, 200);
    fail(Fault::too_many_requests());
    assert_eq!(scene.ask(PODS)?.0, 429);
    fail(Fault::Silence);
    assert_eq!(exit(scene.curl(PODS, Some(TOKEN)).args(["--max-time", "0.5"]))?, TIMEOUT);
    fail(Fault::Cut { after: 5000, ending: Ending::Clean });
    let (code, body) = scene.ask(PODS)?;
    assert_eq!((code, body.as_str().map(str::len)), (200, Some(5000)), "whole for HTTP, not for JSON");
    fail(Fault::Cut { after: 5000, ending: Ending::Abrupt });
    assert!(TORN.contains(&exit(&mut scene.curl(PODS, Some(TOKEN)))?));
    let slow =
        Fault::Slow { before: Duration::from_millis(300), piece: 5000, pause: Duration::from_millis(50) };
    fail(slow);
    let begin = Instant::now();
    assert_eq!(names(&scene.get(PODS)?).len(), 3);
    assert!(begin.elapsed() > Duration::from_millis(500), "{:?}", begin.elapsed());
    scene.server.mend();
    assert_eq!(scene.ask(PODS)?.0, 200);
    Ok(())
}

#[test]
fn watches_get_garbage_and_ends() -> Result<()> {
    let scene = Scene::with_pods(1)?;
    scene.server.fail(Scope::with(Verb::Watch), Fault::Garbage("}{".to_owned()));
    let mut events = scene.watch("/api/v1/pods?watch=1")?;
    assert_eq!(events.0.line(SOON)?, "}{");
    scene.server.mend();
    let mut events = scene.watch("/api/v1/pods?watch=1")?;
    events.expect("ADDED", "pod-000")?;
    scene.server.send_line(Some(Resource::Nodes), "not for pods");
    scene.server.send_line(Some(Resource::Pods), "{\"type\":\"ADDED\"");
    assert_eq!(events.0.line(SOON)?, "{\"type\":\"ADDED\"");
    scene.server.end_watches(None);
    assert_eq!(events.end()?, Some(0));
    let mut events = scene.watch("/api/v1/pods?watch=1")?;
    events.expect("ADDED", "pod-000")?;
    scene.server.break_watches(Some(Resource::Pods));
    assert!(TORN.contains(&events.end()?));
    Ok(())
}

#[test]
fn without_tls_too() -> Result<()> {
    let server = super::super::ApiServer::start_plain()?;
    let kubeconfig = server.kubeconfig_with_token_file("first")?;
    let text = std::fs::read_to_string(kubeconfig.path())?;
    assert!(text.contains(&server.url()) && !text.contains("first") && !text.contains("authority"), "{text}");
    let token = || std::fs::read_to_string(kubeconfig.service_account().join("token"));
    assert_eq!(token()?, "first");
    kubeconfig.rotate(TOKEN)?;
    let list = crate::process::run(Command::new("curl").args([
        "-sS",
        "-H",
        &format!("Authorization: Bearer {}", token()?),
        &format!("{}{PODS}", server.url()),
    ]))?;
    assert!(list.contains("PodList"), "{list}");
    Ok(())
}
