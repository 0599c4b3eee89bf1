//! The labels: closed sets of words, and what else a label can say.

use http::StatusCode;
use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

/// An enum whose variants are the words of a label.
macro_rules! words {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every variant.
            $vis const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word in the label.
            #[must_use]
            $vis fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl From<$name> for Value {
            fn from(word: $name) -> Self {
                Self::Word(word.as_str())
            }
        }
    };
}

words! {
    /// By which method a caller tried to prove who it is.
    pub enum AuthMethod {
        /// A JSON Web Token.
        Jwt = "jwt",
        /// A gateway access key.
        Key = "key",
        /// The fixed principal of a listener.
        Local = "local",
        /// A client certificate.
        Mtls = "mtls",
        /// No credential, or more than one.
        None = "none",
    }
}

words! {
    /// Why a connection was closed at once.
    pub enum ConnectionLimit {
        /// There are as many as there may be.
        InAll = "in_all",
        /// There are as many from this peer as there may be.
        Peer = "peer",
    }
}

words! {
    /// Why a caller is not known.
    pub enum IdentityFault {
        /// The gateway key is not known here.
        AccessKey = "access_key",
        /// The token's issuer may not use that algorithm.
        Algorithm = "algorithm",
        /// The token is meant for somebody else.
        Audience = "audience",
        /// The client certificate names nobody.
        Certificate = "certificate",
        /// A claim is missing, of a wrong type, or has an impossible value.
        Claim = "claim",
        /// The request was signed too long ago, or in the future.
        ClockSkew = "clock_skew",
        /// The token is expired, or not valid yet.
        Expired = "expired",
        /// The credential is not of the form that it should have.
        Form = "form",
        /// The token's issuer is not configured.
        Issuer = "issuer",
        /// The token's key is not one of its issuer's.
        KeyId = "key_id",
        /// The issuer's keys could not be fetched.
        KeysUnavailable = "keys_unavailable",
        /// No credential.
        None = "no_credential",
        /// The request is signed for another project.
        Project = "project",
        /// A way to prove an identity that this gate does not support.
        Scheme = "scheme",
        /// More than one credential.
        Several = "several_credentials",
        /// The signature does not fit.
        Signature = "signature",
        /// A header that must be signed is not.
        Unsigned = "unsigned_header",
    }
}

words! {
    /// Why the ledger could not do something.
    pub enum LedgerFault {
        /// More records wait than may.
        Queue = "queue",
        /// A record longer than its limit.
        RecordSize = "record_size",
        /// A record that the collector rejected.
        Rejected = "rejected",
        /// Free space is below the reserve.
        Reserve = "reserve",
        /// Records could not be shipped: tried again.
        Ship = "ship",
        /// Recording took longer than `attributes.max_age`, so that nothing was sent.
        Slow = "slow",
        /// `fdatasync`: final for the process.
        Sync = "sync",
        /// `write`: tried again.
        Write = "write",
    }
}

words! {
    /// The kind of a ledger record.
    pub enum LedgerRecord {
        /// A signed checkpoint.
        Checkpoint = "checkpoint",
        /// What the policies said.
        Decision = "decision",
        /// How a decision ended.
        Outcome = "outcome",
        /// A policy version with its text.
        Policies = "policies",
        /// How an open decision of an earlier run ended.
        Settlement = "settlement",
        /// How many requests were refused for their rate.
        Suppressed = "suppressed",
        /// What is lost with a deleted job.
        Tombstone = "tombstone",
    }
}

words! {
    /// What the policies in force say.
    pub enum Live {
        /// Yes.
        Allow = "allow",
        /// No.
        Deny = "deny",
        /// Not without facts that are unavailable.
        Indeterminate = "indeterminate",
    }
}

words! {
    /// What the shadow policies say.
    pub enum Shadow {
        /// Yes.
        Allow = "allow",
        /// No.
        Deny = "deny",
        /// Not without facts that are unavailable.
        Indeterminate = "indeterminate",
        /// Not without facts that were not asked for.
        Needs = "needs",
        /// Nothing: they could not be loaded.
        NotLoaded = "not_loaded",
    }
}

words! {
    /// Where attributes of a job are looked up.
    pub enum LookUp {
        /// The job's details.
        Details = "details",
        /// The job's tags.
        Tags = "tags",
    }
}

words! {
    /// What came out of a look-up.
    pub enum LookUpResult {
        /// The attributes.
        Found = "found",
        /// No usable answer.
        Unavailable = "unavailable",
        /// There is no such job.
        UnknownJob = "unknown_job",
    }
}

