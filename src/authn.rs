//! Who asks: the credentials of a request → a [`Principal`].
//!
//! A request presents exactly one credential. What a listener vouches for by itself is taken as it
//! is. No identity source can speak for another: a principal is named by its source and its name
//! there.

mod certificate;
pub mod config;
mod error;
mod jwt;
pub mod keys;
mod name;
mod presented;
#[cfg(test)]
mod tests;

pub use self::certificate::named_by;
pub use self::config::Config;
pub use self::error::{Error, Mismatch, StartError};
pub use self::jwt::claimed;
pub use self::name::check_principal;

use self::jwt::Tokens;
use self::keys::Keys;
use self::presented::Presented;
use crate::clock::Clock;
use crate::metrics::{IdentityFault, Metrics};
use crate::policy::Principal;
use crate::sign;

use http::request::Parts;
use jiff::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the listener knows of the other end of a connection, before authentication.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address of the other end; `None` on a Unix socket.
    pub address: Option<IpAddr>,
    /// The listener is bound to a loopback address or a Unix socket, so that `address` says nothing.
    pub local: bool,
    /// The connection is TLS.
    pub secure: bool,
    /// The listener's fixed principal; such a listener has no other method.
    pub principal: Option<Arc<Principal>>,
    /// Whom the client certificate of the connection names; counts where a request presents no
    /// credential of its own.
    pub certificate: Option<Result<Arc<Principal>, Error>>,
}

/// Who a caller claimed to be whose identity is not known, for those who look for the cause.
/// Nothing of it is verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// The `iss` of its token.
    pub issuer: Option<String>,
    /// The `kid` of its token.
    pub key_id: Option<String>,
    /// The access key ID of its signature.
    pub access_key: Option<String>,
}

/// The longest text of [`Claimed`], in characters.
const CLAIMED_MAX: usize = 128;

impl Claimed {
    /// What `head` says, each text cut to 128 characters.
    #[must_use]
    pub fn by(head: &Parts) -> Self {
        let cut = |it: Option<String>| it.map(|it| it.chars().take(CLAIMED_MAX).collect());
        match Presented::new(&head.headers) {
            Ok(Presented::Token(token)) => {
                let (issuer, key_id) = Tokens::claimed(token);
                Self { issuer: cut(issuer), key_id: cut(key_id), access_key: None }
            }
            Ok(Presented::Signature(value)) => {
                let read = sign::Authorization::parse(value).ok();
                let access_key = cut(read.map(|it| it.access_key_id().to_owned()));
                Self { access_key, ..Self::default() }
            }
            Err(_) => Self::default(),
        }
    }
}

/// All identity sources of a gate.
#[derive(Debug)]
pub struct Authenticator {
    tokens: Tokens,
    keys: Option<watch::Receiver<Arc<Keys>>>,
    /// Some listener takes client certificates.
    certificates: bool,
    /// The latest `now` that was ever passed in, in seconds since 1970.
    latest: AtomicI64,
}

impl Authenticator {
    /// Loads what is in files, and starts tasks on `tasks` that keep keys fresh until `stop`.
    ///
    /// Keys that come over the network may still be on their way afterwards; an issuer that is
    /// down makes the gate not ready instead of dead.
    ///
    /// # Errors
    /// When a file cannot be used as it is.
    pub async fn start(
        config: Config,
        metrics: &Metrics,
        clock: &Clock,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, StartError> {
        let keys = match config.keys {
            Some(path) => Some(keys::watch(path, tasks, stop.clone()).await?),
            None => None,
        };
        let tokens = Tokens::start(config.issuers, metrics, clock, tasks, stop).await?;
        let certificates = config.certificates;
        Ok(Self { tokens, keys, certificates, latest: AtomicI64::new(i64::MIN) })
    }

    /// Whether at least one source can verify; so can a gate that has none, where only listeners
    /// with a fixed principal let anyone in.
    #[must_use]
    pub fn can_verify(&self) -> bool {
        let has_none = self.tokens.is_empty() && self.keys.is_none();
        let has_keys = self.keys.is_some() && !self.lacks_keys();
        has_none || has_keys || self.certificates || self.tokens.can_verify()
    }

    /// The issuers whose keys could not be fetched the last time, and why; and a key file without
    /// keys.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let mut res = self.tokens.troubles();
        if self.lacks_keys() {
            res.push("keys: the file of `identity.keys` lists no key".to_owned());
        }
        res
    }

    fn lacks_keys(&self) -> bool {
        self.keys.as_ref().is_some_and(|it| it.borrow().is_empty())
    }

    /// Says who asks for something in the project `project_id`, the one that the request's path
    /// names. `head` and `body` must be as they arrived.
    ///
    /// Waits only where a token names a key that its issuer did not have before.
    ///
    /// # Errors
    /// Why the caller is not known; [`Error::KeysUnavailable`] when that could not be found out.
    pub async fn authenticate(
        &self,
        (head, body): (&Parts, &[u8]),
        project_id: &str,
        peer: &Peer,
        now: Timestamp,
    ) -> Result<Arc<Principal>, Error> {
        if let Some(principal) = &peer.principal {
            return Ok(Arc::clone(principal));
        }
        let moment = self.moment(now);
        let presented = match (Presented::new(&head.headers), &peer.certificate) {
            (Err(Error::NoCredential), Some(named)) => return named.clone(),
            (presented, _) => presented?,
        };
        match presented {
            Presented::Signature(value) => {
                let keys = self.keys.as_ref().ok_or_else(|| {
                    let message = "this gate has issued no access keys".to_owned();
                    Error::Token(IdentityFault::Scheme, message)
                })?;
                let keys = Arc::clone(&keys.borrow());
                keys.verify((value, head, body), project_id, peer, moment)
            }
            Presented::Token(token) => self.tokens.verify(token, moment).await,
        }
    }

    fn moment(&self, now: Timestamp) -> Moment {
        let seconds = now.as_second();
        // Most requests come in a second that was seen before, and reading is cheaper than writing.
        let mut latest = self.latest.load(Ordering::Relaxed);
        if latest < seconds {
            latest = self.latest.fetch_max(seconds, Ordering::Relaxed).max(seconds);
        }
        let latest = Timestamp::from_second(latest).unwrap_or(now).max(now);
        Moment { now, latest }
    }
}

/// The time by which a credential is judged.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// The gate's clock.
    now: Timestamp,
    /// The latest time that the gate's clock has shown: what was too old then stays too old when
    /// the clock is set back.
    latest: Timestamp,
}
