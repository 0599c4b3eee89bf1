//! What identity sources there are, checked. Written down in the configuration file, which is
//! parsed elsewhere.

use crate::client::{self, Roots};
use crate::text::is_deceptive;

use http::Uri;
use jsonwebtoken::Algorithm;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Source names that are the gate's own.
pub const RESERVED_SOURCES: [&str; 3] = ["keys", "local", "mtls"];

/// The longest source name, in characters.
pub const SOURCE_NAME_MAX: usize = 32;

/// The most steps of a [`ClaimPath`].
pub const CLAIM_DEPTH_MAX: usize = 8;

/// The longest time that a token of an issuer may be valid, unless set otherwise.
pub const MAX_LIFETIME: Duration = Duration::from_hours(24);

/// How long a token issuer's keys stay in use after the last good fetch, unless set otherwise.
pub const STALE_KEYS: Duration = Duration::from_secs(3600);

/// The lowest value for [`Remote::stale`]: with a lower one, a single slow fetch would stop the
/// gate.
pub const STALE_KEYS_MIN: Duration = Duration::from_secs(10);

/// The identity sources of a gate. A gate may have none: then only listeners with a fixed
/// principal let anyone in.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) keys: Option<PathBuf>,
    /// Some listener takes client certificates, which is an identity source of its own.
    pub(crate) certificates: bool,
}

/// An issuer of JSON Web Tokens.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// The identity source, such as `corp`: `[a-z0-9-]`, at most [`SOURCE_NAME_MAX`] characters.
    pub name: String,
    /// The exact value of `iss`.
    pub issuer: String,
    /// A token must name one of these in `aud`.
    pub audience: Vec<String>,
    /// Asymmetric signature algorithms that this issuer may use.
    pub algorithms: Vec<Algorithm>,
    /// How long a token may be valid, from `iat` to `exp`: it can outlive the account that it was
    /// issued to for that long. More than zero; [`MAX_LIFETIME`] is a good value.
    pub max_lifetime: Duration,
    /// Where its public keys are.
    pub jwks: Jwks,
    /// What a principal is made of.
    pub claims: Claims,
}

/// Where an issuer's JSON Web Key Set (RFC 7517) is.
#[derive(Clone, Debug)]
pub enum Jwks {
    /// Where the issuer's `/.well-known/openid-configuration` says, on the issuer's own origin.
    Discovery(Remote),
    /// A file; a change is noticed within two seconds.
    File(PathBuf),
    /// A URL.
    Url(Uri, Remote),
}

/// How keys are fetched over the network.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Whom to trust over TLS.
    pub roots: Roots,
    /// A file whose content is sent as bearer token, read anew for each request: how a pod asks
    /// the Kubernetes API server.
    pub bearer: Option<PathBuf>,
    /// How long keys stay in use after the last good fetch, at least [`STALE_KEYS_MIN`];
    /// [`STALE_KEYS`] is a good value.
    pub stale: Duration,
}

/// Which claims become what. No other claim leaves the token.
#[derive(Clone, Debug)]
pub struct Claims {
    /// The principal's name. If this is `email`, a token with `email_verified` other than true is
    /// refused.
    pub name: ClaimPath,
    /// A list of group names, or one.
    pub groups: Option<ClaimPath>,
    /// Tag key to claim; each claim is a text.
    pub tags: BTreeMap<String, ClaimPath>,
}

/// The way to a claim: one name per nested object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(Vec<String>);

impl ClaimPath {
    /// A path as one text, split at dots: `realm_access.roles`. One that looks like a URL or a URN
    /// (`https://id.example/groups`, `id.example/groups`) is one name.
    ///
    /// # Errors
    /// As [`ClaimPath::steps`].
    pub fn dotted(text: &str) -> Result<Self, &'static str> {
        match text.contains([':', '/']) {
            true => Self::steps(vec![text.to_owned()]),
            false => Self::steps(text.split('.').map(str::to_owned).collect()),
        }
    }

    /// A path as a list of names, for names that hold dots: `["https://id.example/groups"]`.
    ///
    /// # Errors
    /// What is wrong, for the author of the configuration.
    pub fn steps(steps: Vec<String>) -> Result<Self, &'static str> {
        if steps.is_empty() || steps.iter().any(String::is_empty) {
            return Err(
                "a claim path needs a name at each step; write names that hold dots as a list",
            );
        }
        if steps.iter().any(|it| it.contains(is_deceptive) || it.trim() != it) {
            return Err("names of claims have no spaces at their ends and no unseen characters");
        }
        if CLAIM_DEPTH_MAX < steps.len() {
            return Err("a claim path has at most 8 steps");
        }
        Ok(Self(steps))
    }

    pub(super) fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// Something wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Which issuer, counted from zero.
    pub issuer: usize,
    /// Which of its fields, as [`Issuer`] calls it.
    pub field: &'static str,
    /// What is wrong with it.
    pub message: String,
}

