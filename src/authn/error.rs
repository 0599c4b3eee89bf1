//! Why a caller is not known.

use crate::metrics::IdentityFault;

use jiff::Timestamp;
use std::fmt;
use std::path::PathBuf;

/// Why no principal came out of a request. The messages go to the caller: they name the check that
/// failed and never a secret, a token or an expected signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 4018.
    #[error("the signature covers another body than the one that arrived")]
    BodyHash,
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
    #[error("the signature does not fit the request and the key{0}")]
    Signature(Mismatch),
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
    /// 4013, for the reason that the first field has in one word.
    #[error("the credential is not valid: {1}")]
    Token(IdentityFault, String),
    /// 4016.
    #[error("the gateway key `{0}` is not known here")]
    UnknownKey(String),
    /// 4010.
    #[error(
        "the list of jobs is not covered by the signature (UNSIGNED-PAYLOAD), which is taken over TLS only: use https"
    )]
    UnsignedBody,
    /// 4019.
    #[error("the header `{0}` must be part of the signature")]
    Unsigned(&'static str),
}

/// What may have come between a signature and its request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// The host that arrived, at most 64 characters, if the signature covers it.
    pub host: Option<String>,
    /// The signature fits a body `{}`, and none arrived.
    pub over_braces: bool,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.over_braces, &self.host) {
            (true, _) => f.write_str(
                ": it was made over the body `{}`, and a delete has none: sign it without a body",
            ),
            (false, Some(host)) => write!(
                f,
                "; the Host that arrived is `{host}`: a proxy that changes the Host, the path or another signed header breaks every signature"
            ),
            (false, None) => Ok(()),
        }
    }
}

impl Error {
    /// Why, in one word.
    #[must_use]
    pub fn fault(&self) -> IdentityFault {
        match self {
            Self::Audience => IdentityFault::Audience,
            Self::Certificate(_) => IdentityFault::Certificate,
            Self::Expired(_) => IdentityFault::Expired,
            Self::KeysUnavailable => IdentityFault::KeysUnavailable,
            Self::NoCredential => IdentityFault::None,
            Self::Project { .. } => IdentityFault::Project,
            Self::SeveralCredentials => IdentityFault::Several,
            Self::BodyHash | Self::Signature(_) => IdentityFault::Signature,
            Self::Skew { .. } => IdentityFault::ClockSkew,
            Self::Token(fault, _) => *fault,
            Self::UnknownKey(_) => IdentityFault::AccessKey,
            Self::Unsigned(_) | Self::UnsignedBody => IdentityFault::Unsigned,
        }
    }
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
