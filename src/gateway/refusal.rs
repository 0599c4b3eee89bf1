//! Why the gate answered by itself: status, stable code, message. The one table of them.

use crate::authn;
use crate::policy;
use crate::route;

use http::StatusCode;
use std::fmt;

/// Every answer that is the gate's own and not the cloud's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The job's attributes could change the answer and cannot be found out.
    AttributesUnavailable,
    /// The credential for the cloud is refused there, or the breaker is open.
    CloudRefusesKey,
    /// No connection to the cloud; nothing was sent.
    Connect,
    /// The policies say no.
    Denied {
        /// Who asked, such as `corp/alice`.
        principal: String,
        /// The job's URN.
        resource: String,
        /// Why.
        denial: policy::Denial,
        /// Statement names may be told to callers (`policies.denials: full`).
        named: bool,
    },
    /// A forwarder has no answer of the central gate.
    Forward(ForwardFault),
    /// The bytes of the request head.
    Head(HeadFault),
    /// No principal.
    Identity(authn::Error),
    /// A fault of the gate.
    Internal,
    /// The decision could not be written down.
    Ledger,
    /// No credential for the cloud yet.
    NoCloudCredential,
    /// No policies yet.
    NoPolicies,
    /// No answer in time, and nothing was sent.
    NothingSent,
    /// Sent without an answer.
    OutcomeUnknown,
    /// More requests than `limits.in_flight`.
    Overloaded,
    /// No upstream claims the project.
    ProjectNotServed,
    /// The principal asks faster than `limits.per_principal`.
    Rate,
    /// The target is not the route.
    Route(route::Error),
    /// The gate is draining.
    Stopping,
    /// The cloud answered something that cannot be passed on.
    UnusableAnswer,
}

/// Why a forwarder has no answer of the central gate to pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardFault {
    /// No connection: name, TCP or TLS. Nothing was sent.
    Connect,
    /// No connection in time; nothing was sent.
    NothingSent,
    /// No token for the gate yet; nothing was sent.
    NoToken,
    /// Sent without an answer.
    OutcomeUnknown,
    /// What answered is no gate, or its answer is malformed.
    UnusableAnswer,
}

/// What is wrong with a request head, before anything is parsed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadFault {
    /// A body, or a header that announces one.
    Body,
    /// No loopback name in `Host` or `:authority`, on a listener that vouches for whoever reaches it:
    /// a browser that was led here by a name that resolves to loopback (DNS rebinding).
    Host,
    /// `CONNECT` or `TRACE`.
    Method,
    /// Not a head of RFC 9112, or one that two readers could read differently; says which rule.
    Malformed(&'static str),
    /// Not a target of RFC 9112, or not in origin-form; says which rule.
    Target(&'static str),
    /// The target is longer than [`route::TARGET_BYTES_MAX`].
    TargetTooLong,
    /// Not complete in time.
    TooSlow,
    /// More bytes or fields than the limits.
    TooLarge,
    /// Neither HTTP/1.1 nor HTTP/2.
    Version,
}

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        // A code is the status and one digit; the table test holds every code to it.
        StatusCode::from_u16(self.code() / 10).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The stable number in `Lychgate.NNNN`.
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            Self::AttributesUnavailable => 5031,
            Self::CloudRefusesKey => 5021,
            Self::Connect => 5022,
            Self::Denied { denial, .. } => match denial.reason {
                policy::Reason::ExplicitDeny => 4031,
                policy::Reason::OutsideGuardrails => 4032,
                policy::Reason::NothingAllows => 4033,
            },
            Self::Forward(fault) => fault.code(),
            Self::Head(fault) => fault.code(),
            Self::Identity(error) => identity_code(error),
            Self::Internal => 5001,
            Self::Ledger => 5032,
            Self::NoCloudCredential => 5034,
            Self::NoPolicies => 5037,
            Self::NothingSent => 5041,
            Self::OutcomeUnknown => 5042,
            Self::Overloaded => 5035,
            Self::ProjectNotServed => 4042,
            Self::Rate => 4291,
            Self::Route(error) => route_code(*error),
            Self::Stopping => 5036,
            Self::UnusableAnswer => 5023,
        }
    }

    /// The connection cannot be trusted to be in step any more and is closed after the answer.
    #[must_use]
    pub fn closes(&self) -> bool {
        matches!(self, Self::Head(_) | Self::Stopping)
    }
}

/// What the caller reads in `error_msg`.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied { principal, resource, denial, named } => {
                let action = policy::ACTION;
                write!(f, "`{principal}` may not perform `{action}` on `{resource}`: ")?;
                match (denial.reason, &denial.statement) {
                    (policy::Reason::ExplicitDeny, Some(statement)) if *named => {
                        write!(f, "denied by `{statement}`")
                    }
                    (policy::Reason::ExplicitDeny, _) => f.write_str("a policy denies it"),
                    (policy::Reason::OutsideGuardrails, _) => {
                        f.write_str("it is outside what the guardrails allow")
                    }
                    (policy::Reason::NothingAllows, _) => {
                        f.write_str("no policy that is attached to it allows this")
                    }
                }
            }
            Self::Forward(fault) => write!(f, "{fault}"),
            Self::Head(fault) => write!(f, "{fault}"),
            Self::Identity(error) => write!(f, "{error}"),
            Self::Route(error) => write!(f, "{error}"),
            it => f.write_str(it.plain_message()),
        }
    }
}

