//! Why the gate answered by itself: status, stable code, message. The one table of them.

use crate::authn;
use crate::budget::Spent;
use crate::policy::{Action, Denial, Reason};
use crate::route;

use http::StatusCode;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Every code that an answer of the gate can have: its status and one digit. Published in
/// docs/operations.md, so a code that was used once never gets another meaning.
pub const CODES: [u16; 52] = [
    4001, 4002, 4003, 4004, 4005, 4006, 4007, 4008, 4010, 4011, 4012, 4013, 4014, 4015, 4016, 4017,
    4018, 4019, 4031, 4032, 4033, 4041, 4042, 4051, 4052, 4081, 4082, 4091, 4111, 4131, 4141, 4151,
    4291, 4292, 4311, 5001, 5021, 5022, 5023, 5024, 5031, 5032, 5033, 5034, 5035, 5036, 5037, 5038,
    5041, 5042, 5043, 5051,
];

/// The longest request head, in bytes, with its empty line.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// The longest line of a head, in bytes, with its CRLF: as long as the longest token, its scheme and
/// its field's name. On HTTP/2 a field counts with as many bytes as its line would have.
pub const FIELD_LINE_BYTES_MAX: usize = 16 * 1024 + 64;

/// The most fields in a head.
pub const HEAD_FIELDS_MAX: usize = 64;

/// Every answer that is the gate's own and not the cloud's; its text is what the caller reads in
/// `error_msg`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The job's attributes could change the answer and cannot be found out.
    #[error(
        "the job's attributes could change the answer and cannot be looked up now; nothing was sent"
    )]
    AttributesUnavailable,
    /// A batch that is refused as a whole; `jobs` says what is wrong with which job.
    #[error("{text}")]
    Batch {
        /// The code of the answer.
        code: u16,
        /// What happened.
        text: String,
        /// The jobs that it is about, by their place.
        jobs: Vec<JobFault>,
        /// In how many seconds it makes sense to ask again, where that is known.
        retry_after: Option<u64>,
    },
    /// The database of the budgets is away or slow.
    #[error("the budgets cannot be counted now; nothing was sent")]
    BudgetStore,
    /// The body of a batch delete.
    #[error(transparent)]
    Body(#[from] BodyFault),
    /// The credential for the cloud is refused there, or the breaker is open.
    #[error("ModelArts refuses the gate's own credential; this is not about your credential")]
    CloudRefusesKey,
    /// No connection to the cloud; nothing was sent.
    #[error("cannot connect to ModelArts; nothing was sent")]
    Connect,
    /// The policies say no.
    #[error(transparent)]
    Denied(Box<Denied>),
    /// A forwarder has no answer of the central gate.
    #[error(transparent)]
    Forward(#[from] ForwardFault),
    /// What is wrong with the request head.
    #[error(transparent)]
    Head(#[from] HeadFault),
    /// No principal.
    #[error(transparent)]
    Identity(#[from] authn::Error),
    /// A fault of the gate.
    #[error("an internal error")]
    Internal,
    /// The decision could not be written down.
    #[error("the decision cannot be recorded now; nothing was sent")]
    Ledger,
    /// Recording took so long that what was looked up became too old (`attributes.max_age`).
    #[error(
        "the decision was recorded too late: the job's attributes were older than `attributes.max_age` by then, because the ledger's disk is too slow; nothing was sent"
    )]
    LedgerSlow,
    /// No credential for the cloud yet.
    #[error("the gate has no credential for ModelArts now; nothing was sent")]
    NoCloudCredential,
    /// No policies yet.
    #[error("the gate has no policies yet; nothing was sent")]
    NoPolicies,
    /// No answer in time, and nothing was sent.
    #[error("no connection to ModelArts in time; nothing was sent")]
    NothingSent,
    /// Sent without an answer.
    #[error(
        "the delete was sent and ModelArts did not answer; look at the job, or repeat the delete: that is safe"
    )]
    OutcomeUnknown,
    /// The policies say yes, and a budget has no room.
    #[error("{}; {}", budget(spent, *named), room(spent))]
    OverBudget {
        /// Which, and when it has room again.
        spent: Spent,
        /// Its name may be told to callers (`policies.denials: full`).
        named: bool,
    },
    /// More requests than `limits.in_flight`.
    #[error("the gate is at its limit of requests; nothing was sent")]
    Overloaded,
    /// No upstream claims the project.
    #[error("this gate serves no such project")]
    ProjectNotServed,
    /// The principal asks faster than `limits.per_principal`.
    #[error("too many requests of this principal")]
    Rate,
    /// The target is not the route.
    #[error(transparent)]
    Route(#[from] route::Error),
    /// The gate is draining.
    #[error("the gate is stopping; nothing was sent")]
    Stopping,
    /// What is known of the caller or the job is too much to be recorded.
    #[error(
        "the groups and tags of the caller or the tags of the job are too long to be recorded with a decision: asking again cannot help; nothing was sent"
    )]
    TooMuch,
    /// The policies ask for what the request or its job does not say, however often it is asked.
    #[error(
        "the policies ask for {}, which cannot be read from this job or request: asking again cannot help; nothing was sent{}",
        listed(keys),
        sentence(help.as_deref())
    )]
    Undecidable {
        /// What the caller is told to do.
        help: Option<String>,
        /// The keys, such as `modelarts:poolId`.
        keys: BTreeSet<String>,
    },
    /// A look that nobody answered.
    #[error("no answer came about the job; ask again")]
    Unseen,
    /// The cloud answered something that cannot be passed on.
    #[error("ModelArts gave an answer that cannot be passed on")]
    UnusableAnswer,
}

