//! What the log line and the span of a finished request say about it: who asked for what, what was
//! decided, how it ended. No groups, claims, tags, job names or tokens.

use crate::metrics::{Decision, IdentityFault, Origin};
use crate::policy::Job;
use crate::trouble::Seldom;

use http::{Method, StatusCode};
use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;
use tracing::Span;

/// A finished request.
#[derive(Clone, Debug)]
pub struct Summary<'a> {
    /// The gate's own request ID.
    pub request_id: &'a str,
    /// The method that was asked for.
    pub method: &'a Method,
    /// The connection is TLS.
    pub secure: bool,
    /// The status of the answer.
    pub status: StatusCode,
    /// The number in `Lychgate.NNNN`, when the answer is an error of the gate.
    pub error_code: Option<u16>,
    /// Who made the answer.
    pub origin: Origin,
    /// Who asked, such as `corp/alice`; `None` before authentication.
    pub principal: Option<&'a str>,
    /// A caller whose identity is not known.
    pub stranger: Option<Stranger<'a>>,
    /// The training job, once the target is parsed.
    pub job: Option<&'a Job>,
    /// What the policies said, if they were asked.
    pub decision: Option<Decision>,
    /// The statement that decided.
    pub statement: Option<&'a str>,
    /// The keys that the policies ask for and that cannot be read, however often it is asked.
    pub undecided: Option<&'a str>,
    /// The upstream's configured name.
    pub upstream: Option<&'a str>,
    /// The upstream's `X-Request-Id`.
    pub upstream_request_id: Option<&'a str>,
    /// Why the answer is what it is, with its causes; for the log only.
    pub error: Option<&'a (dyn Error + 'static)>,
}

/// A caller whose identity is not known: why, from where, and who it claimed to be. None of that is
/// verified.
#[derive(Clone, Copy, Debug)]
pub struct Stranger<'a> {
    /// Why.
    pub fault: IdentityFault,
    /// The other end of the connection.
    pub peer: Option<IpAddr>,
    /// The issuer that its token names.
    pub issuer: Option<&'a str>,
    /// The key that its token names.
    pub key_id: Option<&'a str>,
    /// The access key ID of its signature.
    pub access_key: Option<&'a str>,
}

impl<'a> Summary<'a> {
    /// A request of which nothing is known yet but how it was answered.
    #[must_use]
    pub fn new(
        request_id: &'a str,
        method: &'a Method,
        status: StatusCode,
        origin: Origin,
    ) -> Self {
        Self {
            request_id,
            method,
            secure: false,
            status,
            error_code: None,
            origin,
            principal: None,
            stranger: None,
            job: None,
            decision: None,
            statement: None,
            undecided: None,
            upstream: None,
            upstream_request_id: None,
            error: None,
        }
    }

    /// Why a deny is a deny.
    pub(super) fn reason(&self) -> Option<&'static str> {
        self.decision.map(Decision::reason).filter(|it| *it != "none")
    }
}

/// The span that gives the log lines of a request its IDs. Enter it with
/// [`Instrument`](tracing::Instrument). It is there at level `info` only, because it costs more
/// than the trace; the closing line carries the IDs at every level.
#[must_use]
pub fn span(request_id: &str, trace_id: &str) -> Span {
    tracing::info_span!(target: "lychgate::request", "request", request_id, trace_id)
}

/// The closing line of a request. It is a warning where the gate itself could not do something, but
/// not each time where anybody at all can bring that about.
pub(super) fn log(summary: &Summary<'_>, trace_id: &str, took: Duration, strangers: &Seldom) {
    let is_stranger = summary.stranger.is_some_and(|it| it.fault == IdentityFault::KeysUnavailable);
    let told = if is_stranger { strangers.happened() } else { Some(0) };
    let left_out = told.filter(|it| *it != 0);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: "lychgate::request",
                parent: None,
                request_id = summary.request_id,
                trace_id,
                principal = summary.principal,
                identity = summary.stranger.map(|it| it.fault.as_str()),
                peer = summary.stranger.and_then(|it| it.peer).map(display),
                issuer = summary.stranger.and_then(|it| it.issuer),
                key_id = summary.stranger.and_then(|it| it.key_id),
                access_key = summary.stranger.and_then(|it| it.access_key),
                left_out,
                project = summary.job.map(|it| &*it.project_id),
                job = summary.job.map(|it| &*it.training_job_id),
                decision = summary.decision.map(Decision::result),
                reason = summary.reason(),
                statement = summary.statement,
                undecided = summary.undecided,
                status = summary.status.as_u16(),
                error_code = summary.error_code.map(|it| display(Code(it))),
                origin = summary.origin.as_str(),
                upstream = summary.upstream,
                upstream_request_id = summary.upstream_request_id,
                error = summary.error,
                // Microseconds are as exact as anybody can use.
                duration_ms = took.as_micros() as f64 / 1000.0,
                "request"
            )
        };
    }
    if told.is_none() {
        line!(debug);
    } else if summary.origin == Origin::Gateway && summary.status.is_server_error() {
        line!(warn);
    } else {
        line!(info);
    }
}

struct Code(u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lychgate.{}", self.0)
    }
}
