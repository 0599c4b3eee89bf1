//! TLS of a listener: its certificate, whose client certificates it takes, and how both change under
//! the running gate.

mod validity;

use self::validity::Validity;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::mounted::{FileGroup, Mounted, ReadError};

use futures_util::future::join;
use jiff::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// HTTP/2 in ALPN (RFC 9113 §3.2).
pub(super) const H2: &[u8] = b"h2";

/// HTTP/1.1 in ALPN (RFC 7301 §6).
const HTTP1: &[u8] = b"http/1.1";

/// The largest of the files, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// How often the log says that a certificate is about to expire.
const REMIND_EVERY: Duration = Duration::from_secs(3600);

/// The files of a listener's TLS, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate chain, the listener's own certificate first.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authorities whose client certificates name principals; without them no client is asked
    /// for a certificate.
    pub client_ca: Option<PathBuf>,
}

/// One of [`Files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `certificate`.
    Certificate,
    /// `key`.
    Key,
    /// `client_ca`.
    ClientCa,
}

/// Why files cannot be used for TLS. The messages never hold a part of a file.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {fault}", path = path.display())]
pub struct Error {
    /// Whose fault it is.
    pub setting: Setting,
    /// Its file.
    pub path: PathBuf,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The authorities cannot be used.
    #[error("the authorities cannot be used: {0}")]
    Authorities(#[from] VerifierBuilderError),
    /// Nothing of that kind is in it.
    #[error("it holds no PEM {0}")]
    Empty(&'static str),
    /// A password is needed.
    #[error(
        "the key is encrypted, and the gate has no password: store it without one (`openssl pkey -in OLD -out NEW`)"
    )]
    Encrypted,
    /// The certificate and the key do not belong together, or are of a kind that is not supported.
    #[error("the certificate and its key cannot be used together: {0}")]
    Pair(rustls::Error),
    /// Not PEM.
    #[error("it is not PEM: {0}")]
    Pem(#[from] pem::Error),
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// TLS itself cannot be set up.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// X.509 of 1988.
    #[error(
        "the certificate is of X.509 version 1, which no client accepts: issue one of version 3, with subject alternative names"
    )]
    Version,
}

/// The TLS of a listener; what is in its files counts from the next connection on.
#[derive(Clone, Debug)]
pub struct Tls {
    current: watch::Receiver<Version>,
}

/// One content of the files.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) config: Arc<ServerConfig>,
    validity: Option<Validity>,
    /// The authorities have changed since: connections with a client certificate end soon.
    pub(super) retired: CancellationToken,
}

impl Files {
    /// Says whether the files can be used as they are now, and what there is to say about the
    /// certificate at `now`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub async fn check(&self, now: Timestamp) -> Result<Option<String>, Error> {
        let (Version { validity, .. }, _) = self.read().await?;
        Ok(validity.and_then(|it| it.remark(now)))
    }

    async fn read(&self) -> Result<(Version, Vec<Vec<u8>>), Error> {
        let files = self.mounted();
        let contents = FileGroup { files: &files, secrets: &[] }.read().await;
        let contents = contents.map_err(|(file, error)| {
            let setting = match &file.path {
                path if *path == self.certificate => Setting::Certificate,
                path if *path == self.key => Setting::Key,
                _ => Setting::ClientCa,
            };
            Error { setting, path: file.path.clone(), fault: error.into() }
        })?;
        Ok((self.configure(&contents)?, contents))
    }

    /// Certificate, key and, if there is one, the authorities.
    fn mounted(&self) -> Vec<Mounted> {
        let paths = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        let mounted = |path: &PathBuf| Mounted {
            what: "the TLS files of a listener",
            path: path.clone(),
            max: FILE_BYTES_MAX,
        };
        paths.into_iter().flatten().map(mounted).collect()
    }

    /// TLS 1.2 and 1.3; a client that offers both protocols gets HTTP/2.
    fn configure(&self, contents: &[Vec<u8>]) -> Result<Version, Error> {
        let mut contents = contents.iter().map(Vec::as_slice);
        let mut next = || contents.next().unwrap_or_default();
        let error = |setting, path: &PathBuf| {
            let path = path.clone();
            move |fault: Fault| Error { setting, path: path.clone(), fault }
        };
        let of_certificate = error(Setting::Certificate, &self.certificate);
        let chain = certificates(next()).map_err(&of_certificate)?;
        let validity = chain.first().map_or(Ok(None), Validity::of).map_err(of_certificate)?;
        let of_key = error(Setting::Key, &self.key);
        let key = private_key(next()).map_err(&of_key)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = match builder.with_safe_default_protocol_versions() {
            Ok(builder) => builder,
            Err(error) => return Err(of_key(error.into())),
        };
        let builder = match &self.client_ca {
            Some(path) => {
                let verifier = verifier(next(), provider);
                builder.with_client_cert_verifier(verifier.map_err(error(Setting::ClientCa, path))?)
            }
            None => builder.with_no_client_auth(),
        };
        let mut config =
            builder.with_single_cert(chain, key).map_err(|it| of_key(Fault::Pair(it)))?;
        config.alpn_protocols = vec![H2.to_owned(), HTTP1.to_owned()];
        if self.client_ca.is_some() {
            // A resumed session is not verified again: its certificate may have expired meanwhile.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Version { config: Arc::new(config), validity, retired: CancellationToken::new() })
    }
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    // PKCS#8 says so in the label, the older forms in a header (RFC 1421 §4.6.1.1).
    let is_encrypted = text.windows(b"ENCRYPTED".len()).any(|it| it == b"ENCRYPTED");
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(key),
        Err(_) if is_encrypted => Err(Fault::Encrypted),
        Err(pem::Error::NoItemsFound) => Err(Fault::Empty("private key")),
        Err(error) => Err(error.into()),
    }
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>()?;
    if chain.is_empty() {
        return Err(Fault::Empty("certificate"));
    }
    Ok(chain)
}

