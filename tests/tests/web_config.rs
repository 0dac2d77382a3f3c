// SPDX-License-Identifier: Apache-2.0
//! TLS, client certificates, passwords and sockets, held against promtool, curl, openssl and systemd.

use std::process::Command;

use flowgauge_tests::exporter::{self, binary};
use flowgauge_tests::prelude::*;
use flowgauge_tests::process::output;
use flowgauge_tests::web::{Door, HASH, USER, talk, until};
use rcgen::ExtendedKeyUsagePurpose;

const TLS: &str = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n";
/// What loads no programs starts faster.
const LEAN: [&str; 4] =
    ["--no-collector.tcp", "--no-collector.udp", "--no-collector.dns", "--no-collector.http"];

fn start(door: &Door, config: &str) -> Result<Exporter> {
    let flag = door.configure(config)?;
    Exporter::start_unready(&[&LEAN[..], &[&flag]].concat())
}

/// What promtool refuses is refused here, and what it takes is taken here or refused with a reason.
#[test]
fn promtool_reads_the_same_files() -> Result<()> {
    let door = Door::new()?;
    let users = format!("basic_auth_users:\n  anna: {HASH}\n");
    let cases = [
        (String::new(), true, 0),
        (TLS.to_owned(), true, 0),
        (format!("{TLS}{users}"), true, 0),
        (format!("{TLS}  min_version: TLS13\n  max_version: TLS13\n  curve_preferences: [X25519, CurveP256, CurveP384]\n"), true, 0),
        (format!("{TLS}  prefer_server_cipher_suites: false\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n"), true, 0),
        (format!("{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"), true, 0),
        (format!("{TLS}  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n"), true, 0),
        (format!("{TLS}  client_auth_type: RequestClientCert\n"), true, 0),
        (format!("{TLS}  client_auth_type: RequireAnyClientCert\n"), true, 0),
        (format!("{TLS}  min_version: TLS10\n  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]\n"), true, 0),
        ("http_server_config:\n  http2: false\n  headers: {X-Frame-Options: deny, Strict-Transport-Security: max-age=5}\n".to_owned(), true, 0),
        (format!("{TLS}  max_version: TLS11\n"), true, 64),
        (format!("{TLS}  client_auth_type: Sometimes\n"), false, 64),
        (format!("{TLS}  client_ca_file: ca.pem\n"), false, 64),
        (format!("{TLS}  cipher_suites: [TLS_NONE]\n"), false, 64),
        ("tls_server_config:\n  cert_file: cert.pem\n".to_owned(), false, 64),
        ("tls_server_config:\n  cert_file: cert.pem\n  key_file: ca.pem\n".to_owned(), false, 64),
        ("tls_server_config:\n  colour: red\n".to_owned(), false, 64),
        ("basic_auth_users: [anna]\n".to_owned(), false, 64),
        ("http_server_config:\n  headers: {Server: x}\n".to_owned(), false, 64),
        ("http_server_config:\n  headers: {X-Frame-Options: maybe}\n".to_owned(), false, 64),
    ];
    for (config, accepted, code) in cases {
        let flag = door.configure(&config)?;
        let promtool =
            output(Command::new("promtool").args(["check", "web-config"]).arg(door.path("web.yml")))?;
        assert_eq!(promtool.status.success(), accepted, "promtool on\n{config}{promtool:?}");
        // An address that cannot be had ends it, if the file did not.
        let ended =
            output(Command::new(binary()?).args([&flag, "--web.listen-address=192.0.2.1:1"]).args(LEAN))?;
        let said = String::from_utf8(ended.stderr)?;
        let expected = if code == 64 { 64 } else { 1 };
        assert_eq!(ended.status.code(), Some(expected), "{config}{said}");
        if code == 64 {
            let place = said.contains("--web.config.file: ") && said.contains("web.yml:");
            assert!(place && said.trim().lines().count() == 1, "{config}{said}");
        }
    }
    Ok(())
}

