// SPDX-License-Identifier: Apache-2.0
//! An API server that answers what a test tells it to, and a sink that tells what came ([`Recorder`]).

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::access::Access;
use super::connection::{Connection, connection};
use super::timing::Timing;

mod recorder;

pub(super) use recorder::Recorder;

/// Waiting times for tests: short pauses, and patience enough for a busy machine.
pub(super) fn fast() -> Timing {
    let ms = Duration::from_millis;
    Timing {
        connect: ms(1_000),
        answer: ms(5_000),
        piece: ms(2_000),
        page: ms(5_000),
        mark: ms(2_000),
        stream: ms(5_000),
        idle: ms(5_000),
        settle: ms(30),
        stable: ms(10_000),
        brief: ms(1),
        outage: ms(200),
        spread: ms(20),
        backoff: ms(20),
        backoff_max: ms(60),
        refused_max: ms(60),
        ..Timing::default()
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub path: String,
    pub query: String,
    pub token: String,
    pub agent: String,
    /// Requests of this kind, for this path, before this one.
    pub earlier: usize,
}

impl Asked {
    /// `stream`, `watch` or `list`.
    pub(super) fn kind(&self) -> &'static str {
        match self.query.as_str() {
            query if query.contains("sendInitialEvents=true") => "stream",
            query if query.contains("watch=1") => "watch",
            _ => "list",
        }
    }

    pub(super) fn has(&self, parameter: &str) -> bool {
        self.query.split('&').any(|p| p == parameter)
    }
}

/// What the server does with an answer.
pub(super) enum Step {
    Send(String),
    Sleep(u64),
    /// Until the test opens it.
    Gate(Gate),
    /// Breaks off.
    Cut,
    /// Does nothing for as long as there is a server.
    Hold,
}

pub(super) type Gate = Arc<AtomicBool>;

pub(super) fn open(gate: &Gate) {
    gate.store(true, Ordering::Release);
}

/// Status and body.
pub(super) type Reply = (u16, Vec<Step>);

type Handler = dyn Fn(&Asked) -> Reply + Send + Sync;

/// The server. Ends, with all connections, when it is dropped.
pub(super) struct Server {
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<Asked>>>,
    stopped: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
        Server::start_at("127.0.0.1:0".parse().unwrap(), handler)
    }

    pub(super) fn start_at(
        address: SocketAddr,
        handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (log, stopped) = (Arc::default(), Arc::<AtomicBool>::default());
        let handler: Arc<Handler> = Arc::new(handler);
        let state = (Arc::clone(&log), Arc::clone(&stopped));
        let thread = thread::spawn(move || {
            let (log, stopped) = state;
            while !stopped.load(Ordering::Acquire) {
                let Ok((stream, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(2));
                    continue;
                };
                let (log, stopped, handler) = (Arc::clone(&log), Arc::clone(&stopped), Arc::clone(&handler));
                thread::spawn(move || {
                    stream.set_nonblocking(false).unwrap();
                    let _ = serve(&stream, &log, &stopped, &*handler);
                });
            }
        });
        Server { address, log, stopped, thread: Some(thread) }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.log.lock().clone()
    }

    pub(super) fn count(&self, kind: &str) -> usize {
        self.asked().iter().filter(|asked| asked.kind() == kind).count()
    }

    /// With a kubeconfig that names a token file, `token`, in `dir`.
    pub(super) fn connection(&self, dir: &Path, token: &str) -> Connection {
        fs::write(dir.join("token"), token).unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{ "name": "c", "context": { "cluster": "k", "user": "u" } }],
            "clusters": [{ "name": "k", "cluster": { "server": format!("http://{}", self.address) } }],
            "users": [{ "name": "u", "user": { "tokenFile": "token" } }],
        });
        fs::write(dir.join("config"), config.to_string()).unwrap();
        connection(Some(&dir.join("config"))).unwrap().unwrap()
    }

    pub(super) fn access(&self, timing: Timing) -> Arc<Access> {
        let dir = tempfile::tempdir().unwrap();
        Arc::new(Access::new(self.connection(dir.path(), "secret"), timing))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// One request a connection.
fn serve(
    stream: &TcpStream,
    log: &Mutex<Vec<Asked>>,
    stopped: &AtomicBool,
    handler: &Handler,
) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
    let target = first.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut asked = Asked {
        path: path.to_owned(),
        query: query.to_owned(),
        token: String::new(),
        agent: String::new(),
        earlier: 0,
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name {
            "authorization" => asked.token = value.trim_start_matches("Bearer ").to_owned(),
            "user-agent" => asked.agent = value.to_owned(),
            _ => {}
        }
    }
    {
        let mut log = log.lock();
        asked.earlier = log.iter().filter(|a| a.path == asked.path && a.kind() == asked.kind()).count();
        log.push(asked.clone());
    }
    let (status, steps) = handler(&asked);
    answer(stream, status, steps, stopped)
}

