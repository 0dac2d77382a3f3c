// SPDX-License-Identifier: Apache-2.0
//! What stands between a request and what it asks for: the rate limit, the password, the size.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tracing::warn;

use super::Limits;
use super::auth::{Authenticator, Verdict};
use super::config::{Settings, WebConfig};
use super::routes::Site;
use super::slots::{Slot, Slots};
use crate::quiet::Quiet;
use crate::self_metrics::{Refusal, SelfMetrics};

type Answer = Response<Full<Bytes>>;

/// One for the whole program.
pub struct Gate {
    /// What is in force.
    pub settings: Arc<Settings>,
    /// Bounds on clients.
    pub limits: Limits,
    /// Places for connections.
    pub slots: Arc<Slots>,
    /// Where what happens here is counted.
    pub metrics: Arc<SelfMetrics>,
    site: Arc<Site>,
    authenticator: Authenticator,
    wrong_passwords: Quiet,
}

impl Gate {
    /// Before this site.
    ///
    /// # Errors
    /// When the kernel gives no random numbers.
    pub fn new(
        site: Arc<Site>,
        settings: Arc<Settings>,
        metrics: Arc<SelfMetrics>,
        limits: Limits,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            settings,
            slots: Slots::new(limits.connections, limits.response_bytes),
            limits,
            metrics,
            site,
            authenticator: Authenticator::new()?,
            wrong_passwords: Quiet::default(),
        })
    }

    /// Answers a request. Never fails: what goes wrong becomes a status.
    pub async fn answer<B: Body>(&self, request: &Request<B>, slot: &Slot) -> Answer {
        let config = Arc::clone(&self.settings.subscribe().borrow());
        let refused = self.refuse(request, slot, &config).await;
        let mut answer = match refused {
            Some(answer) => {
                self.metrics.response(answer.status().as_u16());
                answer
            }
            None => {
                slot.working();
                self.site.answer(request).await
            }
        };
        for (name, value) in &config.headers {
            answer.headers_mut().insert(name, value.clone());
        }
        let bytes = answer.body().size_hint().lower();
        slot.sending(usize::try_from(bytes).unwrap_or(usize::MAX));
        answer
    }

    async fn refuse<B: Body>(&self, request: &Request<B>, slot: &Slot, config: &WebConfig) -> Option<Answer> {
        let web = self.metrics.web();
        if !request.body().is_end_stream() {
            web.refuse(Refusal::Body);
            let answer = refusal(StatusCode::PAYLOAD_TOO_LARGE, "requests have no body here\n");
            // It is not read either.
            return Some(with(answer, header::CONNECTION, "close"));
        }
        if config.rate.as_ref().is_some_and(|rate| !rate.allow()) {
            web.refuse(Refusal::RateLimit);
            return Some(refusal(StatusCode::TOO_MANY_REQUESTS, "too many requests\n"));
        }
        let users = config.users.as_ref()?;
        let credentials = request.headers().get(header::AUTHORIZATION);
        match self.authenticator.check(users, credentials, slot.source()).await {
            Verdict::Good => None,
            Verdict::Bad => {
                web.refuse(Refusal::Credentials);
                if credentials.is_some()
                    && let Some(silenced) = self.wrong_passwords.speak()
                {
                    warn!(source = ?slot.source(), silenced, "wrong user or password");
                }
                let answer = refusal(StatusCode::UNAUTHORIZED, "unauthorized\n");
                Some(with(answer, header::WWW_AUTHENTICATE, "Basic realm=\"Flowgauge\", charset=\"UTF-8\""))
            }
            Verdict::Busy => {
                web.refuse(Refusal::PasswordsBusy);
                let answer = refusal(StatusCode::SERVICE_UNAVAILABLE, "too many passwords to look at\n");
                Some(with(answer, header::RETRY_AFTER, "5"))
            }
        }
    }
}

fn refusal(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    let answer = with(answer, header::CONTENT_TYPE, "text/plain; charset=utf-8");
    let answer = with(answer, header::CACHE_CONTROL, "no-store");
    with(answer, header::X_CONTENT_TYPE_OPTIONS, "nosniff")
}

fn with(mut answer: Answer, name: header::HeaderName, value: &'static str) -> Answer {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}