#[test]
fn scanners_get_no_session_and_good_clients_do() -> Result<()> {
    let door = Door::new()?;
    door.issue_client("good", "spiffe://example/prometheus")?;
    door.issue_client("other", "spiffe://example/other")?;
    let stranger = Door::new()?;
    stranger.issue_client("good", "spiffe://example/prometheus")?;
    for file in ["good.pem", "good-key.pem"] {
        door.write(&format!("stranger-{file}"), &std::fs::read_to_string(stranger.path(file))?)?;
    }
    let config = format!(
        "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  \
         client_allowed_sans: ['spiffe://example/prometheus']\n"
    );
    let exporter = start(&door, &config)?;
    let address = exporter.address();
    let good = ["-cert", "good.pem", "-key", "good-key.pem"];
    let with = |more: &[&'static str]| door.s_client(address, &[&good[..], more].concat());
    for more in [
        &[][..],
        &["-tls1_2"],
        &["-tls1_3"],
        &["-servername", "localhost"],
        &["-servername", "evil.example"],
        &["-noservername"],
        &["-alpn", "h2,http/1.1"],
        &["-groups", "P-384"],
    ] {
        let (session, said) = with(more)?;
        assert!(session, "{more:?}: {said}");
    }
    let old = ["-cipher", "ALL:@SECLEVEL=0"];
    for more in [
        &[&["-tls1"], &old[..]].concat()[..],
        &[&["-tls1_1"], &old[..]].concat(),
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "AES128-GCM-SHA256:@SECLEVEL=0"],
        &["-alpn", "h2"],
        // No host can have such a name.
        &["-servername", "127.0.0.1.."],
        &["-groups", "P-521"],
    ] {
        let (session, said) = with(more)?;
        assert!(!session, "{more:?}: {said}");
    }
    for no in [
        &[][..],
        &["-cert", "other.pem", "-key", "other-key.pem"],
        &["-cert", "stranger-good.pem", "-key", "stranger-good-key.pem"],
        &["-cert", "cert.pem", "-key", "key.pem"],
    ] {
        for version in ["-tls1_2", "-tls1_3"] {
            let (session, said) = door.s_client(address, &[no, &[version]].concat())?;
            assert!(!session, "{no:?}: {said}");
        }
    }
    for garbage in [
        &b"\x16\x03\x01\x00\x05hello"[..],
        b"\x16\x03\x03\xff\xff",
        b"SSH-2.0-x\r\n",
        b"\0",
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
        b"GET /metrics HTTP/1.1\r\n\r\n",
    ] {
        let answer = String::from_utf8_lossy(&talk(address, garbage, SOON)?).into_owned();
        assert!(!answer.contains("HTTP/1.1 2"), "{answer}");
    }
    let url = format!("https://localhost:{}/metrics", address.port());
    let resolve = format!("localhost:{}:127.0.0.1", address.port());
    let (status, body) =
        door.curl(&["--resolve", &resolve, "--cert", "good.pem", "--key", "good-key.pem", &url])?;
    assert_eq!(status, 200, "{body}");
    let metrics = flowgauge_tests::metrics::Metrics::parse(&body, flowgauge_tests::metrics::Format::Classic)?;
    let refused = metrics.sum("flowgauge_web_refusals_total", &[("reason", "tls_handshake")]);
    assert!(refused >= 16.0, "{refused}");
    assert!(!exporter.log().contains("level=error"), "{}", exporter.log());
    exporter.stop()?;
    Ok(())
}

