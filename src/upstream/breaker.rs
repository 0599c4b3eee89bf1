//! The key with which an upstream is called, and its breaker: five failed verifications in a row
//! lock a key in the cloud for five minutes (API Gateway user guide, IAM authentication), and every
//! replica shares that key.
//!
//! The breaker opens at the first answer that refuses the key. What was sent before that answer
//! came could fail as well, so until the cloud has accepted a key, its calls go alone, one at a
//! time: while the key is new, and again when nothing was accepted for [`TRUSTED`]. Only a key that
//! stops being valid under load can fail more often than once: as often as calls are in flight
//! then.

use crate::policy::Job;
use crate::sign::Credential;
use crate::trouble::Trouble;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

/// An acceptance vouches for the key for this long.
pub(super) const TRUSTED: Duration = Duration::from_secs(10);

/// The longest that other calls wait for the one that goes alone. The front of the cloud refuses a
/// key before it asks the service, so an answer that takes longer is hardly a refusal.
pub(super) const ALONE_MAX: Duration = Duration::from_secs(5);

/// When an open breaker is probed first: later than the cloud's lock lasts. It is drawn from a
/// minute around this, so that replicas do not probe together.
pub(super) const FIRST_PROBE: Duration = Duration::from_mins(6);

/// How far the first probe is drawn from [`FIRST_PROBE`], either way.
pub(super) const FIRST_PROBE_SPREAD: Duration = Duration::from_mins(1);

/// When an open breaker is probed again.
pub(super) const NEXT_PROBE: Duration = Duration::from_mins(10);

const NO_JOB: &str = "00000000-0000-4000-8000-000000000000";

/// A cloud key; clones are the same key with one breaker.
#[derive(Clone, Debug)]
pub struct Key(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    credential: watch::Receiver<Option<Arc<Credential>>>,
    trouble: Trouble,
    state: Mutex<State>,
    changed: Notify,
    /// Whether the breaker is open, for the source of the credential.
    refused: watch::Sender<bool>,
}

/// What is known of one credential.
#[derive(Debug)]
struct State {
    credential: Option<Arc<Credential>>,
    trust: Trust,
}

#[derive(Debug)]
enum Trust {
    Accepted {
        until: Instant,
    },
    Refused(Refused),
    Unknown {
        /// A call goes alone, until then at most.
        alone: Option<Instant>,
    },
}

/// An open breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The upstream that refused, which is the one to ask again.
    pub(super) upstream: String,
    /// What the probe asks about: a job that nobody has, in the project of the refused call. A key
    /// that the cloud accepts is told that there is no such job.
    pub(super) probe: Job,
    /// When to ask again.
    pub(super) probe_at: Instant,
}

/// Why nothing may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shut {
    BreakerOpen,
    NoCredential,
}

/// Leave to make one call. What the call found out counts when this is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) credential: Arc<Credential>,
    key: Key,
    alone: Option<Instant>,
    probes: bool,
    found: CallResult,
}

/// What a call says about the key.
#[derive(Debug)]
enum CallResult {
    Accepted,
    Nothing,
    Refused { upstream: String, probe: Job },
}

impl Key {
    /// A key whose breaker closes when `credential` changes; `trouble` is that of its source, and
    /// `refused` tells the source whether the breaker is open.
    #[must_use]
    pub fn new(
        credential: watch::Receiver<Option<Arc<Credential>>>,
        trouble: Trouble,
        refused: watch::Sender<bool>,
    ) -> Self {
        let state = State { credential: None, trust: Trust::Unknown { alone: None } };
        Self(Arc::new(Inner {
            credential,
            trouble,
            state: Mutex::new(state),
            changed: Notify::new(),
            refused,
        }))
    }

    /// There is something to sign with.
    pub(super) fn has_credential(&self) -> bool {
        self.0.credential.borrow().is_some()
    }

    /// Why the last attempt to get a credential failed.
    pub(super) fn trouble(&self) -> Option<String> {
        self.0.trouble.text()
    }

    /// Tells when the credential changes.
    pub(super) fn credentials(&self) -> watch::Receiver<Option<Arc<Credential>>> {
        self.0.credential.clone()
    }