/// Asks for a certificate and does not insist: a caller may have another credential.
fn verifier(
    authorities: &[u8],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Fault> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(authorities)? {
        roots.add(authority)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    Ok(builder.allow_unauthenticated().build()?)
}

impl Tls {
    /// Reads the `files` of the listener at `place`, and starts to follow them on `tasks` until
    /// `stop`. A change that cannot be used changes nothing; it is reported once, and counted as often
    /// as it is tried.
    ///
    /// # Errors
    /// When the files cannot be used as they are: a gate whose TLS is wrong from the start says so
    /// instead of running.
    pub async fn start(
        (files, place): (Files, String),
        (metrics, clock): (Metrics, Clock),
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let (version, contents) = files.read().await?;
        let (sender, current) = watch::channel(version);
        let mounted = files.mounted();
        let watched = current.clone();
        tasks.spawn(async move {
            let secrets = mounted.get(1..2).unwrap_or_default();
            for secret in secrets {
                secret.warn_of_others();
            }
            let mut authorities = contents.get(2).cloned();
            let take = |contents: &[Vec<u8>]| {
                let mut next = files.configure(contents)?;
                let is_same = authorities.as_ref() == contents.get(2);
                authorities = contents.get(2).cloned();
                sender.send_modify(|version| {
                    match is_same {
                        true => next.retired = version.retired.clone(),
                        false => version.retired.cancel(),
                    }
                    *version = next;
                });
                Ok::<_, Error>(())
            };
            let failed = || metrics.tls_reload_failed();
            let followed =
                FileGroup { files: &mounted, secrets }.follow(Ok(contents), take, &failed);
            let both = join(followed, watch_validity(watched, &place, &metrics, &clock));
            stop.run_until_cancelled(both).await;
        });
        Ok(Self { current })
    }

    /// The content that counts now.
    pub(super) fn version(&self) -> Version {
        self.current.borrow().clone()
    }
}

/// Shows in the metrics until when the certificate is valid, and warns in time that it has to be
/// replaced.
async fn watch_validity(
    mut current: watch::Receiver<Version>,
    listener: &str,
    metrics: &Metrics,
    clock: &Clock,
) {
    loop {
        let validity = current.borrow_and_update().validity;
        if let Some(validity) = validity {
            metrics.set_certificate_expiry(listener, validity.until);
            if let Some(remark) = validity.remark(clock.now()) {
                tracing::warn!(listener, "{remark}");
            }
        }
        // The sender lives as long as the files are followed beside this.
        let _ = tokio::time::timeout(REMIND_EVERY, current.changed()).await;
    }
}
