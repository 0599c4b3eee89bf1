//! The one way out: an HTTP client that never follows a redirect, never retries by itself, never
//! reads an answer without a limit, and trusts just the roots it was given.

mod probed;

use self::probed::{Probed, Unwritten};

use crate::mounted;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as PooledClient;
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};
use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use tower::{BoxError, Service};

/// A pooled client; clones share the pool.
pub type Client = PooledClient<Connector, Full<Bytes>>;

/// What the gate calls itself in requests of its own.
pub const USER_AGENT: &str = concat!("lychgate/", env!("CARGO_PKG_VERSION"));

/// The largest response head that is read, in bytes.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;

/// The most header fields of a response that are read.
pub const RESPONSE_FIELDS_MAX: usize = 100;

/// How a client connects.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whom to trust over TLS.
    pub roots: Roots,
    /// The limit for name look-up, TCP and TLS together.
    pub connect: Duration,
    /// An idle connection is closed after this time.
    pub idle: Duration,
    /// The most idle connections that are kept for one host.
    pub idle_per_host: usize,
}

/// The certificate authorities that a client trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Those of a PEM bundle, and no others.
    File(PathBuf),
    /// None: for endpoints that are plain HTTP.
    Nobody,
    /// Those of the operating system.
    System,
}

/// Why a client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A CA bundle without a certificate.
    #[error("no certificate in the CA bundle `{0}`")]
    EmptyBundle(PathBuf),
    /// A CA bundle that is not PEM.
    #[error("cannot read the CA bundle `{path}`")]
    Bundle {
        /// The bundle.
        path: PathBuf,
        /// What the parser said.
        source: pem::Error,
    },
    /// The system has no CA certificates.
    #[error(
        "this system has no CA certificates: install them, or name a CA bundle in the setting `ca`"
    )]
    NoSystemRoots,
    /// The TLS set-up was refused.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
}

/// Builds a client.
///
/// # Errors
/// When the roots cannot be loaded.
pub fn new(config: &Config) -> Result<Client, Error> {
    let tls = tls(&config.roots)?;
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(config.connect));
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    Ok(PooledClient::builder(TokioExecutor::new())
        .retry_canceled_requests(false)
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(config.idle)
        .pool_max_idle_per_host(config.idle_per_host)
        .http1_max_buf_size(RESPONSE_HEAD_BYTES_MAX)
        .http1_max_headers(RESPONSE_FIELDS_MAX)
        .set_host(false)
        .build(Connector { inner: https, limit: config.connect }))
}

/// TLS to a server that one of `roots` vouches for.
///
/// # Errors
/// When the roots cannot be loaded.
pub fn tls(roots: &Roots) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots.load()?)
        .with_no_client_auth())
}

impl Roots {
    fn load(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        match self {
            Self::File(path) => {
                let bundle = |source| Error::Bundle { path: path.clone(), source };
                let file = mounted::open(path).map_err(|error| bundle(pem::Error::Io(error)))?;
                for certificate in CertificateDer::pem_reader_iter(file) {
                    roots.add(certificate.map_err(bundle)?)?;
                }
                if roots.is_empty() {
                    return Err(Error::EmptyBundle(path.clone()));
                }
            }
            Self::Nobody => (),
            Self::System => {
                // A few unreadable certificates are usual; what counts is whether any is left.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if roots.is_empty() {
                    return Err(Error::NoSystemRoots);
                }
            }
        }
        Ok(roots)
    }
}

/// Opens connections, each within the limit of [`Config::connect`].
#[derive(Clone, Debug)]
pub struct Connector {
    inner: HttpsConnector<HttpConnector>,
    limit: Duration,
}

impl Service<Uri> for Connector {
    type Response = Probed<<HttpsConnector<HttpConnector> as Service<Uri>>::Response>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri);
        let limit = self.limit;
        Box::pin(async move {
            let connected = timeout(limit, connecting).await.map_err(|_| {
                io::Error::new(io::ErrorKind::TimedOut, "no connection within the limit")
            })?;
            connected.map(Probed::new)
        })
    }
}

/// Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// The pooled connection had been closed meanwhile; a second attempt is the usual cure.
    Closed,
    /// No connection came about: name, TCP or TLS.
    Connect,
    /// No connection came about in time.
    Late,
}

