// SPDX-License-Identifier: Apache-2.0
//! The stub's own certificate authority.

use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// What a server needs to be believed by whoever has the authority's certificate.
pub(super) struct Tls {
    pub acceptor: TlsAcceptor,
    /// The authority's certificate.
    pub authority_pem: String,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Makes an authority and a certificate of its for a server on loopback.
    pub fn new() -> Result<Self> {
        let authority_key = KeyPair::generate().context("making the authority's key")?;
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "kubernetes");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority_pem =
            authority.self_signed(&authority_key).context("signing the authority's certificate")?.pem();
        let issuer = Issuer::new(authority, authority_key);
        let names = ["127.0.0.1", "::1", "localhost", "kubernetes.default.svc"].map(str::to_owned);
        let mut server = CertificateParams::new(names.to_vec()).context("naming the server")?;
        server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        let key = KeyPair::generate().context("making the server's key")?;
        let certificate = server.signed_by(&key, &issuer).context("signing the server's certificate")?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .context("choosing TLS versions")?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .context("using the server's certificate")?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), authority_pem })
    }
}
