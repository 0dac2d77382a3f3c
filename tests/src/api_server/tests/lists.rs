// SPDX-License-Identifier: Apache-2.0
//! Lists.

use super::*;

#[test]
fn pages_show_one_version() -> Result<()> {
    let scene = Scene::with_pods(10)?;
    let first = scene.get("/api/v1/pods?limit=4")?;
    assert_eq!(
        (first["kind"].as_str(), first["metadata"]["remainingItemCount"].as_u64()),
        (Some("PodList"), Some(6))
    );
    assert!(first["items"][0].get("kind").is_none(), "members of a list say not what they are");
    // What happens between the pages is not seen in them.
    scene.server.delete(pod(5))?;
    scene.server.put(pod(77));
    let mut seen = names(&first);
    let mut page = first.clone();
    while let Some(token) = page["metadata"]["continue"].as_str().map(str::to_owned) {
        page = scene.get(&format!("/api/v1/pods?limit=4&continue={token}"))?;
        assert_eq!(page["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
        seen.extend(names(&page));
    }
    let all: Vec<String> = (0..10).map(|index| format!("pod-{index:03}")).collect();
    assert_eq!(seen, all);
    let fresh = scene.get(PODS)?;
    assert_eq!(fresh["metadata"]["resourceVersion"], scene.server.version().to_string());
    assert!(!names(&fresh).contains(&"pod-005".to_owned()) && names(&fresh).contains(&"pod-077".to_owned()));
    Ok(())
}

#[test]
fn continue_tokens_expire() -> Result<()> {
    let scene = Scene::with_pods(10)?;
    let token = |page: &Value| page["metadata"]["continue"].as_str().map(str::to_owned).context("no token");
    let first = token(&scene.get("/api/v1/pods?limit=4")?)?;
    scene.server.compact();
    let (code, status) = scene.ask(&format!("/api/v1/pods?limit=4&continue={first}"))?;
    assert_eq!((code, status["reason"].as_str()), (410, Some("Expired")));
    let rest = scene.get(&format!("/api/v1/pods?limit=100&continue={}", token(&status)?))?;
    assert_eq!(names(&rest).len(), 6);
    // By time as well.
    let first = token(&scene.get("/api/v1/pods?limit=4")?)?;
    scene.server.behave(|behaviour| behaviour.continue_lifetime = Duration::ZERO);
    assert_eq!(scene.ask(&format!("/api/v1/pods?continue={first}"))?.0, 410);
    assert_eq!(scene.ask("/api/v1/pods?continue=nonsense")?.0, 400);
    assert_eq!(scene.ask(&format!("/api/v1/pods?continue={first}&resourceVersion=5"))?.0, 400);
    Ok(())
}

#[test]
fn versions_are_honoured() -> Result<()> {
    let scene = Scene::with_pods(3)?;
    let early = scene.server.version();
    scene.server.put(pod(3));
    let count =
        |query: &str| Ok::<_, anyhow::Error>(names(&scene.get(&format!("/api/v1/pods?{query}"))?).len());
    assert_eq!(count(&format!("resourceVersion={early}"))?, 4);
    assert_eq!(count(&format!("resourceVersion={early}&resourceVersionMatch=NotOlderThan"))?, 4);
    assert_eq!(count(&format!("resourceVersion={early}&resourceVersionMatch=Exact"))?, 3);
    assert_eq!(count("resourceVersion=0&limit=1")?, 4, "the cache takes no notice of the limit");
    assert_eq!(scene.ask("/api/v1/pods?resourceVersionMatch=Exact")?.0, 422);
    assert_eq!(scene.ask("/api/v1/pods?resourceVersion=soon")?.0, 400);
    assert_eq!(scene.ask("/api/v1/pods?sendInitialEvents=true")?.0, 422);
    scene.server.behave(|behaviour| behaviour.future_patience = Duration::from_millis(200));
    let (code, status) = scene.ask("/api/v1/pods?resourceVersion=99999999")?;
    assert_eq!(
        (code, &status["details"]["causes"][0]["reason"]),
        (504, &Value::from("ResourceVersionTooLarge"))
    );
    scene.server.compact();
    let exact = format!("/api/v1/pods?resourceVersion={early}&resourceVersionMatch=Exact");
    assert_eq!(scene.ask(&exact)?.0, 410);
    Ok(())
}

#[test]
fn selectors_choose() -> Result<()> {
    let scene = Scene::with_pods(4)?;
    let of = |query: &str| Ok::<_, anyhow::Error>(names(&scene.get(&format!("/api/v1/pods?{query}"))?));
    assert_eq!(of("fieldSelector=spec.nodeName%3Da")?, ["pod-000", "pod-002"]);
    assert_eq!(of("fieldSelector=spec.nodeName!%3Da,status.phase%3DRunning")?, ["pod-001", "pod-003"]);
    assert_eq!(of("labelSelector=parity%20in%20(b,c),!gone")?, ["pod-001", "pod-003"]);
    assert_eq!(of("labelSelector=parity%3Db,gone")?, [""; 0]);
    assert_eq!(scene.get("/api/v1/namespaces/other/pods")?["items"].as_array().map(Vec::len), Some(0));
    let (code, status) = scene.ask("/api/v1/pods?fieldSelector=spec.colour%3Dred")?;
    assert_eq!((code, status["message"].as_str()), (400, Some("field label not supported: spec.colour")));
    let page = scene.get("/api/v1/pods?limit=1&fieldSelector=spec.nodeName%3Da")?;
    assert!(page["metadata"].get("remainingItemCount").is_none(), "not told where it is not known cheaply");
    Ok(())
}
