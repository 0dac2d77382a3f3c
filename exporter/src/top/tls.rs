// SPDX-License-Identifier: Apache-2.0
//! TLS to an exporter: whom to trust, and who we are.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::flags::{TopFlags, Usage};

/// What the flags ask for.
///
/// # Errors
/// A line that names the flag whose file cannot be used.
pub fn connector(flags: &TopFlags) -> Result<TlsConnector, Usage> {
    let provider = Arc::new(ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder =
        builder.map_err(|error| Usage::invalid("--url", &flags.url.to_string(), &error.to_string()))?;
    let builder = if flags.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        builder.with_root_certificates(roots(flags)?)
    };
    let config = match (&flags.cert_file, &flags.key_file) {
        (Some(cert), Some(key_file)) => {
            let key = PrivateKeyDer::from_pem_file(key_file)
                .map_err(|error| wrong("--key-file", key_file, &error))?;
            let chain = certificates("--cert-file", cert)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| wrong("--cert-file", cert, &error))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(flags: &TopFlags) -> Result<RootCertStore, Usage> {
    let mut roots = RootCertStore::empty();
    match &flags.ca_file {
        Some(file) => {
            for certificate in certificates("--ca-file", file)? {
                roots.add(certificate).map_err(|error| wrong("--ca-file", file, &error))?;
            }
        }
        // Those of the system that cannot be read are as good as none: what they signed is then not trusted.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    Ok(roots)
}

fn certificates(flag: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, Usage> {
    let found = CertificateDer::pem_file_iter(file).map_err(|error| wrong(flag, file, &error))?;
    let certificates: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| wrong(flag, file, &error))?;
    if certificates.is_empty() {
        return Err(Usage::invalid(flag, &file.display().to_string(), "has no certificate"));
    }
    Ok(certificates)
}

fn wrong(flag: &str, file: &Path, error: &impl ToString) -> Usage {
    Usage::invalid(flag, &file.display().to_string(), &error.to_string())
}

/// Trusts every certificate, as `--insecure` says; that the peer has its key is still made sure of.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
