// SPDX-License-Identifier: Apache-2.0
//! nginx, whose access log tells methods and status codes.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::{Context, Result};

use super::{Counts, method_label};
use crate::netns::Host;
use crate::nginx::Nginx;

/// Codes that `/code/…` answers with.
const CODES: [u16; 16] = [200, 201, 202, 204, 207, 301, 304, 400, 403, 404, 418, 422, 429, 500, 502, 503];

/// The access log's lines.
const FORMAT: &str = "$server_port $request_method $status $connection $server_protocol";

/// A running nginx.
#[derive(Debug)]
pub struct Web {
    nginx: Nginx,
}

/// A line of the access log.
#[derive(Debug, Clone)]
pub struct Logged {
    /// Port it came in on.
    pub port: String,
    /// Its method, as sent.
    pub method: String,
    /// The response's status code.
    pub code: u16,
    /// nginx's number of the connection.
    pub connection: String,
    /// `HTTP/1.1` and the like.
    pub protocol: String,
}

impl Web {
    /// Starts nginx in `host` with two workers on each of `listen` (nginx's own words). It serves `files` (name, size in bytes)
    /// below `/`, takes PUT and DELETE below `/put/`, and answers `/code/404` with it.
    pub fn start(host: &Host, listen: &[&str], files: &[(&str, usize)]) -> Result<Self> {
        let codes: String =
            CODES.iter().map(|code| format!("location = /code/{code} {{ return {code}; }}\n")).collect();
        let site = format!("location /put/ {{ dav_methods PUT DELETE; }}\n{codes}sendfile on;\n");
        Ok(Web { nginx: Nginx::with_site(host, listen, files, 2, (FORMAT, &site))? })
    }

    /// Starts nginx in `host` as a proxy: what comes in on `listen` it asks of `behind`.
    pub fn proxy(host: &Host, listen: &[&str], behind: SocketAddr) -> Result<Self> {
        let site = format!("location / {{ proxy_pass http://{behind}; proxy_http_version 1.1; }}\n");
        Ok(Web { nginx: Nginx::with_site(host, listen, &[], 2, (FORMAT, &site))? })
    }

    /// The access log, as soon as it has this many lines.
    pub fn log(&self, at_least: usize) -> Result<Vec<Logged>> {
        let lines = self.nginx.lines(at_least)?;
        lines.iter().map(|line| logged(line).with_context(|| format!("access log line {line:?}"))).collect()
    }

    /// The responses on one port by the log, as soon as the whole log has this many lines.
    pub fn counts(&self, port: u16, at_least: usize) -> Result<Counts> {
        let port = port.to_string();
        let mut counts = Counts::new();
        for line in self.log(at_least)?.iter().filter(|line| line.port == port) {
            *counts.entry((method_label(&line.method).to_owned(), line.code)).or_default() += 1;
        }
        Ok(counts)
    }

    /// How many connections had requests.
    pub fn connections(&self, at_least: usize) -> Result<usize> {
        let log = self.log(at_least)?;
        Ok(log.iter().map(|line| &line.connection).collect::<BTreeSet<_>>().len())
    }
}

fn logged(line: &str) -> Option<Logged> {
    let mut fields = line.split(' ');
    Some(Logged {
        port: fields.next()?.to_owned(),
        method: fields.next()?.to_owned(),
        code: fields.next()?.parse().ok()?,
        connection: fields.next()?.to_owned(),
        protocol: fields.next()?.to_owned(),
    })
}
