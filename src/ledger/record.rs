//! What a record says: the schema of the ledger, version [`VERSION`].
//!
//! One type per kind, used for writing (borrowed) and for reading (owned), so that the two cannot
//! drift apart. Everything that a decision was based on is in its record: an auditor can judge it
//! again from the ledger alone, with [`Decision::query`] and [`Decision::attributes`].
//!
//! A fact is written as `{"value": …}`, `"absent"` or `"unavailable"`, so that the three can never
//! be taken for each other.

mod peer;
mod text;

#[cfg(test)]
mod tests;

pub use self::text::{serialize_time, to_json};

pub(super) use self::text::{to_members, written_len};

use crate::policy;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The version of the schema; `v` in every line. A reader refuses other versions.
pub const VERSION: u32 = 1;

/// A record without what its line adds (`v`, `ledger_id`, `seq`, `time`, `prev`, `sum`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Body<'a> {
    /// All records before this one, signed.
    Checkpoint(Checkpoint<'a>),
    /// What the policies said about one request; on stable storage before anything is sent.
    Decision(Box<Decision<'a>>),
    /// How a decision ended, as the request that made it saw it.
    Outcome(Outcome<'a>),
    /// A policy version with its text, or one part of it.
    Policies(Policies<'a>),
    /// How a decision without a known outcome ended, as was found out afterwards.
    Settlement(Settlement),
    /// Requests that were refused for their rate and not recorded one by one.
    Suppressed(Suppressed<'a>),
}

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
    /// `g:SourceIp`: the peer, or whom a trusted proxy names.
    pub source_ip: Fact<IpAddr>,
    /// The project ID.
    pub project: Cow<'a, str>,
    /// The training job's ID.
    pub job: Cow<'a, str>,
    /// The name of the upstream that serves the project.
    pub upstream: Cow<'a, str>,
    /// The action, always `modelarts:trainJob:delete`.
    pub action: Cow<'a, str>,
    /// The job's URN.
    pub resource: Cow<'a, str>,
    /// The other circumstances of the request.
    pub context: Context<'a>,
    /// What was known of the job.
    pub attributes: Attributes<'a>,
    /// The policy version that judged, SHA-256 in hex; its text is in a policies record of the same
    /// segment.
    pub policy_digest: Cow<'a, str>,
    /// Yes, no, or cannot tell.
    pub result: Verdict,
    /// Why a no is a no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The statement that decided, such as `guardrails/protect#NoProd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<Cow<'a, str>>,
}

/// Circumstances of a request that policies may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context<'a> {
    /// `g:RequestedRegion`.
    pub region: Cow<'a, str>,
    /// `g:PrincipalAccount`.
    pub account: Cow<'a, str>,
    /// `g:CurrentTime`: when the request was judged, which is shortly before the record's own time.
    #[serde(with = "text::timestamp")]
    pub now: Timestamp,
    /// `lychgate:authMethod`.
    pub auth_method: AuthMethod,
    /// `g:SecureTransport`.
    pub secure_transport: Fact<bool>,
    /// `g:UserAgent`.
    pub user_agent: Fact<Cow<'a, str>>,
}

/// What was known of the job, one field for each of [`policy::Attributes`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "policy::Attributes explains each")]
pub struct Attributes<'a> {
    pub pool_id: Fact<Cow<'a, [String]>>,
    pub pool_type: Fact<Cow<'a, [String]>>,
    pub phase: Fact<Cow<'a, str>>,
    pub kind: Fact<Cow<'a, str>>,
    pub name: Fact<Cow<'a, str>>,
    pub owner: Fact<Cow<'a, str>>,
    pub age: Fact<i64>,
    pub workspace_id: Fact<Cow<'a, str>>,
    pub tags: Fact<Cow<'a, BTreeMap<String, String>>>,
}

/// [`policy::Attribute`] as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact<T> {
    /// Known, and there.
    Value(T),
    /// Known not to be there.
    Absent,
    /// Not asked for, or not to be found out.
    Unavailable,
}

/// [`policy::Method`] as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "policy::Method explains each")]
pub enum AuthMethod {
    Jwt,
    Key,
    Local,
    Mtls,
}

