//! One request while it is worked on: its IDs, its trace, and what will be told about it.

use super::Refusal;
use crate::authn::Peer;
use crate::metrics::{Decision, InFlight, Metrics, Origin};
use crate::policy::Job;
use crate::telemetry::{Summary, Trace, Tracer};

use axum::body::Body;
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use jiff::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

/// The longest request ID of a caller that is recorded, in characters.
const CALLER_REQUEST_ID_MAX: usize = 64;

/// What is told about a request whose client left before anything was decided; nobody receives it.
/// nginx's number for it.
const CLIENT_LEFT: u16 = 499;

/// A request in flight. It ends in [`Exchange::finish`]; dropped before, its client has left or its
/// task has panicked.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) id: Uuid,
    pub(crate) request_id: String,
    /// The caller's own, if it sent a printable one.
    pub(crate) caller_request_id: Option<String>,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) facts: Facts,
    /// Counts against `limits.in_flight` while the request is worked on.
    pub(crate) slot: Option<OwnedSemaphorePermit>,
    /// Counts against the upstream's `in_flight` likewise.
    pub(crate) upstream_slot: Option<OwnedSemaphorePermit>,
    pub(crate) trace: Trace,
    ended: bool,
    secure: bool,
    method: Method,
    metrics: Metrics,
    _in_flight: InFlight,
}

/// What has become known of a request so far.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) principal: Option<String>,
    pub(crate) job: Option<Arc<Job>>,
    pub(crate) decision: Option<Decision>,
    pub(crate) statement: Option<String>,
    pub(crate) upstream: Option<String>,
    pub(crate) upstream_request_id: Option<String>,
}

impl Exchange {
    pub(crate) fn begin(
        head: &Parts,
        peer: &Peer,
        tracer: &Tracer,
        metrics: &Metrics,
        now: Timestamp,
    ) -> Self {
        let id = Uuid::new_v4();
        Self {
            id,
            request_id: id.to_string(),
            caller_request_id: caller_request_id(&head.headers),
            peer: peer.address,
            facts: Facts::default(),
            slot: None,
            upstream_slot: None,
            trace: tracer.begin(&head.headers, now),
            ended: false,
            secure: peer.secure,
            method: head.method.clone(),
            metrics: metrics.clone(),
            _in_flight: metrics.in_flight(),
        }
    }

    /// Ends the exchange with `response`.
    pub(crate) fn finish(
        mut self,
        response: Response<Body>,
        origin: Origin,
        error_code: Option<u16>,
    ) -> Response<Body> {
        self.end(response.status(), origin, error_code);
        response
    }

    fn end(&mut self, status: StatusCode, origin: Origin, error_code: Option<u16>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let Facts { principal, job, decision, statement, upstream, upstream_request_id } =
            &self.facts;
        let took = self.trace.finish(&Summary {
            secure: self.secure,
            error_code,
            principal: principal.as_deref(),
            job: job.as_deref(),
            decision: *decision,
            statement: statement.as_deref(),
            upstream: upstream.as_deref(),
            upstream_request_id: upstream_request_id.as_deref(),
            ..Summary::new(&self.request_id, &self.method, status, origin)
        });
        self.metrics.request(status, origin, error_code, took);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let refusal = Refusal::Internal;
            return self.end(refusal.status(), Origin::Gateway, Some(refusal.code()));
        }
        let left = StatusCode::from_u16(CLIENT_LEFT).unwrap_or(StatusCode::BAD_REQUEST);
        self.end(left, Origin::Gateway, None);
    }
}

fn caller_request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    let printable = id.bytes().all(|it| it.is_ascii_graphic() || it == b' ');
    (printable && (1..=CALLER_REQUEST_ID_MAX).contains(&id.len())).then(|| id.to_owned())
}
