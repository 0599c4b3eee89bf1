//! An issuer at work: its keys, kept fresh in the background, and fetched once more when a token
//! names a key that is not there.

use super::fetch;
use super::fetch::{FETCH_MAX, Fetcher};
use super::jwks::{KeyLookup, KeySet};
use super::token::Token;
use crate::authn::config::{Jwks, STALE_KEYS};
use crate::authn::{Error, config};
use crate::clock::Clock;
use crate::metrics::{self, IdentityFault, Metrics};
use crate::text;
use crate::trouble::Trouble;

use futures_util::FutureExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

/// The most requests that wait for a fetch of one issuer's keys.
const WAITERS_MAX: usize = 64;

/// How often the keys are fetched.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// After a good fetch.
    refresh: Duration,
    /// After a failed one.
    retry: Duration,
    /// The least time between two fetches that tokens with unknown keys caused.
    cool_down: Duration,
    /// After this time without a good fetch, the keys are not used any more.
    stale: Duration,
}

impl Pace {
    fn new(jwks: &Jwks) -> Self {
        match jwks {
            Jwks::Discovery(remote) | Jwks::Url(_, remote) => {
                // Keys must not become stale between two good fetches, however short `stale` is.
                let soon = remote.stale / 3;
                Self {
                    refresh: soon.min(Duration::from_secs(300)),
                    retry: soon.min(Duration::from_secs(15)),
                    cool_down: Duration::from_secs(10),
                    stale: remote.stale,
                }
            }
            Jwks::File(_) => {
                let second = Duration::from_secs(1);
                // Reading a file costs nobody else anything.
                let cool_down = Duration::ZERO;
                Self { refresh: second, retry: second, cool_down, stale: STALE_KEYS }
            }
        }
    }
}

/// One version of an issuer's keys.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) keys: Arc<KeySet>,
    pub(super) version: u64,
}

#[derive(Debug, Default)]
struct State {
    snapshot: Option<Snapshot>,
    /// When the last good fetch began.
    good: Option<Instant>,
    /// When the last fetch began, and whether it was good.
    last: Option<(Instant, bool)>,
    /// When the last fetch began that a token caused.
    asked: Option<Instant>,
}

/// An issuer and what is known of its keys.
#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) config: config::Issuer,
    pace: Pace,
    state: watch::Sender<State>,
    trouble: Trouble,
    metrics: metrics::Issuer,
    clock: Clock,
    wanted: Notify,
    waiters: Semaphore,
}

impl Issuer {
    /// Knows no keys yet.
    pub(super) fn new(config: config::Issuer, metrics: &Metrics, clock: Clock) -> Self {
        Self {
            metrics: metrics.issuer(&config.name),
            clock,
            pace: Pace::new(&config.jwks),
            config,
            state: watch::Sender::default(),
            trouble: Trouble::default(),
            wanted: Notify::new(),
            waiters: Semaphore::new(WAITERS_MAX),
        }
    }

    /// The version of the keys, if there are keys that may be used.
    pub(super) fn version(&self) -> Option<u64> {
        let state = self.state.borrow();
        self.usable(&state).map(|it| it.version)
    }

