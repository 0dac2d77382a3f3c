// SPDX-License-Identifier: Apache-2.0
//! The server with a web configuration: passwords, TLS, and files that change.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use base64::Engine as _;

use super::{Fake, Server, read_all, status};
use crate::source::State;

/// A web configuration, with certificates beside it.
struct Configured {
    dir: tempfile::TempDir,
}

impl Configured {
    const PASSWORD: &str = "anna:geheim";

    fn new(text: &str) -> Self {
        let this = Self { dir: tempfile::tempdir().unwrap() };
        let key = rcgen::KeyPair::generate().unwrap();
        let own = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        this.write("cert.pem", &own.pem());
        this.write("key.pem", &key.serialize_pem());
        this.write("web.yml", text);
        this
    }

    fn users() -> String {
        format!("basic_auth_users: {{anna: {}}}\n", bcrypt::hash("geheim", 4).unwrap())
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("web.yml")
    }

    /// As editors and configuration management do: another file takes the place.
    fn write(&self, name: &str, text: &str) {
        let new = self.dir.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.dir.path().join(name)).unwrap();
    }

    fn serve(&self) -> Server {
        Server::configured(Fake::taking(Duration::ZERO), "/metrics", Some(&self.path()))
    }
}

fn as_user(path: &str, user: &str) -> String {
    let encoded = base64::prelude::BASE64_STANDARD.encode(user);
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic {encoded}\r\n\r\n")
}

#[test]
fn every_route_asks_for_the_password() {
    let configured = Configured::new(
        &(Configured::users()
            + "http_server_config: {headers: {X-Frame-Options: deny, Content-Security-Policy: ''}}\n"),
    );
    let server = configured.serve();
    for path in ["/", "/metrics", "/-/healthy", "/-/ready", "/nope"] {
        let answer = server.get(path);
        assert_eq!(status(&answer), "401", "{path}: {answer}");
        assert!(answer.contains("www-authenticate: Basic realm=\"Flowgauge\""), "{answer}");
        assert!(answer.contains("x-frame-options: deny\r\n"), "{answer}");
        assert_eq!(status(&server.talk(as_user(path, "anna:falsch").as_bytes())), "401", "{path}");
        let expected = if path == "/nope" { "404" } else { "200" };
        let answer = server.talk(as_user(path, Configured::PASSWORD).as_bytes());
        if path != "/-/ready" {
            assert_eq!(status(&answer), expected, "{path}: {answer}");
        }
    }
    assert_eq!(server.fake.passes(), 2, "two pages need one; nobody without a password is worth a pass");
}

#[test]
fn what_changes_in_the_file_holds_at_once_and_a_bad_file_changes_nothing() {
    let configured = Configured::new("");
    let server = configured.serve();
    let mut kept = server.connect();
    kept.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(kept.read(&mut [0; 1000]).unwrap() > 0);
    configured.write("web.yml", &Configured::users());
    let deadline = Instant::now() + Duration::from_secs(20);
    while status(&server.get("/-/healthy")) != "401" {
        assert!(Instant::now() < deadline, "the file is not read again");
        std::thread::sleep(Duration::from_millis(50));
    }
    // A connection of before the change has ended.
    let _ = kept.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(read_all(&mut kept), "");
    for bad in ["basic_auth_users: {anna: plain}", "tls_server_config: {cert_file: nowhere}", "\t", "a: b"] {
        configured.write("web.yml", bad);
        server.settings.reload();
        assert_eq!(status(&server.get("/-/healthy")), "401");
        let answer = server.talk(as_user("/metrics", Configured::PASSWORD).as_bytes());
        assert!(answer.contains("\nflowgauge_web_config_last_reload_successful 0\n"), "{answer}");
        let shown = server.settings.status().unwrap();
        assert!(shown.detail.ends_with("in force stays: clear text; passwords of 1 users"), "{shown:?}");
    }
    std::fs::remove_file(configured.path()).unwrap();
    server.settings.reload();
    assert_eq!(status(&server.get("/-/healthy")), "401");
    configured.write("web.yml", "rate_limit: {interval: 1h, burst: 1}");
    server.settings.reload();
    assert_eq!(server.settings.status().unwrap().state, State::Up);
    assert_eq!([(); 2].map(|()| status(&server.get("/-/healthy")).to_owned()), ["200", "429"]);
}

#[test]
fn clear_text_at_a_port_of_tls_is_told_so() {
    let configured = Configured::new("tls_server_config: {cert_file: cert.pem, key_file: key.pem}");
    let server = configured.serve();
    let answer = server.get("/metrics");
    assert_eq!(status(&answer), "400");
    assert!(answer.ends_with("\r\n\r\nclient sent an HTTP request to an HTTPS server\n"), "{answer}");
    // Garbage, and a handshake that never goes on.
    for begun in [&b"\x16\x03\x01\xff\xff"[..], b"\x80\x2e\x01\x00\x02", b"\0\0\0\0\0\0", b"\x16"] {
        let clock = Instant::now();
        let answer = server.talk(begun);
        assert!(!answer.contains("HTTP"), "{answer}");
        assert!(clock.elapsed() < Duration::from_secs(8));
    }
}
