// SPDX-License-Identifier: Apache-2.0
//! Over TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::{Client, LIMITS, answer, flags};

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn signed(by: &CertifiedIssuer<'_, KeyPair>, name: &str) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (params.signed_by(&key, by).unwrap(), key)
}

/// A server with a certificate for 127.0.0.1 that wants a client's of the same authority.
async fn server(ca: &CertifiedIssuer<'_, KeyPair>) -> SocketAddr {
    let (certificate, key) = signed(ca, "127.0.0.1");
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer("200 OK", "secret").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

async fn get(arguments: &[&str]) -> Result<String, String> {
    let mut client = Client::new(&flags(arguments), LIMITS).unwrap();
    client.get("").await.map(|body| String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn who_is_trusted_and_who_we_are() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (ca, other) = (authority("ours"), authority("another"));
    let (certificate, key) = signed(&ca, "client");
    let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
    let ca_file = flag("ca-file", &write("ca", ca.pem()));
    let other_file = flag("ca-file", &write("other", other.pem()));
    let cert_file = flag("cert-file", &write("cert", certificate.pem()));
    let key_file = flag("key-file", &write("key", key.serialize_pem()));
    let url = format!("--url=https://{}", server(&ca).await);

    assert_eq!(get(&[&url, &ca_file, &cert_file, &key_file]).await.unwrap(), "secret");
    assert_eq!(get(&[&url, "--insecure", &cert_file, &key_file]).await.unwrap(), "secret");
    for unknown in [&[&url, &other_file, &cert_file, &key_file][..], &[&url, &cert_file, &key_file]] {
        let arguments: Vec<_> = unknown.iter().map(|argument| argument.as_str()).collect();
        let error = get(&arguments).await.unwrap_err();
        assert!(error.contains("UnknownIssuer"), "{error}");
    }
    // Without a certificate of ours the server breaks off, at the handshake or at the first byte.
    let error = get(&[&url, &ca_file]).await.unwrap_err();
    assert!(error.contains("CertificateRequired"), "{error}");
}