/// Why a forwarder has no answer of the central gate to pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwardFault {
    /// No connection: name, TCP or TLS. Nothing was sent.
    #[error("this forwarder cannot connect to the gate; nothing was sent")]
    Connect,
    /// No connection in time; nothing was sent.
    #[error("this forwarder got no connection to the gate in time; nothing was sent")]
    NothingSent,
    /// No token for the gate yet; nothing was sent.
    #[error("this forwarder has no token for the gate now; nothing was sent")]
    NoToken,
    /// Sent without an answer.
    #[error(
        "the delete was sent to the gate, which did not answer; look at the job, or repeat the delete: that is safe"
    )]
    OutcomeUnknown,
    /// A look without an answer.
    #[error("no answer came about the job; ask again")]
    Unseen,
    /// What answered is not a gate, or its answer is malformed.
    #[error("what answered this forwarder is not a gate, or its answer is malformed")]
    UnusableAnswer,
}

/// What is wrong with the body of a batch delete.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// It broke off.
    #[error("the body ends before the length that Content-Length says")]
    Incomplete,
    /// It is not a list of jobs.
    #[error(transparent)]
    Jobs(#[from] route::batch::Fault),
    /// Longer than [`route::batch::BODY_BYTES_MAX`].
    #[error("the body is longer than {} bytes", route::batch::BODY_BYTES_MAX)]
    TooLarge,
    /// Not complete in time.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// Not JSON by its header.
    #[error("the Content-Type must be application/json, without a Content-Encoding")]
    Type,
}

/// What is wrong with one job of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobFault {
    /// Its place in the list, from 0.
    pub index: usize,
    /// The training job's ID.
    pub id: String,
    /// The code that it would have got alone, the gate's or the cloud's.
    pub error_code: String,
    /// The text likewise.
    pub error_msg: String,
}

