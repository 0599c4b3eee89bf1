//! Faults on demand: what goes wrong, at which operation, how often.

use super::answer::Answer;
use super::journal::Operation;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use std::time::Duration;

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The operation it happens to; `None` = any.
    pub operation: Option<Operation>,
    /// How many more times it happens; `None` = until it is cleared.
    pub times: Option<u32>,
    /// What passes before the effect.
    pub delay: Duration,
    /// What happens.
    pub effect: Effect,
}

impl Fault {
    /// `effect`, at every operation, until cleared.
    #[must_use]
    pub fn new(effect: Effect) -> Self {
        Self { operation: None, times: None, delay: Duration::ZERO, effect }
    }

    /// Only at `operation`.
    #[must_use]
    pub fn at(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only `times` times.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// `delay` later.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// What happens in place of, to, or after an ordinary answer.
///
/// Those from `Forbidden` to `Throttled` in the list answer before the request is looked at: the
/// signature is not checked, so the key's lock-out does not count them, and nothing is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// 403 `ModelArts.0108`.
    Forbidden,
    /// 500 `ModelArts.0010`.
    Internal,
    /// 401 `APIG.0301`: the key, its token or the clock is wrong.
    KeyRefused,
    /// 401 `ModelArts.0112`: the key is right and lacks the permission.
    PermissionRefused,
    /// These bytes and the end of the connection: for answers that are not HTTP.
    Raw {
        /// Sent as they are.
        text: String,
    },
    /// A 3xx with this `Location`.
    Redirect {
        /// 300–399.
        status: u16,
        /// The value of `Location`.
        location: String,
    },
    /// This status, headers and body; `Date` and `X-Request-Id` are added.
    Scripted {
        /// 200–599.
        status: u16,
        /// Names and values.
        headers: Vec<(String, String)>,
        /// The whole body.
        body: String,
    },
    /// 429 `ModelArts.2799` with `Retry-After`.
    Throttled {
        /// The value of `Retry-After`.
        retry_after_s: u32,
    },

    /// The connection is reset (RST).
    Reset {
        /// When.
        when: Reset,
    },

    /// Nothing but the delay: the request is carried out afterwards, if the client still waits.
    None,
    /// The right answer, after which the connection ends without having said so.
    Close,
    /// The right answer with a `Date` that is this many seconds off.
    DateOffset {
        /// Positive = in the future.
        seconds: i64,
    },
    /// The right answer with another one inside: `pool_id` of details, `tags` of tags, twice.
    DuplicateKeys,
    /// The right status with an HTML page.
    Html,
    /// The right answer, made this long by white space at its end.
    Huge {
        /// The length of the body in bytes.
        bytes: usize,
    },
    /// The right answer about another job.
    OtherJob,
    /// The request is carried out; no answer ever comes, and the connection stays open.
    Silent,
    /// The right answer as far as the middle of its body; no more ever comes, and the connection
    /// stays open.
    Stalled,
    /// The right answer that ends half way through its body, by a closed connection.
    Truncated,
    /// The right answer that ends half way through its JSON, properly framed.
    TruncatedJson,
    /// The right answer with a number for the pool ID, an object for the lists.
    WrongTypes,
}

/// When a connection is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// When the request has been read; nothing is carried out.
    Arrived,
    /// When the request has been carried out; the answer is never sent.
    Done,
    /// When the request's bytes wait to be read; they never are, so it is not recorded.
    Unread,
}

impl Effect {
    /// The answer of an effect that does not look at the request; `None` for the others.
    pub(super) fn answer(&self) -> Option<Answer> {
        Some(match self {
            Self::Forbidden => Answer::forbidden(),
            Self::Internal => Answer::internal(),
            Self::KeyRefused => Answer::key_refused("verify aksk signature fail"),
            Self::PermissionRefused => Answer::permission_refused(),
            Self::Redirect { status, location } => {
                scripted(*status, &[(header::LOCATION.to_string(), location.clone())], "")
            }
            Self::Scripted { status, headers, body } => scripted(*status, headers, body),
            Self::Throttled { retry_after_s } => Answer::throttled(*retry_after_s),
            _ => return None,
        })
    }

    /// Spoils a right answer.
    pub(super) fn spoil(&self, mut answer: Answer) -> Answer {
        match self {
            Self::DateOffset { seconds } => answer.date_offset_s = *seconds,
            Self::DuplicateKeys => answer.body = duplicate_keys(&answer.body),
            Self::Html => {
                let page = Bytes::from_static(b"<html><body><h1>Welcome</h1></body></html>");
                answer = Answer::with_type(answer.status, "text/html", page);
            }
            Self::Huge { bytes } => {
                let mut body = answer.body.to_vec();
                body.resize(*bytes, b' ');
                answer.body = body.into();
            }
            Self::OtherJob => {
                answer.body = edit(&answer.body, "/metadata/id", json!(OTHER_JOB));
            }
            Self::TruncatedJson => answer.body.truncate(answer.body.len() / 2),
            Self::WrongTypes => {
                for (pointer, value) in [
                    ("/spec/resource/pool_id", json!(7)),
                    ("/tasks", json!({})),
                    ("/status/phase", json!(["Running"])),
                    ("/tags", json!({"env": "prod"})),
                    ("/items", json!({})),
                ] {
                    answer.body = edit(&answer.body, pointer, value);
                }
            }
            _ => {}
        }
        answer
    }
}

/// The job that [`Effect::OtherJob`] describes.
const OTHER_JOB: &str = "ffffffff-ffff-4fff-bfff-ffffffffffff";

/// A status, header name or header value that HTTP does not allow is a bad fault, which a test
/// should see at once: it is answered with 500 and the reason.
fn scripted(status: u16, headers: &[(String, String)], body: &str) -> Answer {
    let Ok(status) = StatusCode::from_u16(status) else {
        return bad_fault("status");
    };
    let mut answer = Answer::empty(status);
    for (name, value) in headers {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            return bad_fault("header name");
        };
        let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) else {
            return bad_fault("header value");
        };
        answer.headers.append(name, value);
    }
    answer.body = Bytes::copy_from_slice(body.as_bytes());
    answer
}

fn bad_fault(what: &str) -> Answer {
    let message = format!("the fault that was ordered has a {what} that HTTP does not allow");
    Answer::refusal(StatusCode::INTERNAL_SERVER_ERROR, "Emulator.Fault", &message)
}

/// Sets the value at `pointer` where its parent object exists; other bodies stay as they are.
fn edit(body: &Bytes, pointer: &str, value: Value) -> Bytes {
    let Ok(mut json) = serde_json::from_slice::<Value>(body) else {
        return body.clone();
    };
    let Some((parent, key)) = pointer.rsplit_once('/') else {
        return body.clone();
    };
    let known = json.pointer(pointer).is_some() || pointer == "/spec/resource/pool_id";
    match json.pointer_mut(parent) {
        Some(Value::Object(object)) if known => {
            object.insert(key.to_owned(), value);
            json.to_string().into()
        }
        _ => body.clone(),
    }
}

/// The second of two equal keys is the true one, so that a reader that keeps the last does not
/// notice and one that keeps the first is wrong.
fn duplicate_keys(body: &Bytes) -> Bytes {
    let text = String::from_utf8_lossy(body);
    let text = text.replacen(
        r#""resource":{"#,
        r#""resource":{"pool_id":"pool-of-somebody-else","pool_id":"","#,
        1,
    );
    let text = match text.strip_prefix(r#"{"tags":"#) {
        Some(rest) => format!(r#"{{"tags":[],"tags":{rest}"#),
        None => text,
    };
    text.into()
}
