// SPDX-License-Identifier: Apache-2.0
//! `tls_server_config`: from the names of Go's TLS library, which the format uses, to rustls.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowgauge_labels::Fault;
use serde::Deserialize;
use serde_saphyr::Spanned;
use tokio_rustls::rustls::crypto::ring::{self, cipher_suite, kx_group};
use tokio_rustls::rustls::crypto::{CryptoProvider, SupportedKxGroup};
use tokio_rustls::rustls::{
    ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version::TLS12, version::TLS13,
};

use super::certificates::{self, Named};
use super::{ConfigError, bytes_of};

type Text = Option<Spanned<String>>;

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    pub(super) cert: Text,
    pub(super) key: Text,
    pub(super) client_ca: Text,
    pub(super) cert_file: Text,
    pub(super) key_file: Text,
    pub(super) client_auth_type: Text,
    pub(super) client_ca_file: Text,
    pub(super) client_allowed_sans: Option<Vec<Spanned<String>>>,
    min_version: Text,
    max_version: Text,
    cipher_suites: Option<Vec<Spanned<String>>>,
    prefer_server_cipher_suites: Option<bool>,
    curve_preferences: Option<Vec<Spanned<String>>>,
}

/// What the section makes of a connection.
pub struct Tls {
    pub server: Arc<ServerConfig>,
    pub client_certificates: &'static str,
    pub ignored: Vec<String>,
}

fn given(text: &Text) -> Option<&Spanned<String>> {
    text.as_ref().filter(|text| !text.value.is_empty())
}

impl TlsSection {
    /// Whether it asks for TLS at all.
    pub fn is_enabled(&self) -> bool {
        let keys = [&self.cert, &self.key, &self.client_ca, &self.cert_file, &self.key_file];
        keys.into_iter().chain([&self.client_auth_type, &self.client_ca_file]).any(|key| given(key).is_some())
    }
}

/// PEM that stands in the file itself or in one that it names, and what to call it when it is wrong.
pub(super) fn pem(
    directory: &Path,
    file: (&'static str, &Text),
    inline: (&'static str, &Text),
    read: &mut impl FnMut(&Path),
) -> Result<Option<Named>, Fault> {
    match (given(file.1), given(inline.1)) {
        (Some(_), Some(text)) => {
            let what = format!("{} and {} are both given; one is enough", file.0, inline.0);
            Err(Fault::at(text.referenced, what))
        }
        (None, Some(text)) => Ok(Some(Named {
            what: inline.0.to_owned(),
            pem: text.value.clone().into_bytes(),
            place: text.referenced,
        })),
        (Some(name), None) => {
            let path: PathBuf = directory.join(&name.value);
            read(&path);
            let bytes = bytes_of(&path).map_err(|error| {
                let reason = match error {
                    ConfigError::Read { reason, .. } => reason.to_string(),
                    other => other.to_string(),
                };
                Fault::at(name.referenced, format!("{} {}: {reason}", file.0, path.display()))
            })?;
            let what = format!("{} {}", file.0, path.display());
            Ok(Some(Named { what, pem: bytes, place: name.referenced }))
        }
        (None, None) => Ok(None),
    }
}

/// Builds what the section asks for.
///
/// # Errors
/// The first thing that is wrong.
pub fn server(
    section: &Spanned<TlsSection>,
    directory: &Path,
    read: &mut impl FnMut(&Path),
) -> Result<Tls, Fault> {
    let tls = &section.value;
    let missing = |what: &str| Fault::at(section.referenced, format!("tls_server_config: missing {what}"));
    let cert = pem(directory, ("cert_file", &tls.cert_file), ("cert", &tls.cert), read)?;
    let cert = cert.ok_or_else(|| missing("one of cert and cert_file"))?;
    let key = pem(directory, ("key_file", &tls.key_file), ("key", &tls.key), read)?;
    let key = key.ok_or_else(|| missing("one of key and key_file"))?;
    let mut ignored = Vec::new();
    let versions = versions(section, &mut ignored)?;
    let provider = Arc::new(CryptoProvider {
        cipher_suites: cipher_suites(tls.cipher_suites.as_deref(), &versions, &mut ignored)?,
        kx_groups: curves(tls.curve_preferences.as_deref(), &mut ignored)?,
        ..ring::default_provider()
    });
    let clients = certificates::clients(section, directory, &provider, read)?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| Fault::at(section.referenced, format!("tls_server_config: {error}")))?;
    let builder = match clients.verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let chain = cert.certificates()?;
    let mut server = builder.with_single_cert(chain, key.private_key()?).map_err(|error| {
        Fault::at(key.place, format!("{} does not go with {}: {error}", key.what, cert.what))
    })?;
    server.ignore_client_order = tls.prefer_server_cipher_suites.unwrap_or(true);
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Tls { server: Arc::new(server), client_certificates: clients.words, ignored })
}

