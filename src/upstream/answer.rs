//! What the cloud answered, reduced to what may be passed on, and what its error codes mean for us.

use crate::client;
use crate::object::Object;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;

/// The longest body that is passed on, in bytes, but for that of a job or a batch.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// The longest details or tags answer that is read, in bytes, and a gate's to a batch.
pub const FOUND_BYTES_MAX: usize = 1024 * 1024;

/// How long the body of an accepted delete is waited for; it says nothing.
const ACCEPTED_BODY: Duration = Duration::from_secs(1);

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Front-gateway codes that speak of the key, the token or the clock, after the prefix `APIG` or
/// `APIGW` (API Gateway user guide, error codes).
const FRONT_KEY_CODES: &[&str] = &["0301", "0303", "0305", "0307"];

/// ModelArts codes that speak of the key or the token, with 401 (API reference, error codes).
const KEY_CODES: &[&str] = &[
    "ModelArts.0201",
    "ModelArts.0202",
    "ModelArts.0203",
    "ModelArts.0204",
    "ModelArts.0205",
    "ModelArts.0206",
    "ModelArts.0207",
    "ModelArts.0208",
    "ModelArts.0209",
    "ModelArts.0212",
];

/// Those that say so with 403: an AK or SK that is not valid. Any other 403 concerns the request.
const FORBIDDEN_KEY_CODES: &[&str] = &["ModelArts.0203", "ModelArts.0206", "ModelArts.2784"];

/// ModelArts says "training job not found" with status 400 (API reference, error codes).
const NO_SUCH_JOB: &str = "ModelArts.2775";

/// An answer of the cloud: status, body, and the headers of an allow-list.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status as it came.
    pub status: StatusCode,
    /// JSON or text; `None` without a body.
    pub content_type: Option<HeaderValue>,
    /// As it came.
    pub retry_after: Option<HeaderValue>,
    /// Upstream's request ID, which Huawei's support asks for.
    pub request_id: Option<HeaderValue>,
    /// At most [`BODY_BYTES_MAX`], or [`FOUND_BYTES_MAX`] of a job or a batch.
    pub body: Bytes,
    code: Option<String>,
}

/// Why an answer cannot be passed on.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The body broke off or is too long.
    #[error("the body cannot be read")]
    Body(#[from] client::ReadError),
    /// A 1xx as the last word: nothing was decided, and a 101 would leave HTTP.
    #[error("the cloud answered with an interim status only")]
    Interim,
    /// Following it would send the signed request somewhere else.
    #[error("the cloud answered with a redirect")]
    Redirect,
    /// Neither JSON nor text, or encoded.
    #[error("the body is neither JSON nor text, or is encoded")]
    Type,
}

impl Answer {
    /// Reads `response` of at most `max` bytes, without `secrets` that it may echo. The body of a 2xx
    /// is read only to keep the connection in step; it is dropped, because the documented `""` makes
    /// two of the official SDKs fail.
    ///
    /// # Errors
    /// When the answer is a redirect, or an error whose body cannot be passed on.
    pub async fn read(
        response: Response<Incoming>,
        max: usize,
        secrets: &[&str],
    ) -> Result<Self, Unusable> {
        let (head, body) = response.into_parts();
        if head.status.is_informational() {
            return Err(Unusable::Interim);
        }
        if head.status.is_redirection() {
            return Err(Unusable::Redirect);
        }
        if head.status.is_success() {
            // The status has decided: the job is accepted for deletion, whatever follows.
            drop(timeout(ACCEPTED_BODY, client::read(body, BODY_BYTES_MAX)).await);
            return Ok(Self::new(head.status, &head.headers, Bytes::new(), secrets));
        }
        let body = client::read(body, max).await?;
        if !body.is_empty() && !is_text(&head.headers) {
            return Err(Unusable::Type);
        }
        Ok(Self::new(head.status, &head.headers, without_secrets(body, secrets), secrets))
    }

    /// Reads a 200 for the sake of its body, without `secrets` that it may echo. Whoever passes it on
    /// has read it as JSON before.
    ///
    /// # Errors
    /// When the body cannot be read, or is longer than [`FOUND_BYTES_MAX`].
    pub async fn found(response: Response<Incoming>, secrets: &[&str]) -> Result<Self, Unusable> {
        let (head, body) = response.into_parts();
        let body = without_secrets(client::read(body, FOUND_BYTES_MAX).await?, secrets);
        Ok(Self {
            status: head.status,
            content_type: Some(HeaderValue::from_static("application/json")),
            retry_after: None,
            request_id: header(&head.headers, X_REQUEST_ID, secrets),
            body,
            code: None,
        })
    }

