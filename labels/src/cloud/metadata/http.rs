// SPDX-License-Identifier: Apache-2.0
//! Requests to a metadata service: plain HTTP, no redirects, no proxy, small answers.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Azure's answer has what its owner put into tags and user data; the others' have a line.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Where the metadata service is: `http://HOST[:PORT]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint(Authority);

impl Default for Endpoint {
    /// The link-local address that all three providers have.
    fn default() -> Self {
        Endpoint(Authority::from_static("169.254.169.254"))
    }
}

impl Endpoint {
    /// The TCP port that is connected to.
    pub fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(80)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

/// The text is no [`Endpoint`].
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
#[error("must be http://HOST or http://HOST:PORT")]
pub struct EndpointError;

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let parts = text.parse::<Uri>().map_err(|_| EndpointError)?.into_parts();
        let bare = parts.path_and_query.is_none_or(|path| path.as_str() == "/");
        let authority = parts.authority.filter(|_| bare && parts.scheme == Some(Scheme::HTTP));
        let authority = authority.filter(|authority| {
            let rest = authority.as_str().strip_prefix(authority.host());
            let port = authority.port_u16().is_some_and(|port| port != 0);
            !authority.host().is_empty()
                && rest.is_some_and(|rest| rest.is_empty() || (rest.starts_with(':') && port))
        });
        authority.map(Endpoint).ok_or(EndpointError)
    }
}

/// A metadata service.
pub(super) struct Service {
    client: Client<HttpConnector, Empty<Bytes>>,
    endpoint: Endpoint,
}

/// A good answer: status 200 and text.
pub(super) struct Answer {
    pub headers: HeaderMap,
    pub body: String,
}

/// Why there is no good answer, for people.
#[derive(Debug)]
pub(super) enum Failure {
    /// The service knows no such thing.
    NotFound(String),
    Other(String),
}

impl From<Failure> for String {
    fn from(failure: Failure) -> String {
        match failure {
            Failure::NotFound(why) | Failure::Other(why) => why,
        }
    }
}

impl Service {
    pub fn new(endpoint: Endpoint, patience: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(patience));
        Service { client: Client::builder(TokioExecutor::new()).build(connector), endpoint }
    }

    pub async fn get(
        &self,
        path: &'static str,
        name: &'static str,
        value: HeaderValue,
    ) -> Result<Answer, Failure> {
        self.send(Method::GET, path, name, value).await
    }

    /// One request with one header of its own. The value of that is told nobody.
    pub async fn send(
        &self,
        method: Method,
        path: &'static str,
        name: &'static str,
        value: HeaderValue,
    ) -> Result<Answer, Failure> {
        let other = |what: &str| Failure::Other(format!("{}{path}: {what}", self.endpoint));
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.endpoint.0.clone());
        uri.path_and_query = Some(PathAndQuery::from_static(path));
        let uri = Uri::from_parts(uri).map_err(|error| other(&error.to_string()))?;
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::USER_AGENT, concat!("flowgauge/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "*/*")
            .header(name, value)
            .body(Empty::new())
            .map_err(|error| other(&error.to_string()))?;
        let answer = self.client.request(request).await.map_err(|error| other(&innermost(&error)))?;
        match answer.status().as_u16() {
            200 => {}
            404 => return Err(Failure::NotFound(format!("{}{path}: status 404", self.endpoint))),
            status => return Err(other(&format!("status {status}"))),
        }
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| other(&innermost(error.as_ref())))?.to_bytes();
        let body = std::str::from_utf8(&body).map_err(|_| other("the answer is not text"))?;
        Ok(Answer { headers: head.headers, body: body.to_owned() })
    }
}

/// The cause of all causes: what is around it says only that something went wrong.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_nothing_else() {
        for good in
            ["http://169.254.169.254", "http://[fd00:ec2::254]:80", "http://metadata.google.internal/"]
        {
            let endpoint: Endpoint = good.parse().unwrap();
            assert_eq!(endpoint.to_string(), good.trim_end_matches('/'));
        }
        assert_eq!(Endpoint::default(), "http://169.254.169.254".parse().unwrap());
        for bad in [
            "",
            "169.254.169.254",
            "https://169.254.169.254",
            "http://",
            "http://:80",
            "http://a:b",
            "http://a:0",
            "http://a:65536",
            "http://u:p@a",
            "http://a/latest",
            "http://a/?q",
            "file:///etc/passwd",
            "http://a b",
        ] {
            assert_eq!(bad.parse::<Endpoint>(), Err(EndpointError), "{bad:?}");
        }
    }
}
