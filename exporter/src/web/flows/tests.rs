// SPDX-License-Identifier: Apache-2.0
//! Pages and answers, of edges whose names are as bad as they come.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::header;

use super::*;
use crate::edge::Edge;
use crate::flows::fixture::{Fixture, Growth, edge};
use crate::web::fake::{Fake, HOSTILE};

fn hostile() -> Edge {
    let mut hostile = edge(HOSTILE, "api\"><img src=x onerror=alert(1)>");
    hostile.client.pod = "</small><script>".into();
    hostile.server.zone = "'><svg/onload=alert(1)>".into();
    hostile
}

fn scene(addresses: u8) -> Arc<Fake> {
    let mut fixture = Fixture::new(1000);
    let (edge, mut tags) = (hostile(), vec![None; addresses.into()]);
    for _ in 0..3 {
        fixture.pass(15, &mut []);
        for (number, tag) in tags.iter_mut().enumerate() {
            let retransmitted = if number < 3 { 400 } else { 0 };
            let growth =
                Growth { retransmitted, opened: 1, connections: 2, rtt: 900, ..Growth::sent(9_000_000) };
            fixture.grow(tag, &edge, [192, 0, 2, number as u8].into(), &growth);
        }
        fixture.flows.whole();
    }
    Fake::taking(Duration::ZERO).with_flows(fixture.flows)
}

async fn get(fake: &Arc<Fake>, uri: &str, accept: &str) -> (StatusCode, HeaderMap, String) {
    let source: Arc<dyn MetricSource> = Arc::clone(fake) as _;
    let passes = Passes::new(Arc::clone(&source), Arc::default());
    let request = Request::get(uri).header(header::ACCEPT, accept).body(Full::<Bytes>::default()).unwrap();
    let answer = answer(&source, &passes, &Semaphore::new(1), "/metrics", &request).await;
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_question_gets_a_pass_and_an_answer() {
    let fake = scene(5);
    let (status, headers, body) = get(&fake, "/flows?limit=2", "*/*").await;
    assert_eq!(
        (status, &headers[header::CONTENT_TYPE]),
        (StatusCode::OK, &"application/json".parse().unwrap())
    );
    assert_eq!(headers[header::CACHE_CONTROL], "no-store");
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&json["matched"], &json["returned"]), (&5.into(), &2.into()));
    assert_eq!(json["rows"][0]["edge"]["client_workload"], HOSTILE);
    assert_eq!(fake.passes(), 1);
    let (status, _, body) = get(&fake, "/flows?windows=5m", "text/html").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.starts_with("windows: \"5m\": no such parameter"), "{body}");
    assert_eq!(fake.passes(), 1, "a mistake is not worth a pass");
}

#[tokio::test]
async fn names_stay_text_on_the_page() {
    let fake = scene(40);
    for uri in
        ["/flows", "/flows?by=edge", "/flows?limit=1&client_workload=%3Cscript%3E%22%5C%0A%26&sort=rtt_max"]
    {
        let (status, headers, body) = get(&fake, uri, "text/html").await;
        assert_eq!(status, StatusCode::OK, "{uri}");
        assert_eq!(body.matches("<script").count(), 1, "{uri}: our own alone");
        for broken in ["<img", "<svg/", "</small><script", "onload=alert(1)>", "<script>\""] {
            assert!(!body.contains(broken), "{uri}: {broken}");
        }
        assert!(body.contains("&lt;script&gt;&quot;"), "{uri}");
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'nonce-") && !policy.contains("unsafe"));
        assert!(!body.contains(" style=\"") && !body.contains(" onclick"), "{uri}: the policy forbids it");
        let own = body.replace("xmlns='http://www.w3.org/2000/svg'", "");
        assert!(!own.contains("http:") && !own.contains("https:"), "{uri}: nothing from elsewhere");
    }
}

#[tokio::test]
async fn the_page_says_who_has_it() {
    let fake = scene(40);
    let (_, _, all) = get(&fake, "/flows", "text/html").await;
    assert!(!all.contains("class=\"finding"), "of everything at once it means nothing");
    let (_, _, body) = get(&fake, "/flows?address=192.0.2.0/24", "text/html").await;
    let plain = body.replace('\u{202f}', " ");
    assert!(plain.contains("3 of 40 addresses have all 3 600 retransmits."), "{plain}");
    assert!(plain.contains("finding out"), "{plain}");
    // A link from the edge to its addresses, and from there back.
    let link = body.split("class=\"edge\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let link = link.replace("&amp;", "&").replace("&#39;", "'");
    assert!(link.contains("server_workload=api%22%3E%3Cimg"), "{link}");
    let (status, _, body) = get(&fake, &link, "text/html").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(body.contains("<a href=\"/flows?by=edge\">← All edges</a>"), "{body}");
    assert!(!body.contains("<th scope=\"col\"><a href=\"/flows?sort=client_workload"), "not in each row");
}

#[tokio::test]
async fn without_the_drill_down_there_is_a_sentence() {
    let fake = Fake::taking(Duration::ZERO);
    let (status, _, body) = get(&fake, "/flows", "text/html").await;
    assert_eq!((status, body.as_str()), (StatusCode::NOT_FOUND, OFF));
}

#[tokio::test]
async fn a_pass_that_fails_is_told_on_the_page() {
    let fake = scene(2);
    fake.fail("EPERM on <map>");
    let (status, _, body) = get(&fake, "/flows", "text/html").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("The last pass failed: reading sockets: EPERM on &lt;map&gt;"), "{body}");
}
