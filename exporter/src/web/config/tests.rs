// SPDX-License-Identifier: Apache-2.0
//! Files as operators write them, and what is said of those that are wrong.

use std::path::Path;

use tempfile::TempDir;

use super::WebConfig;

/// A directory with a certificate, its key, another key and an authority.
fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
    let (key, other) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    write("cert.pem", params.self_signed(&key).unwrap().pem());
    write("key.pem", key.serialize_pem());
    write("other.pem", other.serialize_pem());
    write("empty.pem", String::new());
    dir
}

fn load(dir: &Path, text: &str) -> Result<WebConfig, String> {
    let path = dir.join("web.yml");
    std::fs::write(&path, text).unwrap();
    let error = |error: super::ConfigError| {
        let prefix = format!("{}:", dir.display());
        error.to_string().replace(&prefix, "").replace(&format!("{}/", dir.display()), "")
    };
    WebConfig::load(&path, |_| ()).map_err(error)
}

const TLS: &str = "cert_file: cert.pem, key_file: key.pem";

#[test]
fn nothing_is_asked_for() {
    let dir = directory();
    for text in [
        "",
        "\n",
        "{}",
        "# nothing\n{}",
        "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\n",
        "tls_server_config: {min_version: TLS13}",
    ] {
        let config = load(dir.path(), text).unwrap();
        assert_eq!(config.summary(), "clear text; no passwords", "{text:?}");
    }
}

#[test]
fn all_that_is_done() {
    let dir = directory();
    let config = load(
        dir.path(),
        "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n  client_auth_type: RequireAndVerifyClientCert\n  \
         client_ca_file: cert.pem\n  client_allowed_sans: [a.example, 192.0.2.1]\n  min_version: TLS12\n  max_version: TLS13\n  \
         cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]\n  \
         prefer_server_cipher_suites: false\n  curve_preferences: [X25519, CurveP256]\nhttp_server_config:\n  http2: false\n  \
         headers:\n    Strict-Transport-Security: max-age=31536000\n    X-Frame-Options: DENY\n    X-XSS-Protection: ''\n",
    )
    .unwrap();
    assert_eq!(
        config.summary(),
        "TLS, client certificates required, of client_allowed_sans alone; no passwords"
    );
    assert_eq!(config.ignored, Vec::<String>::new());
    assert_eq!(config.headers.len(), 2);
    let tls = config.tls.unwrap();
    assert!(!tls.ignore_client_order);
    assert_eq!(tls.crypto_provider().kx_groups.len(), 2);
    assert_eq!(tls.crypto_provider().cipher_suites.len(), 4, "three of TLS 1.3 and one");
}

#[test]
fn what_cannot_be_done_is_said() {
    let dir = directory();
    for (keys, expected) in [
        ("min_version: TLS10", "min_version is taken as TLS12: TLS 1.0 and 1.1 are not spoken"),
        (
            "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]",
            "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA not spoken, for want of forward secrecy or authentication",
        ),
        ("curve_preferences: [CurveP521, CurveP384]", "CurveP521 is not spoken"),
    ] {
        let config = load(dir.path(), &format!("tls_server_config: {{{TLS}, {keys}}}")).unwrap();
        assert_eq!(config.ignored, [expected]);
    }
    let config = load(dir.path(), "http_server_config: {http2: true}").unwrap();
    assert_eq!(config.ignored, ["http2 is ignored: HTTP/1.1 alone is spoken"]);
}

