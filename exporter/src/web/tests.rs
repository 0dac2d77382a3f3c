// SPDX-License-Identifier: Apache-2.0
//! The server over real sockets, with clients as bad as they come.

mod configured;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::fake::Fake;
use super::{Limits, Settings, Site, listen, serve};
use crate::exposition::Exposition;
use crate::self_metrics::{ProcessCollector, SelfMetrics};

const LIMITS: Limits = Limits {
    connections: 8,
    response_bytes: 1 << 20,
    handshake: Duration::from_millis(300),
    header: Duration::from_millis(300),
    response: Duration::from_millis(500),
    drain: Duration::from_millis(1500),
};

/// A server on a thread of its own.
struct Server {
    address: SocketAddr,
    fake: Arc<Fake>,
    settings: Arc<Settings>,
    end: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(fake: Arc<Fake>) -> Self {
        Self::with_telemetry_path(fake, "/metrics")
    }

    fn with_telemetry_path(fake: Arc<Fake>, path: &str) -> Self {
        Self::configured(fake, path, None)
    }

    /// With a web configuration.
    fn configured(fake: Arc<Fake>, path: &str, config: Option<&std::path::Path>) -> Self {
        let listeners = listen(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = listeners[0].to_string().parse().unwrap();
        let metrics = Arc::<SelfMetrics>::default();
        let settings = Arc::new(Settings::open(config, Arc::clone(metrics.web())).unwrap());
        settings.start(|| ()).unwrap();
        let process = ProcessCollector::new(std::path::Path::new("/proc"));
        let exposition = Exposition::new(Arc::clone(&fake) as _, Arc::clone(&metrics), process);
        let site = Site::new(Arc::clone(&fake) as _, Arc::clone(&metrics), exposition, path.to_owned());
        let site = Arc::new(site);
        let serving = Arc::clone(&settings);
        let (end, ended) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let ended = async {
                let _ = ended.await;
            };
            runtime.block_on(serve(listeners, site, serving, metrics, LIMITS, ended)).unwrap();
        });
        Self { address, fake, settings, end: Some(end), thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Sends `request` and reads until the server closes.
    fn talk(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may refuse before it read everything.
        let _ = stream.write_all(request);
        read_all(&mut stream)
    }

    fn get(&self, path: &str) -> String {
        self.talk(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
    }

    fn end(&mut self) {
        let _ = self.end.take().map(|end| end.send(()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset after an answer is as good as an end.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[test]
fn routes() {
    let server = Server::start(Fake::taking(Duration::ZERO));
    let not_ready = server.get("/-/ready");
    assert_eq!(status(&not_ready), "503");
    assert!(not_ready.contains("label source names_file: line 3: no such field\n"), "{not_ready}");
    for (path, code, contains) in [
        ("/-/healthy", "200", "\r\n\r\nhealthy\n"),
        ("/metrics", "200", "content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        ("/metrics?x=1", "200", "vary: Accept, Accept-Encoding\r\n"),
        ("/-/ready", "200", "\r\n\r\nready\n"),
        ("/", "200", "content-type: text/html; charset=utf-8\r\n"),
        ("/", "200", "<p>&lt;script&gt;&quot;\\\n&amp;</p>"),
        ("/metrics/", "404", "content-type: text/plain; charset=utf-8\r\n"),
        ("/../etc/passwd", "404", "not found\n"),
        ("//", "404", "not found\n"),
    ] {
        let answer = server.get(path);
        assert_eq!(status(&answer), code, "{path}: {answer}");
        assert!(answer.contains(contains), "{path}: {answer}");
    }
    // Never un-ready.
    server.fake.fail("gone");
    assert_eq!(status(&server.get("/-/ready")), "200");
}

#[test]
fn the_telemetry_path_moves() {
    let server = Server::with_telemetry_path(Fake::taking(Duration::ZERO), "/flow/metrics");
    assert_eq!(status(&server.get("/flow/metrics")), "200");
    assert_eq!(status(&server.get("/metrics")), "404");
    assert!(server.get("/").contains("href=\"/flow/metrics\""));
}

#[test]
fn accept_headers_choose() {
    let server = Server::start(Fake::taking(Duration::ZERO));
    let answer = server.talk(
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: text/plain;q=0.5\r\n\
          Accept: application/openmetrics-text;version=1.0.0\r\n\r\n",
    );
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
    assert!(answer.ends_with("# EOF\n"), "{answer}");
    let packed = server
        .talk(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\n");
    assert!(packed.contains("content-encoding: gzip\r\n"), "{packed}");
}

#[test]
fn methods() {
    let server = Server::start(Fake::taking(Duration::ZERO));
    let head = server.talk(b"HEAD /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&head), "200");
    assert!(head.contains("content-length: 8\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let answer = server.talk(
            format!(
                "{method} /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
            .as_bytes(),
        );
        assert_eq!(status(&answer), "405", "{method}: {answer}");
        assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    }
    assert_eq!(server.fake.passes(), 0, "none of them is worth a pass");
}

#[test]
fn malformed_requests_are_refused_and_the_server_goes_on() {
    let server = Server::start(Fake::taking(Duration::ZERO));
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(1 << 20));
    let large = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(1000));
    let requests: [&[u8]; 12] = [
        b"\r\n\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        long.as_bytes(),
        large.as_bytes(),
        many.as_bytes(),
    ];
    for request in requests {
        let answer = server.talk(request);
        let shown = String::from_utf8_lossy(&request[..request.len().min(40)]);
        assert!(!answer.starts_with("HTTP/1.1 200"), "{shown:?}: {answer}");
    }
    for request in [&large, &many] {
        assert_eq!(status(&server.talk(request.as_bytes())), "431");
    }
    assert_eq!(status(&server.get("/-/healthy")), "200");
}

#[test]
fn pipelined_requests_are_answered_in_turn() {
    let server = Server::start(Fake::taking(Duration::ZERO));
    let answers = server.talk(
        b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\nGET /nope HTTP/1.1\r\nHost: x\r\n\r\n\
          GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    let codes: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(codes, ["200", "404", "200"]);
}

#[test]
fn slow_and_idle_clients_are_let_go_and_keep_nobody_out() {
    let server = Server::start(Fake::taking(Duration::ZERO));
    let begun = Instant::now();
    // All the slots: some never speak, some never finish, some stay after an answer.
    let mut clients: Vec<_> = (0..LIMITS.connections).map(|_| server.connect()).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        match at % 3 {
            0 => {}
            1 => client.write_all(b"GET /metrics HTTP/1.1\r\nX-").unwrap(),
            _ => client.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").unwrap(),
        }
    }
    // A slowloris: a byte now and then does not buy time.
    let mut dribbling = clients[1].try_clone().unwrap();
    let dribble = std::thread::spawn(move || {
        while begun.elapsed() < Duration::from_secs(30) && dribbling.write_all(b"a").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(status(&server.get("/-/healthy")), "200", "takes the place of the one that waited longest");
    for client in &mut clients {
        read_all(client);
    }
    dribble.join().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn a_client_that_does_not_take_its_responses_is_cut_off() {
    let server = Server::start(Fake::taking(Duration::ZERO));
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&server.address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    // More than the buffers between the two hold, asked for and never read.
    stream.write_all(&b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(5000)).unwrap();
    let begun = Instant::now();
    while stream.write_all(b"G").is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20), "still connected");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(begun.elapsed() >= LIMITS.response, "{:?}", begun.elapsed());
    let served = server.fake.passes();
    assert!(served < 5000, "{served} passes: nothing held the server back");
    assert_eq!(status(&server.get("/-/healthy")), "200");
}

#[test]
fn a_failing_pass_is_told() {
    let server = Server::start(Fake::taking(Duration::ZERO));
    server.fake.fail("EPERM on <map>");
    let answer = server.get("/metrics");
    assert_eq!(status(&answer), "500");
    assert!(answer.ends_with("scrape failed: reading sockets: EPERM on <map>\n"), "{answer}");
    server.fake.panic();
    assert_eq!(status(&server.get("/metrics")), "500");
    server.fake.mend();
    let answer = server.get("/metrics");
    assert!(answer.contains("flowgauge_web_responses_total{code=\"500\"} 2\n"), "{answer}");
}

#[test]
fn ending_finishes_running_scrapes_and_takes_no_more() {
    let mut server = Server::start(Fake::taking(Duration::from_millis(400)));
    let idle = server.connect();
    let mut running = server.connect();
    running.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    while server.fake.begun() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    server.end();
    let answer = read_all(&mut running);
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    server.thread.take().unwrap().join().unwrap();
    assert!(TcpStream::connect(server.address).is_err());
    drop(idle);
}

#[test]
fn ending_does_not_wait_for_ever() {
    let mut server = Server::start(Fake::taking(Duration::from_secs(3)));
    let mut running = server.connect();
    running.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    while server.fake.begun() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (done, waiting) = mpsc::channel();
    let begun = Instant::now();
    let thread = server.thread.take().unwrap();
    server.end();
    std::thread::spawn(move || {
        thread.join().unwrap();
        let _ = done.send(());
    });
    // The runtime of this test waits for the pass (3 s) when it is dropped; the program's is shut down with a bound.
    waiting.recv_timeout(Duration::from_secs(6)).unwrap();
    assert!(begun.elapsed() >= LIMITS.drain);
    assert_ne!(status(&read_all(&mut running)), "200");
}

#[test]
fn the_manual_tells_the_limits() {
    let manual =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md")).unwrap();
    let manual = manual.split_whitespace().collect::<Vec<_>>().join(" ");
    let limits = Limits::default();
    for told in [
        format!("{} connections at a time", limits.connections),
        format!("{} s for a TLS handshake", limits.handshake.as_secs()),
        format!("{} MiB of responses", limits.response_bytes >> 20),
        format!("{} s for a request to arrive", limits.header.as_secs()),
        format!("{} s to take a response", limits.response.as_secs()),
        format!("finishes running scrapes (at most {} s)", limits.drain.as_secs()),
    ] {
        assert!(manual.contains(&told), "docs/operations.md should say {told:?}");
    }
}

#[test]
fn bodies_are_refused() {
    let server = Server::start(Fake::taking(Duration::ZERO));
    for request in [
        &b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"[..],
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        // Not waited for, and the connection ends.
        let answer = server.talk(request);
        assert_eq!(status(&answer), "413", "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }
    assert_eq!(server.fake.passes(), 0);
}

#[test]
fn a_crowd_that_says_nothing_keeps_nobody_out() {
    let server = Server::start(Fake::taking(Duration::ZERO));
    let mut crowd: Vec<_> = (0..5 * LIMITS.connections).map(|_| server.connect()).collect();
    assert_eq!(status(&server.get("/-/healthy")), "200");
    // The first have left for the later ones, long before their time was up.
    assert_eq!(read_all(&mut crowd[0]), "");
    let metrics = server.get("/metrics");
    let left = metrics
        .lines()
        .find_map(|line| line.strip_prefix("flowgauge_web_refusals_total{reason=\"connection_limit\"} "));
    assert!(left.unwrap().parse::<usize>().unwrap() >= 4 * LIMITS.connections, "{left:?}");
}
