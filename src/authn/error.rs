//! Why a caller is not known.

use jiff::Timestamp;
use std::path::PathBuf;

/// Why no principal came out of a request. The messages go to the caller: they name the check that
/// failed and never a secret, a token or an expected signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 4015.
    #[error("the token is not meant for this gate: its audience does not fit")]
    Audience,
    /// 4013.
    #[error("the client certificate cannot be used: {0}")]
    Certificate(String),
    /// 4014.
    #[error("the token has expired or is not valid yet: {0}")]
    Expired(String),
    /// 5033.
    #[error("the keys of the token's issuer are not available")]
    KeysUnavailable,
    /// 4011.
    #[error(
        "no credential: send a bearer token, sign the request with a gateway key, or connect with a \
         client certificate where the listener takes them"
    )]
    NoCredential,
    /// 4019.
    #[error("the request is signed for project `{header}` and asks for another one")]
    Project {
        /// The signed `X-Project-Id`, at most 64 characters.
        header: String,
    },
    /// 4012.
    #[error("more than one credential: send exactly one of Authorization and X-Auth-Token, once")]
    SeveralCredentials,
    /// 4018.
    #[error("the signature does not fit the request and the key")]
    Signature,
    /// 4017.
    #[error(
        "the clocks disagree: the request was signed at {sent}, the gate's clock says {now}; the limit is 15 minutes"
    )]
    Skew {
        /// The signed `X-Sdk-Date`.
        sent: Timestamp,
        /// The gate's clock.
        now: Timestamp,
    },
    /// 4013.
    #[error("the credential is not valid: {0}")]
    Token(String),
    /// 4016.
    #[error("the gateway key `{0}` is not known here")]
    UnknownKey(String),
    /// 4019.
    #[error("the header `{0}` must be part of the signature")]
    Unsigned(&'static str),
}

/// Why the identity sources cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The keys of a token issuer.
    #[error("the keys of the issuer `{name}`: {message}")]
    Issuer {
        /// The identity source.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// The file of the gateway access keys.
    #[error("the gateway keys in `{path}`: {message}")]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong, beginning with line and column if they are known. Never a secret.
        message: String,
    },
}
