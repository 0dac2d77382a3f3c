// SPDX-License-Identifier: Apache-2.0
//! Against servers that behave, and servers that do not.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use super::{Client, Limits};
use crate::flags::{Command, Flags, TopFlags, Usage};

mod secure;

/// As patient as a test.
const LIMITS: Limits =
    Limits { connect: Duration::from_secs(10), answer: Duration::from_secs(10), bytes: 1 << 20 };

fn flags(arguments: &[&str]) -> TopFlags {
    let arguments = ["flowgauge", "top"].iter().chain(arguments).copied().map(OsString::from);
    match Flags::parse_from(arguments).unwrap().command {
        Some(Command::Top(flags)) => *flags,
        other => panic!("{other:?}"),
    }
}

/// Serves each connection by `serve`, on a thread for all of them; tells the requests.
fn server(mut serve: impl FnMut(&mut TcpStream) + Send + 'static) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = sender.send(head(&mut stream));
            serve(&mut stream);
        }
    });
    (address, requests)
}

fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// What a client gets from a server that sends `bytes` and then closes.
async fn get_from(bytes: impl Into<Vec<u8>>, limits: Limits) -> Result<String, String> {
    let bytes = bytes.into();
    let (address, _requests) = server(move |stream| drop(stream.write_all(&bytes)));
    let mut client = Client::new(&flags(&[&format!("--url=http://{address}")]), limits).unwrap();
    client.get("a=b").await.map(|body| String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn asks_and_reads_and_says_who_asks() {
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "open sesame\n").unwrap();
    let (address, requests) = server(|stream| drop(stream.write_all(answer("200 OK", "{}").as_bytes())));
    let (url, password) =
        (format!("--url=http://{address}/prefix"), format!("--password-file={}", password.path().display()));
    let mut client = Client::new(&flags(&[&url, "--user=me", &password]), LIMITS).unwrap();
    for _ in 0..2 {
        // The second time over a new connection, since the first one is closed by then.
        assert_eq!(client.get("by=edge&x=%26").await.unwrap(), "{}");
        let request = requests.recv().unwrap();
        assert!(request.starts_with("GET /prefix/flows?by=edge&x=%26 HTTP/1.1\r\n"), "{request}");
        for line in [
            format!("host: {address}"),
            "accept: application/json".into(),
            "authorization: Basic bWU6b3BlbiBzZXNhbWU=".into(),
        ] {
            assert!(request.contains(&format!("\r\n{line}\r\n")), "{line}: {request}");
        }
    }
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let (address, requests) = server(|stream| {
        for _ in 0..2 {
            stream.write_all(answer("200 OK", "again").as_bytes()).unwrap();
            head(stream);
        }
    });
    let mut client = Client::new(&flags(&[&format!("--url=http://{address}")]), LIMITS).unwrap();
    for _ in 0..2 {
        assert_eq!(client.get("").await.unwrap(), "again");
    }
    assert!(requests.recv().is_ok() && requests.try_recv().is_err(), "one connection");
}

#[tokio::test]
async fn refusals_are_told_in_a_line() {
    let long = format!("500 Internal Server Error: {}…", "x".repeat(299));
    for (answered, expected) in [
        (
            answer("400 Bad Request", "sort: no such column\nsecond line"),
            "400 Bad Request: sort: no such column",
        ),
        (
            answer("404 Not Found", "--web.flows=off: nothing is kept"),
            "404 Not Found: --web.flows=off: nothing is kept",
        ),
        (answer("503 Service Unavailable", "<html>"), "503 Service Unavailable"),
        (answer("500 Internal Server Error", &"x".repeat(5000)), long.as_str()),
        (answer("400 Bad Request", "a\u{1b}[2J\u{9b}b"), "400 Bad Request: a\u{fffd}[2J\u{fffd}b"),
        (
            answer("401 Unauthorized", ""),
            "401 Unauthorized: the exporter wants --user and the right password",
        ),
        (
            answer("302 Found\r\nLocation: https://x/flows", ""),
            "302 Found: the exporter is at https://x/flows",
        ),
    ] {
        assert_eq!(get_from(answered.clone(), LIMITS).await.unwrap_err(), expected, "{answered}");
    }
}

#[tokio::test]
async fn no_more_is_read_than_allowed() {
    let limits = Limits { bytes: 1 << 20, ..LIMITS };
    let promised =
        "HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n".to_owned() + &"x".repeat(3 << 20);
    assert_eq!(get_from(promised, limits).await.unwrap_err(), "the answer is longer than 1 MiB");
    let mut chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    chunked.push_str(&format!("10000\r\n{}\r\n", "y".repeat(65536)).repeat(40));
    assert_eq!(get_from(chunked, limits).await.unwrap_err(), "the answer is longer than 1 MiB");
    let error =
        get_from(format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(100_000)), limits).await.unwrap_err();
    assert!(error.starts_with("no HTTP answer: "), "{error}");
    let error = get_from("SSH-2.0-OpenSSH_9.2\r\n", limits).await.unwrap_err();
    assert!(error.starts_with("no HTTP answer: "), "{error}");
    let error = get_from("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", limits).await.unwrap_err();
    assert!(error.starts_with("the answer breaks off: "), "{error}");
    assert!(get_from("", limits).await.is_err());
}

#[tokio::test]
async fn nobody_is_waited_for_longer_than_allowed() {
    let limits = Limits { answer: Duration::from_millis(300), ..LIMITS };
    let (address, _requests) = server(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
        // A byte now and then, for ever.
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let mut client = Client::new(&flags(&[&format!("--url=http://{address}")]), limits).unwrap();
    assert_eq!(client.get("").await.unwrap_err(), "no complete answer within 300ms");
}

#[tokio::test]
async fn nobody_there() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut client = Client::new(&flags(&[&format!("--url=http://{port}")]), LIMITS).unwrap();
    let error = client.get("").await.unwrap_err();
    assert!(error.starts_with(&format!("http://{port}: Connection refused")), "{error}");
}

#[test]
fn files_that_cannot_be_used_are_mistakes() {
    for argument in ["--ca-file=/nonexistent", "--password-file=/nonexistent"] {
        let flags = flags(&["--url=https://localhost", "--user=me", argument]);
        let Err(Usage::Mistake(line)) = Client::new(&flags, LIMITS) else { panic!("{argument}") };
        assert!(
            line.starts_with(&format!(
                "flowgauge: {}: \"/nonexistent\": ",
                argument.split('=').next().unwrap()
            )),
            "{line}"
        );
    }
}
