//! The open end of a decision: whoever holds an [`Entry`] owes the ledger an outcome.

use crate::ledger::line::Kind;
use crate::ledger::record;
use crate::ledger::record::{Body, Ending};

use crate::budget::Unit;
use crate::policy::Job;

use jiff::Timestamp;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::Instant;

/// A decision that is on stable storage and has no outcome yet.
///
/// It gets exactly one: from [`Entry::close`], or from `Drop` when the request ends in any other
/// way (a panic, the drain deadline, a caller that vanished while the decision was committed). Only
/// the ledger's own thread makes one, after the sync, and nobody can end one twice:
///
/// ```compile_fail,E0451
/// # use lychgate::ledger::Entry;
/// fn another(entry: Entry) -> Entry {
///     Entry { seq: 1, ..entry }
/// }
/// ```
///
/// ```compile_fail,E0382
/// fn twice(entry: lychgate::ledger::Entry) {
///     entry.close(lychgate::ledger::Ending::Sent.into());
///     entry.close(lychgate::ledger::Ending::Sent.into());
/// }
/// ```
#[must_use = "an entry needs an outcome"]
#[derive(Debug)]
pub struct Entry {
    opened: Instant,
    sending: Arc<AtomicBool>,
    /// What was sent, or perhaps was.
    signed: Option<Signed>,
    /// `None` once there is an outcome.
    open: Option<Open>,
    /// What was taken of the budgets.
    unit: Option<Unit>,
    seq: u64,
}

#[derive(Debug)]
struct Open {
    pending: Pending,
    notes: Arc<dyn Notes>,
}

/// How a delete was signed: this, the job and the cloud's request ID find it in the cloud's audit
/// trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The ID of the access key, never its secret.
    pub access_key: String,
    /// The `X-Sdk-Date`.
    pub date: String,
}

/// A decision whose effect is not known: the job has to be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The decision's `seq`, for [`Ledger::settle`](crate::ledger::Ledger::settle).
    pub seq: u64,
    /// When it was committed.
    pub time: Timestamp,
    /// The gate's own request ID.
    pub request_id: String,
    /// The name of the upstream.
    pub upstream: String,
    /// The job, which may be gone.
    pub job: Arc<Job>,
}

/// A record that nobody waits for and that is not given up while the process lives. Their number
/// needs no limit: an outcome needs an entry, of which there are only as many as requests in
/// flight; settlements and suppressions come at a bounded rate.
#[derive(Debug)]
pub(in crate::ledger) struct Note {
    pub(in crate::ledger) kind: Kind,
    pub(in crate::ledger) members: Vec<u8>,
    /// The decision, if it is still to be settled after this record.
    pub(in crate::ledger) pending: Option<Pending>,
}

/// Where outcomes go.
pub(in crate::ledger) trait Notes: Debug + Send + Sync {
    /// Adds a record, without waiting.
    fn note(&self, note: Note);
}

/// How a decision ended, as its request saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub result: Ending,
    /// The cloud's HTTP status, where the cloud answered.
    pub status: Option<u16>,
    /// The cloud's `X-Request-Id`; kept up to [`record::UPSTREAM_REQUEST_ID_MAX`].
    pub upstream_request_id: Option<String>,
}

impl From<Ending> for Outcome {
    /// Without an answer of the cloud.
    fn from(result: Ending) -> Self {
        Self { result, status: None, upstream_request_id: None }
    }
}

impl Entry {
    pub(in crate::ledger) fn new(pending: Pending, notes: Arc<dyn Notes>) -> Self {
        let seq = pending.seq;
        Self {
            opened: Instant::now(),
            sending: Arc::default(),
            signed: None,
            open: Some(Open { pending, notes }),
            unit: None,
            seq,
        }
    }

    /// The decision's number in this ledger.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Call it before the first byte goes to the cloud: from here on an end without an outcome
    /// means `unknown`, before that it means `not_sent`.
    pub fn sending(&mut self, signed: Signed) {
        self.sending.store(true, Ordering::Release);
        self.signed = Some(signed);
    }

    /// Whether anything may have been sent: true from [`Entry::sending`] on, unless the entry ends
    /// as `not_sent`. It outlives the entry.
    #[must_use]
    pub fn watch_sending(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.sending)
    }

    /// Takes over the budget units that were taken for it: they end as it ends.
    pub fn hold(&mut self, mut unit: Unit) {
        unit.recorded(self.seq);
        self.unit = Some(unit);
    }

    /// Ends it as `outcome` says. The record is queued, not awaited.
    pub fn close(mut self, outcome: Outcome) {
        self.end(outcome);
    }

    fn end(&mut self, outcome: Outcome) {
        let Some(Open { pending, notes }) = self.open.take() else { return };
        // The unit first: whoever finds the outcome in the ledger must find the unit ended.
        if let Some(unit) = self.unit.take() {
            unit.end(record::unit_end(outcome.result, outcome.status));
        }
        if outcome.result == Ending::NotSent {
            self.sending.store(false, Ordering::Release);
        }
        let upstream_request_id = outcome.upstream_request_id.map(record::kept_request_id);
        let sent = self.signed.take().filter(|_| outcome.result.is_sent());
        let (access_key, date) = sent.map(|it| (it.access_key.into(), it.date.into())).unzip();
        let body = Body::Outcome(record::Outcome {
            of: self.seq,
            result: outcome.result,
            status: outcome.status,
            upstream_request_id: upstream_request_id.map(Into::into),
            access_key,
            date,
            duration_ms: u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        match record::to_members(&body) {
            Ok(members) => {
                let pending = (!outcome.result.is_final()).then_some(pending);
                notes.note(Note { kind: Kind::Outcome, members, pending });
            }
            // The decision stays open, and the next start settles it.
            Err(error) => tracing::error!(seq = self.seq, %error, "outcome cannot be written"),
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let sending = self.sending.load(Ordering::Acquire);
        let result = if sending { Ending::Unknown } else { Ending::NotSent };
        self.end(result.into());
    }
}
