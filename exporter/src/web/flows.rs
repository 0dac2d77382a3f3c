// SPDX-License-Identifier: Apache-2.0
//! `/flows`: the addresses behind edges, as a page or as JSON.

pub mod cells;
mod chart;
mod links;
mod page;
mod parameters;
mod summary;
mod table;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use tokio::sync::Semaphore;

use super::passes::Passes;
use super::routes::{Answer, joined, respond, text, with};
use crate::exposition::Coding;
use crate::flows;
use crate::source::MetricSource;

pub use links::Link;
use parameters::{Asked, Format};

/// How long a question waits for a pass; then what the last one told is the answer.
const PATIENCE: Duration = Duration::from_secs(10);

const OFF: &str = "the drill-down by address is off (--web.flows=off)\n";

/// Answers a request for `/flows`, when its turn of `renderings` comes.
pub async fn answer<B>(
    source: &Arc<dyn MetricSource>,
    passes: &Arc<Passes>,
    renderings: &Semaphore,
    telemetry_path: &str,
    request: &Request<B>,
) -> Answer {
    let Some(labels) = source.flow_labels() else {
        return text(StatusCode::NOT_FOUND, OFF.to_owned());
    };
    let mut asked = match parameters::read(request.uri().query().unwrap_or_default(), &labels) {
        Ok(asked) => asked,
        Err(mistake) => return text(StatusCode::BAD_REQUEST, format!("{mistake}\n")),
    };
    let missed = match tokio::time::timeout(PATIENCE, passes.fresh()).await {
        Ok(Ok(_)) => None,
        Ok(Err(reason)) => Some(format!("The last pass failed: {reason}")),
        Err(_) => Some(format!("No pass ended within {} s.", PATIENCE.as_secs())),
    };
    let format =
        asked.format.unwrap_or_else(|| Format::negotiate(joined(request.headers(), &header::ACCEPT)));
    asked.query.shares = format == Format::Html;
    let coding = Coding::negotiate(joined(request.headers(), &header::ACCEPT_ENCODING).as_deref());
    let _turn = match renderings.acquire().await {
        Ok(turn) => turn,
        Err(closed) => return text(StatusCode::SERVICE_UNAVAILABLE, format!("{closed}\n")),
    };
    let (source, path) = (Arc::clone(source), telemetry_path.to_owned());
    let written = tokio::task::spawn_blocking(move || {
        let answer = source.flows(&asked.query)?;
        Some(match format {
            Format::Json => json(&answer),
            Format::Html => html(&answer, &asked, missed.as_deref(), &path),
        })
    });
    match written.await {
        Ok(Some(Ok(written))) => finish(written, coding),
        Ok(Some(Err(reason))) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{reason}\n")),
        Ok(None) => text(StatusCode::NOT_FOUND, OFF.to_owned()),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "writing the answer panicked\n".to_owned()),
    }
}

/// What an answer says, before it is packed.
struct Written {
    content_type: &'static str,
    body: Vec<u8>,
    policy: Option<String>,
}

fn json(answer: &flows::Answer) -> Result<Written, String> {
    let mut body = serde_json::to_vec(answer).map_err(|error| format!("writing the answer: {error}"))?;
    body.push(b'\n');
    Ok(Written { content_type: "application/json", body, policy: None })
}

fn html(
    answer: &flows::Answer,
    asked: &Asked,
    missed: Option<&str>,
    telemetry_path: &str,
) -> Result<Written, String> {
    let page = page::page(answer, &asked.query, missed, telemetry_path);
    Ok(Written { content_type: HTML, body: page.body.into_bytes(), policy: Some(page.policy) })
}

/// The type of a page.
pub const HTML: &str = "text/html; charset=utf-8";

fn finish(written: Written, coding: Coding) -> Answer {
    let Written { content_type, body, policy } = written;
    let packed = (coding == Coding::Gzip).then(|| gzip(&body)).flatten();
    let is_packed = packed.is_some();
    let mut answer = respond(StatusCode::OK, content_type, Bytes::from(packed.unwrap_or(body)));
    answer = with(answer, header::VARY, "Accept, Accept-Encoding");
    if is_packed {
        answer = with(answer, header::CONTENT_ENCODING, "gzip");
    }
    match policy {
        Some(policy) => with_policy(answer, &policy),
        None => answer,
    }
}

/// Says what a page may do.
pub fn with_policy(mut answer: Answer, policy: &str) -> Answer {
    let headers: &mut HeaderMap = answer.headers_mut();
    if let Ok(value) = HeaderValue::from_str(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, value);
    }
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

/// None if it cannot be packed: it goes as it is then.
fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::with_capacity(body.len() / 6), Compression::fast());
    gzip.write_all(body).and_then(|()| gzip.finish()).ok()
}

#[cfg(test)]
mod tests;