    /// Resolves when the breaker may have opened or closed after this call.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.0.changed.notified()
    }

    /// The open breaker; `None` while it is closed.
    pub(super) fn refused(&self) -> Option<Refused> {
        match &self.state().trust {
            Trust::Refused(refused) => Some(refused.clone()),
            Trust::Accepted { .. } | Trust::Unknown { .. } => None,
        }
    }

    /// Waits for leave to make a call, at most for as long as another call goes alone.
    ///
    /// # Errors
    /// When nothing may be sent.
    pub(super) async fn admit(&self) -> Result<Pass, Shut> {
        loop {
            let changed = self.changed();
            let until = {
                let now = Instant::now();
                let mut state = self.state();
                let credential = state.credential.clone().ok_or(Shut::NoCredential)?;
                if let Trust::Accepted { until } = state.trust
                    && until <= now
                {
                    state.trust = Trust::Unknown { alone: None };
                }
                match &mut state.trust {
                    Trust::Accepted { .. } => return Ok(self.pass(credential, None, false)),
                    Trust::Refused(_) => return Err(Shut::BreakerOpen),
                    Trust::Unknown { alone: Some(until) } if now < *until => *until,
                    Trust::Unknown { alone } => {
                        *alone = Some(now + ALONE_MAX);
                        return Ok(self.pass(credential, *alone, false));
                    }
                }
            };
            drop(timeout_at(until, changed).await);
        }
    }

    /// Leave for the probe of an open breaker.
    pub(super) fn probe(&self) -> Option<Pass> {
        let state = self.state();
        let Trust::Refused(_) = state.trust else { return None };
        Some(self.pass(state.credential.clone()?, None, true))
    }

    fn pass(&self, credential: Arc<Credential>, alone: Option<Instant>, probes: bool) -> Pass {
        Pass { credential, key: self.clone(), alone, probes, found: CallResult::Nothing }
    }

    /// The state of the credential that is in force. That is read under the lock, so that nobody
    /// sends with an old credential after somebody saw a newer one.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.0.credential.borrow();
        if !same(state.credential.as_ref(), current.as_ref()) {
            if let Trust::Refused(_) = state.trust {
                tracing::info!("the credential has changed: the breaker is closed");
            }
            *state = State { credential: current.clone(), trust: Trust::Unknown { alone: None } };
            self.0.refused.send_replace(false);
            self.0.changed.notify_waiters();
        }
        drop(current);
        state
    }
}

fn same(left: Option<&Arc<Credential>>, right: Option<&Arc<Credential>>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => Arc::ptr_eq(left, right) || left == right,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

impl Pass {
    /// The cloud has verified the key.
    pub(super) fn accepted(&mut self) {
        self.found = CallResult::Accepted;
    }

    /// The cloud refuses the key in a call about `job`, or is about to refuse it.
    pub(super) fn refused(&mut self, upstream: &str, job: &Job) {
        let probe = Job::new(job.project_id.as_str(), NO_JOB);
        self.found = CallResult::Refused { upstream: upstream.to_owned(), probe };
    }

    /// The answer says nothing about the key.
    pub(super) fn found_nothing(&mut self) {
        self.found = CallResult::Nothing;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.key.state();
        if !same(state.credential.as_ref(), Some(&self.credential)) {
            return;
        }
        let found = std::mem::replace(&mut self.found, CallResult::Nothing);
        match (found, &mut state.trust) {
            // A call that was under way when the breaker opened does not close it: the probe does.
            (CallResult::Accepted, Trust::Refused(_)) if !self.probes => return,
            (CallResult::Accepted, Trust::Accepted { until }) => {
                *until = now + TRUSTED;
                return;
            }
            (CallResult::Accepted, trust) => {
                if self.probes {
                    tracing::info!("the cloud accepts the key again: the breaker is closed");
                }
                *trust = Trust::Accepted { until: now + TRUSTED };
                self.key.0.refused.send_replace(false);
            }
            (_, Trust::Refused(refused)) if self.probes => refused.probe_at = now + NEXT_PROBE,
            (CallResult::Refused { .. }, Trust::Refused(_)) => return,
            (CallResult::Refused { upstream, probe }, trust) => {
                tracing::error!(
                    upstream,
                    access_key_id = self.credential.access_key_id(),
                    "the breaker is open: nothing is sent with this key until it changes or a probe is accepted",
                );
                let probe_at = now + first_probe();
                *trust = Trust::Refused(Refused { upstream, probe, probe_at });
                self.key.0.refused.send_replace(true);
            }
            (CallResult::Nothing, Trust::Unknown { alone }) if *alone == self.alone => {
                *alone = None
            }
            (CallResult::Nothing, _) => return,
        }
        drop(state);
        self.key.0.changed.notify_waiters();
    }
}

fn first_probe() -> Duration {
    FIRST_PROBE - FIRST_PROBE_SPREAD + FIRST_PROBE_SPREAD.mul_f64(2.0 * fastrand::f64())
}

#[cfg(test)]
mod tests;
