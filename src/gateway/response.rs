//! The two kinds of answer, with the headers that every answer carries.

use super::Refusal;
use crate::upstream::Answer;

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use uuid::Uuid;

pub(crate) const X_LYCHGATE_ORIGIN: HeaderName = HeaderName::from_static("x-lychgate-origin");
pub(crate) const X_LYCHGATE_REQUEST_ID: HeaderName =
    HeaderName::from_static("x-lychgate-request-id");
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// `Retry-After` is 1 to this many seconds, so that callers do not come back together.
const RETRY_AFTER_MAX: u8 = 10;

/// The error shape that all four official SDKs read (Python and Node.js core 3.1, Java
/// and Go v3, all tried).
#[derive(Serialize)]
struct ErrorBody<'a> {
    error_code: String,
    error_msg: &'a str,
    request_id: &'a str,
}

/// The gate's own answer.
pub(crate) fn refused(refusal: &Refusal, request_id: Uuid) -> Response<Body> {
    let id = request_id.to_string();
    let message = refusal.to_string();
    let body = ErrorBody {
        error_code: format!("Lychgate.{}", refusal.code()),
        error_msg: &message,
        request_id: &id,
    };
    // Three strings always serialise; an empty body would still carry the status.
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_LYCHGATE_ORIGIN, HeaderValue::from_static("gateway"));
    headers.insert(X_REQUEST_ID, header_value(&id));
    headers.insert(X_LYCHGATE_REQUEST_ID, header_value(&id));
    match refusal.status() {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("SDK-HMAC-SHA256"));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(header::ALLOW, HeaderValue::from_static("DELETE"));
        }
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            headers.insert(header::RETRY_AFTER, jitter(request_id));
        }
        _ => (),
    }
    if refusal.closes() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The cloud's answer, as much of it as [`Answer`] holds.
pub(crate) fn passed_on(answer: Answer, request_id: Uuid) -> Response<Body> {
    let id = header_value(&request_id.to_string());
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    insert(headers, header::CONTENT_TYPE, answer.content_type);
    insert(headers, header::RETRY_AFTER, answer.retry_after);
    insert(headers, X_REQUEST_ID, answer.request_id.or_else(|| Some(id.clone())));
    headers.insert(X_LYCHGATE_ORIGIN, HeaderValue::from_static("upstream"));
    headers.insert(X_LYCHGATE_REQUEST_ID, id);
    response
}

/// 202 for a delete whose answer was lost and whose job is gone.
pub(super) fn gone(request_id: Uuid) -> Response<Body> {
    let id = header_value(&request_id.to_string());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, id.clone());
    headers.insert(X_LYCHGATE_ORIGIN, HeaderValue::from_static("gateway"));
    headers.insert(X_LYCHGATE_REQUEST_ID, id);
    response
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value);
    }
}

fn jitter(request_id: Uuid) -> HeaderValue {
    // The ID is random, which is all that is needed here.
    let [.., random] = request_id.into_bytes();
    HeaderValue::from(u16::from(1 + random % RETRY_AFTER_MAX))
}

fn header_value(id: &str) -> HeaderValue {
    HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static(""))
}
