// SPDX-License-Identifier: Apache-2.0
//! Against small servers that speak as each provider's service does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use super::*;

/// Serves until the test process ends: `answer` makes of a request's head the whole answer.
fn serve(answer: impl Fn(&str, &mut TcpStream) -> String + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (answer, mut stream) = (Arc::clone(&answer), stream.unwrap());
            thread::spawn(move || {
                while let Some(head) = head(&mut stream) {
                    let text = answer(&head, &mut stream);
                    if stream.write_all(text.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A request's head, in lower case but for its first line.
fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let (first, rest) = head.split_once("\r\n").unwrap();
    Some(format!("{first}\r\n{}", rest.to_lowercase()))
}

fn status(line: &str, body: &str) -> String {
    format!("HTTP/1.1 {line}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn ok(body: &str) -> String {
    status("200 OK", body)
}

fn asked(provider: Provider, address: SocketAddr) -> Result<Instance, String> {
    ask(provider, &format!("http://{address}").parse().unwrap())
}

fn instance(provider: Provider, id: &str, zone: &str, region: &str) -> Instance {
    Instance { provider, id: id.into(), zone: zone.into(), region: region.into() }
}

fn aws(head: &str) -> String {
    if head.starts_with("PUT /latest/api/token HTTP/1.1\r\n") {
        return match head.contains("\r\nx-aws-ec2-metadata-token-ttl-seconds: 60\r\n") {
            true => ok("AQAEAtoken=="),
            false => status("400 Bad Request", ""),
        };
    }
    if !head.contains("\r\nx-aws-ec2-metadata-token: aqaeatoken==\r\n") {
        return status("401 Unauthorized", "");
    }
    match head.split(' ').nth(1) {
        Some("/latest/meta-data/placement/availability-zone") => ok("eu-west-1b"),
        Some("/latest/meta-data/placement/region") => ok("eu-west-1"),
        Some("/latest/meta-data/instance-id") => ok("i-0123456789abcdef0\n"),
        _ => status("404 Not Found", "nothing"),
    }
}

fn google(head: &str) -> String {
    let flavored = |body: &str| {
        format!("HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    if !head.contains("\r\nmetadata-flavor: google\r\n") {
        return status("403 Forbidden", "Missing Metadata-Flavor:Google header.");
    }
    match head.split(' ').nth(1) {
        Some("/computeMetadata/v1/instance/zone") => flavored("projects/123456789/zones/us-central1-a"),
        Some("/computeMetadata/v1/instance/id") => flavored("4520031799277581759"),
        _ => status("404 Not Found", ""),
    }
}

fn azure(head: &str, zone: &str) -> String {
    if !head.contains("\r\nmetadata: true\r\n") {
        return status(
            "400 Bad Request",
            r#"{"error": "Bad request. Required metadata header not specified"}"#,
        );
    }
    match head.split(' ').nth(1) {
        Some("/metadata/instance?api-version=2021-02-01") => ok(&format!(
            r#"{{"compute": {{"azEnvironment": "AzurePublicCloud", "location": "EastUS", "tagsList": [], "vmId":
            "02aab8a4-74ef-476e-8182-f6d2ba4166a6", "zone": "{zone}"}}, "network": {{"interface": []}}}}"#
        )),
        _ => status("404 Not Found", ""),
    }
}

#[test]
fn each_provider_is_spoken_to_in_its_way() {
    let told = asked(Provider::Aws, serve(|head, _| aws(head)));
    assert_eq!(told, Ok(instance(Provider::Aws, "i-0123456789abcdef0", "eu-west-1b", "eu-west-1")));
    let told = asked(Provider::Google, serve(|head, _| google(head)));
    assert_eq!(told, Ok(instance(Provider::Google, "4520031799277581759", "us-central1-a", "us-central1")));
    let id = "02aab8a4-74ef-476e-8182-f6d2ba4166a6";
    let told = asked(Provider::Azure, serve(|head, _| azure(head, "2")));
    assert_eq!(told, Ok(instance(Provider::Azure, id, "eastus-2", "eastus")));
    let told = asked(Provider::Azure, serve(|head, _| azure(head, "")));
    assert_eq!(told, Ok(instance(Provider::Azure, id, "", "eastus")));
}

#[test]
fn what_a_service_does_not_know_may_be_missing() {
    let told = asked(
        Provider::Aws,
        serve(|head, _| match head.contains("/region") || head.contains("/instance-id") {
            true => status("404 Not Found", ""),
            false => aws(head),
        }),
    );
    assert_eq!(told, Ok(instance(Provider::Aws, "", "eu-west-1b", "")));
}

#[test]
fn odd_answers_are_refused_in_one_clear_line() {
    let refused =
        |provider, answer: &'static str| asked(provider, serve(move |_, _| answer.to_owned())).unwrap_err();
    for (provider, answer, expected) in [
        (
            Provider::Aws,
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
            "/latest/api/token: status 403",
        ),
        (
            Provider::Aws,
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "/latest/api/token: status 302",
        ),
        (
            Provider::Aws,
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na\nb",
            "the token is no text for a header",
        ),
        (
            Provider::Aws,
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
            "availability zone: \"<html>\" is no name",
        ),
        (Provider::Aws, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "availability zone: \"\" is no name"),
        (
            Provider::Google,
            "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nprojects/1/zones/a-b",
            "/computeMetadata/v1/instance/zone: the answer is not from Google's metadata server",
        ),
        (
            Provider::Google,
            "HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\nContent-Length: 2\r\n\r\nab",
            "region of the zone: \"\" is no name",
        ),
        (Provider::Azure, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "missing field `compute`"),
        (Provider::Azure, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\u{e9}", "EOF"),
        (Provider::Azure, "SSH-2.0-OpenSSH_9.2\r\n\r\n", "invalid HTTP version parsed"),
    ] {
        let error = refused(provider, answer);
        let text = error.contains(expected) || (expected == "EOF" && error.contains("expected value"));
        assert!(text && !error.contains('\n'), "{answer:?}: {error}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = asked(Provider::Aws, nobody).unwrap_err();
    assert!(error.ends_with("/latest/api/token: Connection refused (os error 111)"), "{error}");
}

#[test]
fn slow_and_endless_answers_end_in_time() {
    let slow = serve(|_, stream| {
        for _ in 0..50 {
            thread::sleep(Duration::from_millis(100));
            if stream.write_all(b"H").is_err() {
                break;
            }
        }
        String::new()
    });
    let endless = serve(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
        while stream.write_all(&chunk).is_ok() {}
        String::new()
    });
    for (address, expected) in [
        (slow, format!("no complete answer from http://{slow} within 1s")),
        (
            endless,
            format!("http://{endless}/metadata/instance?api-version=2021-02-01: length limit exceeded"),
        ),
    ] {
        let start = Instant::now();
        assert_eq!(asked(Provider::Azure, address), Err(expected));
        assert!(start.elapsed() < TIMEOUT + Duration::from_millis(900), "{:?}", start.elapsed());
    }
}

fn metadata(mode: MetadataMode, address: SocketAddr, sysfs: &Path) -> Arc<Metadata> {
    let endpoint = format!("http://{address}").parse().unwrap();
    Arc::new(Metadata::new(MetadataConfig { mode, endpoint }, sysfs.to_owned()))
}

fn wait_for_news(metadata: &Metadata) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !metadata.take_news() {
        assert!(Instant::now() < deadline, "no news: {metadata:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn nobody_is_asked_where_the_firmware_names_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let sysfs = tempfile::tempdir().unwrap();
    for mode in [MetadataMode::Auto, MetadataMode::Off] {
        let metadata = metadata(mode, address, sysfs.path());
        metadata.ask(|| panic!("there should be no thread"));
        assert_eq!((metadata.status(), metadata.instance(), metadata.failed()), (None, None, false));
        assert!(cloud_provider(&metadata.config, sysfs.path()).is_err());
    }
    thread::sleep(Duration::from_millis(100));
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "somebody was asked");
}

#[test]
fn an_answer_is_news_once_and_a_failure_may_be_mended() {
    let healthy = Arc::new(AtomicBool::new(false));
    let health = Arc::clone(&healthy);
    let address = serve(move |head, _| match health.load(Ordering::Acquire) {
        true => google(head),
        false => status("503 Service Unavailable", ""),
    });
    let sysfs = tempfile::tempdir().unwrap();
    let directory = sysfs.path().join(dmi::DIRECTORY);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("product_name"), "Google Compute Engine\n").unwrap();
    let metadata = metadata(MetadataMode::Auto, address, sysfs.path());
    metadata.ask(|| ());
    wait_for_news(&metadata);
    assert!(metadata.failed() && metadata.instance().is_none());
    let down = metadata.status().unwrap();
    assert_eq!((down.source, down.up, down.entries), ("cloud_metadata", false, 0));
    let expected = format!("gcp: http://{address}/computeMetadata/v1/instance/zone: status 503");
    assert_eq!(down.detail, expected);
    assert_eq!(cloud_provider(&metadata.config, sysfs.path()), Ok(Provider::Google));

    healthy.store(true, Ordering::Release);
    metadata.ask(|| ());
    wait_for_news(&metadata);
    assert!(!metadata.take_news() && !metadata.failed());
    assert_eq!(&*metadata.instance().unwrap().zone, "us-central1-a");
    let up = metadata.status().unwrap();
    assert!(up.up && up.detail.contains("zone \"us-central1-a\", region \"us-central1\""), "{}", up.detail);
    metadata.ask(|| panic!("what is known is not asked for again"));
}
