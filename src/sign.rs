//! Request signing as Huawei Cloud does it: SDK-HMAC-SHA256, and V11-HMAC-SHA256 with its derived
//! key. Every stage is a type that displays exactly its bytes (but for the key, which displays
//! nothing), so that a wrong signature can be traced to the stage where it went wrong.
//!
//! Pure: time, identity and region are arguments. The rules are those of the official SDKs:
//! canonical request → string to sign → signature → `Authorization`.

mod authorization;
mod canonical;
mod credential;
mod date;
mod escape;
mod explain;
#[cfg(test)]
pub(crate) mod recorded;
mod string_to_sign;
#[cfg(test)]
mod tests;

pub use self::authorization::Authorization;
pub use self::canonical::{CanonicalRequest, PayloadHash};
pub use self::credential::{Credential, Signature, SigningKey};
pub use self::date::SdkDate;
pub use self::explain::{Difference, Explanation, Part, Stages, explain};
pub use self::string_to_sign::StringToSign;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use jiff::Timestamp;

/// When the request was signed; its value is an [`SdkDate`].
pub const X_SDK_DATE: &str = "x-sdk-date";

/// The project that a regional service is called for.
pub const X_PROJECT_ID: &str = "x-project-id";

/// The third part of a temporary credential.
pub const X_SECURITY_TOKEN: &str = "x-security-token";

const DATE: HeaderName = HeaderName::from_static(X_SDK_DATE);
const PROJECT_ID: HeaderName = HeaderName::from_static(X_PROJECT_ID);
const SECURITY_TOKEN: HeaderName = HeaderName::from_static(X_SECURITY_TOKEN);

/// Stands for the hash of the body where a client sends it; its value is signed as it is.
pub const X_SDK_CONTENT_SHA256: &str = "x-sdk-content-sha256";

/// How requests are signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// The secret access key itself is the key; the default of every SDK.
    #[default]
    SdkHmacSha256,
    /// The key is derived anew for each day, region and service.
    V11HmacSha256 {
        /// The region, such as `cn-north-4`; `globe` for global services.
        region: String,
        /// The service, such as `modelarts`.
        service: String,
    },
}

impl Algorithm {
    /// The credential scope of a request signed at `date`; plain SDK-HMAC-SHA256 has none.
    #[must_use]
    pub fn scope(&self, date: &SdkDate) -> Option<String> {
        match self {
            Self::SdkHmacSha256 => None,
            Self::V11HmacSha256 { region, service } => {
                Some(format!("{}/{region}/{service}", date.day()))
            }
        }
    }
}

/// Why something cannot be signed or verified. The messages never hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An access key ID that cannot stand in an `Authorization` header.
    #[error("the access key ID must be 1 to 128 letters, digits, `-` and `_`")]
    AccessKeyId,
    /// The `Authorization` header breaks the form of the signing algorithm; says where.
    #[error("the Authorization header is malformed: {0}")]
    Authorization(&'static str),
    /// An `X-Sdk-Date` of another form.
    #[error("X-Sdk-Date must look like 20260115T120000Z")]
    Date,
    /// A header that is signed and sent more than once, so that nobody knows which was meant.
    #[error("the signed header `{0}` was sent more than once")]
    HeaderRepeated(String),
    /// A value that cannot stand in a header.
    #[error("the value of `{0}` has characters that a header cannot hold")]
    HeaderValue(&'static str),
    /// A header that is signed and was not sent.
    #[error("the signed header `{0}` was not sent")]
    HeaderMissing(String),
    /// A signed header with bytes that are not UTF-8.
    #[error("the signed header `{0}` is not UTF-8")]
    HeaderText(String),
    /// The key could not be derived.
    #[error("the signing key cannot be derived")]
    Key,
    /// No secret access key.
    #[error("the secret access key is empty")]
    SecretAccessKey,
    /// A secret access key with a line end, a blank or another character that none has.
    #[error("the secret access key must be visible ASCII characters, without blanks or line ends")]
    SecretAccessKeyText,
    /// A security token that cannot stand in a header.
    #[error("the security token must be visible ASCII characters")]
    SecurityToken,
}

/// A request to the cloud without a body, as far as the signature concerns it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// The request target: the path, and the query if there is one.
    pub target: &'a str,
    /// The value of `Host`, with the port if it is not the scheme's own.
    pub host: &'a str,
    /// The value of `X-Project-Id`.
    pub project_id: &'a str,
    /// The value of `User-Agent`.
    pub user_agent: &'a str,
}

/// Signs `request` at `now`: the complete set of headers to send. A `traceparent` may be added
/// afterwards, as nothing unsigned changes the signature; nothing else should be.
///
/// # Errors
/// [`Error::HeaderValue`] when a part of `request` cannot stand in a header.
pub fn sign(
    request: &Request<'_>,
    credential: &Credential,
    algorithm: &Algorithm,
    now: Timestamp,
) -> Result<HeaderMap, Error> {
    const CONTENT_TYPE: &str = "application/json";
    let date = SdkDate::new(now);
    let scope = algorithm.scope(&date);
    let token = credential.security_token().map(|it| it.expose().as_str());

    let mut signed = [
        (header::CONTENT_TYPE.as_str(), CONTENT_TYPE),
        (header::HOST.as_str(), request.host),
        (header::USER_AGENT.as_str(), request.user_agent),
        (X_PROJECT_ID, request.project_id),
        (X_SDK_DATE, date.as_str()),
        (X_SECURITY_TOKEN, token.unwrap_or_default()),
    ];
    // The token comes last in byte order, so leaving it out is taking one less.
    let (signed, _) = signed.split_at_mut(if token.is_some() { 6 } else { 5 });
    let canonical = CanonicalRequest::new(
        request.method.as_str(),
        request.target,
        signed,
        &PayloadHash::empty(),
    );
    let string_to_sign = StringToSign::new(&date, scope.as_deref(), &canonical);
    let signature = SigningKey::new(credential, scope.as_deref())?.sign(&string_to_sign);
    let authorization = Authorization {
        access_key_id: credential.access_key_id(),
        scope: scope.as_deref(),
        signed_headers: canonical.signed_headers(),
        signature,
    };

    let value =
        |name, text: &str| HeaderValue::from_str(text).map_err(|_| Error::HeaderValue(name));
    let secret = |name, text: &str| {
        let mut value = value(name, text)?;
        value.set_sensitive(true);
        Ok::<_, Error>(value)
    };
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::HOST, value("host", request.host)?);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(DATE, value(X_SDK_DATE, date.as_str())?);
    headers.insert(PROJECT_ID, value(X_PROJECT_ID, request.project_id)?);
    if let Some(token) = token {
        headers.insert(SECURITY_TOKEN, secret(X_SECURITY_TOKEN, token)?);
    }
    headers.insert(header::USER_AGENT, value("user-agent", request.user_agent)?);
    headers.insert(header::AUTHORIZATION, secret("authorization", &authorization.to_string())?);
    Ok(headers)
}
