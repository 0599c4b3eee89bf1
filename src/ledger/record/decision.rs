//! What the policies said, and the facts that they judged by.

use super::{is_empty, peer};
use crate::budget;
use crate::policy::{self, Answer, Attribute, Attributes, Method, Sources};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What the policies said about one authenticated request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision<'a> {
    /// The gate's own request ID, a UUID.
    pub request_id: Cow<'a, str>,
    /// The caller's `X-Request-Id`, if it sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_request_id: Option<Cow<'a, str>>,
    /// The W3C trace ID, 32 hex digits.
    pub trace_id: Cow<'a, str>,
    /// The identity source, such as `corp`.
    pub source: Cow<'a, str>,
    /// The qualified name, such as `corp/alice`.
    pub principal: Cow<'a, str>,
    /// Qualified groups, sorted.
    pub groups: Cow<'a, [String]>,
    /// The principal's tags.
    pub tags: Cow<'a, BTreeMap<String, String>>,
    /// The other end of the connection; `None` on a Unix socket, which is written as `unix`.
    #[serde(default, with = "peer")]
    pub peer: Option<IpAddr>,
    /// `g:SourceIp`: the peer, or the address that a trusted proxy names.
    pub source_ip: Attribute<IpAddr>,
    /// The project ID.
    pub project: Cow<'a, str>,
    /// The training job's ID.
    pub job: Cow<'a, str>,
    /// The name of the upstream that serves the project.
    pub upstream: Cow<'a, str>,
    /// The action: `modelarts:trainJob:batchDelete` for a job of a batch.
    pub action: policy::Action,
    /// The job's URN.
    pub resource: Cow<'a, str>,
    /// The other circumstances of the request.
    pub context: Context<'a>,
    /// What was known of the job.
    pub attributes: Cow<'a, Attributes>,
    /// The look-ups that were made for it.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub look_ups: Cow<'a, [LookUp]>,
    /// The policy version that judged, SHA-256 in hex; its text is in a policies record of the same
    /// segment.
    pub policy_digest: Cow<'a, str>,
    /// Yes, no, or cannot tell.
    pub result: Answer,
    /// Why the answer is not `allow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The statement that decided, such as `guardrails/protect#NoProd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<Cow<'a, str>>,
    /// The budget without room, with [`Reason::OverBudget`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Cow<'a, str>>,
    /// The units that an allow took.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub charges: Cow<'a, [Charge]>,
    /// The name of the rows that were taken, where budgets are counted in a database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Cow<'a, str>>,
    /// The batch that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch<'a>>,
    /// What the shadow policies said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow<'a>>,
}

/// A look-up of what the policies wanted to know of the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookUp {
    /// What was asked for.
    pub source: Source,
    /// When the answer came, or the look-up was given up.
    pub at: Timestamp,
    /// The cloud's `X-Request-Id`, cut to [`UPSTREAM_REQUEST_ID_MAX`](super::UPSTREAM_REQUEST_ID_MAX).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_request_id: Option<String>,
    /// What came of it.
    pub result: LookUpResult,
}

/// One of [`policy::Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The job's details.
    Details,
    /// The job's tags.
    Tags,
}

/// What came of a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookUpResult {
    /// An answer that could be read.
    Found,
    /// No usable answer.
    LookUpFailed,
    /// There is no such job.
    NoSuchJob,
    /// An answer that could be read, about a job in one pool of a group: which one is not known.
    PoolGroup,
    /// An answer that could not be read with certainty.
    Unreadable,
}

/// One unit of a budget, taken by an allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The budget's name.
    pub budget: String,
    /// Whose unit: the principal, project, pool, … that the budget counts by.
    pub key: String,
}

impl Charge {
    pub(in crate::ledger) fn of(charge: &budget::Charge) -> Self {
        Self { budget: charge.budget.to_string(), key: charge.key.to_string() }
    }
}

/// The place of a decision in a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch<'a> {
    /// The batch's own request ID, a UUID.
    pub id: Cow<'a, str>,
    /// The job's place in the batch, from 0.
    pub index: u32,
    /// How many jobs the batch has.
    pub of: u32,
}

/// What the shadow policies said: a candidate beside the policies in force, which decides nothing.
/// Either `result` or `error` is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow<'a> {
    /// The candidate's version, SHA-256 in hex; `None` if its files could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Cow<'a, str>>,
    /// Yes, no, or cannot tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Answer>,
    /// Why the answer is not `allow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The statement that would have decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<Cow<'a, str>>,
    /// Why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ShadowError>,
}

/// Why shadow policies gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShadowError {
    /// The candidate's last version could not be loaded.
    NotLoaded,
    /// The candidate needs the job's details, which nothing else has asked for.
    NeedsDetails,
    /// The candidate needs the job's details and tags, which nothing else has asked for.
    NeedsDetailsAndTags,
    /// The candidate needs the job's tags, which nothing else has asked for.
    NeedsTags,
}

