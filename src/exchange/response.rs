//! The kinds of answer, with the headers that every answer carries.

use super::{JobFault, Refusal};
use crate::metrics::Origin;
use crate::route;
use crate::upstream::Answer;

use axum::body::Body;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

pub(crate) const X_LYCHGATE_ORIGIN: HeaderName = HeaderName::from_static("x-lychgate-origin");
pub(crate) const X_LYCHGATE_REQUEST_ID: HeaderName =
    HeaderName::from_static("x-lychgate-request-id");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where nobody knows better, `Retry-After` is 1 to this many seconds, so that callers do not come
/// back together.
const RETRY_AFTER_MAX: u8 = 10;

/// The error shape that all four official SDKs read (Python and Node.js core 3.1, Java
/// and Go v3, all tried).
#[derive(Serialize)]
struct ErrorBody<'a> {
    error_code: String,
    error_msg: &'a str,
    request_id: &'a str,
    /// The jobs of a batch that it is about.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    jobs: &'a [JobFault],
}

/// The gate's own answer.
pub(crate) fn refused(refusal: &Refusal, request_id: &str) -> Response<Body> {
    let message = refusal.to_string();
    let body = ErrorBody {
        error_code: format!("Lychgate.{}", refusal.code()),
        error_msg: &message,
        request_id,
        jobs: match refusal {
            Refusal::Batch { jobs, .. } => jobs,
            _ => &[],
        },
    };
    // Strings always serialise; an empty body would still carry the status.
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let mut response = marked(refusal.status(), Body::from(body), "gateway", request_id);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match refusal.status() {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("SDK-HMAC-SHA256"));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            let batch = matches!(refusal, Refusal::Route(route::Error::BatchMethod));
            let allowed = if batch { "POST" } else { "DELETE, GET" };
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            let known = refusal.retry_after().map(HeaderValue::from);
            headers.insert(header::RETRY_AFTER, known.unwrap_or_else(jitter));
        }
        _ => (),
    }
    if refusal.closes() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What a caller gets whose request was carried out.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Every job of a batch is accepted or gone.
    AllDone,
    /// The cloud's answer, whatever it says.
    Answered(Answer),
    /// The cloud's answer was lost, and the job is gone.
    Gone,
    /// What the central gate said to a forwarder, with that gate's own marks.
    Relayed(Relayed),
}

/// An answer of the central gate, to be handed back as it came.
#[derive(Debug)]
pub(crate) struct Relayed {
    pub(crate) answer: Answer,
    pub(crate) origin: HeaderValue,
    pub(crate) request_id: HeaderValue,
    pub(crate) challenges: Vec<HeaderValue>,
}

impl Reply {
    /// The ID under which whoever answered knows the request.
    pub(super) fn upstream_request_id(&self) -> Option<&str> {
        match self {
            Self::Answered(answer) => answer.request_id(),
            Self::AllDone | Self::Gone => None,
            Self::Relayed(relayed) => relayed.request_id.to_str().ok(),
        }
    }

    /// The response, and who made it.
    pub(super) fn into_response(self, request_id: &str) -> (Response<Body>, Origin) {
        match self {
            Self::Answered(answer) => (passed_on(answer, request_id), Origin::Upstream),
            // As the cloud would say it.
            Self::AllDone | Self::Gone => {
                let accepted = marked(StatusCode::ACCEPTED, Body::empty(), "gateway", request_id);
                (accepted, Origin::Gateway)
            }
            Self::Relayed(relayed) => (handed_back(relayed, request_id), Origin::Upstream),
        }
    }
}

/// An answer with what all of them say: who made it, and under which ID.
fn marked(status: StatusCode, body: Body, origin: &'static str, id: &str) -> Response<Body> {
    let id = HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static(""));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(X_LYCHGATE_ORIGIN, HeaderValue::from_static(origin));
    headers.insert(X_REQUEST_ID, id.clone());
    headers.insert(X_LYCHGATE_REQUEST_ID, id);
    response
}

/// The cloud's answer, as much of it as [`Answer`] holds. Its own ID takes the place of ours.
fn passed_on(answer: Answer, request_id: &str) -> Response<Body> {
    let mut response = marked(answer.status, Body::from(answer.body), "upstream", request_id);
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, answer.content_type),
        (header::RETRY_AFTER, answer.retry_after),
        (X_REQUEST_ID, answer.request_id),
    ] {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    response
}

/// The central gate's answer: who answered, and under which ID, is for it to say.
fn handed_back(relayed: Relayed, id: &str) -> Response<Body> {
    let Relayed { answer, origin, request_id, challenges } = relayed;
    let mut response = passed_on(answer, id);
    let headers = response.headers_mut();
    headers.insert(X_LYCHGATE_ORIGIN, origin);
    headers.insert(X_LYCHGATE_REQUEST_ID, request_id);
    for challenge in challenges {
        headers.append(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

fn jitter() -> HeaderValue {
    HeaderValue::from(u16::from(fastrand::u8(1..=RETRY_AFTER_MAX)))
}
