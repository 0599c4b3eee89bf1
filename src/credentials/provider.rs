//! Asks who issues temporary credentials: the metadata service of a virtual machine, the identity
//! agent of a cluster, the cloud's token service. The forms are those that the official
//! SDKs send and read (huaweicloudsdkcore 3.1.219, auth/).

use super::{Issued, Oidc, PodIdentity};
use crate::client::{self, Client, Roots};
use crate::mounted::{self, ReadError};
use crate::object::Object;
use crate::secret::Secret;
use crate::sign::{self, Credential};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// The limit for one call; the SDKs' own.
const CALL_MAX: Duration = Duration::from_secs(3);

/// The largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The largest file with a token, in bytes.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

/// How long a metadata token is to be valid, in seconds; the longest there is.
const METADATA_TOKEN_SECONDS: u64 = 21_600;

/// How long before its end a metadata token is renewed.
const METADATA_TOKEN_AHEAD: Duration = Duration::from_mins(5);

/// When a metadata service that knows no tokens is asked for one again.
const LEGACY: Duration = Duration::from_hours(24);

/// Why there is no new credential. The messages never hold a part of the answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the answer is not a credential with a security token and an expiry time")]
    Answer,
    #[error("the credential cannot be used")]
    Credential(#[from] sign::Error),
    #[error(transparent)]
    Fetch(#[from] client::FetchError),
    #[error("the request cannot be made")]
    Http(#[from] http::Error),
    #[error("the answer's status is {0}")]
    Status(StatusCode),
    #[error("the file with the token")]
    Token(#[from] ReadError),
    #[error("a token has characters that a header cannot hold")]
    TokenText,
}

/// An issuer of credentials, and the connection to it.
#[derive(Debug)]
pub(super) struct Provider {
    client: Client,
    issuer: Issuer,
    /// With a metadata service.
    session: Option<Session>,
}

#[derive(Debug)]
pub(super) enum Issuer {
    /// A metadata service, at scheme and authority.
    Metadata(Uri),
    Oidc(Oidc),
    PodIdentity(PodIdentity),
}

/// How the metadata service is spoken to, and until when.
#[derive(Clone, Debug)]
struct Session {
    /// `None` for an old service, which knows no tokens.
    token: Option<HeaderValue>,
    until: Instant,
}

#[derive(Deserialize)]
struct Document {
    #[serde(alias = "credential")]
    credentials: Object<Written>,
}

/// Every issuer spells it in its own way.
#[derive(Deserialize)]
struct Written {
    #[serde(alias = "access", alias = "accessKeyId")]
    access_key_id: String,
    #[serde(alias = "secret", alias = "secretAccessKey")]
    secret_access_key: String,
    #[serde(alias = "securitytoken", alias = "securityToken")]
    security_token: String,
    #[serde(alias = "expires_at")]
    expiration: String,
}

impl Provider {
    pub(super) fn new(issuer: Issuer) -> Result<Self, client::Error> {
        let roots = match &issuer {
            Issuer::Metadata(_) => Roots::Nobody,
            Issuer::Oidc(oidc) => oidc.roots.clone(),
            Issuer::PodIdentity(pod) => pod.roots.clone(),
        };
        let client = client::new(&client::Config {
            roots,
            connect: CALL_MAX,
            idle: CALL_MAX,
            idle_per_host: 1,
        })?;
        Ok(Self { client, issuer, session: None })
    }

    pub(super) async fn fetch(&mut self) -> Result<Issued, Error> {
        let Self { client, issuer, session } = self;
        let (status, body) = match issuer {
            Issuer::Metadata(endpoint) => metadata(client, endpoint, session).await?,
            Issuer::Oidc(oidc) => assume(client, oidc).await?,
            Issuer::PodIdentity(PodIdentity { uri, token, .. }) => {
                let token = token_value(&read_token(token).await?)?;
                let fields = [(header::AUTHORIZATION.as_str(), token), json_type()];
                call(client, Method::POST, uri, &fields, "{}".into()).await?
            }
        };
        match status {
            StatusCode::OK | StatusCode::CREATED => issued(&body),
            status => Err(Error::Status(status)),
        }
    }
}

/// A token that has ended early is renewed once.
async fn metadata(
    client: &Client,
    endpoint: &Uri,
    session: &mut Option<Session>,
) -> Result<(StatusCode, Bytes), Error> {
    session.take_if(|it| it.until <= Instant::now());
    let known = session.is_some();
    let answer = metadata_once(client, endpoint, session).await?;
    if answer.0 != StatusCode::UNAUTHORIZED || !known {
        return Ok(answer);
    }
    *session = None;
    metadata_once(client, endpoint, session).await
}

async fn metadata_once(
    client: &Client,
    endpoint: &Uri,
    session: &mut Option<Session>,
) -> Result<(StatusCode, Bytes), Error> {
    let token = match session {
        Some(session) => session.token.clone(),
        None => {
            let began = begin(client, endpoint).await?;
            session.insert(began).token.clone()
        }
    };
    let fields: Vec<_> = token.map(|it| ("x-metadata-token", it)).into_iter().collect();
    let uri = client::url(endpoint, "/openstack/latest/securitykey").unwrap_or_default();
    call(client, Method::GET, &uri, &fields, Bytes::new()).await
}

async fn begin(client: &Client, endpoint: &Uri) -> Result<Session, Error> {
    let uri = client::url(endpoint, "/meta-data/latest/api/token").unwrap_or_default();
    let seconds = [("x-metadata-token-ttl-seconds", METADATA_TOKEN_SECONDS.into())];
    let (status, body) = call(client, Method::PUT, &uri, &seconds, Bytes::new()).await?;
    let now = Instant::now();
    match status {
        StatusCode::OK => {
            let life = Duration::from_secs(METADATA_TOKEN_SECONDS) - METADATA_TOKEN_AHEAD;
            Ok(Session { token: Some(token_value(&body)?), until: now + life })
        }
        StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::SERVICE_UNAVAILABLE => Ok(Session { token: None, until: now + LEGACY }),
        status => Err(Error::Status(status)),
    }
}

/// The token file is read for every call: it is rotated.
async fn assume(client: &Client, oidc: &Oidc) -> Result<(StatusCode, Bytes), Error> {
    let token = read_token(&oidc.token).await?;
    let token = str::from_utf8(&token).map_err(|_| Error::TokenText)?;
    let body = json!({
        "provider_urn": oidc.provider,
        "agency_urn": oidc.agency,
        "agency_session_name": oidc.session,
        "id_token": token.trim(),
        "duration_seconds": oidc.duration.as_secs(),
    });
    let uri = client::url(&oidc.endpoint, "/v5/agencies/assume-with-oidc").unwrap_or_default();
    call(client, Method::POST, &uri, &[json_type()], body.to_string().into()).await
}

async fn call(
    client: &Client,
    method: Method,
    uri: &Uri,
    fields: &[(&str, HeaderValue)],
    body: Bytes,
) -> Result<(StatusCode, Bytes), Error> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, value);
    }
    let answer = client::fetch(client, request.body(body)?, CALL_MAX, ANSWER_BYTES_MAX).await?;
    Ok((answer.status(), answer.into_body()))
}

fn json_type() -> (&'static str, HeaderValue) {
    ("content-type", HeaderValue::from_static("application/json"))
}

async fn read_token(path: &Path) -> Result<Vec<u8>, Error> {
    Ok(mounted::load(path, TOKEN_BYTES_MAX).await?)
}

fn token_value(token: &[u8]) -> Result<HeaderValue, Error> {
    client::token_value("", token).ok_or(Error::TokenText)
}

fn issued(body: &[u8]) -> Result<Issued, Error> {
    // What the reader says may quote the answer.
    let Object(Document { credentials: Object(it) }) =
        serde_json::from_slice(body).map_err(|_| Error::Answer)?;
    let token = Some(Secret::new(it.security_token));
    let credential = Credential::read(it.access_key_id, Secret::new(it.secret_access_key), token)?;
    let expires = it.expiration.parse::<Timestamp>().map_err(|_| Error::Answer)?;
    Ok(Issued { credential, expires: Some(expires) })
}
