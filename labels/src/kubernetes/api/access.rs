// SPDX-License-Identifier: Apache-2.0
//! Requests to the API server, with credentials that may change meanwhile.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{AuthError, Body, ConfigExt as _};
use kube::{Client, Config};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use tower::{BoxError, ServiceBuilder};
use tracing::debug;

use super::connection::{Connection, Credentials, Source};
use super::failure::{Failure, chain, one_line};
use super::timing::Timing;
use super::wire;

/// What the API says about an error is short.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// One client for all watches.
pub(super) struct Access {
    pub(super) timing: Timing,
    pub(super) server: String,
    source: Source,
    state: Mutex<State>,
    /// Cleared when the server is found not to know streaming lists.
    streams: AtomicBool,
}

struct State {
    credentials: Credentials,
    client: Option<Client>,
    /// Grows with each new client.
    generation: u64,
    /// Read everything again before the next request.
    stale: bool,
    checked: Instant,
}

impl Access {
    pub(super) fn new(connection: Connection, timing: Timing) -> Self {
        let state = State {
            credentials: connection.credentials.clone(),
            client: None,
            generation: 0,
            stale: false,
            checked: Instant::now(),
        };
        Access {
            timing,
            server: connection.server(),
            source: connection.source,
            state: Mutex::new(state),
            streams: AtomicBool::new(true),
        }
    }

    /// Whether lists may be asked for as streams.
    pub(super) fn streams(&self) -> bool {
        self.streams.load(Ordering::Relaxed)
    }

    /// Asks for no streaming lists any more.
    pub(super) fn stop_streams(&self) {
        if self.streams.swap(false, Ordering::Relaxed) {
            debug!(server = self.server, "the API server has no streaming lists, listing in pages");
        }
    }

    /// Sends a GET request and waits for the head of the answer. Refusals are failures.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        let limit = self.timing.answer;
        timeout(limit, self.request(path)).await.unwrap_or(Err(Failure::Late(limit)))
    }

    async fn request(&self, path: &str) -> Result<Answer, Failure> {
        let (client, generation) = self.client().await?;
        let request = Request::get(path).header(header::ACCEPT, "application/json").body(Body::empty());
        let request = request.map_err(|error| Failure::Unreachable(chain(&error)))?;
        let answer = match client.send(request).await {
            Ok(answer) => answer,
            Err(error) => {
                // A certificate may have been renewed, or the server have another address.
                self.distrust(generation).await;
                return Err(unsent(&error));
            }
        };
        if answer.status().is_success() {
            return Ok(Answer { body: answer.into_body() });
        }
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.distrust(generation).await;
        }
        Err(refusal(answer).await)
    }

    /// Makes the next request read the credentials anew, unless that has happened since.
    async fn distrust(&self, generation: u64) {
        let mut state = self.state.lock().await;
        state.stale |= state.generation == generation;
    }

    async fn client(&self) -> Result<(Client, u64), Failure> {
        let mut state = self.state.lock().await;
        if state.stale || state.checked.elapsed() > self.timing.credentials {
            self.refresh(&mut state).await;
        }
        if let Some(client) = &state.client {
            return Ok((client.clone(), state.generation));
        }
        // May run a program that gives a token.
        let (config, timing) = (state.credentials.config.clone(), self.timing);
        let client = spawn_blocking(move || build(&config, timing)).await;
        let client = match client {
            Ok(client) => client.map_err(|error| Failure::Credentials(chain(&error)))?,
            Err(error) => return Err(Failure::Credentials(chain(&error))),
        };
        state.generation += 1;
        state.client = Some(client.clone());
        Ok((client, state.generation))
    }

    /// Reads the token, or all there is, again. What cannot be read stays as it was.
    async fn refresh(&self, state: &mut State) {
        let (source, mut credentials, all) = (self.source.clone(), state.credentials.clone(), state.stale);
        let read = spawn_blocking(move || {
            if all {
                return source.load().map(Some);
            }
            credentials.read_token().map(|new| new.then_some(credentials))
        });
        match read.await {
            Ok(Ok(Some(credentials))) => {
                state.credentials = credentials;
                state.client = None;
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => debug!(%error, "credentials cannot be read again"),
            Err(error) => debug!(%error, "credentials cannot be read again"),
        }
        state.stale = false;
        state.checked = Instant::now();
    }
}

/// kube's own stack without its retries, which would wait for minutes and not say why, and without its log lines, one
/// or two for each request that fails.
fn build(config: &Config, timing: Timing) -> Result<Client, kube::Error> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_keepalive(Some(Duration::from_secs(30)));
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(http)?);
    connector.set_connect_timeout(Some(timing.connect));
    connector.set_write_timeout(Some(timing.connect));
    let client = legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .http1_max_buf_size(128 << 10)
        .build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(Client::new(service, config.default_namespace.clone()))
}

/// An answer that is coming.
pub(super) struct Answer {
    body: Body,
}

impl Answer {
    /// The next piece; none at the end.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| Failure::Broken(chain(&error)))?;
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}

/// Why a request had no answer, without what each library says about the next one's error.
fn unsent(error: &kube::Error) -> Failure {
    let kube::Error::Service(inner) = error else { return Failure::Unreachable(chain(error)) };
    if inner.is::<AuthError>() {
        return Failure::Credentials(chain(&**inner));
    }
    let cause = inner.downcast_ref::<legacy::Error>().and_then(Error::source);
    Failure::Unreachable(cause.map_or_else(|| chain(&**inner), chain))
}

async fn refusal(answer: Response<Body>) -> Failure {
    let status = answer.status();
    let retry_after = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    let mut answer = Answer { body: answer.into_body() };
    let mut text = Vec::new();
    // Whatever of the reason can be had: the status alone is enough.
    while let Ok(Some(piece)) = answer.piece().await {
        text.extend_from_slice(&piece);
        if text.len() > MAX_ERROR_BYTES {
            break;
        }
    }
    match serde_json::from_slice::<wire::Status>(&text) {
        Ok(said) => said.failure(status.as_u16(), retry_after),
        Err(_) if status == StatusCode::GONE => Failure::Gone,
        Err(_) => Failure::Refused {
            code: status.as_u16(),
            message: status.canonical_reason().unwrap_or_default().to_owned(),
            retry_after,
        },
    }
}

impl wire::Status {
    /// What it means, if the answer itself or the event that it came in has this code.
    pub(super) fn failure(self, code: u16, retry_after: Option<Duration>) -> Failure {
        let code =
            self.code.and_then(|said| u16::try_from(said).ok()).filter(|said| *said >= 400).unwrap_or(code);
        if code == 410 {
            return Failure::Gone;
        }
        let message = [self.message, self.reason].into_iter().flatten().find(|words| !words.is_empty());
        Failure::Refused { code, message: one_line(&message.unwrap_or_default()), retry_after }
    }
}

/// `text` as a value in a query.
pub(super) fn encoded(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            value.push(char::from(byte));
        } else {
            value.push_str(&format!("%{byte:02X}"));
        }
    }
    value
}
