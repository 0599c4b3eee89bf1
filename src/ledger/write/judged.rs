//! A decision on its way into the ledger.

use super::queue::Submission;
use crate::ledger::line::MEMBERS_BYTES_MAX;
use crate::ledger::record::{Batch, Body, Charge, LookUp, Reason, Shadow};
use crate::ledger::{Ending, Entry, Error, Outcome, Pending, record};

use crate::budget::Unit;
use crate::policy::{self, Decision, Denial, Permit};

use jiff::Timestamp;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A decision with everything that it was based on.
#[derive(Debug)]
pub struct Judged<'a> {
    /// The gate's own request ID.
    pub request_id: &'a str,
    /// The caller's, if it sent one.
    pub caller_request_id: Option<&'a str>,
    /// The W3C trace ID in hex.
    pub trace_id: &'a str,
    /// The other end of the connection; `None` on a Unix socket.
    pub peer: Option<IpAddr>,
    /// The name of the upstream that serves the project.
    pub upstream: &'a str,
    /// The question.
    pub query: &'a policy::Query,
    /// What was known of the job.
    pub attributes: &'a policy::Attributes,
    /// The answer.
    pub decision: Decision,
    /// The policy version that answered.
    pub policies: &'a Arc<policy::Set>,
    /// The look-ups that were made for it.
    pub look_ups: &'a [LookUp],
    /// The budget units taken for it; given back if it is not recorded.
    pub unit: Option<Unit>,
    /// The batch that it belongs to.
    pub batch: Option<Batch<'a>>,
    /// What the shadow policies said.
    pub shadow: Option<Shadow<'a>>,
}

/// A decision that is on stable storage. Only a permitted one comes with an entry to send with:
///
/// ```compile_fail,E0616
/// # use lychgate::ledger::{Entry, Undecided};
/// fn send_anyway(undecided: Undecided) -> Entry {
///     undecided.entry
/// }
/// ```
#[derive(Debug)]
#[must_use = "a permitted delete is there to be sent"]
pub enum Recorded {
    /// Allowed, by this permit.
    Permitted(Permit, Entry),
    /// Denied; the outcome is queued.
    Denied(Denial),
    /// The policies could not tell.
    Undecided(Undecided),
}

/// A recorded decision that allows nothing and is not closed yet.
#[derive(Debug)]
pub struct Undecided {
    entry: Entry,
}

impl Undecided {
    /// Closes it as refused, with the cloud's answer if that is the reason.
    pub fn close(self, status: Option<u16>, upstream_request_id: Option<String>) {
        self.entry.close(Outcome { result: Ending::Refused, status, upstream_request_id });
    }
}

impl Recorded {
    /// Closes the entry unless the decision is an allow.
    pub(in crate::ledger) fn new(decision: Decision, unit: Option<Unit>, mut entry: Entry) -> Self {
        if let Some(unit) = unit {
            entry.hold(unit);
        }
        match decision {
            Decision::Allow(permit) => Self::Permitted(permit, entry),
            Decision::Deny(denial) => {
                entry.close(Ending::Denied.into());
                Self::Denied(denial)
            }
            Decision::Indeterminate(_) => Self::Undecided(Undecided { entry }),
        }
    }
}

impl Judged<'_> {
    /// The record of it, for the writer; the answer goes to `reply`.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub(in crate::ledger) fn submission(
        &self,
        reply: oneshot::Sender<Result<Entry, Error>>,
    ) -> Result<Submission, Error> {
        let members = self.members()?;
        let pending = Pending {
            seq: 0,
            time: Timestamp::UNIX_EPOCH,
            request_id: self.request_id.to_owned(),
            upstream: self.upstream.to_owned(),
            job: Arc::clone(&self.query.job),
        };
        Ok(Submission { members, policies: Arc::clone(self.policies), pending, reply })
    }

    /// The text of its record, without braces and what every line adds.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn members(&self) -> Result<Vec<u8>, Error> {
        let body = Body::Decision(Box::new(self.record()));
        let members = record::to_members(&body).map_err(|_| Error::TooLarge)?;
        if MEMBERS_BYTES_MAX < members.len() {
            return Err(Error::TooLarge);
        }
        Ok(members)
    }

    /// What is recorded of it.
    pub(in crate::ledger) fn record(&self) -> record::Decision<'_> {
        let query = self.query;
        let principal = &query.principal;
        let charges = self.unit.as_ref().map(Unit::charges).unwrap_or_default();
        let budget = self.decision.denial().and_then(Denial::budget);
        let statement = self.decision.statement().filter(|_| budget.is_none());
        record::Decision {
            request_id: self.request_id.into(),
            caller_request_id: self.caller_request_id.map(Cow::Borrowed),
            trace_id: self.trace_id.into(),
            source: principal.source().into(),
            principal: principal.id().into(),
            groups: principal.groups().into(),
            tags: Cow::Borrowed(principal.tags()),
            peer: self.peer,
            source_ip: query.source_ip,
            project: Cow::Borrowed(&query.job.project_id),
            job: Cow::Borrowed(&query.job.training_job_id),
            upstream: self.upstream.into(),
            action: query.action,
            resource: query.urn().into(),
            context: record::Context::of(query),
            attributes: Cow::Borrowed(self.attributes),
            look_ups: self.look_ups.into(),
            policy_digest: self.policies.digest().into(),
            result: self.decision.answer(),
            reason: Reason::of(&self.decision, self.look_ups),
            // A budget is not a statement, although it is named like one.
            statement: statement.map(|it| it.as_str().into()),
            budget: budget.map(Cow::Borrowed),
            charges: charges.iter().map(Charge::of).collect(),
            unit: self.unit.as_ref().and_then(Unit::row).map(Cow::Borrowed),
            batch: self.batch.clone(),
            shadow: self.shadow.clone(),
        }
    }
}