fn answer(mut stream: &TcpStream, status: u16, steps: Vec<Step>, stopped: &AtomicBool) -> io::Result<()> {
    let wait = |until: &dyn Fn() -> bool| {
        while !stopped.load(Ordering::Acquire) && !until() {
            thread::sleep(Duration::from_millis(2));
        }
    };
    let mut headed = false;
    let mut head = |mut stream: &TcpStream| {
        if std::mem::replace(&mut headed, true) {
            return Ok(());
        }
        write!(stream, "HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
    };
    for step in steps {
        match step {
            Step::Send(text) => {
                head(stream)?;
                if !text.is_empty() {
                    write!(stream, "{:x}\r\n{text}\r\n", text.len())?;
                }
            }
            Step::Sleep(ms) => {
                let end = Instant::now() + Duration::from_millis(ms);
                wait(&|| Instant::now() >= end);
            }
            Step::Gate(gate) => wait(&|| gate.load(Ordering::Acquire)),
            Step::Cut => return Ok(()),
            Step::Hold => wait(&|| false),
        }
        if stopped.load(Ordering::Acquire) {
            return Ok(());
        }
    }
    head(stream)?;
    write!(stream, "0\r\n\r\n")
}

/// An object with little but a name.
pub(super) fn object(name: &str, version: u64) -> Value {
    json!({ "metadata": { "name": name, "uid": name, "resourceVersion": version.to_string() } })
}

/// A line of a watch.
pub(super) fn event(kind: &str, object: &Value) -> Step {
    Step::Send(format!("{}\n", json!({ "type": kind, "object": object })))
}

pub(super) fn added(name: &str, version: u64) -> Step {
    event("ADDED", &object(name, version))
}

pub(super) fn bookmark(version: u64) -> Step {
    event("BOOKMARK", &json!({ "metadata": { "resourceVersion": version.to_string() } }))
}

/// The mark that ends a streaming list.
pub(super) fn mark(version: u64) -> Step {
    let annotations = json!({ "k8s.io/initial-events-end": "true" });
    let metadata = json!({ "resourceVersion": version.to_string(), "annotations": annotations });
    event("BOOKMARK", &json!({ "metadata": metadata }))
}

/// A streaming list of these at that version, and then nothing more.
pub(super) fn stream(names: &[&str], version: u64) -> Vec<Step> {
    let mut steps: Vec<Step> = names.iter().map(|name| added(name, version)).collect();
    steps.extend([mark(version), Step::Hold]);
    steps
}

/// A page; `next` is the token for the one after it.
pub(super) fn page(names: &[&str], version: u64, next: &str) -> Reply {
    let items: Vec<Value> = names.iter().map(|name| object(name, version)).collect();
    let metadata = json!({ "resourceVersion": version.to_string(), "continue": next });
    (200, vec![Step::Send(json!({ "kind": "List", "metadata": metadata, "items": items }).to_string())])
}

pub(super) fn status(code: u16, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code })
}

pub(super) fn refuse(code: u16, message: &str) -> Reply {
    (code, vec![Step::Send(status(code, message).to_string())])
}

pub(super) fn hold() -> Reply {
    (200, vec![Step::Send(String::new()), Step::Hold])
}