/// Which of the three answers the policies gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A decided yes.
    Allow,
    /// A decided no.
    Deny,
    /// No answer without facts that are unavailable.
    Indeterminate,
}

/// [`policy::Reason`] as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "policy::Reason explains each")]
pub enum Reason {
    ExplicitDeny,
    NothingAllows,
    OutsideGuardrails,
}

/// How a decision ended. Says what was seen, never who caused it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome<'a> {
    /// The decision's `seq`.
    pub of: u64,
    /// How it ended.
    pub result: Ending,
    /// The cloud's HTTP status, where the cloud answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The cloud's `X-Request-Id`, cut to [`UPSTREAM_REQUEST_ID_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_request_id: Option<Cow<'a, str>>,
    /// Milliseconds from the committed decision to its end.
    pub duration_ms: u64,
}

/// The longest upstream request ID that is kept, in characters.
pub const UPSTREAM_REQUEST_ID_MAX: usize = 128;

/// The ways in which a decision ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The policies said no; nothing was sent.
    Denied,
    /// Sent without an answer; a look-up afterwards found no such job.
    Gone,
    /// Allowed, and not one byte was sent.
    NotSent,
    /// Sent without an answer; look-ups until the end of the settlement found the job there.
    Present,
    /// The policies could not tell; nothing was sent.
    Refused,
    /// Sent and answered; the status is the cloud's.
    Sent,
    /// Perhaps sent, and no answer seen. To be settled.
    Unknown,
}

/// How an open decision ended, found out by looking at the job afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// The decision's `seq`.
    pub of: u64,
    /// How it ended; never [`Ending::Unknown`].
    pub result: Ending,
}

/// A policy version, or one part of it: every record keeps the same limit, so a large version is
/// spread over several records that follow each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policies<'a> {
    /// The version's digest, SHA-256 in hex.
    pub digest: Cow<'a, str>,
    /// Which part this is, from 1.
    pub part: u32,
    /// How many parts there are.
    pub parts: u32,
    /// Files in the order of their paths. A file whose text goes on in the next part is named there
    /// again; the texts of one path, joined in order, are the file.
    pub files: Vec<PolicyText<'a>>,
}

/// A policy file, or a piece of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyText<'a> {
    /// Relative to the policy directory.
    pub path: Cow<'a, str>,
    /// The file is not UTF-8, and its text here is the base64 of its bytes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub base64: bool,
    /// The text, or a piece of it.
    pub text: Cow<'a, str>,
}

/// How many requests of one principal were refused for their rate in one minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppressed<'a> {
    /// The qualified name, such as `corp/alice`.
    pub principal: Cow<'a, str>,
    /// The first of them.
    #[serde(with = "text::timestamp")]
    pub since: Timestamp,
    /// How many.
    pub count: u64,
}

/// A signature over everything before it: who keeps one can tell whether the ledger was cut or
/// rewritten up to there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint<'a> {
    /// The Ed25519 public key, 64 hex digits.
    pub key: Cow<'a, str>,
    /// The Ed25519 signature, 128 hex digits.
    pub signature: Cow<'a, str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(it: &bool) -> bool {
    !it
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
            self.context.auth_method.into(),
        );
        policy::Query {
            principal: Arc::new(principal),
            job: policy::Job::new(&*self.project, &*self.job).into(),
            region: self.context.region.clone().into_owned(),
            account: self.context.account.clone().into_owned(),
            now: self.context.now,
            source_ip: self.source_ip.into(),
            secure_transport: self.context.secure_transport.into(),
            user_agent: self.context.user_agent.clone().into_owned(),
        }
    }

    /// What was known of the job when it was judged.
    #[must_use]
    pub fn attributes(&self) -> policy::Attributes {
        let attributes = &self.attributes;
        policy::Attributes {
            pool_id: attributes.pool_id.clone().into_owned(),
            pool_type: attributes.pool_type.clone().into_owned(),
            phase: attributes.phase.clone().into_owned(),
            kind: attributes.kind.clone().into_owned(),
            name: attributes.name.clone().into_owned(),
            owner: attributes.owner.clone().into_owned(),
            age: attributes.age.into(),
            workspace_id: attributes.workspace_id.clone().into_owned(),
            tags: attributes.tags.clone().into_owned(),
        }
    }
}