words! {
    /// What a request to an upstream asks for.
    pub enum Operation {
        /// The delete itself.
        Delete = "delete",
        /// The look-up of a job's details.
        Details = "details",
        /// The look-up of a job's tags.
        Tags = "tags",
    }
}

words! {
    /// What was asked for.
    pub enum Action {
        /// One job of a batch.
        BatchDelete = "batch_delete",
        /// One delete.
        Delete = "delete",
        /// A look.
        Get = "get",
    }
}

words! {
    /// Who made the answer; the word of `X-Lychgate-Origin`.
    pub enum Origin {
        /// The gate.
        Gateway = "gateway",
        /// The upstream.
        Upstream = "upstream",
    }
}

words! {
    /// Whether the collector took a batch of spans.
    pub(super) enum ExportResult {
        Failed = "failed",
        Ok = "ok",
    }
}

/// What the policies said; the result and the reason in one, because only these pairs exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Allowed.
    Allow,
    /// A Deny statement matches.
    ExplicitDeny,
    /// Unknown, for what the request or the job does not say.
    Indeterminate,
    /// Unknown, because a look-up had no usable answer.
    LookUpFailed,
    /// Unknown, because there is no such job.
    NoSuchJob,
    /// No identity statement allows it.
    NothingAllows,
    /// No guardrail allows it.
    OutsideGuardrails,
    /// Allowed, and a budget has no room.
    OverBudget,
    /// Unknown, because the job lies in one pool of a group.
    PoolGroup,
    /// Unknown, because an answer of the cloud cannot be read with certainty.
    Unreadable,
}

impl Decision {
    pub(super) const ALL: [Self; 10] = [
        Self::Allow,
        Self::ExplicitDeny,
        Self::Indeterminate,
        Self::LookUpFailed,
        Self::NoSuchJob,
        Self::NothingAllows,
        Self::OutsideGuardrails,
        Self::OverBudget,
        Self::PoolGroup,
        Self::Unreadable,
    ];

    /// `allow`, `deny` or `indeterminate`.
    #[must_use]
    pub fn result(self) -> &'static str {
        self.words().0
    }

    /// Why it is not an allow; `none` where it is one, and where the request or the job does not
    /// say enough.
    #[must_use]
    pub fn reason(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Allow => ("allow", "none"),
            Self::ExplicitDeny => ("deny", "explicit"),
            Self::Indeterminate => ("indeterminate", "none"),
            Self::LookUpFailed => ("indeterminate", "look_up_failed"),
            Self::NoSuchJob => ("indeterminate", "no_such_job"),
            Self::NothingAllows => ("deny", "nothing_allows"),
            Self::OutsideGuardrails => ("deny", "ceiling"),
            Self::OverBudget => ("deny", "over_budget"),
            Self::PoolGroup => ("indeterminate", "pool_group"),
            Self::Unreadable => ("indeterminate", "unreadable"),
        }
    }
}

/// The labels of one series, in the order of its metric's definition.
pub(super) type Labels<const N: usize> = [(&'static str, Value); N];

/// What a label says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Value {
    /// An error code of the gate, as callers see it.
    Code(u16),
    /// A configured name.
    Name(Arc<str>),
    /// A status.
    Status(u16),
    /// A word of a closed set.
    Word(&'static str),
}

impl EncodeLabelValue for Value {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(encoder, "Lychgate.{code}"),
            Self::Name(name) => encoder.write_str(name),
            Self::Status(status) => write!(encoder, "{status}"),
            Self::Word(word) => encoder.write_str(word),
        }
    }
}

/// An error code; `none` where there is none.
pub(super) fn code(code: Option<u16>, none: &'static str) -> Value {
    code.map_or(Value::Word(none), Value::Code)
}

/// A status; `other` for all those outside RFC 9110's classes.
pub(super) fn status(status: StatusCode) -> Value {
    match status.as_u16() {
        status @ 100..=599 => Value::Status(status),
        _ => Value::Word("other"),
    }
}

/// The class of a status; `none` when no answer came.
pub(super) fn status_class(status: Option<StatusCode>) -> Value {
    Value::Word(match status.map(|it| it.as_u16() / 100) {
        Some(1) => "1xx",
        Some(2) => "2xx",
        Some(3) => "3xx",
        Some(4) => "4xx",
        Some(5) => "5xx",
        Some(_) => "other",
        None => "none",
    })
}

/// The labels of an answer of the policies.
pub(super) fn decision(action: Action, decision: Decision) -> Labels<3> {
    [
        ("action", action.into()),
        ("result", Value::Word(decision.result())),
        ("reason", Value::Word(decision.reason())),
    ]
}
