//! What the service says, and how it refuses: the documented codes with their statuses.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use uuid::Uuid;

/// Where the SDKs look for the request ID.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An answer before it gets its `Date` and `X-Request-Id`.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Seconds added to the `Date` header.
    pub(super) date_offset_s: i64,
    /// The value of `X-Request-Id`.
    pub(super) request_id: String,
}

impl Answer {
    /// Without body and content type.
    pub(super) fn empty(status: StatusCode) -> Self {
        let request_id = Uuid::new_v4().simple().to_string();
        Self { status, headers: HeaderMap::new(), body: Bytes::new(), date_offset_s: 0, request_id }
    }

    pub(super) fn json(status: StatusCode, body: &Value) -> Self {
        Self::with_type(status, "application/json", body.to_string().into())
    }

    pub(super) fn with_type(status: StatusCode, content_type: &'static str, body: Bytes) -> Self {
        let mut answer = Self::empty(status);
        answer.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        answer.body = body;
        answer
    }

    /// The service's own refusals have no `request_id` in their body (ModelArts API reference,
    /// Response); those of the front gateway have one.
    pub(super) fn refusal(status: StatusCode, code: &str, message: &str) -> Self {
        let mut answer = Self::json(status, &json!({"error_code": code, "error_msg": message}));
        if code.starts_with("APIG.") {
            let id = &answer.request_id;
            let body = json!({"error_code": code, "error_msg": message, "request_id": id});
            answer.body = body.to_string().into();
        }
        answer
    }

    /// 401 `APIG.0301`: the front gateway could not verify the key.
    pub(super) fn key_refused(why: &str) -> Self {
        let message = format!("Incorrect IAM authentication information: {why}");
        Self::refusal(StatusCode::UNAUTHORIZED, "APIG.0301", &message)
    }

    /// 401 `ModelArts.0112`: a good key without the permission.
    pub(super) fn permission_refused() -> Self {
        let message = "Authentication failed. The policy or workspace does not permit it.";
        Self::refusal(StatusCode::UNAUTHORIZED, "ModelArts.0112", message)
    }

    /// 403 `ModelArts.0108`.
    pub(super) fn forbidden() -> Self {
        let message = "The user is not authorized to perform the operation.";
        Self::refusal(StatusCode::FORBIDDEN, "ModelArts.0108", message)
    }

    /// 403 `ModelArts.0210`.
    pub(super) fn wrong_project() -> Self {
        let message = "The project ID in the URL does not match that of the credential.";
        Self::refusal(StatusCode::FORBIDDEN, "ModelArts.0210", message)
    }

    /// 400 `ModelArts.2775`: 400 and not 404, as documented.
    pub(super) fn no_such_job(id: &str) -> Self {
        let message = format!("The training job {id} is not found.");
        Self::refusal(StatusCode::BAD_REQUEST, "ModelArts.2775", &message)
    }

    /// 400 `ModelArts.0104`.
    pub(super) fn bad_parameter(what: &str) -> Self {
        Self::refusal(StatusCode::BAD_REQUEST, "ModelArts.0104", &format!("Bad parameter: {what}"))
    }

    /// 404 `APIG.0101`: the front gateway knows no such API.
    pub(super) fn no_such_api() -> Self {
        let message = "The API does not exist or has not been published in the environment";
        Self::refusal(StatusCode::NOT_FOUND, "APIG.0101", message)
    }

    /// 405 `ModelArts.2803`.
    pub(super) fn wrong_method() -> Self {
        let message = "The request method is not allowed.";
        Self::refusal(StatusCode::METHOD_NOT_ALLOWED, "ModelArts.2803", message)
    }

    /// 413 `APIG.0201`.
    pub(super) fn body_too_large() -> Self {
        Self::refusal(StatusCode::PAYLOAD_TOO_LARGE, "APIG.0201", "Request entity too large")
    }

    /// 429 `ModelArts.2799` with `Retry-After`.
    pub(super) fn throttled(retry_after_s: u32) -> Self {
        let mut answer = Self::refusal(
            StatusCode::TOO_MANY_REQUESTS,
            "ModelArts.2799",
            "Too many requests. Try again later.",
        );
        answer.headers.insert(header::RETRY_AFTER, retry_after_s.into());
        answer
    }

    /// 500 `ModelArts.0010`.
    pub(super) fn internal() -> Self {
        Self::refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "ModelArts.0010",
            "Internal error. Contact technical support.",
        )
    }
}