#[test]
fn faults_are_told_by_line_and_column() {
    let dir = directory();
    for (text, expected) in [
        ("tls: {}", "web.yml:1:1: unknown field `tls`"),
        ("tls_server_config:\n  cert_fil: x", "web.yml:2:3: unknown field `cert_fil`"),
        ("tls_server_config: 5", "web.yml:1:20: "),
        ("- a", "web.yml:1:1: "),
        ("basic_auth_users: {a: [b]}", "web.yml:1:23: "),
        ("a: b\na: c", "web.yml:1:1: unknown field"),
        ("http_server_config:\n  headers:\n    Server: x", "web.yml:3:5: unknown field `Server`"),
        (
            "http_server_config: {headers: {X-Frame-Options: maybe}}",
            "web.yml:1:49: x-frame-options: \"maybe\" is none of",
        ),
        ("http_server_config: {http2: perhaps}", "web.yml:1:29: "),
        ("basic_auth_users:\n  anna: secret", "web.yml:2:9: the password of \"anna\" is not a bcrypt hash"),
        ("rate_limit: {interval: 1s}", "web.yml:1:13: rate_limit: without a burst"),
        ("rate_limit: {interval: soon, burst: 1}", "web.yml:1:24: interval: \"soon\" is not a duration"),
        (
            "tls_server_config: {cert_file: cert.pem}",
            "web.yml:1:20: tls_server_config: missing one of key and key_file",
        ),
        (
            "tls_server_config: {client_auth_type: NoClientCert}",
            "web.yml:1:20: tls_server_config: missing one of cert",
        ),
        (
            "tls_server_config: {cert_file: none.pem, key_file: key.pem}",
            "web.yml:1:32: cert_file none.pem: No such file",
        ),
        (
            "tls_server_config: {cert_file: empty.pem, key_file: key.pem}",
            "web.yml:1:32: cert_file empty.pem: holds no cert",
        ),
        (
            "tls_server_config: {cert_file: cert.pem, key_file: cert.pem}",
            "web.yml:1:52: key_file cert.pem: holds no priv",
        ),
        (
            "tls_server_config: {cert_file: cert.pem, key_file: other.pem}",
            "web.yml:1:52: key_file other.pem does not go with cert_file cert.pem",
        ),
    ] {
        let error = load(dir.path(), text).err().unwrap_or_default();
        assert!(error.starts_with(expected), "{text:?}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    for (keys, expected) in [
        ("cert: x", "cert_file and cert are both given"),
        ("min_version: SSL30", "\"SSL30\" is none of TLS10, TLS11"),
        ("max_version: TLS11", "max_version: TLS 1.0 and 1.1 are not spoken"),
        ("min_version: TLS13, max_version: TLS12", "min_version is newer than max_version"),
        ("cipher_suites: [TLS_NULL]", "\"TLS_NULL\" is no cipher suite"),
        (
            "max_version: TLS12, cipher_suites: [TLS_RSA_WITH_AES_128_GCM_SHA256]",
            "cipher_suites: none of them is spoken",
        ),
        ("curve_preferences: [CurveP521]", "curve_preferences: none of them is spoken"),
        ("curve_preferences: [secp256k1]", "\"secp256k1\" is none of X25519"),
        ("client_auth_type: Sometimes", "client_auth_type: \"Sometimes\" is none"),
        ("client_ca_file: cert.pem", "client_ca_file cert.pem: is of no use"),
        (
            "client_auth_type: RequireAndVerifyClientCert",
            "client_auth_type: RequireAndVerifyClientCert needs client_ca_file",
        ),
        (
            "client_auth_type: RequestClientCert, client_allowed_sans: [a]",
            "client_allowed_sans: needs a client_auth_type",
        ),
        (
            "client_auth_type: RequireAnyClientCert, client_allowed_sans: []",
            "client_allowed_sans: the list is empty",
        ),
    ] {
        let error =
            load(dir.path(), &format!("tls_server_config: {{{TLS}, {keys}}}")).err().unwrap_or_default();
        let shown = error.replace(&format!("{}/", dir.path().display()), "");
        assert!(shown.contains(&format!(": {expected}")), "{keys}: {shown}");
    }
}

#[test]
fn a_key_is_never_shown() {
    let dir = directory();
    let key = std::fs::read_to_string(dir.path().join("key.pem")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    for text in [
        format!("tls_server_config: {{cert_file: cert.pem, key: {secret:?}}}"),
        format!("tls_server_config: {{cert_file: cert.pem, key: [{secret:?}]}}"),
        format!("basic_auth_users: {{anna: {secret:?}}}"),
    ] {
        let error = load(dir.path(), &text).err().unwrap();
        assert!(!error.contains(&secret[..16]), "{error}");
    }
}
