// SPDX-License-Identifier: Apache-2.0

use std::ffi::OsStr;
use std::fs;

use super::*;

const CONFIG: &str = "
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: 'https://192.0.2.1:6443/'}}]
users: [{name: u, user: {tokenFile: token}}]
";

/// The connection, or the error's words, of a kubeconfig in a directory with a token.
fn of(config: &str, token: &str) -> Result<Connection, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    fs::write(&path, config).unwrap();
    if !token.is_empty() {
        fs::write(dir.path().join("token"), token).unwrap();
    }
    let shown = format!("{}/", dir.path().display());
    match connection(Some(&path)) {
        Ok(connection) => Ok(connection.unwrap()),
        Err(error) => Err(error.to_string().replace(&shown, "")),
    }
}

fn error(config: &str) -> String {
    of(config, "t").unwrap_err()
}

#[test]
fn where_to_look() {
    let given = Path::new("/given");
    let files = |paths: &[&str]| Some(Source::Files(paths.iter().map(PathBuf::from).collect()));
    assert_eq!(source(Some(given), Some(OsStr::new("/env")), true), files(&["/given"]));
    assert_eq!(source(None, Some(OsStr::new("/a::/b")), true), files(&["/a", "/b"]));
    assert_eq!(source(None, Some(OsStr::new("")), true), Some(Source::Pod));
    assert_eq!(source(None, Some(OsStr::new(":")), false), None);
    assert_eq!(source(None, None, true), Some(Source::Pod));
    assert_eq!(source(None, None, false), None);
}

#[test]
fn a_kubeconfig_with_a_token_file() {
    let connection = of(CONFIG, " abc.def\n").unwrap();
    assert_eq!(connection.server(), "https://192.0.2.1:6443");
    assert_eq!(connection.credentials.token, "abc.def");
    assert!(!format!("{connection:?}").contains("abc"));
}

#[test]
fn a_token_in_the_kubeconfig_goes_first() {
    let config = CONFIG.replace("tokenFile: token", "tokenFile: token, token: inline");
    assert!(of(&config, "").is_ok());
}

#[test]
fn several_files_are_one() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("1"), dir.path().join("2"));
    let (head, tail) = CONFIG.split_at(CONFIG.find("clusters").unwrap());
    fs::write(&first, head).unwrap();
    fs::write(&second, format!("apiVersion: v1\nkind: Config\n{tail}")).unwrap();
    fs::write(dir.path().join("token"), "t").unwrap();
    let source = Source::Files(vec![first, second]);
    assert_eq!(source.load().map(|c| c.server()).unwrap(), "https://192.0.2.1:6443");
}

#[test]
fn errors_name_the_file_and_what_is_wrong() {
    let missing = connection(Some(Path::new("/nonexistent/kubeconfig"))).unwrap_err().to_string();
    assert_eq!(missing, "kubeconfig /nonexistent/kubeconfig: No such file or directory (os error 2)");
    assert!(error("{").starts_with("kubeconfig kubeconfig: failed to parse kubeconfig YAML: "));
    assert_eq!(error(""), "kubeconfig kubeconfig: current-context is not set");
    assert_eq!(
        error(&CONFIG.replace("current-context: c", "current-context: d")),
        "kubeconfig kubeconfig: there is no context d"
    );
    assert_eq!(
        error(&CONFIG.replace("cluster: k", "cluster: l")),
        "kubeconfig kubeconfig: there is no cluster l"
    );
    assert_eq!(
        error(&CONFIG.replace("{server", "{proxy-url: 'http://p', server")),
        "kubeconfig kubeconfig: proxy-url is not supported"
    );
    let no_ca = error(&CONFIG.replace("{server", "{certificate-authority: ca.crt, server"));
    assert!(no_ca.starts_with("kubeconfig kubeconfig: ") && no_ca.contains("ca.crt"), "{no_ca}");
    let bad_ca = error(&CONFIG.replace("{server", "{certificate-authority-data: '%', server"));
    assert!(bad_ca.starts_with("kubeconfig kubeconfig: failed to load certificate authority"), "{bad_ca}");
    let bad_key =
        CONFIG.replace("{tokenFile: token", "{client-certificate-data: eA==, client-key-data: eA==");
    assert!(error(&bad_key).starts_with("kubeconfig kubeconfig: "));
}

#[test]
fn errors_of_the_token_file() {
    assert_eq!(of(CONFIG, "").unwrap_err(), "token file token: No such file or directory (os error 2)");
    assert_eq!(of(CONFIG, "\n").unwrap_err(), "token file token: empty");
    assert_eq!(of(CONFIG, "a\nb").unwrap_err(), "token file token: not a token");
    assert_eq!(of(CONFIG, "ä").unwrap_err(), "token file token: not a token");
}

#[test]
fn a_rotated_token() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    fs::write(&path, CONFIG).unwrap();
    fs::write(dir.path().join("token"), "one").unwrap();
    let mut credentials = connection(Some(&path)).unwrap().unwrap().credentials;
    assert!(!credentials.read_token().unwrap());
    fs::write(dir.path().join("token"), "two").unwrap();
    assert!(credentials.read_token().unwrap());
    fs::remove_file(dir.path().join("token")).unwrap();
    assert!(credentials.read_token().is_err());
    assert_eq!(credentials.token, "two");
}

#[test]
fn an_authority_without_a_certificate_is_refused() {
    let with = |data: &str| {
        let server = "server: 'https://192.0.2.1:6443/'";
        CONFIG.replace(server, &format!("{server}, certificate-authority-data: {data}"))
    };
    // "not a certificate"
    let said = error(&with("bm90IGEgY2VydGlmaWNhdGU="));
    assert!(said.starts_with("kubeconfig kubeconfig: certificate-authority"), "{said}");
}