    /// Why the last fetch of the keys failed.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.text()
    }

    /// The keys in which to look for the one that signed `token`.
    ///
    /// A key ID that is not there may be new: then the keys are fetched again, but only once per
    /// cool-down, and by a task of the gate's own, so that nobody can spoil the fetch by hanging
    /// up. A fetch that began after the token had come says whether there is such a key, and so
    /// does a good one within the cool-down; otherwise it is not known.
    ///
    /// # Errors
    /// [`Error::Token`] when there is no such key, [`Error::KeysUnavailable`] when that cannot be
    /// found out.
    pub(super) async fn keys_for(&self, token: &Token<'_>) -> Result<Snapshot, Error> {
        let came = Instant::now();
        if let Some(it) = self.usable(&self.state.borrow()).filter(|it| it.may_verify(token)) {
            return Ok(it.clone());
        }
        let Ok(_place) = self.waiters.try_acquire() else { return Err(Error::KeysUnavailable) };
        let mut changes = self.state.subscribe();
        let wait = async {
            loop {
                let answer = self.answer(&changes.borrow_and_update(), token, came);
                if let Some(answer) = answer {
                    return answer;
                }
                self.wanted.notify_one();
                if changes.changed().await.is_err() {
                    return Err(Error::KeysUnavailable);
                }
            }
        };
        // A fetch may have to wait for the end of another one.
        tokio::time::timeout(2 * FETCH_MAX, wait).await.unwrap_or(Err(Error::KeysUnavailable))
    }

    fn answer(
        &self,
        state: &State,
        token: &Token<'_>,
        came: Instant,
    ) -> Option<Result<Snapshot, Error>> {
        if let Some(it) = self.usable(state).filter(|it| it.may_verify(token)) {
            return Some(Ok(it.clone()));
        }
        let unknown = || {
            let message = "the key that it names is not one of its issuer's".to_owned();
            Error::Token(IdentityFault::KeyId, message)
        };
        match state.last {
            Some((began, true)) if came <= began => return Some(Err(unknown())),
            Some((began, false)) if came <= began => return Some(Err(Error::KeysUnavailable)),
            Some(_) | None => (),
        }
        if !self.is_cooling(state) {
            return None;
        }
        // The keys were fetched a moment ago: a caller with a newer key has to come again.
        let is_known = self.usable(state).is_some() && state.last.is_some_and(|(_, good)| good);
        Some(Err(if is_known { unknown() } else { Error::KeysUnavailable }))
    }

    fn usable<'a>(&self, state: &'a State) -> Option<&'a Snapshot> {
        let is_fresh = state.good.is_some_and(|it| it.elapsed() < self.pace.stale);
        state.snapshot.as_ref().filter(|_| is_fresh)
    }

    fn is_cooling(&self, state: &State) -> bool {
        state.asked.is_some_and(|it| it.elapsed() < self.pace.cool_down)
    }

    /// Fetches the keys from time to time, and when [`Issuer::keys_for`] asks. Never ends.
    pub(super) async fn follow(&self, fetcher: &Fetcher) {
        let mut asked = false;
        let mut told = None;
        loop {
            let pause = match self.look(fetcher, asked).await {
                Ok(()) => {
                    told = None;
                    self.pace.refresh
                }
                Err(error) => {
                    self.report(&error, &mut told);
                    self.pace.retry
                }
            };
            let next = Instant::now() + pause;
            asked = loop {
                tokio::select! {
                    () = tokio::time::sleep_until(next) => break false,
                    () = self.wanted.notified() => {
                        if !self.is_cooling(&self.state.borrow()) {
                            break true;
                        }
                    }
                }
            };
        }
    }

    /// Fetches the keys once; on failure they stay as they are.
    ///
    /// # Errors
    /// Why they could not be fetched.
    pub(super) async fn look(&self, fetcher: &Fetcher, asked: bool) -> Result<(), fetch::Error> {
        let began = Instant::now();
        let keys = match fetcher.fetch().await {
            Ok((bytes, from)) => KeySet::parse(&bytes, &self.config.algorithms)
                .map_err(|error| fetch::Error::from(error).at(&from)),
            Err(error) => Err(error),
        };
        let (keys, result) = match keys {
            Ok(keys) => {
                self.trouble.end();
                self.metrics.keys_read(self.clock.now());
                (Some(keys), Ok(()))
            }
            Err(error) => {
                self.trouble.begin(text::chain(&error));
                self.metrics.keys_failed();
                (None, Err(error))
            }
        };
        // A caller who asked during this fetch asks again if it has no answer for it.
        let _ = self.wanted.notified().now_or_never();
        self.state.send_modify(|state| {
            state.last = Some((began, keys.is_some()));
            if asked {
                state.asked = Some(began);
            }
            let Some(keys) = keys else { return };
            state.good = Some(began);
            if state.snapshot.as_ref().is_none_or(|it| *it.keys != keys) {
                let version = state.snapshot.as_ref().map_or(0, |it| it.version + 1);
                state.snapshot = Some(Snapshot { keys: Arc::new(keys), version });
                tracing::info!(source = %self.config.name, version, "the issuer's keys have changed");
            }
        });
        result
    }

    /// Logs what is wrong when it begins, and when it or what it leads to changes.
    fn report(&self, error: &fetch::Error, told: &mut Option<(String, bool)>) {
        let now = (text::chain(error), self.version().is_some());
        if told.as_ref() != Some(&now) {
            let (source, (error, usable)) = (&self.config.name, &now);
            match usable {
                true => {
                    tracing::warn!(%source, %error, "the issuer's keys cannot be fetched; the last ones stay in use");
                }
                false => {
                    tracing::warn!(%source, %error, "the issuer's keys cannot be fetched: its tokens are refused");
                }
            }
        }
        *told = Some(now);
    }
}

impl Snapshot {
    fn may_verify(&self, token: &Token<'_>) -> bool {
        !matches!(self.keys.find(token.key_id.as_deref(), token.algorithm), KeyLookup::Unknown)
    }
}

#[cfg(test)]
mod tests;