#[test]
fn certificates_are_renewed_while_it_runs() -> Result<()> {
    let door = Door::new()?;
    let exporter = start(&door, TLS)?;
    let address = exporter.address();
    let serial = || -> Result<String> {
        let shown = Command::new("sh")
            .arg("-c")
            .arg(format!(
                "openssl s_client -connect {address} </dev/null 2>/dev/null | openssl x509 -noout -serial"
            ))
            .output()?;
        Ok(String::from_utf8(shown.stdout)?)
    };
    let first = serial()?;
    assert!(first.starts_with("serial="), "{first}");
    // The new certificate comes before its key: what is in force stays until both are there.
    let url = format!("https://localhost:{}/-/healthy", address.port());
    let resolve = format!("localhost:{}:127.0.0.1", address.port());
    door.issue("cert.pem", "new-key.pem", &["localhost"], ExtendedKeyUsagePurpose::ServerAuth)?;
    until("the mismatch is told", || Ok(exporter.log().contains("does not go with cert_file")))?;
    assert_eq!(serial()?, first);
    assert_eq!(door.curl(&["--resolve", &resolve, &url])?.0, 200);
    std::fs::rename(door.path("new-key.pem"), door.path("key.pem"))?;
    until("the new certificate is served", || Ok(serial()? != first))?;
    assert_eq!(door.curl(&["--resolve", &resolve, &url])?.0, 200);
    let log = exporter.log();
    let told = log.lines().filter(|line| line.contains("cannot use the new web configuration")).count();
    assert_eq!(told, 1, "{log}");
    // From clear text to TLS, and back, at a SIGHUP as well.
    door.configure("")?;
    exporter.reload()?;
    assert!(exporter.log().contains("has become empty"), "{}", exporter.log());
    door.configure("{}")?;
    exporter.reload()?;
    until("clear text is spoken", || {
        Ok(exporter.get("/-/healthy", "*/*").is_ok_and(|answer| answer.status == 200))
    })?;
    exporter.stop()?;
    Ok(())
}

#[test]
fn passwords() -> Result<()> {
    let door = Door::new()?;
    let exporter = start(&door, &format!("{TLS}basic_auth_users:\n  anna: {HASH}\n"))?;
    let resolve = format!("localhost:{}:127.0.0.1", exporter.address().port());
    let get = |path: &str, user: &str| {
        let url = format!("https://localhost:{}{path}", exporter.address().port());
        door.curl(&["--resolve", &resolve, "--user", user, &url])
    };
    for path in ["/", "/metrics", "/-/healthy"] {
        assert_eq!(get(path, USER)?.0, 200, "{path}");
        for wrong in ["anna:falsch", "bert:geheim", ":", "anna:"] {
            assert_eq!(get(path, wrong)?.0, 401, "{path} {wrong}");
        }
    }
    let page = get("/", USER)?.1;
    assert!(page.contains("TLS, no client certificates; passwords of 1 users"), "{page}");
    let log = exporter.log();
    assert_eq!(log.lines().filter(|line| line.contains("wrong user or password")).count(), 1, "{log}");
    assert!(!log.contains("falsch") && !page.contains(HASH), "{log}");
    exporter.stop()?;
    Ok(())
}

#[test]
fn a_unix_socket_and_ports_at_once() -> Result<()> {
    let door = Door::new()?;
    let socket = door.path("flowgauge.sock");
    // Left over by one that was killed.
    drop(std::os::unix::net::UnixListener::bind(&socket)?);
    let unix = format!("--web.listen-address=unix:{}?mode=0600", socket.display());
    let exporter = Exporter::start(&[&LEAN[..], &[&unix, "--web.listen-address=[::1]:0"]].concat())?;
    let socket_name = socket.display().to_string();
    assert_eq!(door.curl(&["--unix-socket", &socket_name, "http://x/metrics"])?.0, 200);
    assert_eq!(exporter.get("/metrics", "*/*")?.status, 200);
    let log = exporter.stop()?;
    assert_eq!(log.lines().filter(|line| line.contains("msg=serving")).count(), 3, "{log}");
    assert!(!socket.exists(), "the socket is left behind");
    Ok(())
}

#[test]
fn systemd_hands_over_its_sockets() -> Result<()> {
    let door = Door::new()?;
    let refused = output(Command::new(binary()?).arg("--web.systemd-socket"))?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("--web.systemd-socket: no socket was handed over")
    );
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let socket = door.path("s.sock").display().to_string();
    let mut command = Command::new("systemd-socket-activate");
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--listen", &socket]).arg(binary()?);
    let mut process = exporter::spawn(command.arg("--web.systemd-socket").args(LEAN))?;
    // It starts the program when somebody comes.
    until("a port is served", || {
        Ok(door.curl(&["--retry-connrefused", &format!("http://127.0.0.1:{port}/-/healthy")])?.0 == 200)
    })?;
    assert_eq!(door.curl(&["--unix-socket", &socket, "http://x/-/healthy"])?.0, 200);
    assert!(process.terminate(SOON)?.success(), "{}", process.log());
    assert!(std::path::Path::new(&socket).exists(), "that socket is not ours to remove");
    Ok(())
}