    fn new(status: StatusCode, headers: &HeaderMap, body: Bytes, secrets: &[&str]) -> Self {
        let header = |name| header(headers, name, secrets);
        Self {
            status,
            content_type: header(CONTENT_TYPE).filter(|_| !body.is_empty()),
            retry_after: header(RETRY_AFTER),
            request_id: header(X_REQUEST_ID),
            code: error_code(&body),
            body,
        }
    }

    /// The cloud's error code, such as `ModelArts.2775`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// ModelArts says that the job does not exist. Any other 404 (a route that is not published, a
    /// page of a proxy, another project) says nothing about the job.
    #[must_use]
    pub fn is_no_such_job(&self) -> bool {
        matches!(self.status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND)
            && self.code.as_deref() == Some(NO_SUCH_JOB)
    }

    /// The job does not exist, or what is asked about it does not. A caller who may know it gets
    /// this answer instead of a decision.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND || self.is_no_such_job()
    }

    /// A 401 that speaks of our key, token or clock, or a 403 of a key that is not valid. A 401
    /// without a readable code counts too, because five such in a row would lock the key;
    /// `ModelArts.0112` and `0210` concern this request only. Texts are not looked at: two codes
    /// share that of a job that does not exist.
    #[must_use]
    pub fn refuses_key(&self) -> bool {
        if self.status == StatusCode::FORBIDDEN {
            return self.code.as_deref().is_some_and(|it| FORBIDDEN_KEY_CODES.contains(&it));
        }
        if self.status != StatusCode::UNAUTHORIZED {
            return false;
        }
        let Some(code) = self.code.as_deref() else { return true };
        let front = ["APIG.", "APIGW."].iter().find_map(|it| code.strip_prefix(it));
        KEY_CODES.contains(&code) || front.is_some_and(|it| FRONT_KEY_CODES.contains(&it))
    }

    /// The service itself has answered, which it does only to a key that the front has verified;
    /// not for an answer that [refuses the key](Self::refuses_key).
    #[must_use]
    pub fn proves_key(&self) -> bool {
        self.status.is_success()
            || self.code.as_deref().is_some_and(|it| it.starts_with("ModelArts."))
    }

    /// Upstream's request ID as text.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_ref().and_then(|it| it.to_str().ok())
    }
}

/// The request ID of an answer that may not be usable otherwise.
pub(super) fn request_id(headers: &HeaderMap, secrets: &[&str]) -> Option<String> {
    header(headers, X_REQUEST_ID, secrets)?.to_str().ok().map(str::to_owned)
}

fn header(headers: &HeaderMap, name: HeaderName, secrets: &[&str]) -> Option<HeaderValue> {
    headers.get(name).filter(|it| !echoes(it, secrets)).cloned()
}

fn is_text(headers: &HeaderMap) -> bool {
    // What nobody asked to be compressed can neither be read nor searched for what it must not echo.
    let is_plain = headers.get(CONTENT_ENCODING).is_none_or(|it| it == "identity");
    is_plain
        && headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).is_some_and(|it| {
            let media = it.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            media == "application/json" || media.ends_with("+json") || media == "text/plain"
        })
}

fn error_code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        error_code: String,
    }
    serde_json::from_slice::<Object<Body>>(body).ok().map(|it| it.0.error_code)
}

/// The value of a header holds a secret.
#[must_use]
pub fn echoes(value: &HeaderValue, secrets: &[&str]) -> bool {
    let text = String::from_utf8_lossy(value.as_bytes());
    secrets.iter().any(|it| !it.is_empty() && text.contains(it))
}

