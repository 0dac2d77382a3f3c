// SPDX-License-Identifier: Apache-2.0
//! What each path answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;
use tracing::{error, info};

use super::flows;
use super::landing::Landing;
use super::passes::Passes;
use super::renderings::Renderings;
use crate::exposition::{Coding, Exposition, Format};
use crate::quiet::Quiet;
use crate::self_metrics::SelfMetrics;
use crate::source::{MetricSource, State};

const TEXT: &str = "text/plain; charset=utf-8";
/// A pass that takes longer than any scraper waits is a failure to be told.
const PASS_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the landing page waits for numbers of now.
const LANDING_PATIENCE: Duration = Duration::from_secs(2);
/// Answers written at the same time; each holds a few buffers of the exposition's size.
const MAX_RENDERINGS: usize = 2;

/// Everything the program serves.
pub struct Site {
    source: Arc<dyn MetricSource>,
    metrics: Arc<SelfMetrics>,
    passes: Arc<Passes>,
    exposition: Arc<Exposition>,
    telemetry_path: String,
    was_ready: AtomicBool,
    renderings: Semaphore,
    renderings_of_passes: Renderings,
    failures: Quiet,
}

/// What is answered.
pub type Answer = Response<Full<Bytes>>;

impl Site {
    /// Over a source and its exposition; `telemetry_path` as in the flag.
    pub fn new(
        source: Arc<dyn MetricSource>,
        metrics: Arc<SelfMetrics>,
        exposition: Exposition,
        telemetry_path: String,
    ) -> Self {
        Self {
            passes: Passes::new(Arc::clone(&source), Arc::clone(&metrics)),
            source,
            metrics,
            exposition: Arc::new(exposition),
            telemetry_path,
            was_ready: AtomicBool::new(false),
            renderings: Semaphore::new(MAX_RENDERINGS),
            renderings_of_passes: Renderings::default(),
            failures: Quiet::default(),
        }
    }

    /// Runs a pass, so that the program gets ready without waiting for a scrape.
    pub async fn warm_up(&self) {
        if let Err(reason) = self.passes.fresh().await {
            error!(%reason, "the first pass failed");
        }
    }

    /// Answers a request. Never fails: what goes wrong becomes a status.
    pub async fn answer<B>(&self, request: &Request<B>) -> Answer {
        let answer = self.route(request).await;
        self.metrics.response(answer.status().as_u16());
        answer
    }

    async fn route<B>(&self, request: &Request<B>) -> Answer {
        let path = request.uri().path();
        if !matches!(path, "/" | "/flows" | "/-/healthy" | "/-/ready") && path != self.telemetry_path {
            return text(StatusCode::NOT_FOUND, "not found\n".to_owned());
        }
        // hyper leaves the body out of the answer to HEAD, and keeps its length.
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed\n".to_owned());
            return with(answer, header::ALLOW, "GET, HEAD");
        }
        match path {
            "/" => self.landing().await,
            "/flows" => self.flows(request).await,
            "/-/healthy" => text(StatusCode::OK, "healthy\n".to_owned()),
            "/-/ready" => self.ready(),
            _ => self.scrape(request.headers()).await,
        }
    }

    async fn flows<B>(&self, request: &Request<B>) -> Answer {
        flows::answer(&self.source, &self.passes, &self.renderings, &self.telemetry_path, request).await
    }

    async fn scrape(&self, headers: &HeaderMap) -> Answer {
        let begun = Instant::now();
        let accept = joined(headers, &header::ACCEPT);
        let format = Format::negotiate(accept.as_deref());
        let coding = Coding::negotiate(joined(headers, &header::ACCEPT_ENCODING).as_deref());
        let rendered = self.render(format, coding).await;
        self.metrics.scrape(begun.elapsed());
        let body = match rendered {
            Ok(body) => body,
            Err(reason) => {
                if let Some(silenced) = self.failures.speak() {
                    error!(%reason, silenced, "scrape failed");
                }
                return text(StatusCode::INTERNAL_SERVER_ERROR, format!("scrape failed: {reason}\n"));
            }
        };
        if self.failures.reset() {
            info!("scrapes succeed again");
        }
        let mut answer = respond(StatusCode::OK, format.content_type(), body);
        answer = with(answer, header::VARY, "Accept, Accept-Encoding");
        if coding == Coding::Gzip {
            answer = with(answer, header::CONTENT_ENCODING, "gzip");
        }
        answer
    }

    async fn render(&self, format: Format, coding: Coding) -> Result<Bytes, Arc<str>> {
        let pass = tokio::time::timeout(PASS_TIMEOUT, self.passes.fresh())
            .await
            .map_err(|_| format!("the pass did not end within {} s", PASS_TIMEOUT.as_secs()))??;
        let rendered = self.renderings_of_passes.of(pass, format, coding);
        rendered.get_or_try_init(|| self.render_now(format, coding)).await.cloned()
    }

    async fn render_now(&self, format: Format, coding: Coding) -> Result<Bytes, Arc<str>> {
        let _turn = self.renderings.acquire().await.map_err(|error| error.to_string())?;
        let exposition = Arc::clone(&self.exposition);
        match tokio::task::spawn_blocking(move || exposition.render(format, coding)).await {
            Ok(rendered) => rendered.map_err(|error| format!("{error:#}").into()),
            Err(_) => Err("writing the metrics panicked".into()),
        }
    }

    fn ready(&self) -> Answer {
        if self.source.ready() {
            self.was_ready.store(true, Ordering::Relaxed);
        }
        if self.was_ready.load(Ordering::Relaxed) {
            return text(StatusCode::OK, "ready\n".to_owned());
        }
        let mut body = "not ready: the first pass is not done\n".to_owned();
        for component in self.source.status() {
            if component.state == State::Failed {
                body.extend([component.kind, " ", &component.name, ": ", &component.detail, "\n"]);
            }
        }
        text(StatusCode::SERVICE_UNAVAILABLE, body)
    }

    /// Of now, if a pass ends soon: the page is there to tell why none does, too.
    async fn landing(&self) -> Answer {
        let _ = tokio::time::timeout(LANDING_PATIENCE, self.passes.fresh()).await;
        let (source, path) = (Arc::clone(&self.source), self.telemetry_path.clone());
        match tokio::task::spawn_blocking(move || Landing::of(source.as_ref(), &path).page()).await {
            Ok(page) => {
                let answer = respond(StatusCode::OK, flows::HTML, page.body.into());
                flows::with_policy(answer, &page.policy)
            }
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "writing the page panicked\n".to_owned()),
        }
    }
}

/// A header that may be given several times, as the one list it means.
pub fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// A line of text.
pub fn text(status: StatusCode, body: String) -> Answer {
    respond(status, TEXT, body.into())
}

/// An answer that nobody keeps.
pub fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer = with(answer, header::CONTENT_TYPE, content_type);
    answer = with(answer, header::CACHE_CONTROL, "no-store");
    with(answer, header::X_CONTENT_TYPE_OPTIONS, "nosniff")
}

/// With a header.
pub fn with(mut answer: Answer, name: HeaderName, value: &'static str) -> Answer {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}