/// A version by the format's name, as the numbers go.
fn version(text: &Text, default: u8) -> Result<u8, Fault> {
    let Some(text) = given(text) else { return Ok(default) };
    match text.value.as_str() {
        "TLS10" => Ok(10),
        "TLS11" => Ok(11),
        "TLS12" => Ok(12),
        "TLS13" => Ok(13),
        other => {
            let what = format!("{other:?} is none of TLS10, TLS11, TLS12, TLS13");
            Err(Fault::at(text.referenced, what))
        }
    }
}

fn versions(
    section: &Spanned<TlsSection>,
    ignored: &mut Vec<String>,
) -> Result<Vec<&'static SupportedProtocolVersion>, Fault> {
    let tls = &section.value;
    let (least, most) = (version(&tls.min_version, 12)?, version(&tls.max_version, 13)?);
    let place = given(&tls.max_version).or(given(&tls.min_version));
    let place = place.map_or(section.referenced, |text| text.referenced);
    if most < 12 {
        return Err(Fault::at(
            place,
            "max_version: TLS 1.0 and 1.1 are not spoken, and nothing else is allowed",
        ));
    }
    if least > most {
        return Err(Fault::at(place, "min_version is newer than max_version"));
    }
    if least < 12 {
        ignored.push("min_version is taken as TLS12: TLS 1.0 and 1.1 are not spoken".to_owned());
    }
    let spoken = [(12, &TLS12), (13, &TLS13)];
    Ok(spoken
        .into_iter()
        .filter(|(number, _)| (least..=most).contains(number))
        .map(|(_, version)| version)
        .collect())
}

/// The suites of TLS 1.2 by Go's names.
const TLS12_SUITES: [(&str, SupportedCipherSuite); 6] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// Those of TLS 1.3, which the format lets nobody choose.
const TLS13_SUITES: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// Those that Go's `tls.CipherSuites` has or had and that are not spoken here: without authenticated encryption, or without
/// forward secrecy.
const UNSPOKEN_SUITES: [&str; 8] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
];

fn cipher_suites(
    named: Option<&[Spanned<String>]>,
    versions: &[&'static SupportedProtocolVersion],
    ignored: &mut Vec<String>,
) -> Result<Vec<SupportedCipherSuite>, Fault> {
    let Some([first, ..]) = named else { return Ok(ring::DEFAULT_CIPHER_SUITES.to_vec()) };
    let of_tls13 = ring::ALL_CIPHER_SUITES.iter().filter(|suite| suite.tls13().is_some());
    let mut suites: Vec<_> = of_tls13.copied().collect();
    let always = suites.len();
    let mut unspoken = Vec::new();
    for name in named.unwrap_or_default() {
        let text = name.value.as_str();
        if let Some((_, suite)) = TLS12_SUITES.iter().find(|(known, _)| *known == text) {
            if !suites.contains(suite) {
                suites.push(*suite);
            }
        } else if UNSPOKEN_SUITES.contains(&text) {
            unspoken.push(text);
        } else if !TLS13_SUITES.contains(&text) {
            return Err(Fault::at(name.referenced, format!("{text:?} is no cipher suite that Go calls so")));
        }
    }
    if suites.len() == always && versions.iter().all(|version| **version == TLS12) {
        return Err(Fault::at(
            first.referenced,
            "cipher_suites: none of them is spoken, and TLS 1.3 is not allowed",
        ));
    }
    if !unspoken.is_empty() {
        ignored.push(format!(
            "{} not spoken, for want of forward secrecy or authentication",
            unspoken.join(", ")
        ));
    }
    Ok(suites)
}

fn curves(
    named: Option<&[Spanned<String>]>,
    ignored: &mut Vec<String>,
) -> Result<Vec<&'static dyn SupportedKxGroup>, Fault> {
    let Some([first, ..]) = named else { return Ok(ring::DEFAULT_KX_GROUPS.to_vec()) };
    let mut groups: Vec<&'static dyn SupportedKxGroup> = Vec::new();
    for name in named.unwrap_or_default() {
        groups.push(match name.value.as_str() {
            "X25519" => kx_group::X25519,
            "CurveP256" => kx_group::SECP256R1,
            "CurveP384" => kx_group::SECP384R1,
            "CurveP521" => {
                ignored.push("CurveP521 is not spoken".to_owned());
                continue;
            }
            other => {
                let what = format!("{other:?} is none of X25519, CurveP256, CurveP384, CurveP521");
                return Err(Fault::at(name.referenced, what));
            }
        });
    }
    if groups.is_empty() {
        return Err(Fault::at(first.referenced, "curve_preferences: none of them is spoken"));
    }
    Ok(groups)
}
