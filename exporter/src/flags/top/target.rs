// SPDX-License-Identifier: Apache-2.0
//! Where an exporter is, as an operator writes it or copies it from a browser.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// The path of flows on an exporter.
const FLOWS: &str = "/flows";

/// What the program says itself in its requests, so that it is not taken from an address.
const OWN: [&str; 7] = ["format", "by", "window", "sort", "order", "limit", "page"];

/// An exporter's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path of its flows.
    pub path: String,
    /// Filters that stood in the address, decoded.
    pub filters: Vec<(String, String)>,
}

impl Target {
    /// The value of the header `Host`.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || "must be http://HOST[:PORT] or https://HOST[:PORT]".to_owned();
        // A fragment is the browser's own affair.
        let uri: Uri = text.split('#').next().unwrap_or_default().parse().map_err(|_| form())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(form()),
        };
        let authority = uri.authority().ok_or_else(form)?;
        if authority.as_str().contains('@') {
            return Err("must not hold a user: use --user and --password-file".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(form());
        }
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            // There is one, and it is none.
            None if authority.as_str().len() > authority.host().len() => return Err(form()),
            None if tls => 443,
            None => 80,
        };
        let path = uri.path().trim_end_matches('/');
        let path = if path.ends_with(FLOWS) { path.to_owned() } else { format!("{path}{FLOWS}") };
        let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let filters = pairs
            .filter(|(name, _)| !OWN.contains(&name.as_ref()))
            .map(|(name, value)| (name.into_owned(), value.into_owned()));
        Ok(Self { tls, host, port, path, filters: filters.collect() })
    }
}