impl Refusal {
    fn plain_message(&self) -> &'static str {
        match self {
            Self::AttributesUnavailable => {
                "the job's attributes could change the answer and cannot be looked up now; nothing was sent"
            }
            Self::CloudRefusesKey => {
                "ModelArts refuses the gate's own credential; this is not about your credential"
            }
            Self::Connect => "cannot connect to ModelArts; nothing was sent",
            Self::Internal => "an internal error",
            Self::Ledger => "the decision cannot be recorded now; nothing was sent",
            Self::NoCloudCredential => {
                "the gate has no credential for ModelArts now; nothing was sent"
            }
            Self::NoPolicies => "the gate has no policies yet; nothing was sent",
            Self::NothingSent => "no connection to ModelArts in time; nothing was sent",
            Self::OutcomeUnknown => {
                "the delete was sent and ModelArts did not answer; look at the job, or repeat the delete: that is safe"
            }
            Self::Overloaded => "the gate is at its limit of requests; nothing was sent",
            Self::ProjectNotServed => "this gate serves no such project",
            Self::Rate => "too many requests of this principal",
            Self::Stopping => "the gate is stopping; nothing was sent",
            Self::UnusableAnswer => "ModelArts gave an answer that cannot be passed on",
            Self::Denied { .. }
            | Self::Forward(_)
            | Self::Head(_)
            | Self::Identity(_)
            | Self::Route(_) => "",
        }
    }
}

impl fmt::Display for ForwardFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "this forwarder cannot connect to the gate; nothing was sent",
            Self::NothingSent => {
                "this forwarder got no connection to the gate in time; nothing was sent"
            }
            Self::NoToken => "this forwarder has no token for the gate now; nothing was sent",
            Self::OutcomeUnknown => {
                "the delete was sent to the gate, which did not answer; look at the job, or repeat the delete: that is safe"
            }
            Self::UnusableAnswer => {
                "what this forwarder took for the gate gave an answer that cannot be passed on"
            }
        })
    }
}

impl ForwardFault {
    fn code(self) -> u16 {
        match self {
            Self::Connect => 5022,
            Self::NothingSent => 5041,
            Self::NoToken => 5034,
            Self::OutcomeUnknown => 5042,
            Self::UnusableAnswer => 5023,
        }
    }
}

impl fmt::Display for HeadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => f.write_str("this route takes no body"),
            Self::Host => f.write_str(
                "this listener serves its own machine only: the Host must be localhost, an address in 127.0.0.0/8 or [::1]",
            ),
            Self::Malformed(rule) => write!(f, "the request head is malformed: {rule}"),
            Self::Method => f.write_str("only DELETE goes through this gate"),
            Self::Target(rule) => write!(f, "the request target is malformed: {rule}"),
            Self::TargetTooLong => write!(f, "{}", route::Error::TooLong),
            Self::TooLarge => f.write_str("the request head has too many bytes or fields"),
            Self::TooSlow => f.write_str("the request head did not arrive in time"),
            Self::Version => f.write_str("use HTTP/1.1 or HTTP/2"),
        }
    }
}

impl HeadFault {
    fn code(self) -> u16 {
        match self {
            Self::Body => 4007,
            Self::Host | Self::Malformed(_) => 4006,
            Self::Method => 4051,
            Self::Target(_) => 4001,
            Self::TargetTooLong => 4141,
            Self::TooLarge => 4311,
            Self::TooSlow => 4081,
            Self::Version => 5051,
        }
    }
}

fn identity_code(error: &authn::Error) -> u16 {
    match error {
        authn::Error::Audience => 4015,
        authn::Error::Expired(_) => 4014,
        authn::Error::KeysUnavailable => 5033,
        authn::Error::NoCredential => 4011,
        authn::Error::Project { .. } | authn::Error::Unsigned(_) => 4019,
        authn::Error::SeveralCredentials => 4012,
        authn::Error::Signature => 4018,
        authn::Error::Skew { .. } => 4017,
        authn::Error::Certificate(_) | authn::Error::Token(_) => 4013,
        authn::Error::UnknownKey(_) => 4016,
    }
}

fn route_code(error: route::Error) -> u16 {
    match error {
        route::Error::BatchDelete => 4052,
        route::Error::JobId(_) => 4005,
        route::Error::Malformed(_) => 4001,
        route::Error::Method => 4051,
        route::Error::ProjectId => 4004,
        route::Error::ProjectPlaceholder => 4003,
        route::Error::Query => 4002,
        route::Error::TooLong => 4141,
        route::Error::Unknown => 4041,
    }
}