impl<'a> Context<'a> {
    pub(super) fn of(query: &'a policy::Query) -> Self {
        Self {
            region: Cow::Borrowed(&query.region),
            account: Cow::Borrowed(&query.account),
            now: query.now,
            auth_method: query.principal.method().into(),
            secure_transport: Fact::copied(&query.secure_transport),
            user_agent: Fact::text(&query.user_agent),
        }
    }
}

impl<'a> Attributes<'a> {
    pub(super) fn of(attributes: &'a policy::Attributes) -> Self {
        let list = |it: &'a policy::Attribute<Vec<String>>| Fact::of(it, |it| Cow::Borrowed(&**it));
        Self {
            pool_id: list(&attributes.pool_id),
            pool_type: list(&attributes.pool_type),
            phase: Fact::text(&attributes.phase),
            kind: Fact::text(&attributes.kind),
            name: Fact::text(&attributes.name),
            owner: Fact::text(&attributes.owner),
            age: Fact::copied(&attributes.age),
            workspace_id: Fact::text(&attributes.workspace_id),
            tags: Fact::of(&attributes.tags, Cow::Borrowed),
        }
    }
}

impl<T> Fact<T> {
    fn of<'a, U>(attribute: &'a policy::Attribute<U>, value: impl FnOnce(&'a U) -> T) -> Self {
        match attribute {
            policy::Attribute::Value(it) => Self::Value(value(it)),
            policy::Attribute::Absent => Self::Absent,
            policy::Attribute::Unavailable => Self::Unavailable,
        }
    }
}

impl<T: Copy> Fact<T> {
    pub(super) fn copied(attribute: &policy::Attribute<T>) -> Self {
        Self::of(attribute, |it| *it)
    }
}

impl<'a> Fact<Cow<'a, str>> {
    fn text(attribute: &'a policy::Attribute<String>) -> Self {
        Self::of(attribute, |it| Cow::Borrowed(it.as_str()))
    }
}

impl<T: ToOwned + ?Sized> Fact<Cow<'_, T>> {
    fn into_owned(self) -> policy::Attribute<T::Owned> {
        match self {
            Self::Value(it) => policy::Attribute::Value(it.into_owned()),
            Self::Absent => policy::Attribute::Absent,
            Self::Unavailable => policy::Attribute::Unavailable,
        }
    }
}

impl<T> From<Fact<T>> for policy::Attribute<T> {
    fn from(fact: Fact<T>) -> Self {
        match fact {
            Fact::Value(it) => Self::Value(it),
            Fact::Absent => Self::Absent,
            Fact::Unavailable => Self::Unavailable,
        }
    }
}

impl From<policy::Method> for AuthMethod {
    fn from(method: policy::Method) -> Self {
        match method {
            policy::Method::Jwt => Self::Jwt,
            policy::Method::Key => Self::Key,
            policy::Method::Local => Self::Local,
            policy::Method::Mtls => Self::Mtls,
        }
    }
}

impl From<AuthMethod> for policy::Method {
    fn from(method: AuthMethod) -> Self {
        match method {
            AuthMethod::Jwt => Self::Jwt,
            AuthMethod::Key => Self::Key,
            AuthMethod::Local => Self::Local,
            AuthMethod::Mtls => Self::Mtls,
        }
    }
}

impl From<policy::Reason> for Reason {
    fn from(reason: policy::Reason) -> Self {
        match reason {
            policy::Reason::ExplicitDeny => Self::ExplicitDeny,
            policy::Reason::NothingAllows => Self::NothingAllows,
            policy::Reason::OutsideGuardrails => Self::OutsideGuardrails,
        }
    }
}

impl Ending {
    /// Whether nothing remains to be found out.
    #[must_use]
    pub fn is_final(self) -> bool {
        self != Self::Unknown
    }
}
