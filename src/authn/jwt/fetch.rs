//! Gets an issuer's key set: from a file, from a URL, or from where OpenID Connect discovery says.
//! Only configured hosts are asked, redirects are not followed, size and time are bounded.

use crate::authn::config;
use crate::authn::config::{Jwks, Remote};
use crate::client::{self, Client};
use crate::mounted::{self, ReadError};
use crate::object;
use crate::text::escaped;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// The limit for one fetch of an issuer's keys, discovery included.
pub(super) const FETCH_MAX: Duration = Duration::from_secs(5);

/// The largest key set or discovery document, in bytes.
const DOCUMENT_BYTES_MAX: usize = 512 * 1024;

/// The largest file with a bearer token, in bytes.
const BEARER_BYTES_MAX: u64 = 16 * 1024;

/// What a key set is called by RFC 7517 §8.5.2, and what most servers call it and the discovery
/// document. The Kubernetes API server answers 406 to a client that does not accept the type that
/// it offers, and the content is judged whatever it is called: hence `*/*`, last.
const ACCEPT: HeaderValue =
    HeaderValue::from_static("application/jwk-set+json, application/json;q=0.9, */*;q=0.1");

/// How much of another's text is quoted, in characters.
const QUOTED_CHARS_MAX: usize = 200;

const CONNECT_MAX: Duration = Duration::from_secs(2);

