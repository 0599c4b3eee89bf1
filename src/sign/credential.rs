//! Access keys, the signing key that comes from one, and signatures.

use super::{Error, StringToSign};
use crate::secret::Secret;

use aws_lc_rs::{constant_time, hkdf, hmac};
use data_encoding::HEXLOWER;
use std::borrow::Cow;
use std::fmt;

/// The longest access key ID, in characters.
const ACCESS_KEY_ID_MAX: usize = 128;

/// An access key, permanent or temporary.
#[derive(Clone)]
pub struct Credential {
    access_key_id: String,
    secret_access_key: Secret<String>,
    security_token: Option<Secret<String>>,
    key: hmac::Key,
}

impl Credential {
    /// Takes an access key with any text as its secret; a temporary one has a security token. What comes
    /// from outside goes through [`read`](Self::read).
    ///
    /// # Errors
    /// When a part cannot stand in the header it belongs to, or the secret is empty.
    pub fn new(
        access_key_id: String,
        secret_access_key: Secret<String>,
        security_token: Option<Secret<String>>,
    ) -> Result<Self, Error> {
        if !is_access_key_id(&access_key_id) {
            return Err(Error::AccessKeyId);
        }
        if secret_access_key.expose().is_empty() {
            return Err(Error::SecretAccessKey);
        }
        let visible = |it: &Secret<String>| {
            !it.expose().is_empty() && it.expose().bytes().all(|it| it.is_ascii_graphic())
        };
        if !security_token.as_ref().is_none_or(visible) {
            return Err(Error::SecurityToken);
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret_access_key.expose().as_bytes());
        Ok(Self { access_key_id, secret_access_key, security_token, key })
    }

    /// Takes an access key as a file or an answer holds it: a line end or a blank that came with the
    /// secret would make every signature wrong, and no issuer makes one with such characters.
    ///
    /// # Errors
    /// As for [`new`](Self::new), and for a secret of other than visible ASCII characters.
    pub fn read(
        access_key_id: String,
        secret_access_key: Secret<String>,
        security_token: Option<Secret<String>>,
    ) -> Result<Self, Error> {
        if !secret_access_key.expose().bytes().all(|it| it.is_ascii_graphic()) {
            return Err(Error::SecretAccessKeyText);
        }
        Self::new(access_key_id, secret_access_key, security_token)
    }

    /// The credential as a client may have read it by mistake, together with the mistake.
    pub(super) fn misread(&self) -> Vec<(&'static str, Self)> {
        let secret = self.secret_access_key.expose();
        let mistakes = [
            ("with a line feed at its end", format!("{secret}\n")),
            ("with a space at its end", format!("{secret} ")),
            ("without the white space around it", secret.trim().to_owned()),
        ];
        let credential = |(what, secret)| {
            let id = self.access_key_id.clone();
            Some((what, Self::new(id, Secret::new(secret), None).ok()?))
        };
        mistakes.into_iter().filter_map(credential).collect()
    }

    /// The AK: a name, not a secret.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The token of a temporary credential.
    #[must_use]
    pub fn security_token(&self) -> Option<&Secret<String>> {
        self.security_token.as_ref()
    }
}

impl PartialEq for Credential {
    fn eq(&self, other: &Self) -> bool {
        let Self { access_key_id, secret_access_key, security_token, key: _ } = self;
        *access_key_id == other.access_key_id
            && *secret_access_key == other.secret_access_key
            && *security_token == other.security_token
    }
}

impl Eq for Credential {}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("access_key_id", &self.access_key_id)
            .field("security_token", &self.security_token)
            .finish_non_exhaustive()
    }
}

/// Whether `text` can be an access key ID: other characters would be read as part of the
/// `Authorization` header's grammar.
pub(super) fn is_access_key_id(text: &str) -> bool {
    (1..=ACCESS_KEY_ID_MAX).contains(&text.len())
        && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
}

/// The key of the last stage. It has no `Display`: it is a secret.
#[derive(Clone)]
pub struct SigningKey<'a>(Cow<'a, hmac::Key>);

impl<'a> SigningKey<'a> {
    /// The key of `credential` for `scope`; without a scope the secret access key itself.
    ///
    /// # Errors
    /// [`Error::Key`] when the derivation fails, which no input is known to cause.
    pub fn new(credential: &'a Credential, scope: Option<&str>) -> Result<Self, Error> {
        let Some(scope) = scope else { return Ok(Self(Cow::Borrowed(&credential.key))) };
        let derived = derive(credential, scope)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, derived.expose().as_bytes());
        Ok(Self(Cow::Owned(key)))
    }

    /// Signs.
    #[must_use]
    pub fn sign(&self, string_to_sign: &StringToSign) -> Signature {
        let tag = hmac::sign(&self.0, string_to_sign.0.as_bytes());
        // An HMAC-SHA256 has just that length.
        Signature(tag.as_ref().try_into().unwrap_or_default())
    }
}

impl fmt::Debug for SigningKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// HKDF-SHA256 of the secret, salted with the access key ID. What keys the HMAC is not the 32
/// bytes but their 64 hex characters: that is how all SDKs do it.
pub(super) fn derive(credential: &Credential, scope: &str) -> Result<Secret<String>, Error> {
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            SIGNATURE_BYTES
        }
    }
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, credential.access_key_id.as_bytes());
    let extracted = salt.extract(credential.secret_access_key.expose().as_bytes());
    let mut bytes = [0; SIGNATURE_BYTES];
    extracted
        .expand(&[scope.as_bytes()], Length)
        .and_then(|it| it.fill(&mut bytes))
        .map_err(|_| Error::Key)?;
    Ok(Secret::new(HEXLOWER.encode(&bytes)))
}

/// The size of an HMAC-SHA256.
const SIGNATURE_BYTES: usize = 32;

/// A signature; displays as lower-case hex. It is compared in constant time, and only so.
#[derive(Clone, Copy)]
pub struct Signature([u8; SIGNATURE_BYTES]);

impl Signature {
    /// Reads 64 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }

    /// Compares in a time that does not depend on where the difference is.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HEXLOWER.encode_display(&self.0).fmt(f)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(..)")
    }
}