/// An error page that echoes the request must not hand our credential to the caller.
fn without_secrets(body: Bytes, secrets: &[&str]) -> Bytes {
    let found = |text: &str| secrets.iter().any(|it| text.contains(it));
    let text = String::from_utf8_lossy(&body);
    // JSON can write a token in other letters, `\/` and `\u003d`; written anew it has its own.
    let escaped = body.contains(&b'\\').then(|| serde_json::from_slice::<Value>(&body));
    let anew = escaped.and_then(Result::ok).map(|it| it.to_string());
    let plain = anew.as_deref().unwrap_or(&text);
    if !found(&text) && !found(plain) {
        return body;
    }
    let mut plain = plain.to_owned();
    for secret in secrets {
        plain = plain.replace(secret, "[withheld]");
    }
    Bytes::from(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer::new(status, &HeaderMap::new(), Bytes::copy_from_slice(body.as_bytes()), &[])
    }

    fn with_code(status: u16, code: &str) -> Answer {
        answer(status, &format!(r#"{{"error_msg":"m","error_code":"{code}"}}"#))
    }

    #[test]
    fn the_code_of_a_401_tells_whose_fault_it_is() {
        for (status, code, ours) in [
            (401, "APIG.0301", true),
            (401, "APIGW.0301", true),
            (401, "APIG.0303", true),
            (401, "APIG.0305", true),
            (401, "APIG.0307", true),
            (401, "ModelArts.0201", true),
            (401, "ModelArts.0207", true),
            (401, "ModelArts.0208", true),
            (401, "ModelArts.0209", true),
            (401, "ModelArts.0212", true),
            (403, "ModelArts.0203", true),
            (403, "ModelArts.0206", true),
            (403, "ModelArts.2784", true),
            (403, "ModelArts.0108", false),
            (403, "ModelArts.0112", false),
            (403, "ModelArts.0208", false),
            (403, "ModelArts.2785", false),
            // A workspace's policy says no: a denial, of this request, with status 400.
            (400, "ModelArts.2838", false),
            (400, "ModelArts.0203", false),
            (401, "ModelArts.0428", false),
            (401, "ModelArts.0112", false),
            (401, "ModelArts.0210", false),
            (401, "APIG.0302", false),
            (403, "APIG.0301", false),
            (400, "ModelArts.0210", false),
        ] {
            assert_eq!(with_code(status, code).refuses_key(), ours, "{status} {code}");
        }
        for body in ["", "<html>", "{}", r#"{"error_code":7}"#, r#"["ModelArts.0112"]"#] {
            assert!(answer(401, body).refuses_key(), "{body}");
            assert!(!answer(403, body).refuses_key(), "{body}");
        }
    }

    #[test]
    fn an_unknown_job_is_told_by_status_and_code() {
        assert!(with_code(400, "ModelArts.2775").is_no_such_job());
        assert!(with_code(404, "ModelArts.2775").is_no_such_job());
        for other in [
            answer(404, ""),
            answer(404, "<html>"),
            with_code(404, "APIG.0101"),
            with_code(404, "ModelArts.2786"),
            with_code(404, "ModelArts.2836"),
            with_code(404, "ModelArts.2890"),
        ] {
            assert!(other.is_not_found() && !other.is_no_such_job(), "{other:?}");
        }
        assert!(!with_code(400, "ModelArts.2788").is_no_such_job());
        let experiment =
            r#"{"error_code":"ModelArts.2842","error_msg":"Training job x is not found."}"#;
        assert!(
            !answer(400, experiment).is_no_such_job() && !answer(400, experiment).is_not_found()
        );
        assert!(!with_code(403, "ModelArts.2775").is_no_such_job());
        assert!(!answer(400, "ModelArts.2775").is_no_such_job());
    }

    #[test]
    fn only_json_and_text_is_passed_on() {
        for (value, expected) in [
            ("application/json", true),
            ("application/json;charset=UTF-8", true),
            ("Application/Problem+JSON", true),
            ("text/plain", true),
            ("text/html", false),
            ("application/octet-stream", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            assert_eq!(is_text(&headers), expected, "{value}");
            for (encoding, is_read) in [("identity", true), ("gzip", false), ("", false)] {
                headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
                assert_eq!(is_text(&headers), expected && is_read, "{value} {encoding}");
            }
        }
        assert!(!is_text(&HeaderMap::new()));
    }

    /// Attack 78.
    #[test]
    fn an_echo_of_our_credential_is_withheld() {
        let secrets = ["OURKEY", "TOK/EN+="];
        let clean = |it: &str| without_secrets(Bytes::copy_from_slice(it.as_bytes()), &secrets);
        assert_eq!(clean("a OURKEY b TOK/EN+= OURKEY"), "a [withheld] b [withheld] [withheld]");
        assert_eq!(clean("nothing of ours"), "nothing of ours");
        assert_eq!(clean(r#"{"a": "TOK\/EN+\u003d"}"#), r#"{"a":"[withheld]"}"#);
        assert_eq!(clean(r#"{"a": "a\/b"}"#), r#"{"a": "a\/b"}"#);
    }
}
