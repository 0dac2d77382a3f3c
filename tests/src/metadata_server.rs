// SPDX-License-Identifier: Apache-2.0
//! Metadata services of cloud providers, as far as the exporter asks them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// How a service behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Speaks AWS's protocol, version 2: no value without a token.
    Aws,
    /// Speaks Google's: no value without its header, both ways.
    Google,
    /// Speaks Azure's: no document without its header.
    Azure,
    /// Takes connections and says nothing.
    Silent,
    /// Answers whatever is asked with bytes that never end.
    Garbage,
}

/// A service on a loopback port, until the test ends.
#[derive(Debug)]
pub struct MetadataServer {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl MetadataServer {
    /// Starts it.
    pub fn start(manner: Manner) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listening as a metadata service")?;
        let port = listener.local_addr()?.port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || serve(stream, manner));
            }
        });
        Ok(MetadataServer { port, connections })
    }

    /// The flag that makes the exporter ask here.
    pub fn flag(&self) -> String {
        format!("--labels.cloud-metadata.endpoint=http://127.0.0.1:{}", self.port)
    }

    /// How many connections it has had.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, manner: Manner) {
    while let Some(head) = read_head(&mut stream) {
        let answer = match manner {
            Manner::Aws => aws(&head),
            Manner::Google => google(&head),
            Manner::Azure => azure(&head),
            Manner::Silent => return thread::sleep(Duration::from_secs(60)),
            Manner::Garbage => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                while stream.write_all(&[b'\n', 0, 0xff, b'"']).is_ok() {}
                return;
            }
        };
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A request's head, in lower case.
pub(crate) fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&head).to_lowercase())
}

fn answer(status: &str, header: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{header}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn aws(head: &str) -> String {
    let ok = |body| answer("200 OK", "", body);
    if head.starts_with("put /latest/api/token ")
        && head.contains("\r\nx-aws-ec2-metadata-token-ttl-seconds: ")
    {
        return ok("a-token");
    }
    if !head.contains("\r\nx-aws-ec2-metadata-token: a-token\r\n") {
        return answer("401 Unauthorized", "", "");
    }
    match head.split(' ').nth(1) {
        Some("/latest/meta-data/placement/availability-zone") => ok("eu-west-1b"),
        Some("/latest/meta-data/placement/region") => ok("eu-west-1"),
        Some("/latest/meta-data/instance-id") => ok("i-0123456789abcdef0"),
        _ => answer("404 Not Found", "", ""),
    }
}

fn google(head: &str) -> String {
    let ok = |body| answer("200 OK", "Metadata-Flavor: Google\r\n", body);
    if !head.contains("\r\nmetadata-flavor: google\r\n") {
        return answer("403 Forbidden", "", "");
    }
    match head.split(' ').nth(1) {
        Some("/computemetadata/v1/instance/zone") => ok("projects/1234/zones/us-central1-a"),
        Some("/computemetadata/v1/instance/id") => ok("4520031799277581759"),
        _ => answer("404 Not Found", "", ""),
    }
}

fn azure(head: &str) -> String {
    if !head.contains("\r\nmetadata: true\r\n") {
        return answer("400 Bad Request", "", "");
    }
    match head.split(' ').nth(1) {
        Some("/metadata/instance?api-version=2021-02-01") => {
            let body = r#"{"compute":{"location":"eastus","vmId":"02aab8a4-74ef-476e-8182-f6d2ba4166a6","zone":"1"},"network":{}}"#;
            answer("200 OK", "Content-Type: application/json\r\n", body)
        }
        _ => answer("404 Not Found", "", ""),
    }
}