impl Config {
    /// Checks `issuers`; `keys` is the file of the gateway access keys.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn new(issuers: Vec<Issuer>, keys: Option<PathBuf>) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        for (index, it) in issuers.iter().enumerate() {
            let mut complain = |field, message: &str| {
                faults.push(Fault { issuer: index, field, message: message.to_owned() });
            };
            if let Err(message) = check_source(&it.name) {
                complain("name", message);
            }
            let earlier = issuers.get(..index).unwrap_or_default();
            if earlier.iter().any(|other| other.name == it.name) {
                complain("name", "another issuer has this name");
            }
            if it.issuer.is_empty() {
                complain("issuer", "the issuer must be the exact value of `iss`");
            }
            const UNSEEN: &str = "it has spaces or characters that are not seen, and what tokens say is compared exactly";
            if it.issuer.contains(is_unseen) {
                complain("issuer", UNSEEN);
            }
            if it.audience.iter().any(|it| it.contains(is_deceptive) || it.trim() != it) {
                complain("audience", UNSEEN);
            }
            if earlier.iter().any(|other| other.issuer == it.issuer) {
                complain("issuer", "this issuer is listed twice; list several audiences instead");
            }
            if it.audience.is_empty() || it.audience.iter().any(String::is_empty) {
                complain(
                    "audience",
                    "name at least one audience: without one, a token that was \
                     issued for another service would open this gate",
                );
            }
            if it.algorithms.is_empty() {
                complain("algorithms", "name at least one algorithm, such as RS256");
            }
            if it.algorithms.iter().any(|it| is_symmetric(*it)) {
                complain(
                    "algorithms",
                    "HS256, HS384 and HS512 are not possible: whoever can \
                     verify such a token can also make one",
                );
            }
            if it.max_lifetime.is_zero() {
                complain("max_lifetime", "`max_lifetime` must be more than zero");
            }
            if let Err(message) = it.jwks.check(&it.issuer) {
                complain("jwks", message);
            }
        }
        match faults.is_empty() {
            true => Ok(Self { issuers, keys, certificates: false }),
            false => Err(faults),
        }
    }
}

fn is_unseen(it: char) -> bool {
    is_deceptive(it) || it.is_whitespace()
}

fn check_source(name: &str) -> Result<(), &'static str> {
    let byte = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    if name.is_empty() || SOURCE_NAME_MAX < name.len() || !name.bytes().all(byte) {
        return Err("the name must be 1 to 32 lower-case letters, digits and hyphens");
    }
    if RESERVED_SOURCES.contains(&name) {
        return Err("the names keys, local and mtls are the gate's own");
    }
    Ok(())
}

fn is_symmetric(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)
}

impl Jwks {
    fn check(&self, issuer: &str) -> Result<(), &'static str> {
        if let Self::Discovery(remote) | Self::Url(_, remote) = self
            && remote.stale < STALE_KEYS_MIN
        {
            return Err("`stale` must be at least 10s");
        }
        match self {
            Self::Discovery(_) => match client::absolute(issuer) {
                Some(uri) if is_safe(&uri) && uri.query().is_none() => Ok(()),
                _ => Err("discovery needs an issuer that is an https URL without a query"),
            },
            Self::File(_) => Ok(()),
            Self::Url(uri, _) if is_safe(uri) => Ok(()),
            Self::Url(..) => Err("the URL must be https; plain http is for loopback addresses"),
        }
    }
}

/// Anybody on the way can replace keys that come over plain HTTP; to loopback there is no way.
pub(super) fn is_safe(uri: &Uri) -> bool {
    let Some(host) = uri.host() else { return false };
    let is_loopback = || {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|it| it.is_loopback())
    };
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
