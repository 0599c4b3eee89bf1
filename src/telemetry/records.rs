//! Ledger records on their way to the collector: OTLP logs over HTTP, a request at a time, each
//! with its answer. Unlike spans they are not dropped: the sender keeps them until the collector
//! has taken them.

use super::export::{ANSWER_BYTES_MAX, Collector};
use super::{Error, UrlFault, export};
use crate::client::{self, Client};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use prost::Message;
use std::fmt;
use std::time::Duration;

/// A collector that takes records.
pub struct Records {
    client: Client,
    collector: Collector,
    endpoint: Uri,
    resource: Resource,
}

/// The collector's headers may hold a credential.
impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its ledger.
    pub ledger_id: &'a str,
    /// Its number there.
    pub seq: u64,
    /// When it was committed.
    pub time: Timestamp,
    /// What it is, in the ledger's own word.
    pub kind: &'a str,
    /// Its line, byte for byte.
    pub text: &'a str,
}

/// What the collector did not take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// How many records of the request; it says not to send them again.
    pub records: u64,
    /// Why, in the collector's words.
    pub message: String,
}

const PROTOBUF: &str = "application/x-protobuf";

/// Why a request was not taken. All of it can be sent again.
#[derive(Debug, thiserror::Error)]
pub enum Undelivered {
    /// No answer.
    #[error("the collector does not answer")]
    Unanswered(#[from] client::FetchError),
    /// A 2xx that is not a success of OTLP/HTTP (its specification, "OTLP/HTTP Response").
    #[error("what answered {status} is not an OTLP collector: a success is 200 with `{PROTOBUF}`")]
    NoSuccess {
        /// Its status.
        status: StatusCode,
    },
    /// An answer other than 2xx.
    #[error("the collector answers {status}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
}

impl Records {
    /// A connection to `collector`, opened by the first request.
    ///
    /// # Errors
    /// The collector's URL or its certificates are unusable.
    pub fn new(collector: &Collector) -> Result<Self, Error> {
        let endpoint = export::endpoint(&collector.endpoint, "logs")?;
        let resource = ResourceAttributesWithSchema::from(&export::resource(&collector.instance));
        Ok(Self {
            client: export::client(collector)?,
            collector: collector.clone(),
            endpoint: endpoint.parse().map_err(|_| UrlFault::Url)?,
            resource: Resource { attributes: resource.attributes.0, ..Resource::default() },
        })
    }

    /// Where they go.
    #[must_use]
    pub fn url(&self) -> &Uri {
        &self.endpoint
    }

    /// Sends `entries` in one request, and returns when the collector has taken them.
    ///
    /// # Errors
    /// As far as is known, it has not taken them.
    pub async fn send(&self, entries: &[Entry<'_>]) -> Result<Rejected, Undelivered> {
        let mut request = Request::new(Bytes::from(self.request(entries).encode_to_vec()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
        request.headers_mut().extend(self.collector.headers.clone());
        let limit = self.collector.timeout;
        let answer = client::fetch(&self.client, request, limit, ANSWER_BYTES_MAX).await?;
        let status = answer.status();
        if !status.is_success() {
            return Err(Undelivered::Refused { status, retry_after: retry_after(&answer) });
        }
        // What was delivered may be removed here one day, so that only a success as OTLP/HTTP
        // describes it counts: a proxy's page or another server's 204 does not.
        let media = answer.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let is_protobuf = media.is_some_and(|it| it.starts_with(PROTOBUF));
        let body = ExportLogsServiceResponse::decode(answer.into_body());
        let Ok(body) = body.map_err(drop).and_then(|it| match status {
            StatusCode::OK if is_protobuf => Ok(it),
            _ => Err(()),
        }) else {
            return Err(Undelivered::NoSuccess { status });
        };
        let partial = body.partial_success.unwrap_or_default();
        let records = u64::try_from(partial.rejected_log_records).unwrap_or_default();
        Ok(Rejected { records, message: partial.error_message })
    }

    fn request(&self, entries: &[Entry<'_>]) -> ExportLogsServiceRequest {
        let scope = InstrumentationScope {
            name: "lychgate".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let scope_logs = ScopeLogs {
            scope: Some(scope),
            log_records: entries.iter().map(log_record).collect(),
            ..ScopeLogs::default()
        };
        let resource_logs = ResourceLogs {
            resource: Some(self.resource.clone()),
            scope_logs: vec![scope_logs],
            ..ResourceLogs::default()
        };
        ExportLogsServiceRequest { resource_logs: vec![resource_logs] }
    }
}

fn log_record(entry: &Entry<'_>) -> LogRecord {
    let text = |it: &str| AnyValue { value: Some(Value::StringValue(it.to_owned())) };
    let number = |it: u64| AnyValue { value: i64::try_from(it).ok().map(Value::IntValue) };
    let attribute = |key: &str, value| KeyValue {
        key: key.to_owned(),
        value: Some(value),
        ..KeyValue::default()
    };
    let time = u64::try_from(entry.time.as_nanosecond()).unwrap_or_default();
    LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: time,
        severity_number: SeverityNumber::Info.into(),
        severity_text: "INFO".to_owned(),
        body: Some(text(entry.text)),
        attributes: vec![
            attribute("lychgate.ledger_id", text(entry.ledger_id)),
            attribute("lychgate.seq", number(entry.seq)),
            attribute("lychgate.kind", text(entry.kind)),
        ],
        ..LogRecord::default()
    }
}

/// `Retry-After` in seconds; a date is not read.
fn retry_after(answer: &Response<Bytes>) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
