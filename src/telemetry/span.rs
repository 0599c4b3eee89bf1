//! A finished trace → the spans of OpenTelemetry. Attribute names are those of its semantic
//! conventions for HTTP, and `lychgate.*` for what only a gate has.

use super::request;
use super::request::Summary;
use super::stage::{Stage, Timed};
use super::trace::Trace;
use crate::metrics::{Decision, Origin};
use crate::policy::Job;

use http::Method;
use jiff::Timestamp;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::borrow::Cow;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

impl Trace {
    /// Ends the request: writes its log line, hands its spans to the exporter if it is sampled,
    /// and says how long it took. Never waits.
    pub fn finish(&self, summary: &Summary<'_>) -> Duration {
        let ended = Instant::now();
        let took = ended.duration_since(self.started);
        request::log(summary, self.trace_id(), took, self.strangers());
        if let Some(exporter) = self.exporter() {
            exporter.export(spans(self, summary, ended));
        }
        took
    }
}

/// The server span, then its children in the order in which the stages ended.
fn spans(trace: &Trace, summary: &Summary<'_>, ended: Instant) -> Vec<SpanData> {
    let scope =
        InstrumentationScope::builder("lychgate").with_version(env!("CARGO_PKG_VERSION")).build();
    let time = |at: Instant| wall(trace.begun, at.duration_since(trace.started));
    let blank = |span_id| SpanData {
        span_context: SpanContext::new(
            trace.here.trace_id,
            span_id,
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: Cow::Borrowed(""),
        start_time: time(trace.started),
        end_time: time(ended),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: scope.clone(),
    };
    let server = SpanData {
        parent_span_id: trace.parent.unwrap_or(SpanId::INVALID),
        parent_span_is_remote: trace.parent.is_some(),
        span_kind: SpanKind::Server,
        name: server_name(summary),
        attributes: server_attributes(summary),
        // For a server, only its own failures are errors; a denial is not one.
        status: match summary.status.is_server_error() {
            true => Status::error(""),
            false => Status::Unset,
        },
        ..blank(trace.here.span_id)
    };
    let done = trace.done();
    let children = done.iter().map(|stage| {
        let (kind, status) = match &stage.call {
            Some(call) if call.failed => (SpanKind::Client, Status::error("")),
            Some(_) => (SpanKind::Client, Status::Unset),
            None => (SpanKind::Internal, Status::Unset),
        };
        let (name, attributes) = stage_attributes(stage);
        SpanData {
            parent_span_id: trace.here.span_id,
            span_kind: kind,
            name,
            start_time: time(stage.started),
            end_time: time(stage.ended),
            attributes,
            status,
            ..blank(stage.span_id)
        }
    });
    std::iter::once(server).chain(children).collect()
}

fn server_name(summary: &Summary<'_>) -> Cow<'static, str> {
    // Only a request that is a delete of a job is named after that route.
    match method(summary.method) {
        Some("DELETE") if summary.job.is_some() => Cow::Owned(format!("DELETE {}", Job::PATH)),
        Some(method) => Cow::Borrowed(method),
        None => Cow::Borrowed("HTTP"),
    }
}

/// The name of a stage and, of one that calls an upstream, what is called there.
fn stage_attributes(stage: &Timed) -> (Cow<'static, str>, Vec<KeyValue>) {
    let (method, template) = match stage.stage {
        Stage::Details => ("GET", Job::PATH),
        Stage::Forward => ("DELETE", Job::PATH),
        Stage::ForwardBatch => ("POST", "/v2/{project_id}/training-jobs/batch-delete"),
        Stage::Tags => ("GET", Job::TAGS_PATH),
        Stage::Authenticate => return (Cow::Borrowed("authenticate"), Vec::new()),
        Stage::Evaluate => return (Cow::Borrowed("evaluate"), Vec::new()),
        Stage::Parse => return (Cow::Borrowed("parse"), Vec::new()),
        Stage::Record => return (Cow::Borrowed("record"), Vec::new()),
        Stage::Sign => return (Cow::Borrowed("sign"), Vec::new()),
    };
    let mut res =
        vec![KeyValue::new("http.request.method", method), KeyValue::new("url.template", template)];
    res.extend(stage.call.iter().flat_map(|it| it.attributes.iter().cloned()));
    (Cow::Owned(format!("{method} {template}")), res)
}

fn server_attributes(summary: &Summary<'_>) -> Vec<KeyValue> {
    let mut res = vec![
        KeyValue::new("http.request.method", method(summary.method).unwrap_or("_OTHER")),
        KeyValue::new("http.response.status_code", i64::from(summary.status.as_u16())),
        KeyValue::new("url.scheme", if summary.secure { "https" } else { "http" }),
        KeyValue::new("lychgate.request_id", summary.request_id.to_owned()),
        KeyValue::new("lychgate.origin", summary.origin.as_str()),
    ];
    if let Some(job) = summary.job {
        // The target as it arrived is recorded only when it is the route.
        res.push(KeyValue::new("http.route", Job::PATH));
        res.push(KeyValue::new("url.path", job.path()));
    }
    if summary.status.is_server_error() {
        let error = match (summary.origin, summary.error_code) {
            (Origin::Gateway, Some(code)) => format!("Lychgate.{code}"),
            _ => summary.status.as_str().to_owned(),
        };
        res.push(KeyValue::new("error.type", error));
    }
    let words = [
        ("lychgate.principal", summary.principal),
        ("lychgate.identity", summary.stranger.map(|it| it.fault.as_str())),
        ("lychgate.issuer", summary.stranger.and_then(|it| it.issuer)),
        ("lychgate.key_id", summary.stranger.and_then(|it| it.key_id)),
        ("lychgate.access_key", summary.stranger.and_then(|it| it.access_key)),
        ("lychgate.project", summary.job.map(|it| it.project_id.as_str())),
        ("lychgate.job", summary.job.map(|it| it.training_job_id.as_str())),
        ("lychgate.decision", summary.decision.map(Decision::result)),
        ("lychgate.reason", summary.reason()),
        ("lychgate.statement", summary.statement),
        ("lychgate.undecided", summary.undecided),
        ("lychgate.upstream", summary.upstream),
        ("lychgate.upstream_request_id", summary.upstream_request_id),
    ];
    for (key, value) in words {
        res.extend(value.map(|it| KeyValue::new(key, it.to_owned())));
    }
    res.extend(
        summary.error_code.map(|it| KeyValue::new("lychgate.error_code", format!("Lychgate.{it}"))),
    );
    res
}

/// A known method; RFC 9110's and PATCH.
fn method(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 9] =
        ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
    KNOWN.into_iter().find(|it| *it == method.as_str())
}

/// The time of day at `after` the beginning; a clock before 1970 reads as 1970.
fn wall(begun: Timestamp, after: Duration) -> SystemTime {
    let begun = SystemTime::try_from(begun).unwrap_or(SystemTime::UNIX_EPOCH);
    begun.checked_add(after).unwrap_or(begun).max(SystemTime::UNIX_EPOCH)
}