/// What is wrong with a request head, before anything is parsed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    /// A body, or a header that announces one.
    #[error(
        "this route takes no body: not `{{}}`, and none that `Transfer-Encoding` or `Content-Length` announces, even if nothing follows"
    )]
    Body,
    /// A body that does not say beforehand how long it is.
    #[error("the length of the body must be given in Content-Length, and in no other header")]
    BodyLength,
    /// A body that is longer than [`route::batch::BODY_BYTES_MAX`].
    #[error("{}", BodyFault::TooLarge)]
    BodyTooLarge,
    /// No loopback name in `Host` or `:authority`, on a listener that vouches for whoever reaches it:
    /// a browser that was led here by a name that resolves to loopback (DNS rebinding).
    #[error(
        "this listener serves its own machine only: the Host must be localhost, an address in 127.0.0.0/8 or [::1]"
    )]
    Host,
    /// `CONNECT` or `TRACE`.
    #[error("only DELETE and GET of a job, and POST of batch-delete, go through this gate")]
    Method,
    /// Not a head of RFC 9112, or one that two readers could read differently; says which rule.
    #[error("the request head is malformed: {0}")]
    Malformed(&'static str),
    /// Not a target of RFC 9112, or not in origin-form; says which rule.
    #[error("the request target is malformed: {0}")]
    Target(&'static str),
    /// The target is longer than [`route::TARGET_BYTES_MAX`].
    #[error("{}", route::Error::TooLong)]
    TargetTooLong,
    /// Not complete in time.
    #[error("the request head did not arrive in time")]
    TooSlow,
    /// A field whose line is longer than the limit; its name, if it is one that is often long.
    #[error("{0} is longer than {max} KiB", max = FIELD_LINE_BYTES_MAX / 1024)]
    FieldTooLong(&'static str),
    /// More bytes or fields than the limits.
    #[error(
        "the request head has more than {} KiB or {HEAD_FIELDS_MAX} fields",
        HEAD_BYTES_MAX / 1024
    )]
    TooLarge,
    /// Neither HTTP/1.1 nor HTTP/2.
    #[error("use HTTP/1.1 or HTTP/2")]
    Version,
}

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code() / 10).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The stable number in `Lychgate.NNNN`, one of [`CODES`].
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            Self::AttributesUnavailable => 5031,
            Self::Batch { code, .. } => *code,
            Self::BudgetStore => 5038,
            Self::Body(fault) => match fault {
                BodyFault::Incomplete | BodyFault::Jobs(_) => 4008,
                BodyFault::TooLarge => 4131,
                BodyFault::TooSlow => 4082,
                BodyFault::Type => 4151,
            },
            Self::CloudRefusesKey => 5021,
            Self::Connect | Self::Forward(ForwardFault::Connect) => 5022,
            Self::Denied(denied) => match denied.denial.reason {
                Reason::ExplicitDeny => 4031,
                Reason::OutsideGuardrails => 4032,
                Reason::NothingAllows => 4033,
                Reason::OverBudget => 4292,
            },
            Self::Head(fault) => match fault {
                HeadFault::Body => 4007,
                HeadFault::BodyLength => 4111,
                HeadFault::BodyTooLarge => 4131,
                HeadFault::Host | HeadFault::Malformed(_) => 4006,
                HeadFault::Method => 4051,
                HeadFault::Target(_) => 4001,
                HeadFault::TargetTooLong => 4141,
                HeadFault::FieldTooLong(_) | HeadFault::TooLarge => 4311,
                HeadFault::TooSlow => 4081,
                HeadFault::Version => 5051,
            },
            Self::Identity(error) => match error {
                authn::Error::Audience => 4015,
                authn::Error::Expired(_) => 4014,
                authn::Error::KeysUnavailable => 5033,
                authn::Error::NoCredential => 4011,
                authn::Error::Project { .. } | authn::Error::Unsigned(_) => 4019,
                authn::Error::SeveralCredentials => 4012,
                authn::Error::BodyHash | authn::Error::Signature(_) => 4018,
                authn::Error::Skew { .. } => 4017,
                authn::Error::Certificate(_) | authn::Error::Token(..) => 4013,
                authn::Error::UnknownKey(_) => 4016,
                authn::Error::UnsignedBody => 4010,
            },
            Self::Internal => 5001,
            Self::Ledger | Self::LedgerSlow => 5032,
            Self::NoCloudCredential | Self::Forward(ForwardFault::NoToken) => 5034,
            Self::NoPolicies => 5037,
            Self::NothingSent | Self::Forward(ForwardFault::NothingSent) => 5041,
            Self::OutcomeUnknown | Self::Forward(ForwardFault::OutcomeUnknown) => 5042,
            Self::OverBudget { .. } => 4292,
            Self::Overloaded => 5035,
            Self::ProjectNotServed => 4042,
            Self::Rate => 4291,
            Self::Route(error) => match error {
                route::Error::BatchMethod => 4052,
                route::Error::JobId(_) => 4005,
                route::Error::Malformed(_) => 4001,
                route::Error::Method => 4051,
                route::Error::ProjectId => 4004,
                route::Error::ProjectPlaceholder => 4003,
                route::Error::Query => 4002,
                route::Error::TooLong => 4141,
                route::Error::Unknown => 4041,
            },
            Self::Stopping => 5036,
            Self::TooMuch | Self::Undecidable { .. } => 4091,
            Self::Unseen | Self::Forward(ForwardFault::Unseen) => 5043,
            Self::UnusableAnswer | Self::Forward(ForwardFault::UnusableAnswer) => 5023,
        }
    }

    /// In how many seconds it makes sense to ask again, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::OverBudget { spent, .. } => spent.seconds_to_room(),
            Self::Batch { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The connection cannot be trusted to be in step any more and is closed after the answer.
    #[must_use]
    pub fn closes(&self) -> bool {
        // A body that was not read to its end still lies on the connection.
        let unread = matches!(self, Self::Body(it) if !matches!(it, BodyFault::Jobs(_)));
        unread || matches!(self, Self::Head(_) | Self::Stopping)
    }
}

