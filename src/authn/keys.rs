//! Gateway access keys: pairs of the gate's own, with which an unmodified official SDK signs. A
//! key belongs to a principal of the source `keys`.

mod file;
mod watch;

pub(super) use self::watch::watch;

use super::{Error, Mismatch, Moment, Peer};
use crate::metrics::IdentityFault;
use crate::mounted;
use crate::policy::Principal;
use crate::secret::Secret;
use crate::sign::{
    self, Credential, PayloadHash, SdkDate, X_PROJECT_ID, X_SDK_CONTENT_SHA256, X_SDK_DATE,
    X_SECURITY_TOKEN,
};

use aws_lc_rs::rand;
use http::header;
use http::request::Parts;
use jiff::SignedDuration;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

/// The identity source of all gateway keys.
pub const SOURCE: &str = "keys";

/// How far `X-Sdk-Date` and the gate's clock may be apart, as in Huawei Cloud's API gateway.
pub const SKEW_MAX: SignedDuration = SignedDuration::from_mins(15);

/// The length of an access key ID that [`create`] makes, in characters.
const ACCESS_KEY_ID_LENGTH: usize = 20;

/// The length of a secret access key that [`create`] makes, in characters (238 bits).
const SECRET_ACCESS_KEY_LENGTH: usize = 40;

/// The longest header value that a message repeats, in characters.
const QUOTED_MAX: usize = 64;

/// The keys of one version of the file.
#[derive(Debug, Default)]
pub(super) struct Keys(HashMap<String, Key>);

#[derive(Debug)]
struct Key {
    credential: Credential,
    principal: Arc<Principal>,
}

/// The keys of all tags that the file at `path` gives to callers; `None` if it cannot be read.
#[must_use]
pub fn tags(path: &Path) -> Option<BTreeSet<String>> {
    let keys = watch::parse(&mounted::read(path, watch::FILE_BYTES_MAX).ok()?).ok()?;
    let principals = keys.0.values().map(|it| &it.principal);
    Some(principals.flat_map(|it| it.tags().keys().cloned()).collect())
}

impl Keys {
    /// Nobody could present one.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Verifies the signature of `head`, whose `Authorization` is `value`. There is no replay
    /// cache: the retries of an official SDK are identical to the first attempt, and so are two
    /// deletes of one job within a second.
    pub(super) fn verify(
        &self,
        (value, head, body): (&str, &Parts, &[u8]),
        project_id: &str,
        peer: &Peer,
        moment: Moment,
    ) -> Result<Arc<Principal>, Error> {
        let authorization = sign::Authorization::parse(value)?;
        let id = authorization.access_key_id();
        let key = self.0.get(id).ok_or_else(|| Error::UnknownKey(quote(id)))?;

        if !authorization.signs(X_SDK_DATE) {
            return Err(Error::Unsigned("X-Sdk-Date"));
        }
        // A header that the signature does not cover could have been added on the way.
        for (name, shown) in
            [(X_PROJECT_ID, "X-Project-Id"), (X_SECURITY_TOKEN, "X-Security-Token")]
        {
            if head.headers.contains_key(name) && !authorization.signs(name) {
                return Err(Error::Unsigned(shown));
            }
        }
        let date = head.headers.get(X_SDK_DATE).and_then(|it| it.to_str().ok()).unwrap_or_default();
        let date = SdkDate::parse(date)?;
        moment.check_skew(date.time())?;

        let payload = payload(&authorization, head, body, peer)?;
        if !authorization.verify(&key.credential, &date, head, payload)? {
            return Err(Error::Signature(mismatch(&authorization, key, &date, head)));
        }
        match head.headers.get(X_PROJECT_ID) {
            Some(header) if header != project_id => {
                let header = quote(&String::from_utf8_lossy(header.as_bytes()));
                Err(Error::Project { header })
            }
            _ => Ok(Arc::clone(&key.principal)),
        }
    }
}

