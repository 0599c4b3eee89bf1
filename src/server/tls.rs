//! TLS of a listener: its certificate, the protocol that both ends agree on, the handshake.

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem;
use rustls::pki_types::pem::PemObject;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// HTTP/2 in ALPN (RFC 9113 §3.2).
pub(super) const H2: &[u8] = b"h2";

/// HTTP/1.1 in ALPN (RFC 7301 §6).
const HTTP1: &[u8] = b"http/1.1";

/// Why a listener has no TLS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read or holds no PEM of that kind.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The certificate and the key do not fit together, or are of a kind that is not supported.
    #[error("the certificate and its key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
}

/// Reads a certificate chain (the listener's own first) and its key, both PEM. TLS 1.2 and 1.3;
/// a client that offers both protocols gets HTTP/2.
///
/// # Errors
/// When a file cannot be used, or the two do not fit together.
pub fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, Error> {
    let fault = |path: &Path| {
        let path = path.to_owned();
        |source| Error::File { path, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(fault(certificate))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(fault(key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![H2.to_owned(), HTTP1.to_owned()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
