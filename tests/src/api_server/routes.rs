// SPDX-License-Identifier: Apache-2.0
//! From a request to its answer.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};

use super::access::User;
use super::behaviour::Fault;
use super::body::{Closed, Sink, Stream};
use super::discovery;
use super::list::Page;
use super::log::Asked;
use super::options::Options;
use super::resource::{Resource, Verb};
use super::state::{State, lock};
use super::status::Status;
use super::store::Key;
use super::watch::Watch;

pub(super) type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// What a path means.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    resource: Resource,
    namespace: Option<String>,
    name: Option<String>,
}

/// Answers one request.
pub(super) async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let (path, query) =
        (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    let target = target(&path);
    let watch = form_urlencoded::parse(query.as_bytes())
        .any(|(key, value)| key == "watch" && matches!(&*value, "1" | "true"));
    let verb = match &target {
        Some(Target { name: Some(_), .. }) => Verb::Get,
        _ if watch => Verb::Watch,
        _ => Verb::List,
    };
    let number = lock(&state.log).note(Asked {
        at: Instant::now(),
        path: path.clone(),
        query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        target: target.as_ref().map(|target| (target.resource, verb)),
        user_agent: header(request.headers(), USER_AGENT.as_str()).unwrap_or_default(),
        token: header(request.headers(), AUTHORIZATION.as_str())
            .and_then(|value| value.split_once(' ').map(|(_, token)| token.to_owned())),
        status: None,
        open: true,
    });
    let open = Open { state: Arc::clone(&state), number };
    state.until_reachable().await;
    let answered = match target {
        Some(target) => serve(&state, &request, &query, target, verb, open).await,
        None => other_path(&state, request.headers(), &path),
    };
    let answer = answered.unwrap_or_else(|status| json(status.code, status.body.to_string()));
    let status = answer.status().as_u16();
    lock(&state.log).update(number, |request| request.status = Some(status));
    Ok(answer)
}

/// A request being answered; noted as over when this is dropped.
#[derive(Debug)]
struct Open {
    state: Arc<State>,
    number: usize,
}

impl Drop for Open {
    fn drop(&mut self) {
        lock(&self.state.log).update(self.number, |request| request.open = false);
    }
}

async fn serve(
    state: &Arc<State>,
    request: &Request<Incoming>,
    query: &str,
    target: Target,
    verb: Verb,
    open: Open,
) -> Result<Answer, Status> {
    let fault = state.fault(target.resource, verb);
    match &fault {
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::Slow { before, .. }) => tokio::time::sleep(*before).await,
        Some(Fault::Answer { status, content_type, body, retry_after }) => {
            let status = StatusCode::from_u16(*status)
                .map_err(|_| Status::bad_request(format!("the fault's status {status}")))?;
            let mut answer = json(status, body.clone());
            answer.headers_mut().insert(CONTENT_TYPE, (*content_type).parse().unwrap_or(JSON));
            if let Some(seconds) = retry_after {
                answer.headers_mut().insert(RETRY_AFTER, (*seconds).into());
            }
            return Ok(answer);
        }
        Some(Fault::Cut { .. } | Fault::Garbage(_)) | None => {}
    }
    let Target { resource, namespace, name } = target;
    let user = user(state, request.headers())?;
    if !user.may(resource, verb) {
        return Err(Status::forbidden(&user.name, verb, resource, namespace.as_deref()));
    }
    if request.method() != Method::GET {
        return Err(Status::wrong_method());
    }
    acceptable(request.headers())?;
    if let Some(name) = name {
        let key = Key { namespace: namespace.unwrap_or_default(), name };
        let object = state.store().get(resource, &key);
        let object = object.ok_or_else(|| Status::no_such_object(resource, &key.name))?;
        return Ok(json(StatusCode::OK, object.whole(resource)));
    }
    let behaviour = state.behaviour();
    let mut options = Options::parse(query, resource, behaviour.streaming_lists)?;
    options.selector.within(namespace.as_deref());
    let (mut sink, stream) = Sink::new(state, fault.as_ref());
    let garbage = match fault {
        Some(Fault::Garbage(line)) => Some(line + "\n"),
        _ => None,
    };
    let work: std::pin::Pin<Box<dyn Future<Output = Result<(), Closed>> + Send>> = if options.watch {
        let watch = Watch::new(state, resource, options).await?;
        Box::pin(async move {
            send_first(&mut sink, garbage).await?;
            watch.run(&mut sink).await
        })
    } else {
        let page = Page::find(state, resource, &options).await?;
        Box::pin(async move {
            send_first(&mut sink, garbage).await?;
            page.write(resource, &mut sink).await
        })
    };
    tokio::spawn(async move {
        // Whether the client heard all of it is the client's affair.
        let _ = work.await;
        drop(open);
    });
    Ok(streamed(stream))
}

