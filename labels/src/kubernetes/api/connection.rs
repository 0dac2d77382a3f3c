// SPDX-License-Identifier: Apache-2.0
//! Where the API server is, and as whom to speak to it.

use std::env;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use http::header::{HeaderValue, USER_AGENT};
use kube::Config;
use kube::client::ConfigExt as _;
use kube::config::{InClusterError, Kubeconfig, KubeconfigError};

use super::failure::chain;
use crate::file;

const SERVICE_HOST: &str = "KUBERNETES_SERVICE_HOST";
const KUBECONFIG: &str = "KUBECONFIG";
/// Tokens have some KiB at most.
const MAX_TOKEN_BYTES: u64 = 1 << 20;

/// How to reach the API server of a cluster.
pub struct Connection {
    pub(super) source: Source,
    pub(super) credentials: Credentials,
}

impl Connection {
    /// Whether the credentials come from a program that is run each time they are needed.
    pub fn runs_program(&self) -> bool {
        self.credentials.config.auth_info.exec.is_some()
    }

    /// The server's address, as configured.
    pub fn server(&self) -> String {
        self.credentials.server()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("source", &self.source).field("server", &self.server()).finish()
    }
}

/// The API server cannot be asked: what is wrong, and in which file.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A kubeconfig file cannot be read or says nothing usable.
    #[error("kubeconfig {files}: {reason}")]
    Kubeconfig {
        /// The file, or what the environment variable KUBECONFIG lists.
        files: String,
        /// What is wrong.
        reason: String,
    },
    /// The environment says that this is a pod, and its service account cannot be used.
    #[error("service account of this pod: {0}")]
    ServiceAccount(String),
    /// The token's file cannot be read or has none.
    #[error("token file {path}: {reason}", path = path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Finds the API server: the kubeconfig given, else the one of the environment variable KUBECONFIG, else the one that
/// the cluster tells to its pods. `None` outside of clusters. A kubeconfig in the home directory is not looked for:
/// that is a person's.
///
/// `proxy-url` is refused; the environment variable HTTPS_PROXY is not heeded.
///
/// # Errors
/// When there is one and it is not usable.
pub fn connection(kubeconfig: Option<&Path>) -> Result<Option<Connection>, ConnectError> {
    let in_cluster = env::var_os(SERVICE_HOST).is_some_and(|host| !host.is_empty());
    let Some(source) = source(kubeconfig, env::var_os(KUBECONFIG).as_deref(), in_cluster) else {
        return Ok(None);
    };
    let credentials = source.load()?;
    Ok(Some(Connection { source, credentials }))
}

fn source(given: Option<&Path>, variable: Option<&std::ffi::OsStr>, in_cluster: bool) -> Option<Source> {
    if let Some(path) = given {
        return Some(Source::Files(vec![path.to_owned()]));
    }
    let files = variable.map(|value| env::split_paths(value).filter(|p| !p.as_os_str().is_empty()).collect());
    match files {
        Some(files) if !Vec::is_empty(&files) => Some(Source::Files(files)),
        _ => in_cluster.then_some(Source::Pod),
    }
}

/// Where the credentials come from. They are read again when they may be others by now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// Kubeconfig files; what the first says counts.
    Files(Vec<PathBuf>),
    /// The service account of the pod that this is.
    Pod,
}

/// What a source said.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) config: Config,
    /// The file that `config` has its token from. Kubelets and sidecars write new ones there.
    token_file: Option<PathBuf>,
    /// What was in it.
    token: String,
}

impl Source {
    /// Reads everything.
    pub(super) fn load(&self) -> Result<Credentials, ConnectError> {
        let mut config = match self {
            Source::Files(files) => from_files(files).map_err(|reason| self.error(reason))?,
            Source::Pod => Config::incluster_env().map_err(|error| self.error(service_account(&error)))?,
        };
        // To trust nobody is not what anybody means.
        if config.root_cert.as_ref().is_some_and(Vec::is_empty) {
            return Err(self.error("certificate-authority: no certificate is in it".to_owned()));
        }
        let agent = concat!("flowgauge/", env!("CARGO_PKG_VERSION"));
        config.headers.push((USER_AGENT, HeaderValue::from_static(agent)));
        // What is to be sent is known here: kube would not trim what it reads from the file.
        let token_file = config.auth_info.token_file.take().map(PathBuf::from);
        let mut credentials = Credentials { config, token_file, token: String::new() };
        if credentials.config.auth_info.token.is_none() {
            credentials.read_token()?;
        } else {
            credentials.token_file = None;
        }
        if credentials.config.auth_info.exec.is_none() {
            let tls = credentials.config.rustls_client_config();
            tls.map_err(|error| self.error(chain(&error)))?;
        }
        Ok(credentials)
    }

    fn error(&self, reason: String) -> ConnectError {
        match self {
            Source::Pod => ConnectError::ServiceAccount(reason),
            Source::Files(files) => {
                let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
                ConnectError::Kubeconfig { files: files.join(", "), reason }
            }
        }
    }
}

fn from_files(files: &[PathBuf]) -> Result<Config, String> {
    let mut merged = Kubeconfig::default();
    for path in files {
        let next = Kubeconfig::read_from(path).map_err(|error| kubeconfig(&error))?;
        merged = merged.merge(next).map_err(|error| kubeconfig(&error))?;
    }
    let proxied = merged
        .clusters
        .iter()
        .filter_map(|named| named.cluster.as_ref())
        .any(|cluster| cluster.proxy_url.as_deref().is_some_and(|url| !url.is_empty()));
    if proxied {
        return Err("proxy-url is not supported".to_owned());
    }
    let mut config = Config::try_from(merged).map_err(|error| kubeconfig(&error))?;
    config.proxy_url = None;
    Ok(config)
}

fn kubeconfig(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        KubeconfigError::CurrentContextNotSet => "current-context is not set".to_owned(),
        KubeconfigError::LoadContext(name) => format!("there is no context {name}"),
        KubeconfigError::LoadClusterOfContext(name) => format!("there is no cluster {name}"),
        error => chain(error),
    }
}

fn service_account(error: &InClusterError) -> String {
    format!("{} (is automountServiceAccountToken off?)", chain(error))
}

impl Credentials {
    pub(super) fn server(&self) -> String {
        self.config.cluster_url.to_string().trim_end_matches('/').to_owned()
    }

    /// Reads the token's file again, if that is where it comes from. True if it is another.
    pub(super) fn read_token(&mut self) -> Result<bool, ConnectError> {
        let Some(path) = &self.token_file else { return Ok(false) };
        let wrong = |reason: String| ConnectError::Token { path: path.clone(), reason };
        let bytes = read(path).map_err(|error| wrong(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| wrong("not a token".to_owned()))?;
        let token = text.trim();
        if token.is_empty() {
            return Err(wrong("empty".to_owned()));
        }
        if token.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(wrong("not a token".to_owned()));
        }
        if token == self.token {
            return Ok(false);
        }
        self.token = token.to_owned();
        self.config.auth_info.token = Some(token.to_owned().into());
        Ok(true)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    file::read_capped(path, MAX_TOKEN_BYTES)
}

#[cfg(test)]
mod tests;
