// SPDX-License-Identifier: Apache-2.0
//! Asks an exporter. Whoever answers may take only so long, and send only so much.

use std::error::Error;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::text::{clean, fit};
use super::tls;
use crate::flags::{Target, TopFlags, Usage};

/// Bounds on an answer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time to connect, TLS included.
    pub connect: Duration,
    /// Time for all of it, from the request to the last byte.
    pub answer: Duration,
    /// Bytes of a body. A thousand rows take some 3 MB.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), answer: Duration::from_secs(15), bytes: 16 << 20 }
    }
}

/// One exporter, and the connection to it.
pub struct Client {
    target: Target,
    tls: Option<TlsConnector>,
    authorization: Option<HeaderValue>,
    limits: Limits,
    open: Option<SendRequest<Empty<Bytes>>>,
}

impl Client {
    /// As the flags say.
    ///
    /// # Errors
    /// A line that names the flag that cannot be followed.
    pub fn new(flags: &TopFlags, limits: Limits) -> Result<Self, Usage> {
        let tls = flags.url.tls.then(|| tls::connector(flags)).transpose()?;
        let authorization = flags.credentials()?.map(|(user, password)| {
            let value =
                HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
            value.map(|mut value| {
                value.set_sensitive(true);
                value
            })
        });
        let authorization = authorization.transpose().map_err(|error| {
            Usage::invalid("--user", flags.user.as_deref().unwrap_or_default(), &error.to_string())
        })?;
        Ok(Self { target: flags.url.clone(), tls, authorization, limits, open: None })
    }

    /// The body of the answer to a question.
    ///
    /// # Errors
    /// Why there is none, in one line without anything that a terminal would obey.
    pub async fn get(&mut self, query: &str) -> Result<Bytes, String> {
        let limit = self.limits.answer;
        let answered = timeout(limit, self.exchange(query)).await;
        let answered = answered.unwrap_or_else(|_| Err(format!("no complete answer within {limit:?}")));
        answered.map_err(|error| clean(&error))
    }

    async fn exchange(&mut self, query: &str) -> Result<Bytes, String> {
        // A connection that the server has closed meanwhile is no failure.
        let reused = match self.open.take() {
            Some(open) => self.ask_again(open, query).await?,
            None => None,
        };
        let (open, response) = match reused {
            Some(reused) => reused,
            None => {
                let mut open = self.connect().await?;
                let response = open.send_request(self.request(query)?).await;
                (open, response.map_err(|error| format!("no HTTP answer: {}", chain(&error)))?)
            }
        };
        let (status, location) = (response.status(), response.headers().get(LOCATION).cloned());
        let body = self.read(response).await?;
        self.open = Some(open);
        if status.is_success() { Ok(body) } else { Err(refusal(status, location.as_ref(), &body)) }
    }

    /// Over a connection that was used before; none if it is over.
    async fn ask_again(
        &self,
        mut open: SendRequest<Empty<Bytes>>,
        query: &str,
    ) -> Result<Option<(SendRequest<Empty<Bytes>>, Response<Incoming>)>, String> {
        let request = self.request(query)?;
        if open.ready().await.is_err() {
            return Ok(None);
        }
        Ok(open.send_request(request).await.ok().map(|response| (open, response)))
    }

    fn request(&self, query: &str) -> Result<Request<Empty<Bytes>>, String> {
        let request = Request::get(format!("{}?{query}", self.target.path))
            .header(HOST, self.target.authority())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("flowgauge-top/", env!("CARGO_PKG_VERSION")));
        let request = match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        };
        request.body(Empty::new()).map_err(|error| error.to_string())
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, String> {
        let (Target { host, port, .. }, limit) = (&self.target, self.limits.connect);
        let connecting = async {
            let stream = TcpStream::connect((host.as_str(), *port)).await;
            let stream = stream.map_err(|error| format!("{}: {error}", self.target))?;
            // One small request at a time: there is nothing to wait for.
            let _ = stream.set_nodelay(true);
            let Some(tls) = &self.tls else { return shake_hands(stream).await };
            let name = ServerName::try_from(host.clone()).map_err(|error| format!("{host}: {error}"))?;
            let stream = tls.connect(name, stream).await;
            shake_hands(stream.map_err(|error| format!("{}: {}", self.target, chain(&error)))?).await
        };
        timeout(limit, connecting)
            .await
            .unwrap_or_else(|_| Err(format!("{}: no connection within {limit:?}", self.target)))
    }

    /// All of a body, if it is no longer than allowed.
    async fn read(&self, response: Response<Incoming>) -> Result<Bytes, String> {
        let too_long = || Err(format!("the answer is longer than {} MiB", self.limits.bytes >> 20));
        let mut body = response.into_body();
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| format!("the answer breaks off: {}", chain(&error)))?;
            let Ok(piece) = frame.into_data() else { continue };
            if bytes.len() + piece.len() > self.limits.bytes {
                return too_long();
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    }
}

async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
) -> Result<SendRequest<Empty<Bytes>>, String> {
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(64 << 10)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| chain(&error))?;
    // Whatever ends it is told to who waits for an answer.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

/// Why an exporter does not answer, in its own words if they are few.
fn refusal(status: StatusCode, location: Option<&HeaderValue>, body: &[u8]) -> String {
    const MAX_WIDTH: usize = 300;
    if status == StatusCode::UNAUTHORIZED {
        return "401 Unauthorized: the exporter wants --user and the right password".to_owned();
    }
    if let Some(location) = location.and_then(|location| location.to_str().ok()) {
        return format!("{status}: the exporter is at {location}");
    }
    let text = String::from_utf8_lossy(body);
    let first = text.lines().next().unwrap_or_default().trim();
    if first.is_empty() || first.starts_with('<') {
        return status.to_string();
    }
    format!("{status}: {}", fit(first, MAX_WIDTH))
}

/// An error and what caused it, each said once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
