// SPDX-License-Identifier: Apache-2.0
//! The server's certificate, and how clients show theirs.

use std::path::Path;
use std::sync::Arc;

use flowgauge_labels::Fault;
use serde_saphyr::{Location, Spanned};
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::tls::{TlsSection, pem};

/// PEM, and what to call it when it is wrong.
pub struct Named {
    pub what: String,
    pub pem: Vec<u8>,
    pub place: Location,
}

impl Named {
    fn fault(&self, what: &str) -> Fault {
        Fault::at(self.place, format!("{}: {what}", self.what))
    }

    /// All certificates in it.
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Fault> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.pem).collect();
        let certificates = read.map_err(|error| self.fault(&error.to_string()))?;
        if certificates.is_empty() {
            return Err(self.fault("holds no certificate in PEM"));
        }
        Ok(certificates)
    }

    /// The first key in it. Never shows what it read.
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, Fault> {
        PrivateKeyDer::from_pem_slice(&self.pem).map_err(|_| self.fault("holds no private key in PEM"))
    }
}

/// How clients show who they are.
pub struct Clients {
    pub verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// The same in words.
    pub words: &'static str,
}

/// `client_auth_type` and what goes with it.
pub fn clients(
    section: &Spanned<TlsSection>,
    directory: &Path,
    provider: &Arc<CryptoProvider>,
    read: &mut impl FnMut(&Path),
) -> Result<Clients, Fault> {
    let tls = &section.value;
    let authority =
        pem(directory, ("client_ca_file", &tls.client_ca_file), ("client_ca", &tls.client_ca), read)?;
    let kind = tls.client_auth_type.as_ref();
    let place = kind.map_or(section.referenced, |kind| kind.referenced);
    let name = kind.map_or("", |kind| kind.value.as_str());
    let (kind, words) = match name {
        "" | "NoClientCert" => (Kind::No, "no client certificates"),
        "RequestClientCert" => (Kind::Any { mandatory: false }, "client certificates welcome, not verified"),
        "RequireAnyClientCert" | "RequireClientCert" => {
            (Kind::Any { mandatory: true }, "client certificates required, not verified")
        }
        "VerifyClientCertIfGiven" => {
            (Kind::Verified { mandatory: false }, "client certificates verified if given")
        }
        "RequireAndVerifyClientCert" => (Kind::Verified { mandatory: true }, "client certificates required"),
        other => {
            return Err(Fault::at(
                place,
                format!("client_auth_type: {other:?} is none that the format knows"),
            ));
        }
    };
    if let (Kind::No, Some(authority)) = (kind, &authority) {
        return Err(authority.fault("is of no use without a client_auth_type that verifies"));
    }
    let verifier: Option<Arc<dyn ClientCertVerifier>> = match kind {
        Kind::No => None,
        Kind::Any { mandatory } => {
            Some(Arc::new(Anybody { mandatory, algorithms: provider.signature_verification_algorithms }))
        }
        Kind::Verified { mandatory } => {
            let authority = authority.ok_or_else(|| {
                let what = format!("client_auth_type: {name} needs client_ca_file or client_ca; the system's authorities are not trusted");
                Fault::at(place, what)
            })?;
            Some(verified(&authority, mandatory, provider)?)
        }
    };
    let Some(allowed) = &tls.client_allowed_sans else { return Ok(Clients { verifier, words }) };
    match (kind, verifier) {
        _ if allowed.is_empty() => {
            Err(Fault::at(place, "client_allowed_sans: the list is empty, so nobody would be let in"))
        }
        (Kind::Any { mandatory: true } | Kind::Verified { mandatory: true }, Some(inner)) => {
            let allowed = allowed.iter().map(|san| san.value.clone()).collect();
            let words = "client certificates required, of client_allowed_sans alone";
            Ok(Clients { verifier: Some(Arc::new(OfNames { inner, allowed })), words })
        }
        _ => {
            let what = "client_allowed_sans: needs a client_auth_type of RequireAnyClientCert or RequireAndVerifyClientCert";
            Err(Fault::at(allowed.first().map_or(place, |san| san.referenced), what))
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    No,
    Any { mandatory: bool },
    Verified { mandatory: bool },
}

fn verified(
    authority: &Named,
    mandatory: bool,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Fault> {
    let mut roots = RootCertStore::empty();
    for certificate in authority.certificates()? {
        roots.add(certificate).map_err(|error| authority.fault(&error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if mandatory { builder } else { builder.allow_unauthenticated() };
    let verifier = builder.build().map_err(|error| authority.fault(&error.to_string()))?;
    Ok(verifier)
}

/// Takes any certificate whose key the client holds.
#[derive(Debug)]
struct Anybody {
    mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Anybody {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Takes the certificates that another does, if one of their alternative names is allowed.
#[derive(Debug)]
struct OfNames {
    inner: Arc<dyn ClientCertVerifier>,
    allowed: Vec<String>,
}

impl ClientCertVerifier for OfNames {
    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        if alternative_names(end_entity)?.iter().any(|name| self.allowed.contains(name)) {
            return Ok(verified);
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Names of the four kinds that the format compares, as it writes them.
fn alternative_names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, Error> {
    let bad = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| bad(()))?;
    let Some(extension) = certificate.subject_alternative_name().map_err(|_| bad(()))? else {
        return Ok(Vec::new());
    };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            Some((*name).to_owned())
        }
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    });
    Ok(names.collect())
}
