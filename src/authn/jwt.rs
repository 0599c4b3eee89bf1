//! JSON Web Tokens of configured issuers, verified as RFC 8725 advises: the key and the
//! configuration say which algorithms are good, every claim that matters has a type and a check,
//! and nothing that a token carries leads the gate anywhere.

mod cache;
mod claims;
mod fetch;
mod issuer;

mod jwks;
#[cfg(test)]
pub(super) mod support;
#[cfg(test)]
mod tests;
mod token;

use self::cache::{Cache, Digest, Verified};
use self::fetch::Fetcher;
use self::issuer::Issuer;
use self::jwks::KeyLookup;
use self::token::Token;
use super::{Config, Error, Moment, StartError, config};
use crate::clock::Clock;
use crate::metrics::{IdentityFault, Metrics};
use crate::policy::Principal;
use crate::text;

use aws_lc_rs::digest;
use serde_json::Value;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The longest token that is looked at, in bytes; a head has room for one.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Whom `token` names, as the claims of its issuer in `config` say it. Neither signature nor times
/// are looked at: this is for questions, not for requests.
///
/// # Errors
/// What is wrong with the token.
pub fn claimed(config: &Config, token: &str) -> Result<Principal, String> {
    let token = Token::parse(token.trim())?;
    let issuer = token.payload.get("iss").and_then(Value::as_str).unwrap_or_default();
    let issuer = config.issuers.iter().find(|it| it.issuer == issuer);
    let issuer = issuer.ok_or("its issuer (iss) is not in the configuration")?;
    claims::principal(&token.payload, issuer).map_err(|error| error.to_string())
}

/// All issuers, and the tokens of theirs that were verified already.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    issuers: Vec<Arc<Issuer>>,
    cache: Cache,
}

impl Tokens {
    /// Starts to follow the issuers' keys until `stop`. Keys in files are there afterwards; keys
    /// that come over the network may still be on their way.
    ///
    /// # Errors
    /// When a file or a CA bundle cannot be used.
    pub(super) async fn start(
        issuers: Vec<config::Issuer>,
        metrics: &Metrics,
        clock: &Clock,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, StartError> {
        let mut res = Self::default();
        for config in issuers {
            let name = config.name.clone();
            let fail = |message| StartError::Issuer { name: name.clone(), message };
            let fetcher = Fetcher::new(&config).map_err(|error| fail(text::chain(&error)))?;
            let issuer = Arc::new(Issuer::new(config, metrics, clock.clone()));
            if matches!(fetcher, Fetcher::File(_)) {
                issuer.look(&fetcher, false).await.map_err(|error| fail(text::chain(&error)))?;
            }
            res.issuers.push(Arc::clone(&issuer));
            let stop = stop.clone();
            tasks.spawn(async move {
                stop.run_until_cancelled(issuer.follow(&fetcher)).await;
            });
        }
        Ok(res)
    }

    /// Whether there is no issuer at all.
    pub(super) fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// Whether some issuer's keys may be used.
    pub(super) fn can_verify(&self) -> bool {
        self.issuers.iter().any(|it| it.version().is_some())
    }

    /// The issuers whose keys could not be fetched the last time, and why.
    pub(super) fn troubles(&self) -> Vec<String> {
        let trouble = |it: &Arc<Issuer>| Some(format!("{}: {}", it.config.name, it.trouble()?));
        self.issuers.iter().filter_map(trouble).collect()
    }

    /// What `token` says of itself, believed by nobody: its issuer and its key ID.
    pub(super) fn claimed(token: &str) -> (Option<String>, Option<String>) {
        let token = Some(token).filter(|it| it.len() <= TOKEN_BYTES_MAX);
        let Some(token) = token.and_then(|it| Token::parse(it).ok()) else { return (None, None) };
        (token.payload.get("iss").and_then(Value::as_str).map(str::to_owned), token.key_id)
    }

    /// Says who `token` names.
    pub(super) async fn verify(
        &self,
        token: &str,
        moment: Moment,
    ) -> Result<Arc<Principal>, Error> {
        if TOKEN_BYTES_MAX < token.len() {
            return Err(Error::Token(IdentityFault::Form, "it is longer than 16 KiB".to_owned()));
        }
        let mut key: Digest = [0; 32];
        key.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        if let Some(hit) = self.cache.get(&key, moment)
            && self.issuers.get(hit.issuer).and_then(|it| it.version()) == Some(hit.version)
        {
            return Ok(hit.principal);
        }
        let verified = Box::pin(self.verify_anew(token, moment)).await?;
        let principal = Arc::clone(&verified.principal);
        self.cache.insert(key, verified);
        Ok(principal)
    }

    async fn verify_anew(&self, token: &str, moment: Moment) -> Result<Verified, Error> {
        let invalid = |fault, message: &str| Error::Token(fault, message.to_owned());
        let bytes = token.len();
        let token = Token::parse(token).map_err(|it| invalid(IdentityFault::Form, it))?;
        // Nobody vouches for `iss` yet: it only says whose keys to try, and no other's are tried.
        let named = token.payload.get("iss").and_then(Value::as_str);
        let (index, issuer) = self
            .issuers
            .iter()
            .enumerate()
            .find(|(_, it)| named == Some(&it.config.issuer))
            .ok_or_else(|| invalid(IdentityFault::Issuer, "its issuer (iss) is not known here"))?;
        if !issuer.config.algorithms.contains(&token.algorithm) {
            return Err(invalid(
                IdentityFault::Algorithm,
                "its issuer may not use that algorithm (alg)",
            ));
        }
        let snapshot = issuer.keys_for(&token).await?;
        let keys = match snapshot.keys.find(token.key_id.as_deref(), token.algorithm) {
            KeyLookup::Keys(keys) => keys,
            KeyLookup::Ambiguous => {
                return Err(invalid(
                    IdentityFault::KeyId,
                    "it names no key (kid), and its issuer has several",
                ));
            }
            KeyLookup::OtherAlgorithm | KeyLookup::Unknown => {
                return Err(invalid(
                    IdentityFault::Algorithm,
                    "the key that it names is for another algorithm",
                ));
            }
        };
        if !keys.iter().any(|it| it.verifies(token.signature, token.signed, token.algorithm)) {
            return Err(invalid(
                IdentityFault::Signature,
                "its signature does not fit its issuer's key",
            ));
        }
        let (principal, validity) = claims::judge(&token.payload, &issuer.config, moment)?;
        let principal = Arc::new(principal);
        Ok(Verified { issuer: index, version: snapshot.version, validity, principal, bytes })
    }
}
