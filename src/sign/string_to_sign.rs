//! The second stage: what the signature is computed over.

use super::{CanonicalRequest, SdkDate};

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use std::fmt;

/// The algorithm's name in `Authorization` and in the string to sign.
pub(super) fn algorithm_name(scope: Option<&str>) -> &'static str {
    match scope {
        None => "SDK-HMAC-SHA256",
        Some(_) => "V11-HMAC-SHA256",
    }
}

/// Algorithm, date, scope (V11-HMAC-SHA256 only) and the hash of the canonical request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringToSign(pub(super) String);

impl StringToSign {
    /// `scope` is that of [`super::Algorithm::scope`].
    #[must_use]
    pub fn new(date: &SdkDate, scope: Option<&str>, canonical: &CanonicalRequest) -> Self {
        let hash = digest::digest(&digest::SHA256, canonical.text.as_bytes());
        let mut text = String::with_capacity(128);
        let lines = [Some(algorithm_name(scope)), Some(date.as_str()), scope];
        for line in lines.into_iter().flatten() {
            text.push_str(line);
            text.push('\n');
        }
        HEXLOWER.encode_append(hash.as_ref(), &mut text);
        Self(text)
    }
}

impl fmt::Display for StringToSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
