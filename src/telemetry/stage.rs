//! The stages of a request's life, each timed from its start to its end.

use super::traceparent::Traceparent;

use http::{HeaderValue, StatusCode, Uri};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanId;
use tokio::time::Instant;

/// A part of a request's life. Those that call an upstream are spans of kind CLIENT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The credentials become a principal.
    Authenticate,
    /// GET of the job's details, or of the job at a central gate.
    Details,
    /// The policies are asked.
    Evaluate,
    /// The DELETE.
    Forward,
    /// The POST of a batch, to a central gate.
    ForwardBatch,
    /// The target becomes an operation.
    Parse,
    /// The ledger takes the decision.
    Record,
    /// The upstream request is signed.
    Sign,
    /// GET of the job's tags.
    Tags,
}

/// A stage that has started.
#[derive(Clone, Copy, Debug)]
#[must_use = "a stage that is not ended is not seen"]
pub struct Running {
    pub(super) stage: Stage,
    /// Its place in the trace: what it sends along, and its own span.
    pub(super) here: Traceparent,
    /// Nothing when the request is not sampled.
    pub(super) started: Option<Instant>,
}

impl Running {
    /// The `traceparent` to send with the upstream request of this stage.
    #[must_use]
    pub fn traceparent(&self) -> HeaderValue {
        self.here.header()
    }

    /// Ends a stage that calls nobody.
    pub fn end(self) -> Done {
        Done(self.started.map(|started| self.timed(started, None)))
    }

    /// Ends a stage that called an upstream.
    pub fn answered(self, answer: &Answer<'_>) -> Done {
        Done(self.started.map(|started| self.timed(started, Some(call(answer)))))
    }

    fn timed(self, started: Instant, call: Option<Call>) -> Timed {
        Timed {
            stage: self.stage,
            span_id: self.here.span_id,
            started,
            ended: Instant::now(),
            call,
        }
    }
}

/// What came out of calling an upstream.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The configured name of the upstream.
    pub upstream: &'a str,
    /// What was asked for, absolute.
    pub url: &'a Uri,
    /// The status, if there was an answer.
    pub status: Option<StatusCode>,
    /// What went wrong when there was none, as a word of a small set such as `timeout`.
    pub error: Option<&'static str>,
    /// The upstream's `X-Request-Id`.
    pub request_id: Option<&'a str>,
}

/// A stage that is over; empty when the request is not sampled.
#[derive(Debug)]
#[must_use = "a stage that is not added is not seen"]
pub struct Done(pub(super) Option<Timed>);

#[derive(Debug)]
pub(super) struct Timed {
    pub(super) stage: Stage,
    pub(super) span_id: SpanId,
    pub(super) started: Instant,
    pub(super) ended: Instant,
    pub(super) call: Option<Call>,
}

/// What a CLIENT span says beside its times.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) attributes: Vec<KeyValue>,
    pub(super) failed: bool,
}

/// The attributes of a call.
fn call(answer: &Answer<'_>) -> Call {
    let mut attributes = vec![
        KeyValue::new("url.full", answer.url.to_string()),
        KeyValue::new("lychgate.upstream", answer.upstream.to_owned()),
    ];
    if let Some(host) = answer.url.host() {
        attributes.push(KeyValue::new("server.address", host.to_owned()));
    }
    let default_port = if answer.url.scheme_str() == Some("http") { 80 } else { 443 };
    let port = answer.url.port_u16().unwrap_or(default_port);
    attributes.push(KeyValue::new("server.port", i64::from(port)));
    if let Some(status) = answer.status {
        attributes.push(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    }
    if let Some(request_id) = answer.request_id {
        attributes.push(KeyValue::new("lychgate.upstream_request_id", request_id.to_owned()));
    }
    // For a client, any answer from 400 on is an error; so is no answer.
    let failed_status = answer.status.filter(|it| it.as_u16() >= 400);
    let error = match (answer.error, failed_status) {
        (Some(error), _) => Some(error.to_owned()),
        (None, Some(status)) => Some(status.as_str().to_owned()),
        (None, None) => None,
    };
    let failed = error.is_some();
    attributes.extend(error.map(|it| KeyValue::new("error.type", it)));
    Call { attributes, failed }
}