impl ShadowError {
    /// The error for an answer that depends on `missing`; `None` if nothing is missing.
    #[must_use]
    pub fn needs(missing: Sources) -> Option<Self> {
        match (missing.details, missing.tags) {
            (true, true) => Some(Self::NeedsDetailsAndTags),
            (true, false) => Some(Self::NeedsDetails),
            (false, true) => Some(Self::NeedsTags),
            (false, false) => None,
        }
    }
}

/// Circumstances of a request that policies may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context<'a> {
    /// `g:RequestedRegion`.
    pub region: Cow<'a, str>,
    /// `g:PrincipalAccount`.
    pub account: Cow<'a, str>,
    /// `g:CurrentTime`: when the request was judged, which is shortly before the record's own time.
    pub now: Timestamp,
    /// `lychgate:authMethod`.
    pub auth_method: Method,
    /// `g:SecureTransport`.
    pub secure_transport: Attribute<bool>,
    /// `g:UserAgent`.
    pub user_agent: Cow<'a, Attribute<String>>,
}

/// Why a decision is not an allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Denied: some Deny statement matches.
    ExplicitDeny,
    /// Denied: no attached identity Allow matches.
    NothingAllows,
    /// Denied: the guardrails contain Allows and none of them matches.
    OutsideGuardrails,
    /// Denied, although the policies allow it: a budget has no room.
    OverBudget,
    /// Not decided: a look-up failed.
    LookUpFailed,
    /// Not decided: there is no such job.
    NoSuchJob,
    /// Not decided: the job runs in one pool of a group.
    PoolGroup,
    /// Not decided: an answer of the cloud, or a header of the request, could not be read with
    /// certainty.
    Unreadable,
}

impl Decision<'_> {
    /// The question as it was asked.
    #[must_use]
    pub fn query(&self) -> policy::Query {
        let prefix = format!("{}/", self.source);
        let bare = |it: &str| it.strip_prefix(&prefix).unwrap_or(it).to_owned();
        let principal = policy::Principal::new(
            &self.source,
            &bare(&self.principal),
            self.groups.iter().map(|it| bare(it)),
            self.tags.clone().into_owned(),
            self.context.auth_method,
        );
        policy::Query {
            principal: Arc::new(principal),
            action: self.action,
            job: policy::Job::new(&*self.project, &*self.job).into(),
            region: self.context.region.clone().into_owned(),
            account: self.context.account.clone().into_owned(),
            now: self.context.now,
            source_ip: self.source_ip,
            secure_transport: self.context.secure_transport,
            user_agent: self.context.user_agent.clone().into_owned(),
        }
    }

    /// The sources that were asked about the job.
    #[must_use]
    pub fn asked(&self) -> Sources {
        let asked = |source| self.look_ups.iter().any(|it| it.source == source);
        Sources { details: asked(Source::Details), tags: asked(Source::Tags) }
    }
}

impl<'a> Context<'a> {
    pub(in crate::ledger) fn of(query: &'a policy::Query) -> Self {
        Self {
            region: Cow::Borrowed(&query.region),
            account: Cow::Borrowed(&query.account),
            now: query.now,
            auth_method: query.principal.method(),
            secure_transport: query.secure_transport,
            user_agent: Cow::Borrowed(&query.user_agent),
        }
    }
}

impl Reason {
    /// Why `decision`, made with these look-ups, is not an allow; `None` if it is one.
    ///
    /// Of the look-ups that it still needs, the one that explains most counts.
    #[must_use]
    pub fn of(decision: &policy::Decision, look_ups: &[LookUp]) -> Option<Self> {
        let doubt = match decision {
            policy::Decision::Allow(_) => return None,
            policy::Decision::Deny(denial) => return Some(denial.reason.into()),
            policy::Decision::Indeterminate(doubt) => doubt,
        };
        let is_wanted = |it: &&LookUp| match it.source {
            Source::Details => doubt.wanted.details,
            Source::Tags => doubt.wanted.tags,
        };
        let results = || look_ups.iter().filter(is_wanted).map(|it| it.result);
        let order = [
            (LookUpResult::LookUpFailed, Self::LookUpFailed),
            (LookUpResult::Unreadable, Self::Unreadable),
            (LookUpResult::PoolGroup, Self::PoolGroup),
        ];
        // A missing job explains every other failure.
        if look_ups.iter().any(|it| it.result == LookUpResult::NoSuchJob) {
            return Some(Self::NoSuchJob);
        }
        let found = order.into_iter().find(|(result, _)| results().any(|it| it == *result));
        // What is left: a header that is not text, or a member that the answer lacks.
        Some(found.map_or(Self::Unreadable, |(_, reason)| reason))
    }
}

impl From<policy::Reason> for Reason {
    fn from(reason: policy::Reason) -> Self {
        match reason {
            policy::Reason::ExplicitDeny => Self::ExplicitDeny,
            policy::Reason::NothingAllows => Self::NothingAllows,
            policy::Reason::OverBudget => Self::OverBudget,
            policy::Reason::OutsideGuardrails => Self::OutsideGuardrails,
        }
    }
}
