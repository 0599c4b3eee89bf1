//! The first stage: the request in the one form that both sides can build.

use super::{X_SDK_CONTENT_SHA256, X_SECURITY_TOKEN, escape};

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use http::HeaderMap;
use std::borrow::Cow;
use std::fmt;

/// The last line of a canonical request: lower-hex SHA-256 of the body, or what the client says
/// instead of it in `X-Sdk-Content-Sha256`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadHash(Cow<'static, str>);

impl PayloadHash {
    /// The hash of no body.
    #[must_use]
    pub fn empty() -> Self {
        Self(Cow::Borrowed("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"))
    }

    /// What a client names that does not hash its body.
    pub(super) fn unsigned() -> Self {
        Self(Cow::Borrowed("UNSIGNED-PAYLOAD"))
    }

    /// The hash of `body`.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self(Cow::Owned(HEXLOWER.encode(digest::digest(&digest::SHA256, body).as_ref())))
    }

    /// `self`, unless `headers` name another value, which then counts as it is.
    #[must_use]
    pub fn or_named_by(self, headers: &HeaderMap) -> Self {
        match headers.get(X_SDK_CONTENT_SHA256).and_then(|it| it.to_str().ok()) {
            Some(named) => Self(Cow::Owned(named.trim().to_owned())),
            None => self,
        }
    }
}

impl fmt::Display for PayloadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Method, canonical URI, canonical query, header block, signed-header list and payload hash.
///
/// It holds the security token if that is signed: log [`CanonicalRequest::redacted`].
#[derive(Clone, PartialEq, Eq)]
pub struct CanonicalRequest {
    pub(super) text: String,
    signed_headers: String,
}

impl CanonicalRequest {
    /// Builds the form of a request for `target`, a path and perhaps a query. `headers` are the
    /// signed ones, names in lower case; they come out sorted by name, values trimmed.
    #[must_use]
    pub fn new(
        method: &str,
        target: &str,
        headers: &mut [(&str, &str)],
        payload: &PayloadHash,
    ) -> Self {
        headers.sort_unstable();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let lengths: usize = headers.iter().map(|(name, value)| 2 * name.len() + value.len()).sum();
        let mut text = String::with_capacity(method.len() + target.len() + lengths + 128);
        let mut signed_headers = String::with_capacity(lengths);

        text.push_str(method);
        text.push('\n');
        escape::push_path(&mut text, path);
        text.push('\n');
        escape::push_query(&mut text, query);
        text.push('\n');
        for (name, value) in headers.iter() {
            for part in [name, ":", value.trim(), "\n"] {
                text.push_str(part);
            }
            if !signed_headers.is_empty() {
                signed_headers.push(';');
            }
            signed_headers.push_str(name);
        }
        for part in ["\n", &signed_headers, "\n", &payload.0] {
            text.push_str(part);
        }
        Self { text, signed_headers }
    }

    /// One that somebody else may have built, to see what its signature would be.
    pub(super) fn of_text(text: String) -> Self {
        Self { text, signed_headers: String::new() }
    }

    /// The names of the signed headers, separated by `;`.
    #[must_use]
    pub fn signed_headers(&self) -> &str {
        &self.signed_headers
    }

    /// The canonical request without the value of the security token, for logs and messages.
    #[must_use]
    pub fn redacted(&self) -> String {
        let line = |line| match str::split_once(line, ':') {
            Some((name, _)) if name == X_SECURITY_TOKEN => Cow::Owned(format!("{name}:[redacted]")),
            _ => Cow::Borrowed(line),
        };
        self.text.split('\n').map(line).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for CanonicalRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for CanonicalRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CanonicalRequest").field(&self.redacted()).finish()
    }
}