/// The hash of the body that must be signed. A client can name another value in its place: only the
/// hash of these very bytes counts, or, where nobody on the way could have changed them, the word
/// that they are not signed.
fn payload(
    authorization: &sign::Authorization<'_>,
    head: &Parts,
    body: &[u8],
    peer: &Peer,
) -> Result<PayloadHash, Error> {
    const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
    if body.is_empty() {
        return Ok(PayloadHash::empty());
    }
    let hash = PayloadHash::of(body);
    if let Some(named) = head.headers.get(X_SDK_CONTENT_SHA256) {
        if !authorization.signs(X_SDK_CONTENT_SHA256) {
            return Err(Error::Unsigned("X-Sdk-Content-Sha256"));
        }
        let named = named.to_str().unwrap_or_default().trim();
        if named == UNSIGNED && !peer.secure && !peer.local {
            return Err(Error::UnsignedBody);
        }
        if named != UNSIGNED && named != hash.to_string() {
            return Err(Error::BodyHash);
        }
    }
    Ok(hash)
}

/// The access keys of a key file, whoever they belong to.
///
/// # Errors
/// What is wrong, without a secret.
pub(crate) fn credentials(bytes: &[u8]) -> Result<Vec<Credential>, String> {
    let keys = watch::parse(bytes).map_err(|it| it.to_string())?;
    Ok(keys.0.into_values().map(|it| it.credential).collect())
}

impl Moment {
    fn check_skew(self, sent: jiff::Timestamp) -> Result<(), Error> {
        // Also measured from the latest time seen: if the clock is set back, requests that were
        // too old stay too old.
        let apart = self.now.duration_since(sent).abs();
        let late = self.latest.duration_since(sent);
        match apart <= SKEW_MAX && late <= SKEW_MAX {
            true => Ok(()),
            false if apart <= SKEW_MAX => Err(Error::Skew { sent, now: self.latest }),
            false => Err(Error::Skew { sent, now: self.now }),
        }
    }
}

impl From<sign::Error> for Error {
    fn from(error: sign::Error) -> Self {
        Self::Token(IdentityFault::Form, error.to_string())
    }
}

/// What a caller whose signature does not fit can look for.
fn mismatch(
    authorization: &sign::Authorization<'_>,
    key: &Key,
    date: &SdkDate,
    head: &Parts,
) -> Mismatch {
    let braces = authorization.verify(&key.credential, date, head, PayloadHash::of(b"{}"));
    let sent = || head.headers.get(header::HOST).and_then(|it| it.to_str().ok());
    let host = head.uri.authority().map(|it| it.as_str()).or_else(sent);
    let host = host.filter(|_| authorization.signs(header::HOST.as_str())).map(quote);
    Mismatch { host, over_braces: braces == Ok(true) }
}

fn quote(text: &str) -> String {
    text.chars().take(QUOTED_MAX).collect()
}

/// A new gateway key pair.
#[derive(Debug)]
pub struct Pair {
    /// 20 upper-case letters and digits.
    pub access_key_id: String,
    /// 40 letters and digits.
    pub secret_access_key: Secret<String>,
}

/// Makes a key pair, in the form of Huawei Cloud's own so that every SDK takes it.
///
/// # Errors
/// When the system gives no random bytes.
pub fn create() -> Result<Pair, NoRandomness> {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqrstuvwxyz";
    let (upper, _) = ALPHABET.split_at(36);
    Ok(Pair {
        access_key_id: random(upper, ACCESS_KEY_ID_LENGTH)?,
        secret_access_key: Secret::new(random(ALPHABET, SECRET_ACCESS_KEY_LENGTH)?),
    })
}

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;

fn random(alphabet: &[u8], length: usize) -> Result<String, NoRandomness> {
    let mut res = String::with_capacity(length);
    while res.len() < length {
        let mut bytes = [0; 64];
        rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
        // Six bits reach past both alphabets; what falls outside is thrown away, so that every
        // character is equally likely.
        let characters = bytes.iter().filter_map(|it| alphabet.get(usize::from(it & 0x3f)));
        let missing = length - res.len();
        res.extend(characters.take(missing).map(|it| char::from(*it)));
    }
    Ok(res)
}

#[cfg(test)]
mod tests;