/// Sends `request` once. It leaves before `leave_by` or not at all, and its answer's head is waited
/// for until `deadline`; `Ok(None)` when the request may have left and no answer came.
///
/// # Errors
/// When it is certain that nothing was sent.
pub async fn send(
    client: &Client,
    mut request: Request<Full<Bytes>>,
    leave_by: Instant,
    deadline: Instant,
) -> Result<Option<Response<Incoming>>, NotSent> {
    let host = request.uri().authority().cloned();
    let mut connection = capture_connection(&mut request);
    let mut sending = std::pin::pin!(client.request(request));
    // hyper writes as soon as it holds a connection, so "no connection yet" means "not sent".
    let early = tokio::select! {
        biased;
        sent = &mut sending => Some(sent),
        connected = timeout_at(leave_by, connection.wait_for_connection_metadata()) => {
            match connected {
                Ok(_) => None,
                Err(_) => return Err(NotSent::Late),
            }
        }
    };
    let sent = match early {
        Some(sent) => sent,
        None => match timeout_at(deadline, sending).await {
            Ok(sent) => sent,
            Err(_) => return Ok(None),
        },
    };
    match sent {
        Ok(response) => Ok(Some(response)),
        Err(error) if error.is_connect() => {
            let host = host.map(tracing::field::display);
            tracing::warn!(host, error = &error as &dyn StdError, "cannot connect");
            Err(NotSent::Connect)
        }
        Err(error) if was_never_written(&error) => Err(NotSent::Closed),
        Err(_) => Ok(None),
    }
}

/// hyper hands a request back as cancelled only when none of it was written; and a connection that was
/// found unusable took none of it.
fn was_never_written(error: &hyper_util::client::legacy::Error) -> bool {
    let Some(error) = error.source().and_then(|it| it.downcast_ref::<hyper::Error>()) else {
        return false;
    };
    let io = error.source().and_then(|it| it.downcast_ref::<io::Error>());
    let unwritten = io.and_then(io::Error::get_ref).and_then(|it| it.downcast_ref::<Unwritten>());
    error.is_canceled() || unwritten.is_some()
}

/// An absolute URL. `Uri` takes a port that there is none of, such as 99999, and what connects would
/// then use that of the scheme.
#[must_use]
pub fn absolute(text: &str) -> Option<Uri> {
    let uri = text.parse::<Uri>().ok().filter(|it| it.scheme().is_some())?;
    let authority = uri.authority().filter(|it| !it.host().is_empty())?;
    let has_port = !authority.as_str().ends_with(authority.host());
    let is_whole = !has_port || authority.port_u16().is_some_and(|it| it != 0);
    is_whole.then_some(uri)
}

/// The address of `path`, a path without a query, at `endpoint`, a scheme and an authority.
#[must_use]
pub fn url(endpoint: &Uri, path: &str) -> Option<Uri> {
    let mut parts = endpoint.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(path).ok();
    Uri::from_parts(parts).ok()
}

/// Why an answer's body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The connection broke, or the framing is wrong.
    #[error("the answer broke off")]
    Broken(#[source] BoxError),
    /// More bytes than the limit.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// Reads a whole body of at most `max` bytes.
///
/// # Errors
/// When the body is longer or breaks off.
pub async fn read(body: Incoming, max: usize) -> Result<Bytes, ReadError> {
    match Limited::new(body, max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(ReadError::TooLong(max))
        }
        Err(error) => Err(ReadError::Broken(error)),
    }
}

/// The value of a header that shows `token`, after `prefix` and without the blanks around it; it is
/// never logged. `None` if it has other characters than visible ASCII and blanks.
#[must_use]
pub fn token_value(prefix: &str, token: &[u8]) -> Option<HeaderValue> {
    let token = str::from_utf8(token).ok().filter(|it| it.is_ascii())?.trim();
    let mut value = HeaderValue::from_str(&format!("{prefix}{token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Why there is no whole answer to a [`fetch`].
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There was no connection, or it broke before the answer.
    #[error("cannot connect, or the connection broke")]
    Connection(#[from] hyper_util::client::legacy::Error),
    /// The body of the answer.
    #[error("the answer could not be read")]
    Read(#[from] ReadError),
    /// It took longer than the limit.
    #[error("no answer within {} seconds", .0.as_secs_f32())]
    Time(Duration),
}

/// Sends a small `request` once, with our name and the host of its address, and reads the whole answer
/// of at most `max` bytes, all within `limit`.
///
/// # Errors
/// When there is no whole answer; an answer of any status is one.
pub async fn fetch(
    client: &Client,
    request: Request<Bytes>,
    limit: Duration,
    max: usize,
) -> Result<Response<Bytes>, FetchError> {
    let (mut head, body) = request.into_parts();
    let host = head.uri.authority().and_then(|it| HeaderValue::from_str(it.as_str()).ok());
    // In place of what the caller's headers name: a second one makes the request malformed.
    if let Some(host) = host {
        head.headers.insert(header::HOST, host);
    }
    head.headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    let request = Request::from_parts(head, Full::new(body));
    let answer = async {
        let (head, body) = client.request(request).await?.into_parts();
        Ok(Response::from_parts(head, read(body, max).await?))
    };
    timeout(limit, answer).await.unwrap_or(Err(FetchError::Time(limit)))
}
