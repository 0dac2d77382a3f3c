// SPDX-License-Identifier: Apache-2.0
//! `--web.config.file`: TLS, client certificates, passwords and headers, in the format of Prometheus' exporter-toolkit.
//!
//! `docs/web.md` tells every key, and what is other than there.

mod certificates;
mod headers;
mod rate;
mod tls;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowgauge_labels::{Fault, read_capped, read_yaml};
use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_saphyr::Spanned;
use tokio_rustls::rustls::ServerConfig;

use super::auth::Users;
use headers::HttpSection;
use rate::RateSection;
use tls::TlsSection;

pub use rate::RateLimit;
pub use watch::Settings;

/// Nobody writes a larger one; certificates have the same bound each.
const MAX_BYTES: u64 = 1 << 20;

/// What a file asks for. The default is what holds without a file: clear text, for everybody.
#[derive(Default)]
pub struct WebConfig {
    /// How TLS is spoken; None for clear text.
    pub tls: Option<Arc<ServerConfig>>,
    /// Who may ask; None is everybody.
    pub users: Option<Arc<Users>>,
    /// Set on every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How many requests are answered.
    pub rate: Option<RateLimit>,
    /// What the file asks for and is not done, each in a sentence.
    pub ignored: Vec<String>,
    /// Nothing at all is in the file.
    blank: bool,
    /// How clients show who they are, in words.
    client_certificates: &'static str,
}

/// What a file could not be used for, in one line that names it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{}: {reason}", path.display())]
    Read {
        /// The file, or one that it names.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// Nothing is in it any more.
    #[error("{}: the file has become empty; to ask for nothing, write {{}}", .0.display())]
    Blank(PathBuf),
    /// Something in it is wrong.
    #[error("{}:{fault}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What and where.
        fault: Fault,
    },
}

/// The file as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tls_server_config: Option<Spanned<TlsSection>>,
    http_server_config: Option<HttpSection>,
    basic_auth_users: Option<BTreeMap<String, Spanned<String>>>,
    rate_limit: Option<Spanned<RateSection>>,
}

impl WebConfig {
    /// Reads the file and those that it names. `read` is told each file before it is opened.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(path: &Path, mut read: impl FnMut(&Path)) -> Result<Self, ConfigError> {
        read(path);
        let bytes = bytes_of(path)?;
        let content = |fault| ConfigError::Content { path: path.to_owned(), fault };
        let file = parse(&bytes).map_err(content)?;
        let mut config = Self { blank: is_blank(&bytes), ..Self::default() };
        if let Some(section) = &file.http_server_config {
            config.headers = section.headers().map_err(content)?;
            config.ignored.extend(section.ignored());
        }
        config.rate = file.rate_limit.as_ref().map(rate::limit).transpose().map_err(content)?.flatten();
        config.users = users(file.basic_auth_users).map_err(content)?;
        if let Some(section) = &file.tls_server_config
            && section.value.is_enabled()
        {
            let directory = path.parent().unwrap_or(Path::new("."));
            let tls = tls::server(section, directory, &mut read).map_err(content)?;
            config.tls = Some(tls.server);
            config.client_certificates = tls.client_certificates;
            config.ignored.extend(tls.ignored);
        }
        Ok(config)
    }

    /// What is in force, for an operator.
    pub fn summary(&self) -> String {
        let transport = match &self.tls {
            None => "clear text".to_owned(),
            Some(_) => format!("TLS, {}", self.client_certificates),
        };
        let users = match &self.users {
            None => "no passwords".to_owned(),
            Some(users) => format!("passwords of {} users", users.len()),
        };
        format!("{transport}; {users}")
    }
}

/// The file and those that it names, as far as it can be read.
pub fn files_of(path: Option<&Path>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Some(path) = path {
        // What is wrong with it is for others to tell.
        let _ = WebConfig::load(path, |file| files.push(file.to_owned()));
    }
    files
}

fn parse(bytes: &[u8]) -> Result<File, Fault> {
    if is_blank(bytes) {
        return Ok(File::default());
    }
    let file: Option<File> = read_yaml(bytes, "{}")?;
    Ok(file.unwrap_or_default())
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}

fn users(entries: Option<BTreeMap<String, Spanned<String>>>) -> Result<Option<Arc<Users>>, Fault> {
    let entries = entries.unwrap_or_default();
    if entries.is_empty() {
        return Ok(None);
    }
    let mut hashes = BTreeMap::new();
    for (name, hash) in entries {
        if !Users::is_hash(&hash.value) {
            let what = format!(
                "the password of {name:?} is not a bcrypt hash, such as `htpasswd -nBC 10 \"\"` makes"
            );
            return Err(Fault::at(hash.referenced, what));
        }
        if name.contains(':') {
            return Err(Fault::at(
                hash.referenced,
                format!("{name:?} holds a colon, which ends a user's name"),
            ));
        }
        hashes.insert(name, hash.value);
    }
    Ok(Some(Arc::new(Users::new(hashes))))
}

/// A whole file, unless it is too large or no file.
fn bytes_of(path: &Path) -> Result<Vec<u8>, ConfigError> {
    read_capped(path, MAX_BYTES).map_err(|reason| ConfigError::Read { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests;
