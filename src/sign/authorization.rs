//! The `Authorization` header of a signed request: writing one, reading one, and recomputing the
//! signature of a request that came with one.

use super::credential::is_access_key_id;
use super::string_to_sign::algorithm_name;
use super::{
    CanonicalRequest, Credential, Error, PayloadHash, SdkDate, Signature, SigningKey, StringToSign,
};

use http::request::Parts;
use http::{HeaderMap, header};
use std::fmt;

/// The longest `Authorization` value that is read, in bytes.
const VALUE_BYTES_MAX: usize = 4096;

/// The most signed headers.
const SIGNED_HEADERS_MAX: usize = 64;

/// The parts of an `Authorization` value. Displays as the value, signature included.
#[derive(Clone, Debug)]
pub struct Authorization<'a> {
    pub(super) access_key_id: &'a str,
    /// The credential scope, for a derived key.
    pub(super) scope: Option<&'a str>,
    /// The names of the signed headers, separated by `;`.
    pub(super) signed_headers: &'a str,
    pub(super) signature: Signature,
}

impl<'a> Authorization<'a> {
    /// Whether `value` claims to be of an algorithm that [`Authorization::parse`] reads.
    #[must_use]
    pub fn is_signature(value: &str) -> bool {
        split_algorithm(value).is_some()
    }

    /// Reads an `Authorization` value of SDK-HMAC-SHA256 or V11-HMAC-SHA256 in the form that the
    /// official SDKs write: one spelling, signed headers in lower case, sorted, without repetition.
    /// Blanks after the algorithm and around commas may be any number, as other clients write them.
    ///
    /// # Errors
    /// [`Error::Authorization`] with the part that is wrong.
    pub fn parse(value: &'a str) -> Result<Self, Error> {
        let wrong = Error::Authorization;
        if VALUE_BYTES_MAX < value.len() {
            return Err(wrong("it is too long"));
        }
        let (derived, parts) = split_algorithm(value).ok_or(wrong("the algorithm is unknown"))?;
        let mut parts = parts.split(',').map(|it| it.trim_matches(' '));
        let [Some(identity), Some(signed_headers), Some(signature), None] =
            [(); 4].map(|()| parts.next())
        else {
            return Err(wrong("it needs three parts, separated by commas"));
        };
        let (access_key_id, scope) = match derived {
            false => {
                let older = identity.starts_with("Credential=");
                let missing = match older {
                    true => {
                        "it has the older form with `Credential=…/sdk_request`: use an SDK that signs with `Access=`"
                    }
                    false => "`Access=` is missing",
                };
                (identity.strip_prefix("Access=").ok_or(wrong(missing))?, None)
            }
            true => {
                let id = identity
                    .strip_prefix("Credential=")
                    .and_then(|it| it.split_once('/'))
                    .filter(|(_, scope)| is_scope(scope))
                    .ok_or(wrong("`Credential=<key>/<day>/<region>/<service>` is missing"))?;
                (id.0, Some(id.1))
            }
        };
        if !is_access_key_id(access_key_id) {
            return Err(wrong("the access key ID is malformed"));
        }
        let signed_headers =
            signed_headers.strip_prefix("SignedHeaders=").filter(|it| is_header_list(it)).ok_or(
                wrong("`SignedHeaders=` must list lower-case names, sorted, separated by `;`"),
            )?;
        let signature = signature
            .strip_prefix("Signature=")
            .and_then(Signature::parse)
            .ok_or(wrong("`Signature=` must be 64 lower-case hex digits"))?;
        Ok(Self { access_key_id, scope, signed_headers, signature })
    }

    /// The AK that the request is said to be signed with.
    #[must_use]
    pub fn access_key_id(&self) -> &'a str {
        self.access_key_id
    }

    /// Whether the header `name` (in lower case) is part of the signature.
    #[must_use]
    pub fn signs(&self, name: &str) -> bool {
        self.signed_headers.split(';').any(|it| it == name)
    }

    /// Whether `credential` signed `head` at `date`, the head's own `X-Sdk-Date`.
    ///
    /// # Errors
    /// When a signed header was not sent, was sent more than once, or is not text. A signature that
    /// does not fit is `Ok(false)`.
    pub fn verify(
        &self,
        credential: &Credential,
        date: &SdkDate,
        head: &Parts,
        payload: PayloadHash,
    ) -> Result<bool, Error> {
        // A derived key is good for one day: a scope of another day was not made by these rules.
        if self.scope.is_some_and(|it| it.split('/').next() != Some(date.day())) {
            return Ok(false);
        }
        let canonical = canonical_request(self.signed_headers, head, payload)?;
        let string_to_sign = StringToSign::new(date, self.scope, &canonical);
        let signature = SigningKey::new(credential, self.scope)?.sign(&string_to_sign);
        Ok(signature.matches(&self.signature))
    }
}

/// The canonical request of `head` when the headers in the list `signed_headers` are signed. On HTTP/2
/// the authority stands for `host`.
pub(super) fn canonical_request(
    signed_headers: &str,
    head: &Parts,
    payload: PayloadHash,
) -> Result<CanonicalRequest, Error> {
    let mut headers = Vec::with_capacity(8);
    for name in signed_headers.split(';') {
        let authority = || match name == header::HOST.as_str() {
            true => head.uri.authority().map(http::uri::Authority::as_str),
            false => None,
        };
        let value = match single(&head.headers, name)? {
            Some(value) => value,
            None => authority().ok_or_else(|| Error::HeaderMissing(name.to_owned()))?,
        };
        headers.push((name, value));
    }
    let target = head.uri.path_and_query().map_or("/", |it| it.as_str());
    let payload = payload.or_named_by(&head.headers);
    Ok(CanonicalRequest::new(head.method.as_str(), target, &mut headers, &payload))
}

impl fmt::Display for Authorization<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { access_key_id, scope, signed_headers, signature } = self;
        let name = algorithm_name(*scope);
        match scope {
            None => write!(f, "{name} Access={access_key_id}")?,
            Some(scope) => write!(f, "{name} Credential={access_key_id}/{scope}")?,
        }
        write!(f, ", SignedHeaders={signed_headers}, Signature={signature}")
    }
}

/// Splits off the algorithm; true stands for a derived key.
fn split_algorithm(value: &str) -> Option<(bool, &str)> {
    let (name, rest) = value.split_once(' ')?;
    match name {
        _ if name == algorithm_name(None) => Some((false, rest)),
        _ if name == algorithm_name(Some("")) => Some((true, rest)),
        _ => None,
    }
}

fn is_scope(scope: &str) -> bool {
    let part = |it: &str| {
        !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
    };
    scope.split('/').count() == 3 && scope.split('/').all(part)
}

fn is_header_list(list: &str) -> bool {
    let name = |it: &str| {
        let byte = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"-_".contains(&it);
        !it.is_empty() && it.bytes().all(byte)
    };
    list.split(';').count() <= SIGNED_HEADERS_MAX
        && list.split(';').all(name)
        && list.split(';').is_sorted_by(|a, b| a < b)
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Error> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::HeaderRepeated(name.to_owned()));
    }
    let text = str::from_utf8(value.as_bytes()).map_err(|_| Error::HeaderText(name.to_owned()))?;
    Ok(Some(text))
}