/// The last answer's connection is gone by the time of the next fetch.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the file with the bearer token")]
    Bearer(#[source] ReadError),
    #[error("the bearer token has characters that a header cannot hold")]
    BearerText,
    #[error("the discovery document is not a JSON object with `issuer` and `jwks_uri`")]
    Discovery,
    #[error(
        "the discovery document is another issuer's: its `issuer` is `{0}`, and `{1}` is configured"
    )]
    DiscoveryIssuer(String, String),
    #[error(
        "the discovery document's `jwks_uri`, `{0}`, does not have the scheme, host and port of `{1}`; if that is right, name it in the setting `jwks: {{url: …}}`"
    )]
    DiscoveryHost(String, Uri),
    /// Which URL or file was at fault.
    #[error("{0}")]
    At(String, #[source] Box<Self>),
    #[error(transparent)]
    Fetch(#[from] client::FetchError),
    #[error(transparent)]
    File(#[from] ReadError),
    #[error(transparent)]
    Http(#[from] http::Error),
    #[error(transparent)]
    Keys(#[from] super::jwks::Error),
    #[error("the answer's status is {0}")]
    Status(StatusCode),
}

/// Knows where an issuer's keys are.
#[derive(Debug)]
pub(super) enum Fetcher {
    /// Where the issuer's discovery document says.
    Discovery(String, Server),
    File(PathBuf),
    #[cfg(test)]
    Scripted(std::sync::Arc<Script>),
    Url(Uri, Server),
}

/// Who is asked over the network.
#[derive(Debug)]
pub(super) struct Server {
    client: Client,
    bearer: Option<PathBuf>,
}

/// Answers of a test, and how often they were asked for. No set is a failure.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) set: std::sync::Mutex<Option<String>>,
    pub(super) looks: std::sync::atomic::AtomicUsize,
    pub(super) takes: Duration,
}

impl Fetcher {
    /// Prepares for `issuer`.
    ///
    /// # Errors
    /// When the roots to trust cannot be loaded.
    pub(super) fn new(issuer: &config::Issuer) -> Result<Self, client::Error> {
        Ok(match &issuer.jwks {
            Jwks::Discovery(remote) => Self::Discovery(issuer.issuer.clone(), Server::new(remote)?),
            Jwks::File(path) => Self::File(path.clone()),
            Jwks::Url(uri, remote) => Self::Url(uri.clone(), Server::new(remote)?),
        })
    }

    /// The text of the key set, and where it is from.
    pub(super) async fn fetch(&self) -> Result<(Bytes, String), Error> {
        let fetched = tokio::time::timeout(FETCH_MAX, self.fetch_unhurried()).await;
        fetched.unwrap_or(Err(client::FetchError::Time(FETCH_MAX).into()))
    }

    async fn fetch_unhurried(&self) -> Result<(Bytes, String), Error> {
        match self {
            Self::Discovery(issuer, server) => {
                let well_known = ".well-known/openid-configuration";
                let uri: Uri = format!("{}/{well_known}", issuer.trim_end_matches('/'))
                    .parse()
                    .map_err(http::Error::from)?;
                let (document, from) = server.get(&uri).await?;
                let keys = jwks_uri(&document, issuer, &uri);
                server.get(&keys.map_err(|error| error.at(&from))?).await
            }
            Self::File(path) => {
                let from = path.display().to_string();
                match mounted::load(path, DOCUMENT_BYTES_MAX as u64).await {
                    Ok(bytes) => Ok((bytes.into(), from)),
                    Err(error) => Err(Error::File(error).at(&from)),
                }
            }
            #[cfg(test)]
            Self::Scripted(script) => {
                script.looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tokio::time::sleep(script.takes).await;
                let set = script.set.lock().unwrap().clone();
                let from = "https://id.example/keys";
                set.map(|it| (it.into(), from.to_owned()))
                    .ok_or_else(|| Error::Status(StatusCode::BAD_GATEWAY).at(from))
            }
            Self::Url(uri, server) => server.get(uri).await,
        }
    }
}

/// OpenID Connect Discovery 1.0 §4.3: the document must be the issuer's own. Its keys must be on
/// the host that was configured, because that is the only one the gate was told to trust.
fn jwks_uri(document: &[u8], issuer: &str, from: &Uri) -> Result<Uri, Error> {
    let document = object::parse(document).map_err(|_| Error::Discovery)?;
    let text = |name| document.get(name).and_then(Value::as_str).ok_or(Error::Discovery);
    if text("issuer")? != issuer {
        return Err(Error::DiscoveryIssuer(quoted(text("issuer")?), issuer.to_owned()));
    }
    let written = text("jwks_uri")?;
    let uri: Uri = written.parse().map_err(|_| Error::Discovery)?;
    match uri.scheme() == from.scheme() && uri.authority() == from.authority() {
        true => Ok(uri),
        false => Err(Error::DiscoveryHost(quoted(written), from.clone())),
    }
}

/// The beginning of what somebody else wrote.
fn quoted(text: &str) -> String {
    escaped(&text.chars().take(QUOTED_CHARS_MAX).collect::<String>()).into_owned()
}

impl Error {
    pub(super) fn at(self, place: &str) -> Self {
        Self::At(place.to_owned(), Box::new(self))
    }
}

impl Server {
    fn new(remote: &Remote) -> Result<Self, client::Error> {
        let client = client::new(&client::Config {
            roots: remote.roots.clone(),
            connect: CONNECT_MAX,
            idle: IDLE_MAX,
            idle_per_host: 1,
        })?;
        Ok(Self { client, bearer: remote.bearer.clone() })
    }

    /// Asks for `uri`; with the answer comes its name for messages.
    async fn get(&self, uri: &Uri) -> Result<(Bytes, String), Error> {
        let from = uri.to_string();
        match self.ask(uri).await {
            Ok(bytes) => Ok((bytes, from)),
            Err(error) => Err(error.at(&from)),
        }
    }

    async fn ask(&self, uri: &Uri) -> Result<Bytes, Error> {
        let mut request = Request::get(uri).header(header::ACCEPT, ACCEPT);
        if let Some(path) = &self.bearer {
            let token = mounted::load(path, BEARER_BYTES_MAX).await.map_err(Error::Bearer)?;
            let value = client::token_value("Bearer ", &token).ok_or(Error::BearerText)?;
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Bytes::new())?;
        let answer = client::fetch(&self.client, request, FETCH_MAX, DOCUMENT_BYTES_MAX).await?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            status => Err(Error::Status(status)),
        }
    }
}

#[cfg(test)]
mod tests;