async fn send_first(sink: &mut Sink, line: Option<String>) -> Result<(), Closed> {
    match line {
        Some(line) => sink.send(line).await,
        None => Ok(()),
    }
}

fn other_path(state: &State, headers: &HeaderMap, path: &str) -> Result<Answer, Status> {
    let user = user(state, headers)?;
    if !user.may_see(path) {
        return Err(Status::forbidden_path(&user.name, path));
    }
    if matches!(path, "/readyz" | "/livez" | "/healthz") {
        let mut answer = json(StatusCode::OK, "ok".to_owned());
        answer.headers_mut().insert(CONTENT_TYPE, PLAIN);
        return Ok(answer);
    }
    let found = discovery::at(path).ok_or_else(Status::no_such_path)?;
    Ok(json(StatusCode::OK, found.to_string()))
}

fn user(state: &State, headers: &HeaderMap) -> Result<User, Status> {
    let authorization = header(headers, AUTHORIZATION.as_str());
    lock(&state.access).user(authorization.as_deref()).ok_or_else(Status::unauthorized)
}

fn acceptable(headers: &HeaderMap) -> Result<(), Status> {
    let accept = header(headers, ACCEPT.as_str()).unwrap_or_else(|| "*/*".to_owned());
    let json = |kind: &str| {
        let mut parts = kind.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        matches!(media, "application/json" | "application/*" | "*/*")
            && !parts.any(|parameter| parameter.starts_with("as="))
    };
    if accept.split(',').any(json) { Ok(()) } else { Err(Status::not_acceptable()) }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn target(path: &str) -> Option<Target> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", "v1", rest @ ..] => ("", rest),
        ["apis", group, "v1", rest @ ..] => (*group, rest),
        _ => return None,
    };
    let (namespace, plural, name) = match rest {
        ["namespaces", namespace, plural] => (Some(*namespace), *plural, None),
        ["namespaces", namespace, plural, name] => (Some(*namespace), *plural, Some(*name)),
        [plural] => (None, *plural, None),
        [plural, name] => (None, *plural, Some(*name)),
        _ => return None,
    };
    let resource = Resource::find(group, plural)?;
    let fits = match (resource.namespaced(), namespace.is_some(), name.is_some()) {
        (false, within, _) => !within,
        (true, within, single) => within || !single,
    };
    let owned = |text: Option<&str>| text.map(str::to_owned);
    fits.then(|| Target { resource, namespace: owned(namespace), name: owned(name) })
}

const JSON: hyper::header::HeaderValue = hyper::header::HeaderValue::from_static("application/json");
const PLAIN: hyper::header::HeaderValue =
    hyper::header::HeaderValue::from_static("text/plain; charset=utf-8");

fn json(status: StatusCode, body: String) -> Answer {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
    headed(status, body)
}

fn streamed(body: Stream) -> Answer {
    headed(StatusCode::OK, body.boxed_unsync())
}

fn headed(status: StatusCode, body: UnsyncBoxBody<Bytes, io::Error>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
        .headers_mut()
        .insert("cache-control", hyper::header::HeaderValue::from_static("no-cache, private"));
    answer
}

/// How long a connection may take to say who it is.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
