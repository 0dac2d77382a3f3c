// SPDX-License-Identifier: Apache-2.0
//! A server of `/flows` that says what it is told to say, whatever it is asked.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// What it does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answers 200 with this.
    Json(Value),
    /// Sends these bytes and closes.
    Bytes(Vec<u8>),
    /// Sends this over and over, until the client has enough.
    Endless(Vec<u8>),
    /// Never says anything.
    Silence,
}

#[derive(Debug)]
struct State {
    reply: Reply,
    asked: Vec<String>,
}

/// A running server, on a loopback port of its own.
#[derive(Debug)]
pub struct FlowsServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl FlowsServer {
    /// Starts one.
    pub fn start(reply: Reply) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listening")?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State { reply, asked: Vec::new() }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &state));
            }
        });
        Ok(FlowsServer { address, state })
    }

    /// Its address, as a flag takes it.
    pub fn flag(&self) -> String {
        format!("--url=http://{}", self.address)
    }

    /// Says something else from now on.
    pub fn say(&self, reply: Reply) {
        self.lock().reply = reply;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until somebody asks with all of these in the request line.
    pub fn wait_for(&self, parts: &[&str]) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let asked = self.lock().asked.clone();
            if asked.iter().any(|line| parts.iter().all(|part| line.contains(part))) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("nobody asked with {parts:?}, but {asked:#?}");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
        head.clear();
        let reply = {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.asked.push(line);
            state.reply.clone()
        };
        let sent = match reply {
            Reply::Json(value) => {
                let body = value.to_string();
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
                write!(stream, "{head}: {}\r\n\r\n{body}", body.len())
            }
            Reply::Bytes(bytes) => {
                let _ = stream.write_all(&bytes);
                return;
            }
            Reply::Endless(bytes) => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                while stream.write_all(&bytes).is_ok() {}
                return;
            }
            // Until the client closes.
            Reply::Silence => return drop(stream.read(&mut byte)),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// An answer by edge with a row for each of these servers, that a client `checkout` talks to.
pub fn edges(servers: &[&str]) -> Value {
    let rows = servers.iter().map(|server| {
        json!({
            "edge": {
                "observer": "client", "client_namespace": "shop", "client_workload": "checkout", "client_zone": "",
                "server_namespace": "", "server_workload": server, "server_zone": "", "server_service": "",
                "server_kind": "external", "server_port": "443",
            },
            "addresses": 3, "process": "checkout", "container": null, "pod": null,
            "first_seen": 1_789_999_700.0, "last_seen": 1_789_999_999.0,
            "tcp": {
                "sent_bytes": 30_000, "received_bytes": 3_000_000, "sent_segments": 400, "received_segments": 2100,
                "retransmitted_segments": 8, "retransmit_ratio": 0.02, "out_of_order_segments": 1,
                "rtt_seconds": {"last": 0.001, "mean": 0.0015, "max": 0.004, "samples": 3},
                "connections": 2, "connections_opened": 3, "connections_closed": {"fin": 1}, "connect_attempts": 3,
                "connect_failures": {}, "syn_retransmits": 0, "synack_retransmits": 0,
            },
            "udp": null, "dns": null, "http": null,
        })
    });
    let rows: Vec<_> = rows.collect();
    json!({
        "version": 1, "node": "node-1", "generated_at": 1_790_000_000.1, "window_seconds": 300, "covered_seconds": 300.0,
        "by": "edge", "tracked": 17, "capacity": 20_000, "evicted_total": 0, "matched": rows.len(), "returned": rows.len(),
        "rows": rows,
    })
}