fn listed(keys: &BTreeSet<String>) -> String {
    keys.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
}

fn sentence(help: Option<&str>) -> String {
    help.map(|it| format!(". {it}")).unwrap_or_default()
}

/// A decided no, as its caller is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{principal}` may not perform `{}` on `{resource}`: {}{}",
    self.action,
    self.reason(),
    sentence(help.as_deref())
)]
pub struct Denied {
    /// Who asked, such as `corp/alice`.
    pub principal: String,
    /// For what.
    pub action: Action,
    /// The job's URN.
    pub resource: String,
    /// Why.
    pub denial: Denial,
    /// Statement names may be told to callers (`policies.denials: full`).
    pub named: bool,
    /// What the principal came with, where that may be told.
    pub came_with: Option<CameWith>,
    /// What the caller is told to do.
    pub help: Option<String>,
}

/// How much there was to allow something by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CameWith {
    /// Groups of the principal.
    pub groups: usize,
    /// Identity policies that are attached to it for this project.
    pub policies: usize,
}

impl Denied {
    fn reason(&self) -> Cow<'static, str> {
        let denial = &self.denial;
        match (denial.reason, &denial.statement, self.came_with) {
            (Reason::ExplicitDeny, Some(statement), _) if self.named => {
                Cow::Owned(format!("denied by `{statement}`"))
            }
            (Reason::ExplicitDeny, ..) => Cow::Borrowed("a policy denies it"),
            (Reason::OutsideGuardrails, ..) => {
                Cow::Borrowed("it is outside what the guardrails allow")
            }
            (Reason::NothingAllows, _, Some(CameWith { groups, policies })) => Cow::Owned(format!(
                "no policy that is attached to it allows this; it came with {}, and {} attached to it for this project",
                counted(groups, "group", "groups"),
                counted(policies, "policy is", "policies are")
            )),
            (Reason::OverBudget, ..) => Cow::Borrowed("a budget is spent"),
            (Reason::NothingAllows, _, None) => {
                Cow::Borrowed("no policy that is attached to it allows this")
            }
        }
    }
}

fn budget(spent: &Spent, named: bool) -> Cow<'static, str> {
    match named {
        true => Cow::Owned(spent.to_string()),
        false => Cow::Borrowed("a budget for deletes is spent"),
    }
}

fn room(spent: &Spent) -> Cow<'static, str> {
    match spent.room_at() {
        Some(room_at) => Cow::Owned(format!("there is room again at {room_at}")),
        None => Cow::Borrowed("deletes that are in progress take the last of it"),
    }
}

fn counted(number: usize, one: &str, several: &str) -> String {
    let what = if number == 1 { one } else { several };
    match number {
        0 => format!("no {what}"),
        _ => format!("{number} {what}"),
    }
}
